"""One room at work: what hears it, what decides, the two lanes that answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from llm_bot.agents.chat import ChatAgent
from llm_bot.delivery import OutboundBuffer, RoomDelivery
from llm_bot.errors import BusError
from llm_bot.event_handler import EventHandler, OnDecision
from llm_bot.logging_config import FloodSampler
from llm_bot.models import Dialect
from llm_bot.ports import Clock, EventBus, Subscription
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room import Room
from llm_bot.room_worker import LaneWorker
from llm_bot.tally import Tally
from llm_bot.wire import event_subjects

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all rooms share, from the bus to the limits of users over all rooms."""

    bus: EventBus
    agent: ChatAgent
    limiter: RateLimiter
    tally: Tally
    buffer: OutboundBuffer
    drops: FloodSampler
    clock: Clock
    chance: Callable[[], float]
    dialects: tuple[Dialect, ...]
    source: str
    request_timeout: float
    dry_run: bool
    on_decision: OnDecision | None = None


class RoomService:
    """Hears and answers one room, from `listen` until `stop`."""

    def __init__(self, room: Room, shared: Surroundings) -> None:
        self.room = room
        self._shared = shared
        self._subscriptions: list[Subscription] = []
        self._delivery = RoomDelivery(
            room,
            bus=shared.bus,
            clock=shared.clock,
            buffer=shared.buffer,
            source=shared.source,
            request_timeout=shared.request_timeout,
        )
        self._handler = EventHandler(
            room,
            limiter=shared.limiter,
            tally=shared.tally,
            clock=shared.clock,
            chance=shared.chance,
            drops=shared.drops,
            on_pause=self._delivery.pause,
            on_decision=shared.on_decision,
        )
        self._workers = [
            LaneWorker(
                room,
                lane,
                agent=shared.agent,
                delivery=self._delivery,
                clock=shared.clock,
                dry_run=shared.dry_run,
            )
            for lane in (room.public_lane, room.private_lane)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_heard(self) -> bool:
        """Whether the room can be heard in at least one dialect."""
        return any(not subscription.refused for subscription in self._subscriptions)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Let the lanes be worked."""
        for worker in self._workers:
            self._tasks.append(tasks.create_task(worker.run()))

    async def listen(self) -> None:
        """Subscribe, one stream of events for each dialect."""
        config = self.room.config
        for dialect in self._shared.dialects:
            for subject in event_subjects(dialect, config.name, config.domain):
                handler = self._handler.listener(dialect)
                self._subscriptions.append(await self._shared.bus.subscribe(subject, handler))

    def tell_refusals(self) -> None:
        """Log what the server wouldn't let this room hear. Call it after a flush."""
        refused = [one.subject for one in self._subscriptions if one.refused]
        if refused:
            log.log(
                logging.WARNING if self.is_heard else logging.ERROR,
                "room.subscription_refused" if self.is_heard else "room.not_heard",
                extra={"channel": self.room.config.name, "subjects": refused},
            )

    async def stop_hearing(self) -> None:
        """Hear nothing more; what is admitted goes on."""
        for subscription in self._subscriptions:
            try:
                await subscription.unsubscribe()
            except BusError as exc:
                log.info("room.unsubscribe_failed", extra={"error": str(exc)})

    async def finish(self, seconds: float) -> None:
        """Finish what was admitted, for so long; give up the rest as `shutdown`."""
        for worker in self._workers:
            worker.finish()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._delivery.close()
