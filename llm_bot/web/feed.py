"""What the live page shows, kept in the order in which it happened, bounded.

What a reader gets is made of it only when it is sent (`llm_bot.web.views`), so that a line which
nobody looks at costs little.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec

from llm_bot.decisions import DecisionRecord, Delivery, Outcome
from llm_bot.models import ChatLine
from llm_bot.room import RoomObserver

ENTRIES_KEPT = 2000

MAX_UNDER_WAY = 1000
"""Lines whose end is still to be told; lanes are short, so a handful is the rule."""


class LineEntry(msgspec.Struct, frozen=True):
    """A line that was decided about. `answers` is the number of the line it answers, 0 if none."""

    record: DecisionRecord
    to: str = ""
    answers: int = 0


class EndEntry(msgspec.Struct, frozen=True):
    """The outcome of an earlier line, which is entry number `line`."""

    record: DecisionRecord
    line: int


class InsightEntry(msgspec.Struct, frozen=True):
    """Something that was observed about a room."""

    channel: str
    insight: Mapping[str, Any]


Entry = LineEntry | EndEntry | InsightEntry


class Feed(RoomObserver):
    """The newest entries of all rooms, numbered from 1 without gaps.

    `epoch` tells this feed from the one of an earlier process, whose numbers mean nothing here.
    Each of the `bells` is set with every new entry.
    """

    def __init__(self, *, entries: int = ENTRIES_KEPT, epoch: str = "") -> None:
        self.epoch = epoch or secrets.token_hex(4)
        self.newest = 0
        self.bells: set[asyncio.Event] = set()
        self._entries: deque[Entry] = deque(maxlen=entries)
        self._under_way: dict[int, tuple[int, DecisionRecord]] = {}
        self._just_echoed = 0
        self.is_closed = False

    @property
    def oldest(self) -> int:
        """The number of the oldest entry that is kept; one beyond the newest if there is none."""
        return self.newest - len(self._entries) + 1

    # --- what happens ---

    def on_decision(self, record: DecisionRecord, line: ChatLine) -> None:
        """A line was decided about: the bot's own ones too.

        Ticks with nothing to join in on are left out: in a quiet night there would be little else.
        """
        if record.outcome is Outcome.IDLE:
            return
        answers = 0
        if record.outcome is Outcome.OWN_LINE:
            answers, self._just_echoed = self._just_echoed, 0
        self._add(LineEntry(record, line.to, answers))
        if record.outcome is None:
            # The record is kept too: as long as it lives nothing else has its id.
            self._under_way[id(record)] = (self.newest, record)
            if len(self._under_way) > MAX_UNDER_WAY:
                del self._under_way[next(iter(self._under_way))]

    def on_concluded(self, record: DecisionRecord) -> None:
        """The outcome of a record was set; one that isn't known as a line yet is left alone."""
        number, _ = self._under_way.pop(id(record), (0, None))
        if not number:
            return
        reply = record.reply
        if record.outcome is Outcome.REPLIED and reply and reply.delivery == Delivery.ECHOED:
            # The echo is what concludes it, and is the next line to be noted.
            self._just_echoed = number
        self._add(EndEntry(record, number))

    def on_insight(self, channel: str, insight: Mapping[str, Any]) -> None:
        """Something was observed: `kind`, and as it comes `text`, `value`, `about`, `time`."""
        self._add(InsightEntry(channel, dict(insight)))

    def close(self) -> None:
        """Tell the readers that this is the end."""
        self.is_closed = True
        self._ring()

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        self.newest += 1
        self._ring()

    def _ring(self) -> None:
        for bell in self.bells:
            bell.set()

    # --- who reads ---

    def place(self, number: int) -> str:
        """How a reader names the place behind that entry, to come back to it."""
        return f"{self.epoch}-{number}"

    def find(self, place: str) -> int | None:
        """The number that a place of this feed stands for; None if it is none of it."""
        found = re.fullmatch(f"{self.epoch}-([0-9]{{1,18}})", place)
        number = int(found[1]) if found else self.newest + 1
        return number if number <= self.newest else None

    def after(self, number: int, limit: int) -> list[tuple[int, Entry]]:
        """Up to `limit` entries that follow entry `number`, or as close to it as there are any."""
        first = max(self.oldest, number + 1)
        start = first - self.oldest
        return list(enumerate(islice(self._entries, start, start + limit), first))
