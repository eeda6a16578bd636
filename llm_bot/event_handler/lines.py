"""One line of a room: its place in the conversation, the decision about it, the record of both.

Runs inside the bus's callback, so nothing here waits for anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from llm_bot.context_window import WindowLine
from llm_bot.decisions import DecisionRecord, Delivery, IgnoredBecause, Outcome
from llm_bot.models import ChatLine, LineKind
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room import SERVER_NAME, Room
from llm_bot.room.lane import Job
from llm_bot.room.replays import Freshness
from llm_bot.triggers.configured import first_match
from llm_bot.triggers.decide import NO_MATCH, Admit, Decision, Replace, Silent, decide

log = logging.getLogger(__name__)


class LineHandler:
    """Takes the lines of one room."""

    def __init__(self, room: Room, *, limiter: RateLimiter, rng: Callable[[], float]) -> None:
        self._room = room
        self._limiter = limiter
        self._rng = rng

    def hear(self, line: ChatLine) -> None:
        """Place a line, decide about it, and record both."""
        room = self._room
        user = line.user.lower()
        if user in room.own_keys:
            self._hear_own(line)
            return
        is_public = line.kind is LineKind.CHAT
        if (
            user in room.ignored_users
            or room.roster.is_muted(user)
            or line.is_shadowed
            or (not is_public and line.to and line.to.lower() not in room.own_keys)
        ):
            self._record(line, Silent(Outcome.IGNORED_USER, detail=self._why_ignored(line, user)))
            return
        freshness = room.replays.judge(line)
        if freshness is not Freshness.FRESH:
            self._hear_old(line, freshness)
            return
        text = line.text
        if not text:
            self._record(line, NO_MATCH)
            return
        remembered = WindowLine(line.user, text, line.time, False, line.correlation_id)
        if is_public:
            room.remember(remembered)
            room.note_other_line()
        else:
            room.conversation_of(line).window.add(remembered)
        if text.startswith(room.ignored_prefixes):
            self._record(line, Silent(Outcome.IGNORED_PREFIX))
            return
        self._decide(line, is_public)

    def _why_ignored(self, line: ChatLine, user: str) -> str:
        """Why the bot has nothing to do with a line of `user` (in lower case)."""
        if user in self._room.ignored_users:
            is_server = user == SERVER_NAME
            return (IgnoredBecause.SERVER if is_server else IgnoredBecause.LISTED).value
        if line.is_shadowed:
            return IgnoredBecause.SHADOW_MUTED.value
        if self._room.roster.is_muted(user):
            return IgnoredBecause.MUTED.value
        return IgnoredBecause.OTHER_TARGET.value

    def _hear_own(self, line: ChatLine) -> None:
        """The bot's own line: context, and evidence that it arrived."""
        room = self._room
        freshness = room.replays.judge(line)
        remembered = WindowLine(line.user, line.text, line.time, True, line.correlation_id)
        if freshness is Freshness.FRESH:
            is_public = line.kind is LineKind.CHAT
            if line.text and is_public:
                room.remember(remembered)
            elif line.text:
                room.conversation_of(line).window.add(remembered)
            room.note_own_line(line, line.arrived)
            if is_public:
                room.is_muted_by_server = False
            sent = room.confirmations.confirm(line.to, line.text)
            if sent is not None:
                room.note_delivery(sent.record, Delivery.ECHOED)
                room.conclude(sent.record, Outcome.REPLIED)
        elif freshness is not Freshness.DUPLICATE and line.text:
            room.conversation_of(line).window.insert(remembered)
        self._record(line, Silent(Outcome.OWN_LINE))

    def _hear_old(self, line: ChatLine, freshness: Freshness) -> None:
        room = self._room
        if freshness is not Freshness.DUPLICATE and line.text:
            room.conversation_of(line).window.insert(
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

    def _decide(self, line: ChatLine, is_public: bool) -> None:
        room = self._room
        triggers = room.public_triggers if is_public else room.private_triggers
        first = first_match(line, triggers)
        evaluated = room.tally.triggers_evaluated
        if first is None:
            for armed in triggers:
                evaluated[armed.kind] += 1
            self._record(line, NO_MATCH)
            return
        for armed in triggers[: first[0] + 1]:
            evaluated[armed.kind] += 1
        decision = decide(
            line,
            triggers,
            first,
            limits=room.config.rate_limits,
            limiter=self._limiter,
            circumstances=room.facts(line, line.arrived),
            rng=self._rng,
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
        self._room.conversation_of(line).loops.note_answered(line.user.lower(), line.arrived)
        job = Job(line, decision.permit, record, self._deadline(line))
        self._room.add_job(job)

    def _replace(self, line: ChatLine, decision: Replace) -> None:
        lane = self._room.lane(line.kind)
        older = lane.waiting(line.user.lower())
        assert older is not None  # noqa: S101 - or the decision were another
        record = self._record(line, decision)
        job = Job(line, older.permit, record, self._deadline(line))
        lane.replace(older, job)
        self._room.conclude(older.record, Outcome.SUPERSEDED)

    def _deadline(self, line: ChatLine) -> float:
        return line.arrived + self._room.config.replies.deadline_seconds

    def _record(self, line: ChatLine, decision: Decision) -> DecisionRecord:
        room = self._room
        outcome: Outcome | None
        if isinstance(decision, Silent):
            outcome, trigger, detail = decision.outcome, decision.trigger, decision.detail
        else:
            outcome, trigger, detail = None, decision.trigger.kind, decision.matched
        record = DecisionRecord(
            correlation_id=line.correlation_id,
            channel=room.config.name,
            user=line.user,
            time=line.heard_at,
            event=line.kind,
            outcome=outcome,
            trigger=trigger,
            gates=decision.gates,
            detail=detail,
            text=line.text,
        )
        if outcome is not None:
            room.tally.decisions[outcome] += 1
        room.decisions.add(record)
        room.note_decision(record, line)
        return record
