"""`Bus` within one process: for programs of one process, the demo and tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

from llm_bot.bus.base import PENDING_MESSAGES, BaseBus
from llm_bot.bus.replies import PendingReply
from llm_bot.bus.subjects import matches, outgoing
from llm_bot.errors import NoRespondersError
from llm_bot.ports import Body, Event


class EventBus(BaseBus):
    """A `Bus` that is connected from the start.

    `disconnect` and `reconnect` play an outage of the server; `values` is what
    `read_value` finds, by bucket and key.

    Args:
        pending_messages: Events that may wait for one handler; more are dropped and counted.
    """

    def __init__(self, *, pending_messages: int = PENDING_MESSAGES) -> None:
        super().__init__(pending_messages)
        self._inboxes = itertools.count(1)
        self._up.set()
        self.values: dict[tuple[str, str], bytes] = {}

    def disconnect(self) -> None:
        """The server goes away: what is published from now on is refused."""
        self._up.clear()

    def reconnect(self) -> None:
        """The server is back, and the subscriptions with it."""
        if not self._up.is_set():
            self.reconnects += 1
            self._up.set()

    async def connect(self) -> None:
        """Nothing to do; the other buses need it."""
        self.require_open()

    async def publish(
        self, subject: str, data: Body, headers: Mapping[str, str] | None = None
    ) -> None:
        self._send(outgoing(subject, data, headers))

    async def request(
        self,
        subject: str,
        data: Body,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        accept: Callable[[Event], bool] | None = None,
    ) -> Event:
        self.require_connection()
        inbox = f"_INBOX.{next(self._inboxes)}"
        pending = PendingReply(subject, accept)
        answers = await super().subscribe(inbox, pending.offer)
        try:
            if not self._send(outgoing(subject, data, headers, inbox)):
                raise NoRespondersError(f"nobody listens on {subject}")
            return await pending.wait(timeout)
        finally:
            await answers.unsubscribe()

    async def read_value(
        self,
        bucket: str,
        key: str,
        *,
        timeout: float,  # noqa: ARG002 - nothing takes time here
    ) -> bytes | None:
        self.require_connection()
        return self.values.get((bucket, key))

    async def flush(self, timeout: float = 5.0) -> None:  # noqa: ARG002 - nothing takes time here
        self.require_connection()

    def _send(self, event: Event) -> bool:
        """Hand `event` to whoever hears its subject; says whether anybody does."""
        self.require_connection()
        hearers = [each for each in self._subscriptions if matches(each.subject, event.subject)]
        for hearer in hearers:
            hearer.put(event)
        return bool(hearers)
