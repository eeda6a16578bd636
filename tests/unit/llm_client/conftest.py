"""Fixtures: a scripted server, a manual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.llm_client.scripted_server import ScriptedServer
from tests.unit.llm_client.support import ManualClock


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
def clock() -> ManualClock:
    return ManualClock()
