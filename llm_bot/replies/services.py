"""What it takes to answer, and all rooms share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from llm_bot.agents.chat import ChatAgent
from llm_bot.models import Dialect
from llm_bot.ports import Bus, Clock
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room import RoomObserver
from llm_bot.room.tally import Tally


class OutboundBuffer:
    """How many replies of all rooms wait for the bus to come back, bounded."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.depth = 0

    async def wait(self, bus: Bus, seconds: float) -> bool:
        """Wait for the bus; false if there was no place. Raises TimeoutError."""
        if self.depth >= self._size:
            return False
        self.depth += 1
        try:
            # Not `wait_for`: Python 3.11's loses a cancellation that comes with the connection.
            async with asyncio.timeout(seconds):
                await bus.wait_connected()
        finally:
            self.depth -= 1
        return True


@dataclass(frozen=True)
class SharedServices:
    """From the bus to the limits of users over all rooms.

    `source` is what this process calls itself in commands; `request_timeout` is in seconds.
    """

    bus: Bus
    agent: ChatAgent
    limiter: RateLimiter
    tally: Tally
    buffer: OutboundBuffer
    clock: Clock
    rng: Callable[[], float]
    dialects: tuple[Dialect, ...]
    source: str
    request_timeout: float
    observers: tuple[RoomObserver, ...] = ()
