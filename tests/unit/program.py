"""The whole program on a bus in memory."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from llm_bot.app import App
from llm_bot.bus import EventBus
from llm_bot.config import Config
from llm_bot.decisions import DecisionRecord
from llm_bot.demo.stand_ins.connector import StandInConnector
from tests.fakes import Recorder
from tests.unit import builders

PATIENCE_SECONDS = 20.0


class Program:
    """Entered, it is ready; left, it has stopped in order. `begin` starts it without waiting.

    `options` are those of `App`.
    """

    task: asyncio.Task[None]

    def __init__(
        self, config: Config | None = None, bus: EventBus | None = None, **options: Any
    ) -> None:
        self.bus = bus or EventBus()
        self.stop = asyncio.Event()
        self.recorder = Recorder()
        config = config or builders.config("RoomA")
        self.app = App(config, stop=self.stop, bus=self.bus, observers=[self.recorder], **options)

    def begin(self) -> asyncio.Task[None]:
        self.task = asyncio.create_task(self.app.run())
        return self.task

    async def __aenter__(self) -> Self:
        task = self.begin()
        ready = asyncio.create_task(self.app.ready.wait())
        await asyncio.wait(
            {task, ready}, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        ready.cancel()
        assert self.app.ready.is_set(), task
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        await self.ended()

    async def ended(self) -> None:
        """Return when it has ended; raises what ended it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.task

    def room(self, name: str = "RoomA") -> StandInConnector:
        """A room with its connector, to be entered."""
        return StandInConnector(self.bus, channel=name, domain="cytube.example", bot_name="MyBot")

    @property
    def records(self) -> list[DecisionRecord]:
        return self.recorder.records

    def record_of(self, user: str) -> DecisionRecord:
        return next(record for record in self.records if record.user == user)

    def counted(self, name: str, **labels: str) -> float | None:
        return self.app.metrics.registry.get_sample_value(f"llm_bot_{name}", labels)

    def crash(self) -> None:
        """A bug in the machinery: a worker finds something that is no job."""
        service = next(iter(self.app._rooms))
        service.room.public_lane._jobs.append("no job")  # type: ignore[arg-type]
        service.on_job()
