"""The process and who looks after it: hooks of the composition root, on a bus in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Self

import pytest

from llm_bot.bus import EventBus
from llm_bot.bus.base import QueuedSubscription
from llm_bot.errors import BusUnavailableError
from llm_bot.ports import Body, Event
from llm_bot.runtime.systemd import ServiceManager
from tests.notify import NotifySocket
from tests.servers import eventually
from tests.unit import builders
from tests.unit.program import Program


class Process(Program):
    """One run of the daemon in two rooms; `said` is what it tells the bus about itself."""

    def __init__(self, bus: EventBus | None = None, **options: Any) -> None:
        sections = options.pop("config", {})
        rooms = "RoomA", {"name": "RoomB", "silenced": True}
        super().__init__(builders.config(*rooms, **sections), bus, **options)
        self.said: list[tuple[str, dict[str, Any]]] = []

    async def __aenter__(self) -> Self:
        await self.bus.subscribe("kryten.lifecycle.>", self._hear)
        return await super().__aenter__()

    def _hear(self, event: Event) -> None:
        self.said.append((event.subject.rpartition(".")[2], json.loads(event.data)))


async def test_startup_when_ready_and_shutdown_when_told_to():
    """ANN-2: in this order, each once; the reason is the order to stop."""
    process = Process(announces=True)
    async with process:
        await eventually(lambda: process.said)
        assert process.app.status.is_ready()
    assert [name for name, _ in process.said] == ["startup", "shutdown"]
    assert process.said[-1][1]["reason"] == "told to stop"
    assert "metadata" not in process.said[0][1]


async def test_the_port_that_is_really_bound():
    """ANN-1: `health.port: 0` takes any; the one that it got is told."""
    process = Process(announces=True, config={"health": {"enabled": True, "port": 0}})
    async with process:
        await eventually(lambda: process.said)
        endpoints = process.said[0][1]["metadata"]["endpoints"]
        assert endpoints["health"]["port"] == endpoints["metrics"]["port"] > 0


async def test_a_failure_is_another_reason():
    """ANN-2: something that must not fail did; the neighbours are told before the bus is closed."""
    process = Process(announces=True)
    await process.__aenter__()
    await eventually(lambda: process.said)
    process.crash()
    with pytest.raises(ExceptionGroup):
        await process.ended()
    assert [name for name, _ in process.said] == ["startup", "shutdown"]
    assert process.said[-1][1]["reason"] == "failed"


async def test_nothing_is_said_unasked():
    """ANN-6: the demo, and whoever else runs the bot inside of something, announces nothing."""
    process = Process()
    async with process:
        await asyncio.sleep(0)
    assert process.said == []


async def test_the_manager_is_told():
    """SVC-1, SVC-2: from starting to stopping; a silenced room is named."""
    with NotifySocket() as systemd:
        process = Process(manager=ServiceManager(systemd.address))
        async with process:
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
        async with process:
            await eventually(lambda: process.said)
            process.stop.set()
            await systemd.hears("STOPPING")
            assert not process.task.done()
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
