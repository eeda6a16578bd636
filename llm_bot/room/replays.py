"""Which lines are old: replayed by CyTube on a join, seen before, or too late to answer. Pure.

CyTube sends up to 15 old lines, unmarked, whenever a connector joins; only their own time gives
them away (observed; they are 7 s to hours old). The connector's clock and CyTube's may differ, so
the usual difference of the room's fresh lines is taken off first.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from statistics import median

from llm_bot.models import ChatLine

REPLAY_SECONDS = 5.0
"""A line that took longer from CyTube to the connector is a replay; live ones take milliseconds."""

OFFSETS_KEPT = 15
OFFSETS_BETWEEN_MEDIANS = 8

SEEN_LINES_KEPT = 128
"""Far more than the 15 that CyTube replays; what is older is told by its time."""

SKEW_RUN = 20
"""So many lines in a row are more than any replay: if all are judged old, a clock is wrong."""


class Freshness(StrEnum):
    """How old a line is. A `DUPLICATE` was heard before, a `REPLAYED` one was not."""

    FRESH = "fresh"
    REPLAYED = "replayed"
    DUPLICATE = "duplicate"
    STALE = "stale"


class ReplayDetector:
    """Judges the lines of one room in the order of their arrival.

    `skew_seconds` is the usual time from CyTube's stamp to the connector's, which is the difference
    of the two clocks; `is_skewed` turns true when twenty lines in a row were judged old, none of
    them seen before, all late by the same time: no replay looks like that. The difference is then
    learned, so that the bot isn't mute until somebody sets a clock. It turns true as well when
    twenty lines in a row came too late for this machine's clock; that isn't learned, since they may
    be late indeed.
    """

    def __init__(self, max_age_seconds: float) -> None:
        self.max_age_seconds = max_age_seconds
        self._offsets: deque[float] = deque(maxlen=OFFSETS_KEPT)
        self._judged = 0
        self._run: deque[float] = deque(maxlen=SKEW_RUN)
        self._seen: dict[int, None] = {}  # hashes, the oldest first
        self._stale_run = 0
        self.skew_seconds = 0.0
        self.is_skewed = False

    def judge(self, line: ChatLine) -> Freshness:
        """How old `line` is, and remember it."""
        said_at, forwarded_at = line.said_at, line.forwarded_at
        if said_at is not None and self._is_seen(line, said_at):
            return Freshness.DUPLICATE
        if said_at is not None and forwarded_at is not None:
            offset = forwarded_at - said_at
            if offset - self.skew_seconds > REPLAY_SECONDS:
                self._note_old(offset)
                return Freshness.REPLAYED
            if self._run:
                self._run.clear()
            self._offsets.append(offset)
            self._judged += 1
            if self._judged % OFFSETS_BETWEEN_MEDIANS == 0:
                self.skew_seconds = median(self._offsets)
        sent_at = said_at if forwarded_at is None else forwarded_at
        if sent_at is not None and line.heard_at - sent_at > self.max_age_seconds:
            self._stale_run += 1
            if self._stale_run == SKEW_RUN:
                self.is_skewed = True
            return Freshness.STALE
        self._stale_run = 0
        return Freshness.FRESH

    def _is_seen(self, line: ChatLine, said_at: float) -> bool:
        # 64 bits, salted anew in each process: two lines among hundreds don't share them.
        key = hash((line.user.lower(), line.kind, said_at, line.text))
        if key in self._seen:
            return True
        self._seen[key] = None
        if len(self._seen) > SEEN_LINES_KEPT:
            del self._seen[next(iter(self._seen))]
        return False

    def _note_old(self, offset: float) -> None:
        run = self._run
        if run and abs(offset - run[0]) > REPLAY_SECONDS:
            run.clear()
        run.append(offset)
        if len(run) == SKEW_RUN:
            self.is_skewed = True
            self._offsets.clear()
            self._offsets.extend(run)
            self.skew_seconds = median(run)
            run.clear()
