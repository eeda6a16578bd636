"""`ping`, `status` and `why` over a bus: whatever comes, an answer goes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot import __version__
from llm_bot.bus import EventBus
from llm_bot.observability.queries import DecisionQueries
from llm_bot.ports import Event
from llm_bot.runtime import command_service as bus_commands
from llm_bot.runtime.command_service import CommandService
from tests.unit.stage import Stage


class Scene:
    """A room, a bus, and a process that answers on it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.bus = EventBus()
        self.responder = CommandService(
            self.bus,
            "llm_bot",
            status=lambda: {"status": "healthy"},
            queries=DecisionQueries(lambda: [stage.room]),
        )

    async def ask(self, request: Any) -> dict[str, Any]:
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        answer = await self.bus.request("llm_bot.command", body, timeout=5)
        told = json.loads(answer.data)
        assert told["service"] == "llm_bot"
        assert isinstance(told, dict)
        return told


@pytest.fixture
async def scene():
    async with Stage("Good evening.") as stage:
        scene = Scene(stage)
        await scene.responder.listen()
        yield scene
        await scene.bus.close()


async def test_ping(scene):
    """Says who answers, and its version."""
    assert await scene.ask({"command": "ping"}) == {
        "service": "llm_bot",
        "command": "ping",
        "success": True,
        "data": {"version": __version__},
    }


async def test_status(scene):
    """The same as /health."""
    assert (await scene.ask({"command": "status"}))["data"] == {"status": "healthy"}


async def test_why(scene):
    """The latest records, ten unless `last` says otherwise, by room and id if those are given."""
    for number in range(12):
        record = scene.stage.say(f"line {number}")
    told = await scene.ask({"command": "why"})
    assert len(told["data"]["decisions"]) == 10
    request = {"command": "why", "channel": scene.stage.room.config.name, "last": 2}
    assert len((await scene.ask(request))["data"]["decisions"]) == 2
    told = await scene.ask({"command": "why", "id": record.correlation_id, "meta": {"source": "x"}})
    (decision,) = told["data"]["decisions"]
    assert decision["outcome"] == "no_match"


@pytest.mark.parametrize(
    ("request_body", "why"),
    [
        (b"", "isn't JSON"),
        (b"\xff\xfe", "isn't JSON"),
        (b"[" * 100_000, "isn't a JSON object"),
        (b'{"a":' * 100_000, "isn't JSON"),
        ([1], "isn't a JSON object"),
        ({}, "no command; known are ping, status, why"),
        ({"command": "reboot"}, "no such command"),
        ({"command": ["ping"]}, "no such command"),
        ({"command": "why", "last": 0}, "last must be a whole number"),
        ({"command": "why", "limit": 3}, "'limit' isn't known"),
        ({"command": "why", "channel": "nowhere"}, "no room 'nowhere'"),
    ],
)
async def test_bad_requests_are_answered(scene, request_body, why):
    """An error that says what is wrong; what isn't a command isn't repeated."""
    told = await scene.ask(request_body)
    assert told["success"] is False
    assert why in told["error"]
    assert told["command"] in (None, "why")


async def test_an_answer_that_is_too_long_says_so(scene, monkeypatch):
    """NATS would refuse it, and the asker would wait in vain (CMD-2)."""
    monkeypatch.setattr(bus_commands, "MAX_REPLY_BYTES", 500)
    for number in range(5):
        scene.stage.say(f"line {number}")
    told = await scene.ask({"command": "why"})
    assert "ask for fewer" in told["error"]
    assert (await scene.ask({"command": "ping"}))["success"]


async def test_without_a_way_back_nothing_happens(scene):
    """A message that isn't a request is no reason to publish."""
    await scene.responder._hear(Event("llm_bot.command", b'{"command": "ping"}'))
    assert scene.bus.handler_errors == 0


async def test_a_bus_that_is_gone_is_told(scene, caplog):
    """The answer is lost with the connection, and the log says so."""
    scene.bus.disconnect()
    await scene.responder._hear(Event("llm_bot.command", b"{}", reply="_INBOX.1"))
    assert [record.message for record in caplog.records] == ["command.not_answered"]


@given(body=st.binary(max_size=200) | st.text().map(str.encode))
def test_no_body_breaks_it(body):
    """Whatever the bytes are, the answer is JSON with an error or data."""
    responder = CommandService(
        EventBus(),
        "llm_bot",
        status=dict,
        queries=DecisionQueries(list),
    )
    told = json.loads(responder._answer(body))
    assert ("data" in told) is told["success"]
