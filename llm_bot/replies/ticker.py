"""The contextual trigger's timer: one for each room that has it."""

from __future__ import annotations

import asyncio
import logging

from llm_bot.decisions import DecisionRecord, Outcome
from llm_bot.llm_client import LLMError
from llm_bot.models import ChatLine, LineKind
from llm_bot.replies.bugs import caught
from llm_bot.replies.services import SharedServices
from llm_bot.room import Room
from llm_bot.room.lane import Job
from llm_bot.triggers.configured import ConfiguredTrigger
from llm_bot.triggers.contextual import ContextualTrigger
from llm_bot.triggers.decide import Silent, admit_tick, decide_tick
from llm_bot.wire import new_correlation_id

log = logging.getLogger(__name__)


class Ticker:
    """Looks at the room now and then, and asks the model whether to say something unasked."""

    def __init__(self, room: Room, shared: SharedServices) -> None:
        self._room = room
        self._agent = shared.agent
        self._limiter = shared.limiter
        self._clock = shared.clock
        self._rng = shared.rng

    async def run(self) -> None:
        """Tick until cancelled, or until a reload has taken the trigger away."""
        while self._room.contextual is not None:
            await self._clock.sleep(_trigger(self._room.contextual).interval(self._rng()))
            await self.tick()

    async def tick(self) -> None:
        """One look, to the end of its decision, or to a job in the room's lane."""
        room = self._room
        if room.contextual is None or room.origin is None:
            return  # nothing was heard yet, so there is nothing to say and nowhere to say it
        armed, trigger = room.contextual, _trigger(room.contextual)
        tick = ChatLine(
            kind=LineKind.TICK,
            user="",
            text="",
            correlation_id=new_correlation_id(),
            origin=room.origin,
            heard_at=self._clock.time(),
            arrived=self._clock.monotonic(),
        )
        record = DecisionRecord(
            correlation_id=tick.correlation_id,
            channel=room.config.name,
            user="",
            time=tick.heard_at,
            event=tick.kind,
            outcome=None,
            trigger=armed.kind,
        )
        room.decisions.add(record)
        room.tally.triggers_evaluated[armed.kind] += 1
        try:
            silence = await caught(self._look(tick, trigger, armed, record))
        except asyncio.CancelledError:
            room.conclude(record, Outcome.SHUTDOWN)
            raise
        if isinstance(silence, BaseException):
            log.error("tick.error", exc_info=silence, extra={"channel": room.config.name})
            silence = Silent(Outcome.ERROR, detail=type(silence).__name__)
        if silence is not None:
            room.tally.triggers_suppressed[armed.kind, silence.outcome.value] += 1
            room.conclude(record, silence.outcome, silence.detail)
        room.note_decision(record, tick)

    async def _look(
        self,
        tick: ChatLine,
        trigger: ContextualTrigger,
        armed: ConfiguredTrigger,
        record: DecisionRecord,
    ) -> Silent | None:
        """Decide, ask the model, and leave a job in the lane; or why there is none."""
        room = self._room
        decision = decide_tick(
            tick,
            armed,
            trigger.gates(room.survey()),
            may_speak_unasked=room.may_speak_unasked,
            limits=room.config.rate_limits,
            limiter=self._limiter,
            circumstances=room.facts(tick, tick.arrived),
            rng=self._rng,
        )
        record.gates = decision.gates
        if isinstance(decision, Silent):
            return decision
        try:
            wanted = await self._agent.wants_to_take_part(room, tick, trigger.config)
        except LLMError as error:
            log.warning("tick.failed", extra={"channel": room.config.name, "code": error.code})
            return Silent(Outcome.LLM_FAILED, detail=error.code)
        if not wanted:
            return Silent(Outcome.DECLINED)
        decision = admit_tick(
            tick,
            armed,
            limits=room.config.rate_limits,
            limiter=self._limiter,
            circumstances=room.facts(tick, self._clock.monotonic()),
        )
        record.gates += tuple(gate for gate in decision.gates if not gate.passed)
        if isinstance(decision, Silent):
            return decision
        room.tally.triggers_fired[armed.kind] += 1
        deadline = tick.arrived + room.config.replies.deadline_seconds
        room.add_job(Job(tick, decision.permit, record, deadline))
        return None


def _trigger(armed: ConfiguredTrigger) -> ContextualTrigger:
    assert isinstance(armed.trigger, ContextualTrigger)  # noqa: S101 - the kind says so
    return armed.trigger
