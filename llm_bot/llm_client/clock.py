"""Time as an argument, and a bound on an await that obeys it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


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
        """For durations; where it begins means nothing."""
        ...

    def time(self) -> float:
        """Of the Unix epoch."""
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


class Deadline:
    """A moment on `clock`, `seconds` from now; None is never."""

    def __init__(self, clock: Clock, seconds: float | None = None) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock.monotonic() + seconds

    def remaining(self) -> float | None:
        """Seconds left, negative once it has passed; None if it never comes."""
        return None if self._end is None else self._end - self._clock.monotonic()


class Signal:
    """Wakes those who wait for it now, each time it fires."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def fire(self) -> None:
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        await self._next.wait()


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; Python's `TimeoutError` if `clock` passes `seconds` before."""
    async with asyncio.timeout(None) as scope:
        alarm = asyncio.create_task(_ring(clock, seconds, scope))
        try:
            return await work
        finally:
            alarm.cancel()


async def _ring(clock: Clock, seconds: float, scope: asyncio.Timeout) -> None:
    await clock.sleep(seconds)
    scope.reschedule(asyncio.get_running_loop().time())
