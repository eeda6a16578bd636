"""The composition root, and the life of the process from start to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from llm_bot import __version__
from llm_bot.agents.chat import ChatAgent
from llm_bot.config import Config, NatsConfig
from llm_bot.errors import BusUnavailableError
from llm_bot.health import HealthServer
from llm_bot.llm_client import LLMClient
from llm_bot.models import Dialect
from llm_bot.observability.metrics import CountedModel, Metrics
from llm_bot.observability.queries import DecisionQueries
from llm_bot.ports import Bus, Clock, SystemClock
from llm_bot.rate_limiter import RateLimiter
from llm_bot.replies.delivery import RETRY_SECONDS, OutboundBuffer
from llm_bot.room import Room, RoomObserver
from llm_bot.room.tally import Tally
from llm_bot.runtime.announcer import Announcer
from llm_bot.runtime.bus_factory import make_bus
from llm_bot.runtime.command_service import CommandResponder, command_subject
from llm_bot.runtime.model import SwappableModel
from llm_bot.runtime.model_settings import client_config
from llm_bot.runtime.reload import Load, RunningConfig
from llm_bot.runtime.room_service import SharedServices
from llm_bot.runtime.rooms import Rooms
from llm_bot.runtime.systemd import ServiceManager, status_line
from llm_bot.web.access import Access
from llm_bot.web.decisions import DecisionsRoute
from llm_bot.web.demo_actions import DemoActions
from llm_bot.web.server import LivePage
from llm_bot.wire.commands import iso_time

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
        self._clock = clock or SystemClock()
        self._rng = rng
        self.ready = asyncio.Event()
        self._bus = bus or make_bus(config, self._clock, rng)
        self._started_at = self._clock.monotonic()
        self._tally = Tally()
        self._limiter = RateLimiter()
        self._buffer = OutboundBuffer(config.nats.outbound_buffer_size)
        self._rooms = Rooms()
        self._load = load
        self._reload = asyncio.Event()
        self._is_started = False
        self._model: SwappableModel | None = None
        self._port: int | None = None
        self._manager = manager or ServiceManager()
        announcer = Announcer(self._bus, config.instance, __version__, clock=self._clock)
        self._announcer = announcer if announces else None
        self.inquiries = DecisionQueries(self._all_rooms)
        self.metrics = Metrics(
            rooms=self._all_rooms,
            tally=self._tally,
            bus=self._bus,
            limiter=self._limiter,
            clock=self._clock,
            outbound_depth=lambda: self._buffer.depth,
            log_lines_lost=log_lines_lost,
        )
        self._running = RunningConfig(
            config, rooms=self._rooms, metrics=self.metrics, open_client=self._open_client
        )
        token = config.health.token
        self._access = Access(
            config.health.host, lambda: None if token is None else token.get_secret_value()
        )
        self.live: LivePage | None = None
        if demo is not None or config.health.dashboard:
            self.live = LivePage(
                self._access,
                rooms=self._all_rooms,
                limiter=self._limiter,
                clock=self._clock,
                status=self.status,
                shows_text=lambda: demo is not None or self.config.logging.content == "full",
                demo=demo,
            )
        self._observers = tuple(observers)
        if self.live is not None:
            self._observers += (self.live.feed,)

    @property
    def config(self) -> Config:
        """As it runs."""
        return self._running.config

    async def run(self) -> None:
        """Start, serve until `stop` is set, and stop in order.

        Raises:
            BusUnavailableError: The bus could not be reached at the start.
            OSError: The HTTP port can't be had.
            ExceptionGroup: Something that must not fail did.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._manager.watch(self._status_line))
            stack.push_async_callback(self._bus.close)
            stack.push_async_callback(self._announce_shutdown, "failed")
            if not await self._unless_stopped(self._bus.connect()):
                return
            model = self._model = SwappableModel(await self._open_client(self.config))
            stack.push_async_callback(model.aclose)
            await self._serve_http(stack)
            async with asyncio.TaskGroup() as tasks:
                if await self._listen(self._surroundings(model), tasks):
                    log.info("app.ready", extra={"version": __version__, **self._places()})
                    self._is_started = True
                    self._manager.ready()
                    if self._announcer is not None:
                        self._announcer.start(tasks, port=self._port)
                    self.ready.set()
                    _freeze_gc()
                    await self._serve(model)
                await self._finish()
        log.info("app.stopped")

    def request_reload(self) -> None:
        """Read the configuration anew, soon. Requests while one is under way are one more."""
        self._reload.set()

    async def _serve(self, model: SwappableModel) -> None:
        """Until the order to stop; reload on request."""
        while await self._unless_stopped(self._reload.wait()):
            self._reload.clear()
            if self._load is None:
                continue
            with self._manager.reloading():
                await self._running.change(self._load, model, unless_stopped=self._unless_stopped)

    async def _open_client(self, config: Config) -> LLMClient:
        """A client for the model that `config` names. Raises the client's `ConfigurationError`."""
        client = LLMClient(
            client_config(config.llm_api),
            clock=self._clock,
            rng=self._rng,
            on_attempt=self.metrics.note_attempt,
        )
        return await client.__aenter__()

    async def _unless_stopped(self, work: Awaitable[object]) -> bool:
        """Let `work` end; false if the order to stop came first."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            return working.done()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    async def _serve_http(self, stack: AsyncExitStack) -> None:
        if self.config.health.enabled:
            server = await stack.enter_async_context(
                HealthServer(
                    self.config.health,
                    status=self.status,
                    is_ready=self.is_ready,
                    registry=self.metrics.registry,
                    parts=[
                        DecisionsRoute(self.inquiries, self._access),
                        *([] if self.live is None else [self.live]),
                    ],
                )
            )
            self._port = server.port

    def _surroundings(self, model: SwappableModel) -> SharedServices:
        return SharedServices(
            bus=self._bus,
            agent=ChatAgent(CountedModel(model, self.metrics), self._clock),
            limiter=self._limiter,
            tally=self._tally,
            buffer=self._buffer,
            clock=self._clock,
            rng=self._rng,
            dialects=dialects(self.config.nats),
            source=self.config.instance,
            request_timeout=self.config.nats.request_timeout,
            observers=self._observers,
        )

    def _all_rooms(self) -> list[Room]:
        return [service.room for service in self._rooms]

    async def _listen(self, shared: SharedServices, tasks: asyncio.TaskGroup) -> bool:
        """Hear all rooms; false if the order to stop came while the bus was away."""
        await self._rooms.open(self.config, shared, tasks)
        responder = CommandResponder(
            self._bus,
            service=self.config.instance,
            version=__version__,
            status=self.status,
            inquiries=self.inquiries,
        )
        subject = command_subject(self.config.instance)
        commands = await self._bus.subscribe(subject, responder.hear)
        if self._announcer is not None:
            await self._announcer.listen()
        while True:
            try:
                await self._bus.flush()
                break
            except BusUnavailableError:
                # Once connected it comes back by itself, and the subscriptions with it.
                if not await self._unless_stopped(self._bus.wait_connected()):
                    return False
                await self._clock.sleep(RETRY_SECONDS)
        for service in self._rooms:
            service.tell_refusals()
        if commands.refused:
            log.warning("command.not_heard", extra={"subject": subject})
        return True

    async def _finish(self) -> None:
        """Hear nothing more, and finish what was admitted within the grace period."""
        self._is_started = False
        self._manager.stopping()
        log.info("app.stopping")
        await self._rooms.stop_hearing()
        await self._rooms.finish(self.config.shutdown_grace_seconds)
        await self._announce_shutdown("told to stop")

    async def _announce_shutdown(self, reason: str) -> None:
        """Say on the bus and to the service manager that this is the end; both only once."""
        self._manager.stopping()
        if self._announcer is not None:
            await self._announcer.stop(reason)

    def _status_line(self) -> str:
        return status_line(
            self.status(),
            bus=self.config.bus.type,
            heard=sum(service.is_heard for service in self._rooms),
            rooms=sum(channel.enabled for channel in self.config.channels),
        )

    def _places(self) -> dict[str, Any]:
        return {
            "channels": [service.room.config.name for service in self._rooms if service.is_heard],
            "provider": self.config.llm_api.provider,
            "model": self.config.llm_api.model,
            "dry_run": self.config.dry_run,
        }

    def is_ready(self) -> bool:
        """Connected, and every room heard in at least one dialect."""
        return (
            self._is_started
            and self._bus.is_connected
            and all(service.is_heard for service in self._rooms)
        )

    def status(self) -> dict[str, Any]:
        """What /health says."""
        tallies = [service.room.tally for service in self._rooms]
        is_well = self.is_ready() and self.metrics.is_model_available
        last = self._tally.last_event_at
        return {
            "status": "healthy" if is_well else "degraded",
            "uptime_seconds": round(self._clock.monotonic() - self._started_at, 3),
            "version": __version__,
            "nats_connected": self._bus.is_connected,
            "llm_api_available": self.metrics.is_model_available,
            "channels": {
                channel.name: self._state(channel.name) for channel in self.config.channels
            },
            "rooms": {
                service.room.config.name: service.introduction.status() for service in self._rooms
            },
            "providers": {} if self._model is None else dict(self._model.states),
            "last_event_timestamp": None if last is None else iso_time(last),
            "metrics": {
                "events_received": sum(sum(tally.events.values()) for tally in tallies),
                "triggers_fired": sum(sum(tally.triggers_fired.values()) for tally in tallies),
                "responses_sent": sum(sum(tally.sent.values()) for tally in tallies),
            },
        }

    def _state(self, name: str) -> str:
        service = self._rooms.get(name)
        if service is None:
            return "disabled"
        if service.room.is_muted_by_server:
            return "muted"
        return "silent" if service.room.config.silenced else "active"


def dialects(config: NatsConfig) -> tuple[Dialect, ...]:
    """The dialects to listen to."""
    return tuple(Dialect) if config.dialect == "auto" else (Dialect(config.dialect),)


def _freeze_gc() -> None:
    """What is here by now stays: to look through it at each full collection would take 10 ms."""
    gc.collect()
    gc.freeze()
