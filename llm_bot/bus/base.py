"""What every bus has: whether it is connected, what it lost, and how it ends."""

from __future__ import annotations

import asyncio
import logging

from llm_bot.errors import BusUnavailableError
from llm_bot.ports import Event

log = logging.getLogger(__name__)

# Longest wait of `close` for handlers that are still at work.
CLOSE_SECONDS = 5.0


class BaseBus:
    """`_up` is set while there is a connection; `_close` lets the handlers end, and hangs up."""

    def __init__(self) -> None:
        self.reconnects = 0
        self.dropped = 0
        self.handler_errors = 0
        self._up = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_connected(self) -> bool:
        """Whether something can be published now."""
        return self._up.is_set() and not self._closed

    def require_connection(self) -> None:
        """Raise `BusUnavailableError` where there is none."""
        if not self.is_connected:
            raise BusUnavailableError("the bus is closed" if self._closed else "not connected")

    def require_open(self) -> None:
        """Raise `BusUnavailableError` once `close` was called."""
        if self._closing is not None:
            raise BusUnavailableError("the bus is closed")

    async def wait_connected(self) -> None:
        """Return as soon as the bus is connected."""
        await self._up.wait()
        self.require_open()

    async def close(self) -> None:
        """Hear nothing more, let the handlers end, disconnect. Never raises; idempotent."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._end())
        await asyncio.shield(self._closing)

    async def _end(self) -> None:
        await self._close()
        self._closed = True
        self._up.set()  # nobody waits for it any longer

    async def _close(self) -> None:
        raise NotImplementedError

    def note_failed(self, event: Event, error: BaseException) -> None:
        """A handler raised."""
        self.handler_errors += 1
        fields = {"subject": event.subject, "handler_errors": self.handler_errors}
        log.error("bus.handler_failed", exc_info=error, extra=fields)
