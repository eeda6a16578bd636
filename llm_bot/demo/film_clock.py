"""A clock that runs as fast as the film night does."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress


class FilmClock:
    """Time that passes `rate` times as fast as it really does; at 0 it stands still.

    With it a cooldown of 10 s lasts as long as 10 s of the recording, at any speed, so that the
    same lines are answered.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._anchor = time.monotonic()
        self._film_anchor = self._anchor
        self._epoch = time.time() - self._anchor
        self._changed = asyncio.Event()

    @property
    def rate(self) -> float:
        return self._rate

    def monotonic(self) -> float:
        return self._film_anchor + (time.monotonic() - self._anchor) * self._rate

    def time(self) -> float:
        return self._epoch + self.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Until so much of this clock's time has passed, whatever happens to its rate meanwhile."""
        end = self.monotonic() + seconds
        await asyncio.sleep(0)
        while (left := end - self.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left / self._rate if self._rate else None):
                    await self._changed.wait()

    def change_rate(self, rate: float) -> None:
        """From now on; nothing jumps."""
        now, film = time.monotonic(), self.monotonic()
        self._anchor, self._film_anchor, self._rate = now, film, rate
        self._changed.set()
        self._changed = asyncio.Event()
