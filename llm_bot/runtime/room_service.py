"""One room at work: what hears it, what decides, the two lanes that answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from zlib import crc32

import msgspec

from llm_bot.agents.chat import ChatAgent
from llm_bot.agents.insight import InsightAgent, InsightSettings
from llm_bot.agents.publishing import insights_subject, publish_insights
from llm_bot.agents.schemas import Insight
from llm_bot.config import RoomConfig
from llm_bot.decisions import DecisionRecord
from llm_bot.errors import BusError
from llm_bot.event_handler import EventHandler
from llm_bot.models import Dialect
from llm_bot.ports import Bus, Clock, Event, Subscription
from llm_bot.rate_limiter import RateLimiter
from llm_bot.replies.delivery import OutboundBuffer, RoomDelivery
from llm_bot.replies.ticker import Ticker
from llm_bot.replies.worker import LaneWorker
from llm_bot.room import Room, RoomObserver
from llm_bot.room.tally import Tally
from llm_bot.runtime.room_sync import CONNECTED_SUBJECT, RoomSync
from llm_bot.wire import event_subjects

log = logging.getLogger(__name__)

UNHEARD_SECONDS = 600.0
"""A room in which anything plays is heard every few seconds."""


class SharedServices(msgspec.Struct, frozen=True):
    """What all rooms share, from the bus to the limits of users over all rooms."""

    bus: Bus
    agent: ChatAgent
    limiter: RateLimiter
    tally: Tally
    buffer: OutboundBuffer
    clock: Clock
    rng: Callable[[], float]
    dialects: tuple[Dialect, ...]
    source: str
    request_timeout: float
    observers: tuple[RoomObserver, ...] = ()


class RoomService(RoomObserver):
    """Hears and answers one room, from `start` and `listen` until `finish`, or `leave` and `close`.

    A reload subscribes to what is new first: nothing counts as heard before the room is started, or
    has adopted the configuration that names it.
    """

    def __init__(self, room: Room, shared: SharedServices) -> None:
        self.room = room
        room.observers = (self, *shared.observers)
        self._shared = shared
        self._subscriptions: dict[str, Subscription] = {}
        # Events on other subjects that are subscribed to are left alone.
        self._heard: frozenset[str] = frozenset()
        self._connections: Subscription | None = None
        self._delivery = RoomDelivery(
            room,
            bus=shared.bus,
            clock=shared.clock,
            buffer=shared.buffer,
            source=shared.source,
            request_timeout=shared.request_timeout,
        )
        self.insights = InsightAgent(
            room.stream,
            InsightSettings.of(room.config),
            clock=shared.clock,
            on_insight=self._note_insight,
        )
        self._handler = EventHandler(
            room,
            limiter=shared.limiter,
            tally=shared.tally,
            clock=shared.clock,
            rng=shared.rng,
        )
        self.introduction = RoomSync(
            room,
            bus=shared.bus,
            clock=shared.clock,
            learn=self._handler.learn,
            source=shared.source,
            request_timeout=shared.request_timeout,
        )
        self._workers = [
            LaneWorker(
                room,
                lane,
                agent=shared.agent,
                delivery=self._delivery,
                clock=shared.clock,
                rng=shared.rng,
            )
            for lane in (room.public_lane, room.private_lane)
        ]
        self._ticker = Ticker(
            room,
            agent=shared.agent,
            limiter=shared.limiter,
            clock=shared.clock,
            rng=shared.rng,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._ticking: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._observing: list[asyncio.Task[None]] = []
        self._group: asyncio.TaskGroup | None = None

    @property
    def is_heard(self) -> bool:
        """Whether the room can be heard in at least one dialect."""
        return any(not one.refused for one in self._subscribed(self._heard))

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Let the lanes be worked, the timer run, and the room be asked about; what comes from now
        on is heard."""
        self._group = tasks
        self._heard = self._subjects(self.room.config)
        for worker in self._workers:
            self._tasks.append(tasks.create_task(worker.run()))
        self._asking = tasks.create_task(self.introduction.run())
        self._observing = [
            tasks.create_task(self.insights.run(phase=_phase(self.room.key))),
            tasks.create_task(self._publish_insights()),
            tasks.create_task(self._tell_if_unheard()),
        ]
        self._restart_ticker()

    async def _publish_insights(self) -> None:
        """Send insights as they come, where the configuration wants it, until cancelled."""
        subject = insights_subject(self.room.config.name)
        await publish_insights(
            self.room.stream,
            partial(self._shared.bus.publish, subject),
            is_wanted=lambda: self.room.config.insights.publish,
        )

    def _note_insight(self, insight: Insight) -> None:
        self.room.tally.insights[insight.kind.value] += 1
        if not insight.is_private:
            for observer in self._shared.observers:
                observer.on_insight(insight.channel, insight.shown())

    def on_job(self) -> None:
        """Let whoever is free take it."""
        for worker in self._workers:
            worker.wake()

    def on_origin(self) -> None:
        """Ask what couldn't be asked before."""
        self.introduction.ask()

    def on_reply(self, record: DecisionRecord) -> None:
        """Let the insights see it."""
        self.insights.note_reply(record)

    def on_cleared(self) -> None:
        """Let the insights forget it, too."""
        self.insights.forget()

    def _restart_ticker(self) -> None:
        """Let the timer run as the configuration has it now, or not at all."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        if self._group is not None and self.room.contextual is not None:
            self._ticking = self._group.create_task(self._ticker.run())

    async def listen(self, config: RoomConfig | None = None) -> bool:
        """Subscribe, one stream of events for each dialect; what is heard already goes on.

        `config` is given by a reload, before the room adopts it. True if something was new.
        """
        wanted = config or self.room.config
        before = len(self._subscriptions)
        for dialect in self._shared.dialects:
            for subject in event_subjects(dialect, wanted.name, wanted.domain):
                if subject not in self._subscriptions:
                    handler = self._listener(subject, dialect)
                    subscription = await self._shared.bus.subscribe(subject, handler)
                    self._subscriptions[subject] = subscription
        if self._connections is None:
            # From here on nothing is missed, so what was said before can be asked for.
            hear = self.introduction.hear_connected
            self._connections = await self._shared.bus.subscribe(CONNECTED_SUBJECT, hear)
            self.introduction.ask()
        return len(self._subscriptions) > before

    async def _tell_if_unheard(self) -> None:
        """A name that is misspelt subscribes as well as any other: nothing is ever heard of it."""
        await self._shared.clock.sleep(UNHEARD_SECONDS)
        if not self.room.tally.events and self._shared.bus.is_connected:
            log.warning("room.unheard", extra={"channel": self.room.config.name})

    def _listener(self, subject: str, dialect: Dialect) -> Callable[[Event], None]:
        handle = self._handler.handle

        def hear(event: Event) -> None:
            if subject in self._heard:
                handle(event, dialect)

        return hear

    def _subjects(self, config: RoomConfig) -> frozenset[str]:
        return frozenset(
            subject
            for dialect in self._shared.dialects
            for subject in event_subjects(dialect, config.name, config.domain)
        )

    def _subscribed(self, subjects: Iterable[str]) -> list[Subscription]:
        wanted = set(subjects)
        return [one for subject, one in self._subscriptions.items() if subject in wanted]

    def require_hearing(self, config: RoomConfig) -> None:
        """Raise `BusError` if the server lets the room hear nothing of what `config` names. Call it
        after a flush."""
        asked = self._subscribed(self._subjects(config))
        if all(one.refused for one in asked):
            refused = ", ".join(one.subject for one in asked)
            raise BusError(f"channel {config.name}: the account may not hear {refused}")

    def adopt(self, fresh: Room) -> None:
        """Take the configuration of `fresh`, which was made for it, and keep everything else."""
        had, domain = self.room.contextual, self.room.config.domain
        self.room.adopt(fresh)
        self.insights.settings = InsightSettings.of(self.room.config)
        if self._group is None:
            return
        self._heard = self._subjects(self.room.config)
        now = self.room.contextual
        if domain != self.room.config.domain:
            self.introduction.resync()
        if (had and had[0].config) != (now and now[0].config):
            self._restart_ticker()

    async def forget_old_subjects(self) -> None:
        """End the subscriptions that the room doesn't hear, or not any more."""
        old = [subject for subject in self._subscriptions if subject not in self._heard]
        ends = [self._subscriptions.pop(subject) for subject in old]
        if not self._heard and self._connections is not None:
            ends.append(self._connections)
            self._connections = None
        await asyncio.gather(*map(_end, ends))

    def tell_refusals(self) -> None:
        """Log what the server wouldn't let this room hear. Call it after a flush."""
        refused = [one.subject for one in self._subscribed(self._heard) if one.refused]
        if refused:
            log.log(
                logging.WARNING if self.is_heard else logging.ERROR,
                "room.subscription_refused" if self.is_heard else "room.not_heard",
                extra={"channel": self.room.config.name, "subjects": refused},
            )

    async def stop_hearing(self) -> None:
        """Hear nothing more; what is admitted goes on."""
        # All at once: a server that has stopped answering is waited for once, not for each.
        others = [] if self._connections is None else [self._connections]
        await asyncio.gather(*map(_end, [*self._subscriptions.values(), *others]))

    def leave(self) -> None:
        """Hear nothing from this moment on and say nothing more; `close` is the rest of it."""
        self._heard = frozenset()
        for task in self._all_tasks():
            task.cancel()

    async def close(self) -> None:
        """After `leave`: return when everything has ended, what was admitted as `shutdown`."""
        ends = [_ended(task) for task in self._all_tasks()]
        await asyncio.gather(self.stop_hearing(), *ends)
        self._delivery.close()

    def _all_tasks(self) -> list[asyncio.Task[None]]:
        return [*self._tasks, *self._timers()]

    def _timers(self) -> list[asyncio.Task[None]]:
        """What runs beside the lanes, and has nothing to finish."""
        timers = (self._ticking, self._asking, *self._observing)
        return [timer for timer in timers if timer is not None]

    async def finish(self, seconds: float) -> None:
        """Finish what was admitted, for so long; give up the rest as `shutdown`."""
        for timer in self._timers():
            timer.cancel()
        for worker in self._workers:
            worker.finish()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._delivery.close()


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait for `task`; how it ended is the task group's concern."""
    await asyncio.wait({task})


async def _end(subscription: Subscription) -> None:
    try:
        await subscription.unsubscribe()
    except BusError as exc:
        log.info("room.unsubscribe_failed", extra={"error": str(exc)})


def _phase(key: str) -> float:
    """A part of a pause, spread evenly over rooms, and for each the same at every start."""
    return crc32(key.encode()) / (1 << 32)
