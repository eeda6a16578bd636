"""The composition root, and the life of the process from start to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from llm_bot import __version__
from llm_bot.agents.chat import ChatAgent
from llm_bot.config import Config
from llm_bot.errors import BusUnavailableError
from llm_bot.health import HealthServer, Part
from llm_bot.observability.metrics import Metrics
from llm_bot.observability.queries import DecisionQueries
from llm_bot.ports import Bus, Clock, SystemClock
from llm_bot.rate_limiter import RateLimiter
from llm_bot.replies.delivery import RETRY_SECONDS
from llm_bot.replies.services import OutboundBuffer, SharedServices
from llm_bot.room import Room, RoomObserver
from llm_bot.room.tally import Tally
from llm_bot.runtime.announcer import Announcer
from llm_bot.runtime.bus_factory import make_bus
from llm_bot.runtime.command_service import CommandService
from llm_bot.runtime.model import SwappableModel
from llm_bot.runtime.reload import Load, RunningConfig
from llm_bot.runtime.rooms import Rooms
from llm_bot.runtime.status import Status
from llm_bot.runtime.systemd import ServiceManager
from llm_bot.shutdown_handler import unless_stopped
from llm_bot.web.access import Access
from llm_bot.web.decisions import DecisionsRoute
from llm_bot.web.demo_actions import DemoActions
from llm_bot.web.server import LivePage

log = logging.getLogger(__name__)


class App:
    """One run of the daemon. `run` is its whole life; `stop` ends it.

    `ready` is set when the rooms are heard. `observers` are told what happens in them. `load` reads
    the configuration anew when `request_reload` was called. `announces`: say on the bus that this
    service is there, and that it ends.
    """

    def __init__(
        self,
        config: Config,
        *,
        stop: asyncio.Event,
        bus: Bus | None = None,
        clock: Clock | None = None,
        rng: Callable[[], float] = random.random,
        observers: Sequence[RoomObserver] = (),
        load: Load | None = None,
        manager: ServiceManager | None = None,
        announces: bool = False,
        log_lines_lost: Callable[[], int] = lambda: 0,
        demo: DemoActions | None = None,
    ) -> None:
        self._stop = stop
        self._clock = clock = clock or SystemClock()
        self._bus = bus = bus or make_bus(config, clock, rng)
        self.ready = asyncio.Event()
        self._load = load
        self._reload = asyncio.Event()
        self._rooms = Rooms()
        self._manager = manager or ServiceManager()
        self._announcer = Announcer(bus, config.instance, clock=clock) if announces else None
        self.queries = DecisionQueries(self._all_rooms)
        limiter, tally = RateLimiter(), Tally()
        buffer = OutboundBuffer(config.nats.outbound_buffer_size)
        self.metrics = Metrics(
            rooms=self._all_rooms,
            tally=tally,
            bus=bus,
            limiter=limiter,
            clock=clock,
            outbound_depth=lambda: buffer.depth,
            log_lines_lost=log_lines_lost,
        )
        self._model = SwappableModel(self.metrics, clock=clock, rng=rng)
        self._running = RunningConfig(
            config, rooms=self._rooms, metrics=self.metrics, model=self._model
        )
        self.status = Status(
            self._running, self._rooms, bus, self._model, tally, self.metrics, clock, self.ready
        )
        token = config.health.token
        access = Access(config.health.host, token.get_secret_value() if token else None)
        self._parts: list[Part] = [DecisionsRoute(self.queries, access)]
        if demo is not None or config.health.dashboard:
            page = LivePage(
                access,
                rooms=self._all_rooms,
                limiter=limiter,
                clock=clock,
                status=self.status.read,
                shows_text=lambda: self.config.logging.content == "full",
                demo=demo,
            )
            self._parts.append(page)
            observers = [*observers, page.feed]
        self._shared = SharedServices(
            bus=bus,
            agent=ChatAgent(self._model, clock),
            limiter=limiter,
            tally=tally,
            buffer=buffer,
            clock=clock,
            rng=rng,
            dialects=config.nats.dialects,
            source=config.instance,
            request_timeout=config.nats.request_timeout,
            observers=tuple(observers),
        )

    @property
    def config(self) -> Config:
        """As it runs."""
        return self._running.config

    def request_reload(self) -> None:
        """Read the configuration anew, soon. Requests while one is under way are one more."""
        self._reload.set()

    async def run(self) -> None:
        """Start, serve until `stop` is set, and stop in order.

        Raises:
            BusUnavailableError: The bus could not be reached at the start.
            OSError: The HTTP port can't be had.
            ExceptionGroup: Something that must not fail did.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._manager.watch(self.status.line))
            stack.push_async_callback(self._bus.close)
            stack.push_async_callback(self._announce_shutdown, "failed")
            if not await unless_stopped(self._stop, self._bus.connect()):
                return
            stack.push_async_callback(self._model.aclose)
            self._model.replace(await self._model.open(self.config.llm_api))
            port = await self._serve_http(stack)
            async with asyncio.TaskGroup() as tasks:
                if await self._listen(tasks):
                    self._tell_ready()
                    if self._announcer is not None:
                        self._announcer.start(tasks, port=port)
                    _freeze_gc()
                    await self._serve()
                await self._finish()
        log.info("app.stopped")

    async def _serve_http(self, stack: AsyncExitStack) -> int | None:
        """Serve for as long as `stack` is open; the port, if there is one."""
        if not self.config.health.enabled:
            return None
        server = HealthServer(
            self.config.health,
            status=self.status.read,
            is_ready=self.status.is_ready,
            registry=self.metrics.registry,
            parts=self._parts,
        )
        await stack.enter_async_context(server)
        return server.port

    async def _listen(self, tasks: asyncio.TaskGroup) -> bool:
        """Hear all rooms; false if the order to stop came while the bus was away."""
        await self._rooms.open(self.config, self._shared, tasks)
        commands = CommandService(
            self._bus,
            self.config.instance,
            status=self.status.read,
            queries=self.queries,
        )
        await commands.listen()
        if self._announcer is not None:
            await self._announcer.listen()
        while True:
            try:
                await self._bus.flush()
                break
            except BusUnavailableError:
                # Once connected it comes back by itself, and the subscriptions with it.
                if not await unless_stopped(self._stop, self._bus.wait_connected()):
                    return False
                await self._clock.sleep(RETRY_SECONDS)
        for service in self._rooms:
            service.subscriptions.tell_refusals()
        commands.tell_refusal()
        return True

    def _tell_ready(self) -> None:
        log.info(
            "app.ready",
            extra={
                "version": __version__,
                "channels": self.status.heard_rooms,
                "provider": self.config.llm_api.provider,
                "model": self.config.llm_api.model,
                "dry_run": self.config.dry_run,
            },
        )
        self.ready.set()
        self._manager.ready()

    async def _serve(self) -> None:
        """Until the order to stop; reload on request."""
        while await unless_stopped(self._stop, self._reload.wait()):
            self._reload.clear()
            if self._load is not None:
                with self._manager.reloading():
                    await unless_stopped(self._stop, self._running.change(self._load))
                    await self._running.tidy_up()

    async def _finish(self) -> None:
        """Hear nothing more, and finish what was admitted within the grace period."""
        self.ready.clear()
        self._manager.stopping()
        log.info("app.stopping")
        await self._rooms.finish(self.config.shutdown_grace_seconds)
        await self._announce_shutdown("told to stop")

    async def _announce_shutdown(self, reason: str) -> None:
        """Say on the bus and to the service manager that this is the end; both only once."""
        self._manager.stopping()
        if self._announcer is not None:
            await self._announcer.stop(reason)

    def _all_rooms(self) -> list[Room]:
        return [service.room for service in self._rooms]


def _freeze_gc() -> None:
    """What is here by now stays: to look through it at each full collection would take 10 ms."""
    gc.collect()
    gc.freeze()
