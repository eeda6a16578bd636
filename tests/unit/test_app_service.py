"""The process and who looks after it: hooks of the composition root, on a bus in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from llm_bot.app import App
from llm_bot.bus import EventBus
from llm_bot.bus.base import QueuedSubscription
from llm_bot.config import Config
from llm_bot.errors import BusUnavailableError
from llm_bot.ports import Body, Event
from llm_bot.runtime.systemd import ServiceManager
from tests.notify import NotifySocket
from tests.servers import eventually

CONFIG = {
    "nats": {"servers": ["nats://127.0.0.1:9"]},
    "bus": {"type": "memory"},
    "channels": [{"name": "RoomA"}, {"name": "RoomB", "silenced": True}],
    "bot": {"username": "MyBot"},
    "llm_api": {"provider": "ollama", "base_url": "http://127.0.0.1:9/v1", "model": "m"},
    "health": {"enabled": False},
    "shutdown_grace_seconds": 1,
}


class Process:
    """One run of the daemon; `said` is what it tells the bus about itself."""

    def __init__(self, bus: EventBus | None = None, **options: Any) -> None:
        self.bus = bus or EventBus()
        self.stop = asyncio.Event()
        self.said: list[tuple[str, dict[str, Any]]] = []
        config = Config.model_validate({**CONFIG, **options.pop("config", {})})
        self.app = App(config, stop=self.stop, bus=self.bus, **options)

    def _hear(self, event: Event) -> None:
        self.said.append((event.subject.rpartition(".")[2], json.loads(event.data)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        await self.bus.subscribe("kryten.lifecycle.>", self._hear)
        task = asyncio.create_task(self.app.run())
        try:
            await asyncio.wait_for(self.app.ready.wait(), 5)
            yield task
        finally:
            self.stop.set()
            await asyncio.wait({task}, timeout=5)
        with suppress(ExceptionGroup):
            task.result()


async def test_startup_when_ready_and_shutdown_when_told_to():
    """ANN-2: in this order, each once; the reason is the order to stop."""
    process = Process(announces=True)
    async with process.running():
        await eventually(lambda: process.said)
        assert process.app.status.is_ready()
    assert [name for name, _ in process.said] == ["startup", "shutdown"]
    assert process.said[-1][1]["reason"] == "told to stop"
    assert "metadata" not in process.said[0][1]


async def test_the_port_that_is_really_bound():
    """ANN-1: `health.port: 0` takes any; the one that it got is told."""
    process = Process(announces=True, config={"health": {"port": 0}})
    async with process.running():
        await eventually(lambda: process.said)
        endpoints = process.said[0][1]["metadata"]["endpoints"]
        assert endpoints["health"]["port"] == endpoints["metrics"]["port"] > 0


async def test_a_failure_is_another_reason():
    """ANN-2: something that must not fail did; the neighbours are told before the bus is closed."""
    process = Process(announces=True)
    async with process.running() as task:
        await eventually(lambda: process.said)
        (service, *_) = process.app._rooms
        service.room.public_lane._jobs.append("no job")  # type: ignore[arg-type]
        service.on_job()
        await asyncio.wait({task}, timeout=5)
        assert isinstance(task.exception(), ExceptionGroup)
    assert [name for name, _ in process.said] == ["startup", "shutdown"]
    assert process.said[-1][1]["reason"] == "failed"


async def test_nothing_is_said_unasked():
    """ANN-6: the demo, and whoever else runs the bot inside of something, announces nothing."""
    process = Process()
    async with process.running():
        await asyncio.sleep(0)
    assert process.said == []


async def test_the_manager_is_told():
    """SVC-1, SVC-2: from starting to stopping; a silenced room is named."""
    with NotifySocket() as systemd:
        process = Process(manager=ServiceManager(systemd.address))
        async with process.running():
            pass
        assert systemd.states == ["READY", "STOPPING"]
        assert systemd.with_name("READY")[0]["STATUS"] == (
            "memory bus connected; 2 of 2 rooms heard, 1 silent; ollama up"
        )


class SlowToLeave(EventBus):
    """Ends a subscription when its gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def leave(self, subscription: QueuedSubscription) -> None:
        await self.gate.wait()
        await super().leave(subscription)


async def test_the_end_is_told_when_it_begins():
    """SVC-1, ANN-2: systemd hears of it before replies are finished, the neighbours after."""
    with NotifySocket() as systemd:
        bus = SlowToLeave()
        process = Process(bus, manager=ServiceManager(systemd.address), announces=True)
        async with process.running() as task:
            await eventually(lambda: process.said)
            process.stop.set()
            await systemd.hears("STOPPING", timeout=3)
            assert not task.done()
            assert len(process.said) == 1
            bus.gate.set()
        assert systemd.states == ["READY", "STOPPING"]
    assert [name for name, _ in process.said] == ["startup", "shutdown"]


class NoBus(EventBus):
    """Can't be reached, and remembers what was to be published on it."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[str] = []

    async def connect(self) -> None:
        raise BusUnavailableError("no server")

    async def publish(
        self, subject: str, data: Body, headers: Mapping[str, str] | None = None
    ) -> None:
        self.published.append(subject)


async def test_a_start_that_fails():
    """SVC-1, ANN-2: never ready, so no startup and no shutdown; systemd hears of the end alone."""
    with NotifySocket() as systemd:
        bus = NoBus()
        process = Process(bus, manager=ServiceManager(systemd.address), announces=True)
        with pytest.raises(BusUnavailableError):
            await process.app.run()
        assert systemd.states == ["STOPPING"]
        assert bus.published == []
