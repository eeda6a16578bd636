"""The contextual trigger's timer: one for each room that has it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from llm_bot.agents.chat import ChatAgent
from llm_bot.deciding import (
    Admit,
    ArmedTrigger,
    Circumstances,
    Job,
    Silent,
    admit_tick,
    decide_tick,
)
from llm_bot.decisions import DecisionRecord, Outcome
from llm_bot.event_handler import OnDecision
from llm_bot.llm_client import LLMError
from llm_bot.models import ChatLine, LineKind
from llm_bot.ports import Clock
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room import Room
from llm_bot.triggers.contextual import ContextualTrigger
from llm_bot.wire import new_correlation_id

log = logging.getLogger(__name__)


class Ticker:
    """Looks at the room now and then, and asks the model whether to say something unasked."""

    def __init__(
        self,
        room: Room,
        *,
        agent: ChatAgent,
        limiter: RateLimiter,
        clock: Clock,
        chance: Callable[[], float],
        on_decision: OnDecision | None = None,
    ) -> None:
        self._room = room
        self._agent = agent
        self._limiter = limiter
        self._clock = clock
        self._chance = chance
        self._on_decision = on_decision

    async def run(self) -> None:
        """Tick until cancelled, or until a reload has taken the trigger away."""
        while self._room.contextual is not None:
            await self._clock.sleep(self._room.contextual[0].interval(self._chance()))
            await self.tick()

    async def tick(self) -> None:
        """One look, to the end of its decision, or to a job in the room's lane."""
        room = self._room
        if room.contextual is None or room.origin is None:
            return  # nothing was heard yet, so there is nothing to say and nowhere to say it
        trigger, armed = room.contextual
        tick = self._make_tick(room)
        room.tally.triggers_evaluated[armed.kind] += 1
        decision = self._decide(tick, trigger, armed)
        record = self._record(tick, decision)
        if isinstance(decision, Silent):
            room.tally.triggers_suppressed[armed.kind, decision.outcome.value] += 1
            self._conclude(tick, record, decision.outcome)
            return
        try:
            await self._ask(tick, trigger, decision, record)
        except asyncio.CancelledError:
            room.conclude(record, Outcome.SHUTDOWN)
            raise
        except Exception as exc:
            # A bug in one tick must not end the process; it is counted and told in full.
            log.exception("tick.error", extra={"channel": room.config.name})
            self._conclude(tick, record, Outcome.ERROR, type(exc).__name__)

    async def _ask(
        self, tick: ChatLine, trigger: ContextualTrigger, decision: Admit, record: DecisionRecord
    ) -> None:
        room = self._room
        try:
            wanted = await self._agent.wants_to_take_part(room, tick, trigger.config)
        except LLMError as error:
            log.warning(
                "tick.failed",
                extra={"channel": room.config.name, "code": error.code},
            )
            self._conclude(tick, record, Outcome.LLM_FAILED, error.code)
            return
        if not wanted:
            self._conclude(tick, record, Outcome.DECLINED)
            return
        if room.public_lane.room <= 0:
            self._conclude(tick, record, Outcome.QUEUE_FULL)
            return
        permit = admit_tick(
            decision.trigger,
            limits=room.config.rate_limits,
            limiter=self._limiter,
            now=self._clock.monotonic(),
        )
        if isinstance(permit, Outcome):
            self._conclude(tick, record, permit)
            return
        room.tally.triggers_fired[decision.trigger.kind] += 1
        deadline = tick.arrived + room.config.replies.deadline_seconds
        room.public_lane.put(Job(tick, decision.trigger, permit, record, deadline))
        self._tell(tick, record)

    def _make_tick(self, room: Room) -> ChatLine:
        assert room.origin is not None  # noqa: S101 - `tick` has looked
        return ChatLine(
            LineKind.TICK,
            "",
            "",
            new_correlation_id(),
            room.origin,
            self._clock.time(),
            self._clock.monotonic(),
        )

    def _decide(
        self, tick: ChatLine, trigger: ContextualTrigger, armed: ArmedTrigger
    ) -> Admit | Silent:
        room, now = self._room, tick.arrived
        circumstances = Circumstances(
            now=now,
            is_silenced=room.config.silenced,
            is_loop=False,
            media_frees_in=room.media_frees_in(now),
            media_cooldown=room.config.rate_limits.media_change_cooldown_seconds,
            waiting=None,
            queue_room=room.public_lane.room,
        )
        most = room.config.bot.max_unanswered_own_lines
        return decide_tick(
            tick,
            armed,
            trigger.gates(room.survey()),
            may_speak_unasked=room.public_loops.unanswered_own_lines < most,
            limits=room.config.rate_limits,
            limiter=self._limiter,
            circumstances=circumstances,
            chance=self._chance,
        )

    def _record(self, tick: ChatLine, decision: Admit | Silent) -> DecisionRecord:
        record = DecisionRecord(
            tick.correlation_id,
            self._room.config.name,
            "",
            tick.heard_at,
            tick.kind.value,
            None,
            trigger=ContextualTrigger.kind,
            gates=decision.gates,
        )
        self._room.decisions.add(record)
        return record

    def _conclude(
        self, tick: ChatLine, record: DecisionRecord, outcome: Outcome, detail: str = ""
    ) -> None:
        self._room.conclude(record, outcome, detail)
        self._tell(tick, record)

    def _tell(self, tick: ChatLine, record: DecisionRecord) -> None:
        if self._on_decision is not None:
            self._on_decision(self._room, record, tick)
