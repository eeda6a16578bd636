"""Time as an argument, and a bound on an await that obeys it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Time. `monotonic` for durations, `time` is the Unix epoch, both in seconds."""

    def monotonic(self) -> float: ...

    def time(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clocks."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Deadline:
    """A moment on `clock`, `seconds` from now; None is never."""

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock.monotonic() + seconds

    def remaining(self) -> float | None:
        """Seconds left, negative once it has passed; None if it never comes."""
        return None if self._end is None else self._end - self._clock.monotonic()


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
