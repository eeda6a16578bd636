"""Fixtures: scripted servers, a clock whose sleeps pass at once, clients of them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable

import pytest

from llm_bot.llm_client import LLMClient
from tests.fakes import ManualClock
from tests.unit.llm_client.scripted_server import ScriptedServer
from tests.unit.llm_client.support import config, warm


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as scripted:
        yield scripted


@pytest.fixture
async def other() -> AsyncIterator[ScriptedServer]:
    """The server of the fallback."""
    async with ScriptedServer() as scripted:
        yield scripted


@pytest.fixture
async def unused_port() -> int:
    async with ScriptedServer() as gone:
        return int(gone.url.rpartition(":")[2])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(passes_up_to=math.inf)


@pytest.fixture
def make(server: ScriptedServer, clock: ManualClock) -> Callable[..., LLMClient]:
    """Makes a client of the scripted server, whose jitter is always the whole pause.

    With `other` that server is the fallback, configured by `fallback` and asked once by default.
    """

    def make_client(
        *, other=None, fallback=(), clock=clock, on_attempt=None, **changes
    ) -> LLMClient:
        second = {"model": "other-model", "api_key": "sk-other", "max_attempts": 1}
        fallbacks = (
            [config(base_url=f"{other.url}/v1", **{**second, **dict(fallback)})] if other else []
        )
        made = config(**{"base_url": f"{server.url}/v1", "fallbacks": fallbacks, **changes})
        return warm(LLMClient(made, clock=clock, rng=lambda: 1.0, on_attempt=on_attempt))

    return make_client
