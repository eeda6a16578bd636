"""One room at work: what hears it, what decides, the two lanes that answer."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from zlib import crc32

from llm_bot.agents.insight import InsightAgent, InsightSettings
from llm_bot.agents.publishing import insights_subject, publish_insights
from llm_bot.agents.schemas import Insight
from llm_bot.config import RoomConfig, TriggerConfig
from llm_bot.decisions import DecisionRecord
from llm_bot.event_handler import EventHandler
from llm_bot.replies.delivery import RoomDelivery
from llm_bot.replies.services import SharedServices
from llm_bot.replies.ticker import Ticker
from llm_bot.replies.worker import LaneWorker
from llm_bot.room import Room, RoomObserver
from llm_bot.runtime.room_sync import RoomSync
from llm_bot.runtime.subscriptions import RoomSubscriptions

log = logging.getLogger(__name__)

UNHEARD_SECONDS = 600.0
"""A room in which anything plays is heard every few seconds."""


class RoomService(RoomObserver):
    """Hears and answers one room, from `start` until `finish`, or `leave` and `close`.

    A reload subscribes to what is new first: nothing counts as heard before the room is started, or
    has adopted the configuration that names it.
    """

    def __init__(self, room: Room, shared: SharedServices) -> None:
        self.room = room
        room.observers = (self, *shared.observers)
        self._shared = shared
        self.delivery = RoomDelivery(room, shared)
        self.insights = InsightAgent(
            room.stream,
            InsightSettings.of(room.config),
            clock=shared.clock,
            on_insight=self._note_insight,
        )
        self.handler = EventHandler(
            room,
            limiter=shared.limiter,
            tally=shared.tally,
            clock=shared.clock,
            rng=shared.rng,
        )
        self.sync = RoomSync(room, self.handler, shared)
        self.subscriptions = RoomSubscriptions(room, self.handler, self.sync, shared)
        self.workers = [
            LaneWorker(room, lane, self.delivery, shared)
            for lane in (room.public_lane, room.private_lane)
        ]
        self.ticker = Ticker(room, shared)
        self._group: asyncio.TaskGroup | None = None
        self._working: list[asyncio.Task[None]] = []
        # What runs beside the lanes, and has nothing to finish.
        self._background: list[asyncio.Task[None]] = []
        self._ticking: asyncio.Task[None] | None = None

    # --- what happens in the room ---

    def on_job(self) -> None:
        """Let whoever is free take it."""
        for worker in self.workers:
            worker.wake()

    def on_origin(self) -> None:
        """Ask what couldn't be asked before."""
        self.sync.ask()

    def on_reply(self, record: DecisionRecord) -> None:
        """Let the insights see it."""
        self.insights.note_reply(record)

    def on_cleared(self) -> None:
        """Let the insights forget it, too."""
        self.insights.forget()

    def _note_insight(self, insight: Insight) -> None:
        self.room.tally.insights[insight.kind.value] += 1
        if not insight.is_private:
            for observer in self._shared.observers:
                observer.on_insight(insight.channel, insight.shown())

    # --- its life ---

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Let the lanes be worked, the timer run, and the room be asked about; what comes from now
        on is heard."""
        self._group = tasks
        self.subscriptions.hear(self.room.config)
        self._working = [tasks.create_task(worker.run()) for worker in self.workers]
        self._background = [
            tasks.create_task(self.sync.run()),
            tasks.create_task(self.insights.run(phase=_phase(self.room.key))),
            tasks.create_task(self._publish_insights()),
            tasks.create_task(self._tell_if_unheard()),
        ]
        self._restart_ticker()

    def adopt(self, fresh: Room) -> None:
        """Take the configuration of `fresh`, which was made for it, and keep everything else."""
        before = self.room.config
        self.room.adopt(fresh)
        self.insights.settings = InsightSettings.of(self.room.config)
        if self._group is None:
            return
        self.subscriptions.hear(self.room.config)
        if before.domain != self.room.config.domain:
            self.sync.resync()
        if _contextual(before) != _contextual(self.room.config):
            self._restart_ticker()

    async def finish(self, seconds: float) -> None:
        """Hear nothing more; finish what was admitted, for so long, and give up the rest as
        `shutdown`."""
        await self.subscriptions.end()
        for task in self._beside():
            task.cancel()
        for worker in self.workers:
            worker.finish()
        if self._working:
            _, late = await asyncio.wait(self._working, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self.delivery.close()

    def leave(self) -> None:
        """Hear nothing from this moment on and say nothing more; `close` is the rest of it."""
        self.subscriptions.hear(None)
        for task in (*self._working, *self._beside()):
            task.cancel()

    async def close(self) -> None:
        """After `leave`: return when everything has ended, what was admitted as `shutdown`."""
        tasks = (*self._working, *self._beside())
        # How a task ended is the task group's concern.
        await asyncio.gather(self.subscriptions.end(), *tasks, return_exceptions=True)
        self.delivery.close()

    def _beside(self) -> list[asyncio.Task[None]]:
        return [*self._background, *filter(None, [self._ticking])]

    def _restart_ticker(self) -> None:
        """Let the timer run as the configuration has it now, or not at all."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        if self._group is not None and self.room.contextual is not None:
            self._ticking = self._group.create_task(self.ticker.run())

    async def _publish_insights(self) -> None:
        """Send insights as they come, where the configuration wants it, until cancelled."""
        subject = insights_subject(self.room.config.name)
        await publish_insights(
            self.room.stream,
            partial(self._shared.bus.publish, subject),
            is_wanted=lambda: self.room.config.insights.publish,
        )

    async def _tell_if_unheard(self) -> None:
        """A name that is misspelt subscribes as well as any other: nothing is ever heard of it."""
        await self._shared.clock.sleep(UNHEARD_SECONDS)
        if not self.room.tally.events and self._shared.bus.is_connected:
            log.warning("room.unheard", extra={"channel": self.room.config.name})


def _phase(key: str) -> float:
    """A part of a pause, spread evenly over rooms, and for each the same at every start."""
    return crc32(key.encode()) / (1 << 32)


def _contextual(config: RoomConfig) -> list[TriggerConfig]:
    return [each for each in config.triggers if each.type == "contextual"]
