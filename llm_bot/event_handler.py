"""One event of a room: what it changes, and whether to answer it.

Runs inside the bus's callback, so nothing here waits for anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from llm_bot.context_window import WindowLine
from llm_bot.deciding import (
    NO_MATCH,
    Admit,
    Circumstances,
    Decision,
    Job,
    Replace,
    Silent,
    decide,
    first_match,
)
from llm_bot.decisions import DecisionRecord, Delivery, IgnoredBecause, Outcome
from llm_bot.logging_config import FloodSampler
from llm_bot.models import (
    ChatCleared,
    ChatLine,
    Dialect,
    LineKind,
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
from llm_bot.replays import Freshness
from llm_bot.room import SERVER_NAME, Room
from llm_bot.tally import Tally
from llm_bot.wire import Drop, Heard, understand, understand_answer

log = logging.getLogger(__name__)

# In Python 3.11 a look-up of an enum's member takes as long as a call of a function.
_PM = LineKind.PM
_FRESH = Freshness.FRESH

OnDecision = Callable[[Room, DecisionRecord, ChatLine], None]


class Insights(Protocol):
    """Who looks at the conversation beside the bot, and later: a line is only noted."""

    def note_line(self, line: WindowLine) -> object: ...

    def forget(self) -> None:
        """The conversation so far was taken back."""
        ...


class EventHandler:
    """Hears one room. `on_decision` is told of every line once it is decided about."""

    def __init__(
        self,
        room: Room,
        *,
        limiter: RateLimiter,
        tally: Tally,
        clock: Clock,
        chance: Callable[[], float],
        drops: FloodSampler,
        on_pause: Callable[[float], None],
        on_decision: OnDecision | None = None,
        on_place: Callable[[], None] | None = None,
        insights: Insights | None = None,
    ) -> None:
        """`on_place` is told once, when an envelope says how the connector spells the room.
        `insights` are told of each public line that is remembered."""
        self._room = room
        self._limiter = limiter
        self._tally = tally
        self._clock = clock
        self._chance = chance
        self._drops = drops
        self._on_pause = on_pause
        self._on_decision = on_decision
        self._on_place = on_place
        self._insights = insights
        self._note_line = _unheeded if insights is None else insights.note_line
        self._handlers: dict[type, Callable[[Any], None]] = {
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
        heard_at = clock.time()
        tally.last_event_at = heard_at
        heard = understand(
            event, dialect, heard_at=heard_at, arrived=arrived, domain=room.config.domain
        )
        if type(heard) is Heard:
            room.tally.events[heard.event_type] += 1
            # A bare payload doesn't unlearn how the same connector's envelopes spell the room.
            known = room.origin
            if heard.origin.channel or known is None or known.dialect is not dialect:
                room.origin = heard.origin
                if self._on_place is not None and heard.origin.domain:
                    tell, self._on_place = self._on_place, None
                    tell()
            if type(heard.event) is ChatLine:
                self._hear_line(heard.event)
            else:
                self._handlers[type(heard.event)](heard.event)
        elif type(heard) is Drop:
            room.tally.events[heard.event_type] += 1
            self._note_drop(heard, len(event.data), arrived)
        else:
            room.tally.events["other"] += 1
        tally.event_seconds.observe(clock.monotonic() - arrived)

    def learn(self, event_type: str, data: bytes) -> bool:
        """Take what was asked for, in the form of the event that would tell it; false if it can't
        be understood. What was heard meanwhile counts more."""
        understood = understand_answer(event_type, data)
        match understood:
            case Drop():
                self._note_drop(understood, len(data), self._clock.monotonic())
                return False
            case LoggedIn():
                self._learn_login(understood)
            case RosterHeard():
                self._room.roster.assume(understood.people)
            case MediaChanged():
                self._room.assume_media(understood.media)
        return True

    def _note_drop(self, drop: Drop, size: int, now: float) -> None:
        self._tally.dropped[drop.reason.value] += 1
        suppressed = self._drops.should_log(f"{self._room.key} {drop.reason}", now)
        if suppressed is not None:
            log.warning(
                "event.dropped",
                extra={
                    "channel": self._room.config.name,
                    "event_type": drop.event_type,
                    "reason": drop.reason.value,
                    "bytes": size,
                    "suppressed": suppressed,
                },
            )

    def _hear_line(self, line: ChatLine) -> None:
        """Place a line, decide about it, and record both."""
        room = self._room
        user = line.user.lower()
        if user in room.own_keys:
            self._hear_own(line)
            return
        ignored = self._why_ignored(line, user)
        if ignored is not None:
            self._record(line, Silent(Outcome.IGNORED_USER, detail=ignored.value))
            return
        freshness = room.replays.judge(line)
        if freshness is not _FRESH:
            self._hear_old(line, freshness)
            return
        text = line.text
        if not text:
            self._record(line, NO_MATCH)
            return
        remembered = WindowLine(line.user, text, line.time, False, line.correlation_id)
        if line.kind is _PM:
            room.window_of(line).add(remembered)
        else:
            room.window.add(remembered)
            self._note_line(remembered)
            room.note_other_line()
        if text.startswith(room.ignored_prefixes):
            self._record(line, Silent(Outcome.IGNORED_PREFIX))
            return
        self._decide(line)

    def _why_ignored(self, line: ChatLine, user: str) -> IgnoredBecause | None:
        """Why the bot has nothing to do with `user` (in lower case), None if it has."""
        room = self._room
        if user in room.ignored_users:
            return IgnoredBecause.SERVER if user == SERVER_NAME else IgnoredBecause.LISTED
        if line.is_shadowed:
            return IgnoredBecause.SHADOW_MUTED
        if room.roster.is_muted(user):
            return IgnoredBecause.MUTED
        if line.kind is _PM and line.to and line.to.lower() not in room.own_keys:
            return IgnoredBecause.OTHER_TARGET
        return None

    def _hear_own(self, line: ChatLine) -> None:
        """The bot's own line: context, and evidence that it arrived."""
        room = self._room
        freshness = room.replays.judge(line)
        remembered = WindowLine(line.user, line.text, line.time, True, line.correlation_id)
        if freshness is Freshness.FRESH:
            if line.text:
                room.window_of(line).add(remembered)
                if line.kind is LineKind.CHAT:
                    self._note_line(remembered)
            room.note_own_line(line, line.arrived)
            if line.kind is LineKind.CHAT:
                room.is_muted_by_server = False
            sent = room.confirmations.confirm(line.to, line.text)
            if sent is not None:
                _set_delivery(sent.record, Delivery.ECHOED)
                room.tally.deliveries[Delivery.ECHOED.value] += 1
                room.conclude(sent.record, Outcome.REPLIED)
        elif freshness is not Freshness.DUPLICATE and line.text:
            room.window_of(line).insert(remembered)
        self._record(line, Silent(Outcome.OWN_LINE))

    def _hear_old(self, line: ChatLine, freshness: Freshness) -> None:
        room = self._room
        if freshness is not Freshness.DUPLICATE and line.text:
            room.window_of(line).insert(
                WindowLine(line.user, line.text, line.time, False, line.correlation_id)
            )
        if room.replays.is_skewed:
            self._warn_of_skew(line)
        is_stale = freshness is Freshness.STALE
        self._record(line, Silent(Outcome.STALE if is_stale else Outcome.REPLAYED))

    def _warn_of_skew(self, line: ChatLine) -> None:
        """Say so once: whoever reads it sees which of the three clocks is wrong."""
        room = self._room
        room.replays.is_skewed = False
        sent_at = line.said_at if line.forwarded_at is None else line.forwarded_at
        log.warning(
            "clock.skewed",
            extra={
                "channel": room.config.name,
                "skew_seconds": round(room.replays.skew_seconds, 3),
                "late_seconds": None if sent_at is None else round(line.heard_at - sent_at, 3),
            },
        )

    def _decide(self, line: ChatLine) -> None:
        room = self._room
        if line.kind is _PM:
            triggers = room.private_triggers
            first = first_match(line, triggers)
        else:
            triggers = room.public_triggers
            first = first_match(line, triggers) if room.is_worth_asking(line.text) else None
        if first is None:
            evaluated = room.tally.triggers_evaluated
            for armed in triggers:
                evaluated[armed.kind] += 1
            self._record(line, NO_MATCH)
            return
        for armed in triggers[: first[0] + 1]:
            room.tally.triggers_evaluated[armed.kind] += 1
        lane = room.lane(line.kind)
        circumstances = Circumstances(
            now=line.arrived,
            is_silenced=room.config.silenced,
            is_loop=room.loops(line).is_loop(line.user.lower(), line.arrived),
            media_frees_in=room.media_frees_in(line.arrived),
            media_cooldown=room.config.rate_limits.media_change_cooldown_seconds,
            waiting=lane.waiting(line.user.lower()),
            queue_room=lane.room,
        )
        decision = decide(
            line,
            triggers,
            first,
            limits=room.config.rate_limits,
            limiter=self._limiter,
            circumstances=circumstances,
            chance=self._chance,
        )
        self._act(line, decision)

    def _act(self, line: ChatLine, decision: Decision) -> None:
        tally = self._room.tally
        if isinstance(decision, Silent):
            tally.triggers_suppressed[decision.trigger, decision.outcome.value] += 1
            self._record(line, decision)
            return
        tally.triggers_fired[decision.trigger.kind] += 1
        if isinstance(decision, Admit):
            self._admit(line, decision)
        else:
            self._replace(line, decision)

    def _admit(self, line: ChatLine, decision: Admit) -> None:
        record = self._record(line, decision)
        self._room.loops(line).note_answered(line.user.lower(), line.arrived)
        job = Job(line, decision.trigger, decision.permit, record, self._deadline(line))
        self._room.lane(line.kind).put(job)

    def _replace(self, line: ChatLine, decision: Replace) -> None:
        record = self._record(line, decision)
        older = decision.job
        job = Job(line, decision.trigger, older.permit, record, self._deadline(line))
        self._room.lane(line.kind).replace(older, job)
        self._room.conclude(older.record, Outcome.SUPERSEDED)

    def _deadline(self, line: ChatLine) -> float:
        return line.arrived + self._room.config.replies.deadline_seconds

    def _record(self, line: ChatLine, decision: Decision) -> DecisionRecord:
        room = self._room
        if isinstance(decision, Silent):
            trigger, detail = decision.trigger, ""
        else:
            trigger, detail = decision.trigger.kind, decision.matched
        record = DecisionRecord(
            line.correlation_id,
            room.config.name,
            line.user,
            line.heard_at,
            line.kind,
            None,
            trigger,
            decision.gates,
            detail,
            line.text,
        )
        if isinstance(decision, Silent):
            room.conclude(record, decision.outcome, decision.detail)
        room.decisions.add(record)
        if self._on_decision is not None:
            self._on_decision(room, record, line)
        return record

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
        suppressed = self._drops.should_log(f"{room.key} other_login", self._clock.monotonic())
        if suppressed is not None:
            log.warning(
                "room.other_login",
                extra={
                    "channel": room.config.name,
                    "login": event.name,
                    "username": room.config.bot.username,
                    "suppressed": suppressed,
                },
            )

    def _clear(self, _: ChatCleared) -> None:
        self._room.window.clear()
        if self._insights is not None:
            self._insights.forget()

    def _send_refused(self, event: SendRefused) -> None:
        """CyTube did not take a line: evidence against the oldest one under way."""
        room = self._room
        if event.event == "noflood":
            room.is_muted_by_server = True
        if event.pause_seconds is not None:
            self._on_pause(event.pause_seconds)
        private = True if event.text.startswith("PM failed") else None
        sent = room.confirmations.refuse(private=private)
        if sent is None:
            return
        _set_delivery(sent.record, Delivery.REFUSED)
        room.tally.deliveries[Delivery.REFUSED.value] += 1
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


def _unheeded(_: WindowLine) -> None:
    """Nobody looks at the conversation."""


def _set_delivery(record: DecisionRecord, delivery: Delivery) -> None:
    if record.reply is not None:
        record.reply.delivery = delivery.value
