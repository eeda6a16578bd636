"""What happened in a room, counted in plain numbers. Pure.

A bound counter of a metrics library costs more than everything else that a line costs; these are
turned into its families when somebody scrapes (`llm_bot.observability.metrics`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SHORT_SECONDS = (0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.01, 0.1)
TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
CHARACTERS = (20.0, 40.0, 80.0, 120.0, 160.0, 200.0, 240.0, 320.0)


class Histogram:
    """Counts of values by upper bounds; `counts` has one more, for what is above them all."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class RoomTally:
    """The counters of one room. Every key comes from a closed set, never from a user."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()
        self.triggers_evaluated: Counter[str] = Counter()
        self.triggers_fired: Counter[str] = Counter()
        self.triggers_suppressed: Counter[tuple[str, str]] = Counter()
        self.sent: Counter[str] = Counter()
        self.filtered: Counter[str] = Counter()
        self.deliveries: Counter[str] = Counter()
        self.insights: Counter[str] = Counter()
        self.relevance = Histogram(TENTHS)
        self.response_characters = Histogram(CHARACTERS)
        self.reply_seconds = Histogram(SECONDS)


class Tally:
    """The counters that belong to no room."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self.event_seconds = Histogram(SHORT_SECONDS)
        self.last_event_at: float | None = None
