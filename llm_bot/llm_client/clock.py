"""Time as an argument."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Time, so that a test can have its own. All in seconds.

    >>> class Hurried:
    ...     # Nobody waits, and the time is what the sleeps add up to.
    ...     def __init__(self) -> None:
    ...         self.now = 0.0
    ...     def monotonic(self) -> float:
    ...         return self.now
    ...     def time(self) -> float:
    ...         return self.now
    ...     async def sleep(self, seconds: float) -> None:
    ...         self.now += seconds
    >>> clock: Clock = Hurried()
    >>> asyncio.run(clock.sleep(30))
    >>> clock.monotonic()
    30.0
    """

    def monotonic(self) -> float:
        """For durations and limits; where it begins means nothing."""
        ...

    def time(self) -> float:
        """Of the Unix epoch, for what is told."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when they have passed, at once if they are 0 or less."""
        ...


class SystemClock:
    """The machine's own clocks.

    >>> clock = SystemClock()
    >>> before = clock.monotonic()
    >>> asyncio.run(clock.sleep(0))
    >>> clock.monotonic() >= before
    True
    """

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
