"""Of many like lines of the log, a sample. Pure: time is an argument."""

from __future__ import annotations


class FloodSampler:
    """Says of each of many like lines whether it is logged: `limit_per_minute` of a key are.

    When there are more than `max_keys` of them within a minute, the further ones share one limit.
    """

    def __init__(self, limit_per_minute: int = 5, *, max_keys: int = 256) -> None:
        self._limit = limit_per_minute
        self._max_keys = max_keys
        self._samples: dict[str | None, _Sample] = {}
        self._next_tidy_up = 0.0

    def should_log(self, key: str, now: float) -> int | None:
        """None: don't. A number: do, so many of this key were left out since the last logged one.

        `now` is in seconds, of a clock that doesn't go back.
        """
        sample = self._samples.get(key) or self._new_sample(key, now)
        if now >= sample.ends:
            sample.ends = now + _MINUTE
            sample.logged = 0
        if sample.logged >= self._limit:
            sample.left_out += 1
            return None
        sample.logged += 1
        left_out, sample.left_out = sample.left_out, 0
        return left_out

    def _new_sample(self, key: str, now: float) -> _Sample:
        if len(self._samples) >= self._max_keys:
            self._tidy_up(now)
        place = key if len(self._samples) < self._max_keys else None
        return self._samples.setdefault(place, _Sample(now + _MINUTE))

    def _tidy_up(self, now: float) -> None:
        if now < self._next_tidy_up:
            return  # a flood of new keys must not have all others looked through for each
        self._next_tidy_up = now + 1.0
        self._samples = {key: sample for key, sample in self._samples.items() if now < sample.ends}


_MINUTE = 60.0


class _Sample:
    __slots__ = ("ends", "left_out", "logged")

    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.logged = 0
        self.left_out = 0
