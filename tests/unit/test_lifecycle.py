"""What is said of the process on the bus, with time that passes when told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from llm_bot import __version__
from llm_bot.bus import EventBus
from llm_bot.errors import BusError, NotPermittedError
from llm_bot.ports import Body, Event, Handler, Subscription
from llm_bot.runtime.announcer import ROBOT_STARTUP_SUBJECT, Announcer, lifecycle_subject
from tests.fakes import ManualClock

PORT = 8123


class Neighbourhood:
    """A process that announces itself, and whoever hears it."""

    def __init__(self, bus: EventBus | None = None, *, service: str = "llm_bot") -> None:
        self.bus = bus or EventBus()
        self.clock = ManualClock()
        self.announcer = Announcer(self.bus, service, clock=self.clock)
        self.events: list[Event] = []

    @contextlib.asynccontextmanager
    async def running(self, *, port: int | None = PORT) -> AsyncIterator[Neighbourhood]:
        await self.bus.subscribe("kryten.lifecycle.*.*", self._hear)
        await self.announcer.listen()
        async with asyncio.TaskGroup() as tasks:
            self.announcer.start(tasks, port=port)
            await self.settle()
            yield self
            await self.announcer.stop("told to stop")
            await self.settle()

    def _hear(self, event: Event) -> None:
        if event.subject != ROBOT_STARTUP_SUBJECT:
            self.events.append(event)

    async def settle(self) -> None:
        """Let what was begun go on until it waits for time to pass."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """In steps, as time does."""
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)
            await self.settle()

    async def robot_starts(self) -> None:
        body = {"service": "robot", "version": "1.12.4"}
        await self.bus.publish(ROBOT_STARTUP_SUBJECT, body)
        await self.settle()

    @property
    def said(self) -> list[str]:
        return [event.subject.rpartition(".")[2] for event in self.events]

    def body(self, at: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.events[at].data)
        return found


async def test_the_life_of_a_service():
    """ANN-1, ANN-2: startup at once, a heartbeat every 30 s, shutdown with its reason."""
    async with Neighbourhood().running() as around:
        assert around.said == ["startup"]
        await around.pass_time(29.5)
        assert around.said == ["startup"]
        await around.pass_time(61)
        assert around.said == ["startup", "heartbeat", "heartbeat", "heartbeat"]
    assert around.said[4:] == ["shutdown"]
    assert {event.subject.rpartition(".")[0] for event in around.events} == {
        "kryten.lifecycle.llm_bot"
    }


async def test_what_is_said():
    """ANN-1: who, where, since when; the ports of health and metrics; at the end the reason."""
    async with Neighbourhood().running() as around:
        await around.pass_time(30)
    endpoints = {
        "health": {"port": PORT, "path": "/health"},
        "metrics": {"port": PORT, "path": "/metrics"},
    }
    about = {"service": "llm_bot", "version": __version__, "hostname": socket.gethostname()}
    began = around.clock.epoch + 1000
    told = [around.body(at) for at in range(3)]
    times = [datetime.fromisoformat(body.pop("timestamp")) for body in told]
    assert times == [datetime.fromtimestamp(began + past, UTC) for past in (0, 30, 30)]
    assert told == [
        {**about, "uptime_seconds": 0.0, "metadata": {"endpoints": endpoints}},
        {**about, "uptime_seconds": 30.0, "metadata": {"endpoints": endpoints}},
        {**about, "uptime_seconds": 30.0, "reason": "told to stop"},
    ]


async def test_the_time_can_be_read_by_any_python():
    """ANN-1: the zone is an offset; before 3.11 `fromisoformat` knew no `Z`."""
    async with Neighbourhood().running() as around:
        assert around.body(0)["timestamp"].endswith("+00:00")


async def test_without_http_there_are_no_endpoints():
    """ANN-1: nothing is named that can't be had."""
    async with Neighbourhood().running(port=None) as around:
        assert "metadata" not in around.body(0)


async def test_the_instance_names_the_subject():
    """ANN-1: two bots on one server have two names."""
    async with Neighbourhood(service="Bot-2_b").running() as around:
        assert around.events[0].subject == lifecycle_subject("Bot-2_b", "startup")
        assert around.body(0)["service"] == "Bot-2_b"


async def test_a_connector_that_starts_hears_it_anew():
    """ANN-3: its two messages bring one startup, and the next heartbeat comes 30 s after it."""
    async with Neighbourhood().running() as around:
        await around.pass_time(10)
        await around.robot_starts()
        await around.robot_starts()
        await around.pass_time(1)
        assert around.said == ["startup", "startup"]
        await around.pass_time(29)
        assert around.said == ["startup", "startup"]
        await around.pass_time(1)
        assert around.said == ["startup", "startup", "heartbeat"]


async def test_its_second_message_is_not_missed():
    """ANN-3: one that comes soon after the answer to the first is answered, too, but later."""
    async with Neighbourhood().running() as around:
        await around.pass_time(10)
        await around.robot_starts()
        await around.pass_time(1)
        await around.robot_starts()
        await around.pass_time(1.5)
        assert around.said == ["startup", "startup"]
        await around.pass_time(2)
        assert around.said == ["startup", "startup", "startup"]


async def test_a_flood_of_them_brings_none_back():
    """ANN-3: startups are at least 3 s apart, however many are asked for."""
    async with Neighbourhood().running() as around:
        for _ in range(120):
            for _ in range(5):
                await around.robot_starts()
            await around.pass_time(0.5)
        assert 18 <= around.said.count("startup") <= 21


async def test_after_an_outage_it_starts_anew():
    """ANN-3, ANN-4: while the bus is away nothing is kept; back again, it is a startup."""
    async with Neighbourhood().running() as around:
        around.bus.disconnect()
        await around.pass_time(300)
        around.bus.reconnect()
        await around.settle()
        assert around.said == ["startup"]
        await around.pass_time(1)
        assert around.said == ["startup", "startup"]
        assert around.body(1)["uptime_seconds"] == pytest.approx(300, abs=2)


async def test_a_short_outage_is_noticed():
    """ANN-3: also one between two looks."""
    async with Neighbourhood().running() as around:
        await around.pass_time(10)
        around.bus.disconnect()
        around.bus.reconnect()
        await around.pass_time(1)
        assert around.said == ["startup", "startup"]


async def test_a_start_without_the_bus():
    """ANN-4: the startup is said when it is there."""
    around = Neighbourhood()
    around.bus.disconnect()
    async with around.running():
        await around.pass_time(5)
        assert around.said == []
        around.bus.reconnect()
        await around.pass_time(1)
        assert around.said == ["startup"]


async def test_a_stop_without_the_bus(caplog):
    """ANN-4: nobody is told, nobody waits, nothing is logged."""
    async with Neighbourhood().running() as around:
        around.bus.disconnect()
    assert around.said == ["startup"]
    assert not caplog.records


async def test_it_ends_once():
    """ANN-2: said at the first stop only, and never where it hadn't started."""
    around = Neighbourhood()
    await around.announcer.stop("failed")
    async with around.running():
        await around.announcer.stop("told to stop")
        await around.announcer.stop("failed")
    assert around.said == ["startup", "shutdown"]
    assert around.body(1)["reason"] == "told to stop"


class HungBus(EventBus):
    """Takes a shutdown and never says that it has it."""

    async def publish(
        self, subject: str, data: Body, headers: Mapping[str, str] | None = None
    ) -> None:
        if subject.endswith(".shutdown"):
            await asyncio.Event().wait()
        await super().publish(subject, data, headers)


async def test_a_bus_that_hangs_is_not_waited_for(monkeypatch):
    """ANN-4: the end of the process has other things to do."""
    monkeypatch.setattr("llm_bot.runtime.announcer.FAREWELL_SECONDS", 0.05)
    around = Neighbourhood(HungBus())
    async with asyncio.timeout(5), around.running():
        pass
    assert around.said == ["startup"]


class RefusingBus(EventBus):
    """A server that lets an account neither say nor hear anything of the kind."""

    error: BusError | None = NotPermittedError("the account may not publish there")

    async def publish(
        self, subject: str, data: Body, headers: Mapping[str, str] | None = None
    ) -> None:
        if self.error is not None and subject.startswith("kryten.lifecycle.llm_bot."):
            raise self.error
        await super().publish(subject, data, headers)

    async def subscribe(self, subject: str, handler: Handler) -> Any:
        subscription = await super().subscribe(subject, handler)
        return Refused(subscription) if subject == ROBOT_STARTUP_SUBJECT else subscription


class Refused:
    refused = True

    def __init__(self, subscription: Subscription) -> None:
        self.subject = subscription.subject
        self.unsubscribe = subscription.unsubscribe


async def test_refusals_are_told_once(caplog):
    """ANN-5: that it may not hear, and that it may not speak, until it may."""
    bus = RefusingBus()
    async with Neighbourhood(bus).running() as around:
        await around.pass_time(100)
        names = [record.message for record in caplog.records]
        assert names == ["lifecycle.not_heard", "lifecycle.not_published"]
        bus.error = None
        await around.pass_time(30)
        assert around.said == ["heartbeat"]
        bus.error = BusError("something else")
    names = [record.message for record in caplog.records]
    assert names.count("lifecycle.not_published") == 2
