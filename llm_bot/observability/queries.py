"""What an operator can ask of a running bot, whether over HTTP or over the bus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from llm_bot.decisions import DecisionRecord, Outcome
from llm_bot.observability.record_view import record_view
from llm_bot.room import Room

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000

OUTCOMES = frozenset(outcome.value for outcome in Outcome)


class QueryError(Exception):
    """It can't be answered as it was asked; the text says why."""


class DecisionFilter(msgspec.Struct, frozen=True):
    """Which records are asked for; None and empty texts don't restrict."""

    channel: str = ""
    limit: int = DEFAULT_LIMIT
    correlation_id: str = ""
    user: str = ""
    outcome: str = ""

    @classmethod
    def of(cls, asked: Mapping[str, Any], *, limit: str = "limit") -> DecisionFilter:
        """From the names and values of a query or a command; `limit` is what its limit is called.

        Raises:
            QueryError: A name isn't known, or a value can't be meant.
        """
        names = {"channel": "channel", "id": "correlation_id", "user": "user", "outcome": "outcome"}
        unknown = sorted(set(asked) - {*names, limit})
        if unknown:
            known = ", ".join(sorted({*names, limit}))
            raise QueryError(f"{unknown[0][:50]!r} isn't known; known are {known}")
        given = {name: asked[name] for name in names if asked.get(name) is not None}
        for name, value in given.items():
            if not isinstance(value, str):
                raise QueryError(f"{name} must be a text")
        wanted = cls(
            limit=_limit(asked.get(limit), limit),
            **{names[name]: value for name, value in given.items()},
        )
        if wanted.outcome and wanted.outcome not in OUTCOMES:
            raise QueryError(f"no such outcome; there are {', '.join(sorted(OUTCOMES))}")
        return wanted


def _limit(value: object, name: str) -> int:
    if value is None:
        return DEFAULT_LIMIT
    try:
        number = int(value) if isinstance(value, str | int) and value is not True else 0
    except ValueError:
        number = 0
    if not 1 <= number <= MAX_LIMIT:
        raise QueryError(f"{name} must be a whole number from 1 to {MAX_LIMIT}")
    return number


class DecisionQueries:
    """Answers from what the rooms remember. `rooms` are those of this moment."""

    def __init__(self, rooms: Callable[[], Iterable[Room]]) -> None:
        self._rooms = rooms

    def decisions(self, wanted: DecisionFilter) -> list[dict[str, Any]]:
        """The records that are `wanted`, newest first.

        Raises:
            QueryError: There is no such room.
        """
        rooms = list(self._rooms())
        if wanted.channel:
            rooms = [room for room in rooms if room.key == wanted.channel.lower()]
            if not rooms:
                raise QueryError(f"no room {wanted.channel[:50]!r} is heard")
        found = [(record, room) for room in rooms for record in _matching(room, wanted)]
        found.sort(key=lambda each: each[0].time, reverse=True)
        return [
            record_view(record, shows_text=room.config.logging.content == "full")
            for record, room in found[: wanted.limit]
        ]


def _matching(room: Room, wanted: DecisionFilter) -> list[DecisionRecord]:
    user = wanted.user.lower()
    return room.decisions.latest(
        wanted.limit,
        lambda record: (
            (not wanted.correlation_id or record.correlation_id == wanted.correlation_id)
            and (not user or record.user.lower() == user)
            and (not wanted.outcome or record.outcome == wanted.outcome)
        ),
    )
