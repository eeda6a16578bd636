"""The answer that a request waits for, the same for every bus that has requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from llm_bot.errors import RequestTimeoutError, UnacceptedReplyError
from llm_bot.ports import Event


class PendingReply:
    """Takes answers as they come, and hands over the first one that is accepted."""

    def __init__(self, subject: str, accept: Callable[[Event], bool] | None) -> None:
        self.subject = subject
        self._accept = accept
        # An error is a result, too: nobody may come for it, and asyncio would complain.
        self._answer: asyncio.Future[Event | Exception] = asyncio.get_running_loop().create_future()
        self._unaccepted: Event | None = None

    def offer(self, event: Event) -> None:
        """An answer has come. An error in `accept` belongs to whoever asked."""
        if self._answer.done():
            return
        try:
            accepted = self._accept is None or self._accept(event)
        except Exception as exc:  # noqa: BLE001 - handed on, not handled
            self._answer.set_result(exc)
            return
        if accepted:
            self._answer.set_result(event)
        else:
            self._unaccepted = event

    def fail(self, error: Exception) -> None:
        """There will be no answer."""
        if not self._answer.done():
            self._answer.set_result(error)

    async def wait(self, timeout: float) -> Event:
        """The accepted answer; `timeout` is in seconds."""
        await asyncio.wait({self._answer}, timeout=timeout)
        if self._answer.done():
            answer = self._answer.result()
            if isinstance(answer, Exception):
                raise answer
            return answer
        self._answer.cancel()
        if self._unaccepted is not None:
            raise UnacceptedReplyError(self.subject, self._unaccepted.data)
        raise RequestTimeoutError(f"no answer on {self.subject} within {timeout:g} s")
