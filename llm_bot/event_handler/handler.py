"""One event of a room: what it changes; a line goes on to the room's `LineHandler`.

Runs inside the bus's callback, so nothing here waits for anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from llm_bot.decisions import Delivery, Outcome
from llm_bot.event_handler.lines import LineHandler
from llm_bot.models import (
    ChatCleared,
    ChatLine,
    Dialect,
    LoggedIn,
    MediaChanged,
    PersonChanged,
    PersonJoined,
    PersonLeft,
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
        self._hear_line = LineHandler(room, limiter=limiter, rng=rng).hear
        self._handlers: dict[type, Callable[[Any], None]] = {
            ChatLine: self._hear_line,
            MediaChanged: self._change_media,
            RosterHeard: self._hear_roster,
            PersonJoined: self._join,
            PersonLeft: self._leave,
            PersonChanged: room.roster.change,
            LoggedIn: self._learn_login,
            ChatCleared: self._clear,
            SendRefused: self._send_refused,
        }

    def handle(self, event: Event, dialect: Dialect) -> None:
        """Take one event, heard in that dialect, to the end of its decision."""
        clock, room, tally = self._clock, self._room, self._tally
        arrived = clock.monotonic()
        tally.last_event_at = heard_at = clock.time()
        heard = parse_event(
            event, dialect, heard_at=heard_at, arrived=arrived, domain=room.config.domain
        )
        match heard:
            case ParsedEvent():
                room.tally.events[heard.event_type] += 1
                room.note_origin(heard.origin)
                self._handlers[type(heard.event)](heard.event)
            case Rejected():
                room.tally.events[heard.event_type] += 1
                self._note_drop(heard, len(event.data))
            case _:
                room.tally.events["other"] += 1
        tally.event_seconds.observe(clock.monotonic() - arrived)

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
            case MediaChanged():
                self._room.assume_media(understood.media)
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

    def _change_media(self, event: MediaChanged) -> None:
        self._room.change_media(event.media, self._clock.monotonic())

    def _hear_roster(self, event: RosterHeard) -> None:
        self._room.roster.replace(event.people)

    def _join(self, event: PersonJoined) -> None:
        self._room.roster.join(event.person)

    def _leave(self, event: PersonLeft) -> None:
        self._room.roster.leave(event.name)

    def _learn_login(self, event: LoggedIn) -> None:
        room = self._room
        if not room.learn_login(event.name):
            return
        log.warning(
            "room.other_login",
            extra={
                "channel": room.config.name,
                "login": event.name,
                "username": room.config.bot.username,
            },
        )

    def _clear(self, _: ChatCleared) -> None:
        self._room.clear()

    def _send_refused(self, event: SendRefused) -> None:
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
