"""A room with all that hears and answers it, for stories from a line to its outcome."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from llm_bot.bus import EventBus
from llm_bot.decisions import DecisionRecord
from llm_bot.models import Dialect
from llm_bot.ports import Event
from llm_bot.runtime.room_service import RoomService
from tests.fakes import ManualClock, Recorder, ScriptedLLM
from tests.unit import builders
from tests.unit.builders import event, room_event

UNLIMITED = {
    "max_per_channel_per_minute": 1000,
    "max_per_channel_per_hour": 1000,
    "max_per_user_per_minute": 1000,
    "max_per_user_per_hour": 1000,
    "global_cooldown_seconds": 0.0,
    "media_change_cooldown_seconds": 30.0,
}
TICKS = {"type": "contextual", "enabled": True, "min_messages_since_last_bot_message": 1}


class Stage:
    """A room with all that hears and answers it, and a connector that shows what is said there.

    Time stands still until a story moves it.
    """

    def __init__(self, *answers: Any, limits: dict[str, float] | None = None, **sections: Any):
        self.bus = EventBus()
        self.clock = ManualClock()
        self.room = builders.room(
            **{
                "rate_limits": {**UNLIMITED, **(limits or {})},
                "triggers": [{"type": "mention"}, {"type": "pm"}, TICKS],
                "replies": {"min_interval_seconds": 0, "queue_size": 1},
                **sections,
            }
        )
        self.model = ScriptedLLM(*answers)
        self.refusal = ""
        self.rng = 0.5
        self.said: list[str] = []
        self.recorder = Recorder()
        shared = builders.shared(
            self.bus,
            model=self.model,
            clock=self.clock,
            rng=lambda: self.rng,
            observers=(self.recorder,),
        )
        self.limiter = shared.limiter
        self.service = RoomService(self.room, shared)

    async def __aenter__(self) -> Stage:
        await self.bus.subscribe("kryten.robot.command", self._connect)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bus.close()

    async def _connect(self, request: Event) -> None:
        """The connector: what it is told to say is shown in the room, or it refuses."""
        if not self.refusal:
            args = json.loads(request.data)["args"]
            self.said.append(args["message"])
            self.say(args["message"], user="MyBot", to=args.get("to"))
        answer = {"service": "robot", "success": not self.refusal, "error": self.refusal}
        await self.bus.publish(request.reply, answer)

    def happen(self, name: str, payload: Any = None) -> None:
        self.service.handler.handle(room_event(name, payload), Dialect.KRYTEN)

    def say(self, text: str = "hey MyBot", **changes: Any) -> DecisionRecord:
        """A line said now, and its record."""
        said = event(text, **{"said_at": self.clock.time(), **changes})
        self.service.handler.handle(said, Dialect.KRYTEN)
        return self.newest

    @property
    def newest(self) -> DecisionRecord:
        return list(self.room.decisions)[-1]

    async def work(self) -> None:
        """Answer whatever waits."""
        for worker in self.service.workers:
            worker.finish()
            await asyncio.wait_for(worker.run(), 5)

    async def tick(self) -> DecisionRecord:
        await asyncio.wait_for(self.service.ticker.tick(), 5)
        return self.ticks[-1]

    @property
    def ticks(self) -> list[DecisionRecord]:
        return [one for one in self.room.decisions if one.event == "tick"]

    @property
    def held(self) -> int:
        """Permits under way, in all histories."""
        return sum(history.held for history in self.limiter._histories.values())
