"""The composition root, and the life of the process from start to stop."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from llm_bot import __version__
from llm_bot.agents.chat import ChatAgent
from llm_bot.bus.memory import MemoryEventBus
from llm_bot.commands import iso_time
from llm_bot.config import Config, NatsConfig, resolve_room
from llm_bot.delivery import OutboundBuffer
from llm_bot.event_handler import OnDecision
from llm_bot.health import HealthServer
from llm_bot.llm_client import LLMClient
from llm_bot.logging_config import FloodSampler
from llm_bot.metrics import CountedModel, Metrics
from llm_bot.model_settings import client_config
from llm_bot.models import Dialect
from llm_bot.nats_client import NatsBus
from llm_bot.ports import Clock, SystemClock
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room import Room
from llm_bot.room_service import RoomService, Surroundings
from llm_bot.tally import Tally

log = logging.getLogger(__name__)

ConnectedBus = NatsBus | MemoryEventBus
"""A bus that the process connects and closes itself."""


class App:
    """One run of the daemon. `run` is its whole life; `stop` ends it.

    `on_decision` is told of every line as soon as it is decided about, `on_ready` once when the
    rooms are heard.
    """

    def __init__(
        self,
        config: Config,
        *,
        stop: asyncio.Event,
        bus: ConnectedBus | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        on_decision: OnDecision | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.config = config
        self._stop = stop
        self._clock = clock or SystemClock()
        self._chance = chance
        self._on_decision = on_decision
        self._on_ready = on_ready
        self._bus = bus or make_bus(config, self._clock, chance)
        self._started_at = self._clock.monotonic()
        self._tally = Tally()
        self._limiter = RateLimiter()
        self._buffer = OutboundBuffer(config.nats.outbound_buffer_size)
        self._services: dict[str, RoomService] = {}
        self._is_started = False
        self.metrics = Metrics(
            rooms=lambda: [service.room for service in self._services.values()],
            tally=self._tally,
            bus=self._bus,
            limiter=self._limiter,
            clock=self._clock,
            outbound_depth=lambda: self._buffer.depth,
        )

    async def run(self) -> None:
        """Start, serve until `stop` is set, and stop in order.

        Raises:
            BusUnavailableError: The bus could not be reached at the start.
            OSError: The HTTP port can't be had.
            ExceptionGroup: Something that must not fail did.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._bus.close)
            if not await self._connect():
                return
            client = await stack.enter_async_context(
                LLMClient(
                    client_config(self.config.llm_api),
                    clock=self._clock,
                    chance=self._chance,
                    on_attempt=self.metrics.note_attempt,
                )
            )
            await self._serve_http(stack)
            self._make_rooms(CountedModel(client, self.metrics))
            async with asyncio.TaskGroup() as tasks:
                await self._listen(tasks)
                log.info("app.ready", extra={"version": __version__, **self._places()})
                self._is_started = True
                if self._on_ready is not None:
                    self._on_ready()
                await self._stop.wait()
                await self._finish()
        log.info("app.stopped")

    async def _connect(self) -> bool:
        """Connect the bus; false if the order to stop came first."""
        connecting = asyncio.ensure_future(self._bus.connect())
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
            return connecting.done()
        finally:
            for task in (connecting, stopping):
                task.cancel()
            await asyncio.gather(connecting, stopping, return_exceptions=True)

    async def _serve_http(self, stack: AsyncExitStack) -> None:
        if self.config.health.enabled:
            await stack.enter_async_context(
                HealthServer(
                    self.config.health,
                    status=self.status,
                    is_ready=self.is_ready,
                    registry=self.metrics.registry,
                )
            )

    def _make_rooms(self, model: CountedModel) -> None:
        shared = Surroundings(
            bus=self._bus,
            agent=ChatAgent(model, self._clock),
            limiter=self._limiter,
            tally=self._tally,
            buffer=self._buffer,
            drops=FloodSampler(),
            clock=self._clock,
            chance=self._chance,
            dialects=dialects(self.config.nats),
            source=self.config.instance,
            request_timeout=self.config.nats.request_timeout,
            dry_run=self.config.dry_run,
            on_decision=self._on_decision,
        )
        secrets = self.config.secrets()
        for channel in self.config.channels:
            if channel.enabled:
                room = Room(resolve_room(self.config, channel), secrets=secrets)
                self._services[channel.name] = RoomService(room, shared)

    async def _listen(self, tasks: asyncio.TaskGroup) -> None:
        for service in self._services.values():
            service.start(tasks)
            await service.listen()
        await self._bus.flush()
        for service in self._services.values():
            service.tell_refusals()

    async def _finish(self) -> None:
        """Hear nothing more, and finish what was admitted within the grace period."""
        self._is_started = False
        log.info("app.stopping")
        services = self._services.values()
        for service in services:
            await service.stop_hearing()
        grace = self.config.shutdown_grace_seconds
        await asyncio.gather(*(service.finish(grace) for service in services))

    def _places(self) -> dict[str, Any]:
        return {
            "channels": [name for name, service in self._services.items() if service.is_heard],
            "provider": self.config.llm_api.provider,
            "model": self.config.llm_api.model,
            "dry_run": self.config.dry_run,
        }

    def is_ready(self) -> bool:
        """Connected, and every room heard in at least one dialect."""
        return (
            self._is_started
            and self._bus.is_connected
            and all(service.is_heard for service in self._services.values())
        )

    def status(self) -> dict[str, Any]:
        """What /health says."""
        tallies = [service.room.tally for service in self._services.values()]
        is_well = self.is_ready() and self.metrics.is_model_available
        last = self._tally.last_event_at
        provider = self.config.llm_api.provider
        return {
            "status": "healthy" if is_well else "degraded",
            "uptime_seconds": round(self._clock.monotonic() - self._started_at, 3),
            "version": __version__,
            "nats_connected": self._bus.is_connected,
            "llm_api_available": self.metrics.is_model_available,
            "channels": {
                channel.name: self._state(channel.name) for channel in self.config.channels
            },
            "providers": {provider: self.metrics.model_state.get(provider, "up")},
            "last_event_timestamp": None if last is None else iso_time(last),
            "metrics": {
                "events_received": sum(sum(tally.events.values()) for tally in tallies),
                "triggers_fired": sum(sum(tally.triggers_fired.values()) for tally in tallies),
                "responses_sent": sum(sum(tally.sent.values()) for tally in tallies),
            },
        }

    def _state(self, name: str) -> str:
        service = self._services.get(name)
        if service is None:
            return "disabled"
        if service.room.is_muted_by_server:
            return "muted"
        return "silent" if service.room.config.silenced else "active"


def dialects(config: NatsConfig) -> tuple[Dialect, ...]:
    """The dialects to listen to."""
    return tuple(Dialect) if config.dialect == "auto" else (Dialect(config.dialect),)


def make_bus(config: Config, clock: Clock, chance: Callable[[], float]) -> ConnectedBus:
    """The bus that the configuration asks for; so far there is one."""
    return NatsBus(config.nats, clock=clock, chance=chance, name=config.instance)
