"""One event of a room: what it changes; a line goes on to the room's `LineHandler`.

Runs inside the bus's callback, so nothing here waits for anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from llm_bot.decisions import Delivery, Outcome
from llm_bot.event_handler.lines import LineHandler
from llm_bot.models import (
    ChatCleared,
    ChatLine,
    Dialect,
    LoggedIn,
    Media,
    Person,
    PersonChanged,
    PersonLeft,
    RoomEvent,
    RosterHeard,
    SendRefused,
)
from llm_bot.ports import Clock, Event
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room import Room
from llm_bot.room.tally import Tally
from llm_bot.wire import ParsedEvent, Rejected, parse_answer, parse_event

log = logging.getLogger(__name__)


class EventHandler:
    """Hears one room."""

    def __init__(
        self,
        room: Room,
        *,
        limiter: RateLimiter,
        tally: Tally,
        clock: Clock,
        rng: Callable[[], float],
    ) -> None:
        self._room = room
        self._tally = tally
        self._clock = clock
        self._lines = LineHandler(room, limiter=limiter, rng=rng)

    def handle(self, event: Event, dialect: Dialect) -> None:
        """Take one event, heard in that dialect, to the end of its decision."""
        room = self._room
        arrived, heard_at = self._clock.monotonic(), self._clock.time()
        self._tally.last_event_at = heard_at
        parsed = parse_event(
            event, dialect, heard_at=heard_at, arrived=arrived, domain=room.config.domain
        )
        match parsed:
            case ParsedEvent():
                room.tally.events[parsed.event_type] += 1
                room.note_origin(parsed.origin)
                self._apply(parsed.event)
            case Rejected():
                room.tally.events[parsed.event_type] += 1
                self._note_drop(parsed, len(event.data))
            case _:
                room.tally.events["other"] += 1
        self._tally.event_seconds.observe(self._clock.monotonic() - arrived)

    def _apply(self, event: RoomEvent) -> None:
        room = self._room
        match event:
            case ChatLine():
                self._lines.hear(event)
            case Media():
                room.change_media(event, self._clock.monotonic())
            case RosterHeard():
                room.roster.replace(event.people)
            case Person():
                room.roster.join(event)
            case PersonLeft():
                room.roster.leave(event.name)
            case PersonChanged():
                room.roster.change(event)
            case LoggedIn():
                self._learn_login(event)
            case ChatCleared():
                room.clear()
            case SendRefused():
                self._note_refusal(event)

    def learn(self, event_type: str, data: bytes) -> bool:
        """Take what was asked for, in the form of the event that would tell it; false if it can't
        be understood. What was heard meanwhile counts more."""
        understood = parse_answer(event_type, data)
        match understood:
            case Rejected():
                self._note_drop(understood, len(data))
                return False
            case LoggedIn():
                self._learn_login(understood)
            case RosterHeard():
                self._room.roster.assume(understood.people)
            case Media():
                self._room.assume_media(understood)
        return True

    def _note_drop(self, drop: Rejected, size: int) -> None:
        self._tally.dropped[drop.reason.value] += 1
        log.warning(
            "event.dropped",
            extra={
                "channel": self._room.config.name,
                "event_type": drop.event_type,
                "reason": drop.reason.value,
                "bytes": size,
            },
        )

    def _learn_login(self, event: LoggedIn) -> None:
        room = self._room
        if room.learn_login(event.name):
            log.warning(
                "room.other_login",
                extra={
                    "channel": room.config.name,
                    "login": event.name,
                    "username": room.config.bot.username,
                },
            )

    def _note_refusal(self, event: SendRefused) -> None:
        """CyTube did not take a line: evidence against the oldest one under way."""
        room = self._room
        if event.event == "noflood":
            room.is_muted_by_server = True
        if event.pause_seconds is not None:
            room.pause_sending(event.pause_seconds, self._clock.monotonic())
        private = True if event.text.startswith("PM failed") else None
        sent = room.confirmations.refuse(private=private)
        if sent is None:
            return
        room.note_delivery(sent.record, Delivery.REFUSED)
        detail = f"{event.event}: {event.text}" if event.text else event.event
        room.conclude(sent.record, Outcome.DELIVERY_FAILED, detail)
        log.warning(
            "delivery.refused",
            extra={
                "channel": room.config.name,
                "correlation_id": sent.record.correlation_id,
                "event": event.event,
            },
        )
