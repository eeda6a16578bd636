"""One room at work: what hears it, what decides, the two lanes that answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from llm_bot.agents.chat import ChatAgent
from llm_bot.config import RoomConfig
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
from llm_bot.ticker import Ticker
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
    on_decision: OnDecision | None = None


class RoomService:
    """Hears and answers one room, from `listen` until `stop`."""

    def __init__(self, room: Room, shared: Surroundings) -> None:
        self.room = room
        self._shared = shared
        self._subscriptions: dict[str, Subscription] = {}
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
                chance=shared.chance,
            )
            for lane in (room.public_lane, room.private_lane)
        ]
        self._ticker = Ticker(
            room,
            agent=shared.agent,
            limiter=shared.limiter,
            clock=shared.clock,
            chance=shared.chance,
            on_decision=shared.on_decision,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._ticking: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None

    @property
    def is_heard(self) -> bool:
        """Whether the room can be heard in at least one dialect."""
        return any(not subscription.refused for subscription in self._subscriptions.values())

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Let the lanes be worked, and the timer run."""
        self._group = tasks
        for worker in self._workers:
            self._tasks.append(tasks.create_task(worker.run()))
        self._wind_up()

    def _wind_up(self) -> None:
        """Let the timer run as the configuration has it now, or not at all."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        if self._group is not None and self.room.contextual is not None:
            self._ticking = self._group.create_task(self._ticker.run())

    async def listen(self, config: RoomConfig | None = None) -> None:
        """Subscribe, one stream of events for each dialect; what is heard already goes on.

        `config` is given by a reload, before the room adopts it.
        """
        wanted = config or self.room.config
        for dialect in self._shared.dialects:
            for subject in event_subjects(dialect, wanted.name, wanted.domain):
                if subject not in self._subscriptions:
                    handler = self._handler.listener(dialect)
                    subscription = await self._shared.bus.subscribe(subject, handler)
                    self._subscriptions[subject] = subscription

    def adopt(self, fresh: Room) -> None:
        """Take the configuration of `fresh`, which was made for it, and keep everything else."""
        had = self.room.contextual
        self.room.adopt(fresh)
        now = self.room.contextual
        if (had and had[0].config) != (now and now[0].config):
            self._wind_up()

    async def forget_old_subjects(self) -> None:
        """Stop hearing what the room's configuration doesn't name any more."""
        config = self.room.config
        wanted = {
            subject
            for dialect in self._shared.dialects
            for subject in event_subjects(dialect, config.name, config.domain)
        }
        old = [subject for subject in self._subscriptions if subject not in wanted]
        await asyncio.gather(*(_end(self._subscriptions.pop(subject)) for subject in old))

    def tell_refusals(self) -> None:
        """Log what the server wouldn't let this room hear. Call it after a flush."""
        refused = [one.subject for one in self._subscriptions.values() if one.refused]
        if refused:
            log.log(
                logging.WARNING if self.is_heard else logging.ERROR,
                "room.subscription_refused" if self.is_heard else "room.not_heard",
                extra={"channel": self.room.config.name, "subjects": refused},
            )

    async def stop_hearing(self) -> None:
        """Hear nothing more; what is admitted goes on."""
        # All at once: a server that has stopped answering is waited for once, not for each.
        await asyncio.gather(*map(_end, self._subscriptions.values()))

    async def finish(self, seconds: float) -> None:
        """Finish what was admitted, for so long; give up the rest as `shutdown`."""
        if self._ticking is not None:
            self._ticking.cancel()
        for worker in self._workers:
            worker.finish()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._delivery.close()


async def _end(subscription: Subscription) -> None:
    try:
        await subscription.unsubscribe()
    except BusError as exc:
        log.info("room.unsubscribe_failed", extra={"error": str(exc)})
