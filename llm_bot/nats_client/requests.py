"""The requests of a connection that wait for an answer."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

from llm_bot.bus.replies import PendingReply
from llm_bot.errors import NoRespondersError, NotPermittedError
from llm_bot.ports import Event


class Requests:
    """All answers come to subjects below `inbox`, which one subscription hears."""

    def __init__(self, inbox: str) -> None:
        self.inbox = inbox
        self._numbers = itertools.count(1)
        self._pending: dict[str, PendingReply] = {}

    @contextlib.contextmanager
    def expect(
        self, subject: str, accept: Callable[[Event], bool] | None
    ) -> Iterator[tuple[str, PendingReply]]:
        """Where an answer to a request on `subject` goes, and what waits for it."""
        reply_to = f"{self.inbox}.{next(self._numbers)}"
        pending = self._pending[reply_to] = PendingReply(subject, accept)
        try:
            yield reply_to, pending
        finally:
            del self._pending[reply_to]

    def handle(self, event: Event) -> None:
        """An answer, or the server's word that nobody listens. Nobody may wait any longer."""
        pending = self._pending.get(event.subject)
        if pending is None:
            return
        if not event.data and event.headers is not None and event.headers.get("Status") == "503":
            pending.fail(NoRespondersError(f"nobody listens on {pending.subject}"))
        else:
            pending.offer(event)

    def refuse(self, subject: str) -> None:
        """The account may not publish on `subject`."""
        for pending in self._pending.values():
            if pending.subject == subject:
                pending.fail(NotPermittedError(f"the account may not publish on {subject}"))
