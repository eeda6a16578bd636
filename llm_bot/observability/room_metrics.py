"""The metrics of rooms, read from their tallies and states when somebody scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llm_bot.decisions import Delivery, Outcome
from llm_bot.observability.families import counter, gauge, histogram
from llm_bot.ports import Clock
from llm_bot.rate_limiter import RateLimiter
from llm_bot.response_processor import FilterReason
from llm_bot.room import Room
from llm_bot.triggers.configured import room_demand

Rooms = Callable[[], Iterable[Room]]

SEEN_OR_NOT = (Delivery.ECHOED, Delivery.UNCONFIRMED, Delivery.REFUSED)
TARGETS = ("chat", "pm")


class Table(msgspec.Struct, frozen=True):
    """A counter of each room. `expected` are keys that are there from the start, with 0.

    A counter that appears with its first event hides that event: Prometheus sees growth only
    between two values.
    """

    name: str
    text: str
    labels: tuple[str, ...]
    counts: Callable[[Room], Mapping[Any, int]]
    expected: Callable[[Room], Iterable[Any]] = lambda _: ()


def _kinds(room: Room) -> list[str]:
    """The types of the room's triggers."""
    armed = [*room.public_triggers, *room.private_triggers]
    if room.contextual is not None:
        armed.append(room.contextual[1])
    return [one.kind for one in armed]


TABLES = (
    Table("events_received", "Events heard.", ("event_type",), lambda room: room.tally.events),
    Table(
        "triggers_evaluated",
        "Lines that a trigger was asked about, and ticks.",
        ("trigger_type",),
        lambda room: room.tally.triggers_evaluated,
        _kinds,
    ),
    Table(
        "triggers_fired",
        "Lines that a trigger had admitted.",
        ("trigger_type",),
        lambda room: room.tally.triggers_fired,
        _kinds,
    ),
    Table(
        "triggers_suppressed",
        "Lines that a trigger matched and something refused.",
        ("trigger_type", "reason"),
        lambda room: room.tally.triggers_suppressed,
    ),
    Table(
        "decisions",
        "Lines, private messages and ticks, by how they ended.",
        ("outcome",),
        lambda room: room.tally.decisions,
        lambda _: Outcome,
    ),
    Table(
        "responses_sent",
        "Lines said.",
        ("target_type",),
        lambda room: room.tally.sent,
        lambda _: TARGETS,
    ),
    Table(
        "responses_filtered",
        "Answers that were not said.",
        ("reason",),
        lambda room: room.tally.filtered,
        lambda _: FilterReason,
    ),
    Table(
        "deliveries",
        "Lines said, by what is known of their arrival.",
        ("result",),
        lambda room: room.tally.deliveries,
        lambda _: SEEN_OR_NOT,
    ),
    Table("insights", "Observations.", ("kind",), lambda room: room.tally.insights),
)


class RoomCollector(Collector):
    """Turns the numbers of every room into families."""

    def __init__(self, rooms: Rooms, limiter: RateLimiter, clock: Clock) -> None:
        self._rooms = rooms
        self._limiter = limiter
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        rooms = list(self._rooms())
        for table in TABLES:
            yield _counters(table, rooms)
        yield from self._gauges(rooms)
        yield histogram(
            "response_length_characters",
            "Length of what was said.",
            {(room.config.name,): room.tally.response_characters for room in rooms},
            ["channel"],
        )
        yield histogram(
            "reply_duration_seconds",
            "From the arrival of a line to the send of its reply.",
            {(room.config.name,): room.tally.reply_seconds for room in rooms},
            ["channel"],
        )
        yield histogram(
            "response_relevance_score",
            "How much a reply that was sent has to do with the conversation, 0 to 1.",
            {(room.config.name,): room.tally.relevance for room in rooms},
            ["channel"],
        )

    def _gauges(self, rooms: list[Room]) -> Iterator[Metric]:
        now = self._clock.monotonic()
        window = gauge("context_window_size", "Lines remembered.", ["channel"])
        depth = gauge("reply_queue_depth", "Replies that wait.", ["channel"])
        skew = gauge(
            "clock_skew_seconds", "How far the connector's clock is ahead of CyTube's.", ["channel"]
        )
        remaining = gauge(
            "rate_limit_remaining", "Lines that a limit still allows.", ["limit_type", "channel"]
        )
        for room in rooms:
            name = room.config.name
            window.add_metric([name], len(room.window))
            depth.add_metric([name], len(room.public_lane) + len(room.private_lane))
            skew.add_metric([name], room.replays.skew_seconds)
            demand = room_demand(room.key, room.config.rate_limits)
            for limit in demand.limits:
                left = self._limiter.remaining(demand.only(limit), now)
                remaining.add_metric([limit.name, name], left)
        yield from (window, depth, skew, remaining)


def _counters(table: Table, rooms: list[Room]) -> Metric:
    family = counter(table.name, table.text, [*table.labels, "channel"])
    for room in rooms:
        counted = table.counts(room)
        for key in dict.fromkeys((*table.expected(room), *counted)):
            values = key if isinstance(key, tuple) else (key,)
            family.add_metric([*map(str, values), room.config.name], counted.get(key, 0))
    return family
