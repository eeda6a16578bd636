"""Fixtures of the integration tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from llm_bot.config import NatsConfig
from llm_bot.nats_client import NatsBus
from llm_bot.ports import SystemClock
from tests.unit.llm_client.scripted_server import ScriptedServer

MakeBus = Callable[..., NatsBus]
Connect = Callable[..., Awaitable[NatsBus]]


class QuickClock(SystemClock):
    """Waits for nothing, and notes how long it would have been."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
async def make_bus() -> AsyncIterator[MakeBus]:
    """Makes buses on NATS that are closed after the test: `make_bus(*urls, **settings)`."""
    buses: list[NatsBus] = []

    def make(*servers: str, clock: SystemClock | None = None, **settings: Any) -> NatsBus:
        config = NatsConfig.model_validate({"servers": servers, **settings})
        bus = NatsBus(config, clock=clock or QuickClock(), rng=lambda: 0.1, name="test")
        buses.append(bus)
        return bus

    yield make
    for bus in buses:
        await bus.close()


@pytest.fixture
def connect(make_bus) -> Connect:
    """Makes a bus on NATS and connects it: `await connect(*urls, **settings)`."""

    async def make(*servers: str, **settings: Any) -> NatsBus:
        bus: NatsBus = make_bus(*servers, **settings)
        await bus.connect()
        return bus

    return make


@pytest.fixture
async def model() -> AsyncIterator[ScriptedServer]:
    """A model server that says what a test has scripted."""
    async with ScriptedServer() as server:
        yield server
