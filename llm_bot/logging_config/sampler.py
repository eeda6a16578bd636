"""Of many like lines of the log, a sample."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping

SAMPLED: Mapping[str, tuple[str, ...]] = {
    "bus.dropped": (),
    "bus.handler_failed": (),
    "command.not_answered": (),
    "event.dropped": ("channel", "reason"),
    "nats.dropped": (),
    "nats.publish_refused": (),
    "nats.undecodable": (),
    "redis.undecodable": (),
    "room.ask_failed": ("channel",),
    "room.asked": ("channel",),
    "room.other_login": ("channel",),
}
"""The events that others can make come in floods, and the fields that tell their kinds apart.
These have few values, so that nobody can make many kinds."""

LINES_A_MINUTE = 5
"""Of each kind."""


class SampleFilter(logging.Filter):
    """Lets some lines of a kind pass each minute; each tells how many before it were `suppressed`.

    `monotonic` is a clock in seconds that doesn't go back.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._minute_ends = float("-inf")
        self._passed: Counter[tuple[object, ...]] = Counter()
        self._suppressed: Counter[tuple[object, ...]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if not isinstance(record.msg, str) or record.msg not in SAMPLED:
            return True
        now = self._monotonic()
        if now >= self._minute_ends:
            self._minute_ends = now + 60.0
            self._passed.clear()
        kind = (record.msg, *(vars(record).get(field) for field in SAMPLED[record.msg]))
        if self._passed[kind] >= LINES_A_MINUTE:
            self._suppressed[kind] += 1
            return False
        self._passed[kind] += 1
        record.suppressed = self._suppressed.pop(kind, 0)
        return True
