"""What the live page shows, kept in the order in which it happened, bounded.

To note something costs about a microsecond. What a reader gets is made of it only when it is sent
(`llm_bot.web.views`), so that a line which nobody looks at costs no more.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

import msgspec

from llm_bot.decisions import DecisionRecord, Delivery, Outcome
from llm_bot.models import ChatLine
from llm_bot.room import RoomObserver

ENTRIES_KEPT = 2000
CHARACTERS_KEPT = 500_000
"""Of the texts of all entries together: lines may be long."""

MAX_UNDER_WAY = 1000
"""Lines whose end is still to be told; lanes are short, so a handful is the rule."""

# In Python 3.11 a look-up of an enum's member takes as long as a call of a function.
_OWN_LINE = Outcome.OWN_LINE
_IDLE = Outcome.IDLE


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
# Made only when they are read: a tuple is cheaper.
_Kept = tuple[type[Entry], int, tuple[Any, ...]]


class Bell(Protocol):
    """What a reader waits for, such as an `asyncio.Event`."""

    def set(self) -> None: ...


class Feed(RoomObserver):
    """The newest entries of all rooms, numbered from 1 without gaps.

    `epoch` tells this feed from the one of an earlier process, whose numbers mean nothing here.
    """

    def __init__(
        self, *, entries: int = ENTRIES_KEPT, characters: int = CHARACTERS_KEPT, epoch: str = ""
    ) -> None:
        self.epoch = epoch or secrets.token_hex(4)
        self.newest = 0
        self._max_entries = entries
        self._max_characters = characters
        self._characters = 0
        self._entries: deque[_Kept] = deque()
        self._under_way: dict[int, tuple[int, DecisionRecord]] = {}
        self._just_echoed = 0
        self._bells: set[Bell] = set()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def oldest(self) -> int:
        """The number of the oldest entry that is kept; one beyond the newest if there is none."""
        return self.newest - len(self._entries) + 1

    # --- what happens ---

    def on_decision(self, record: DecisionRecord, line: ChatLine) -> None:
        """A line was decided about: the bot's own ones too.

        Ticks with nothing to join in on are left out: in a quiet night there would be little else.
        """
        answers = 0
        outcome = record.outcome
        if outcome is None:
            self._wait_for_end(record)
        elif outcome is _OWN_LINE:
            answers, self._just_echoed = self._just_echoed, 0
        elif outcome is _IDLE:
            return
        self._add((LineEntry, len(line.text), (record, line.to, answers)))

    def on_concluded(self, record: DecisionRecord) -> None:
        """The outcome of a record was set; one that isn't known as a line yet is left alone."""
        found = self._under_way.pop(id(record), None)
        if found is None:
            return
        number = found[0]
        reply = record.reply
        if record.outcome is Outcome.REPLIED and reply and reply.delivery == Delivery.ECHOED:
            # The echo is what concludes it, and is the next line to be noted.
            self._just_echoed = number
        self._add((EndEntry, 0, (record, number)))

    def on_insight(self, channel: str, insight: Mapping[str, Any]) -> None:
        """Something was observed: `kind`, and as it comes `text`, `value`, `about`, `time`."""
        size = sum(len(value) for value in insight.values() if isinstance(value, str))
        self._add((InsightEntry, size, (channel, dict(insight))))

    def _wait_for_end(self, record: DecisionRecord) -> None:
        # The record is kept too: as long as it lives nothing else has its id.
        self._under_way[id(record)] = (self.newest + 1, record)
        if len(self._under_way) > MAX_UNDER_WAY:
            del self._under_way[next(iter(self._under_way))]

    def _add(self, kept: _Kept) -> None:
        entries = self._entries
        entries.append(kept)
        self.newest += 1
        self._characters += kept[1]
        while len(entries) > self._max_entries or self._characters > self._max_characters:
            self._characters -= entries.popleft()[1]
        if self._bells:
            for bell in self._bells:
                bell.set()

    # --- who reads ---

    @contextmanager
    def watched(self, bell: Bell) -> Iterator[None]:
        """While entered, `bell` is set with every new entry."""
        self._bells.add(bell)
        try:
            yield
        finally:
            self._bells.discard(bell)

    def place(self, number: int) -> str:
        """How a reader names the place behind that entry, to come back to it."""
        return f"{self.epoch}-{number}"

    def find(self, place: str) -> int | None:
        """The number that a place of this feed stands for; None if it is none of it."""
        epoch, _, digits = place.partition("-")
        if epoch != self.epoch or not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
            return None
        number = int(digits)
        return number if number <= self.newest else None

    def after(self, number: int, limit: int) -> list[tuple[int, Entry]]:
        """Up to `limit` entries that follow entry `number`, or as close to it as there are any."""
        first = max(self.oldest, number + 1)
        start = first - self.oldest
        chosen = islice(self._entries, start, start + limit)
        return [(first + at, kind(*fields)) for at, (kind, _, fields) in enumerate(chosen)]
