"""The metrics of rooms, read from their tallies and states when somebody scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.metrics_core import Metric

from llm_bot.decisions import Delivery, Outcome
from llm_bot.observability.families import Values, counter, gauge, histogram
from llm_bot.rate_limiter import RateLimiter
from llm_bot.response_processor import FilterReason
from llm_bot.room import Room
from llm_bot.triggers.configured import room_demand

SEEN_OR_NOT = (Delivery.ECHOED, Delivery.UNCONFIRMED, Delivery.REFUSED)
TARGETS = ("chat", "pm")


def room_families(rooms: Sequence[Room], limiter: RateLimiter, now: float) -> Iterator[Metric]:
    """The numbers of all `rooms`, at the monotonic time `now`."""
    yield from _counters(rooms)
    named = {(room.config.name,): room for room in rooms}
    yield gauge(
        "context_window_size",
        "Lines remembered.",
        {name: len(room.window) for name, room in named.items()},
        ["channel"],
    )
    yield gauge(
        "reply_queue_depth",
        "Replies that wait.",
        {name: len(room.public_lane) + len(room.private_lane) for name, room in named.items()},
        ["channel"],
    )
    yield gauge(
        "clock_skew_seconds",
        "How far the connector's clock is ahead of CyTube's.",
        {name: room.replays.skew_seconds for name, room in named.items()},
        ["channel"],
    )
    yield gauge(
        "rate_limit_remaining",
        "Lines that a limit still allows.",
        _remaining(rooms, limiter, now),
        ["limit_type", "channel"],
    )
    yield histogram(
        "response_length_characters",
        "Length of what was said.",
        {name: room.tally.response_characters for name, room in named.items()},
        ["channel"],
    )
    yield histogram(
        "reply_duration_seconds",
        "From the arrival of a line to the send of its reply.",
        {name: room.tally.reply_seconds for name, room in named.items()},
        ["channel"],
    )
    yield histogram(
        "response_relevance_score",
        "How much a reply that was sent has to do with the conversation, 0 to 1.",
        {name: room.tally.relevance for name, room in named.items()},
        ["channel"],
    )


def _counters(rooms: Sequence[Room]) -> Iterator[Metric]:
    """What may be counted is there from the start, with 0: a counter that appears with its first
    event hides that event, since Prometheus sees growth only between two values."""

    def counted(
        name: str, text: str, labels: list[str], counts: Callable[[Room], Mapping[Any, int]]
    ) -> Metric:
        found = {}
        for room in rooms:
            for key, count in counts(room).items():
                values = key if isinstance(key, tuple) else (key,)
                found[(*map(str, values), room.config.name)] = count
        return counter(name, text, found, [*labels, "channel"])

    yield counted(
        "events_received", "Events heard.", ["event_type"], lambda room: room.tally.events
    )
    yield counted(
        "triggers_evaluated",
        "Lines that a trigger was asked about, and ticks.",
        ["trigger_type"],
        lambda room: _from_zero(_kinds(room), room.tally.triggers_evaluated),
    )
    yield counted(
        "triggers_fired",
        "Lines that a trigger had admitted.",
        ["trigger_type"],
        lambda room: _from_zero(_kinds(room), room.tally.triggers_fired),
    )
    yield counted(
        "triggers_suppressed",
        "Lines that a trigger matched and something refused.",
        ["trigger_type", "reason"],
        lambda room: room.tally.triggers_suppressed,
    )
    yield counted(
        "decisions",
        "Lines, private messages and ticks, by how they ended.",
        ["outcome"],
        lambda room: _from_zero(Outcome, room.tally.decisions),
    )
    yield counted(
        "responses_sent",
        "Lines said.",
        ["target_type"],
        lambda room: _from_zero(TARGETS, room.tally.sent),
    )
    yield counted(
        "responses_filtered",
        "Answers that were not said.",
        ["reason"],
        lambda room: _from_zero(FilterReason, room.tally.filtered),
    )
    yield counted(
        "deliveries",
        "Lines said, by what is known of their arrival.",
        ["result"],
        lambda room: _from_zero(SEEN_OR_NOT, room.tally.deliveries),
    )
    yield counted("insights", "Observations.", ["kind"], lambda room: room.tally.insights)


def _from_zero(expected: Iterable[Any], counts: Mapping[Any, int]) -> dict[Any, int]:
    return dict.fromkeys(expected, 0) | dict(counts)


def _kinds(room: Room) -> list[str]:
    """The types of the room's triggers."""
    configured = [*room.public_triggers, *room.private_triggers]
    if room.contextual is not None:
        configured.append(room.contextual)
    return [each.kind for each in configured]


def _remaining(rooms: Sequence[Room], limiter: RateLimiter, now: float) -> dict[Values, int]:
    """What each limit of each room still allows."""
    found: dict[Values, int] = {}
    for room in rooms:
        demand = room_demand(room.key, room.config.rate_limits)
        for limit in demand.limits:
            left = limiter.remaining(demand.only(limit), now)
            found[limit.name, room.config.name] = left
    return found
