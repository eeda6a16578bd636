"""`bus.type` chooses: the real daemon on a real Redis, and on a bus of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from llm_bot.bus import EventBus, RedisEventBus
from llm_bot.config import Config
from llm_bot.nats_client import NatsBus
from llm_bot.ports import SystemClock
from llm_bot.runtime.bus_factory import make_bus
from tests.daemon import Daemon, settings
from tests.servers import eventually
from tests.unit.llm_client.scripted_server import ScriptedServer, chat


@pytest.fixture
async def model():
    async with ScriptedServer() as server:
        yield server


async def test_a_daemon_on_redis(tmp_path, redis_server, model):
    """A line that a plain Redis client publishes is answered by a plain published command."""
    model.script(chat("Good evening."))
    whole: dict[str, Any] = settings(nats="nats://127.0.0.1:9", model=model.url)
    whole["bus"] = {"type": "redis", "url": redis_server.url}
    heard: list[dict[str, Any]] = []
    async with Daemon(tmp_path, whole) as daemon, Redis.from_url(redis_server.url) as redis:
        listening = redis.pubsub()
        await listening.psubscribe("cytube.commands.*")
        await redis.publish(
            "cytube.events.RigRoom.chatMsg",
            json.dumps({"username": "alice", "msg": "RigBot: hello?", "meta": {}}),
        )

        async def answered() -> bool:
            message = await listening.get_message(ignore_subscribe_messages=True, timeout=0.1)
            if message is not None:
                heard.append({"subject": message["channel"].decode(), "body": message["data"]})
            return bool(heard)

        while not await answered():
            assert not daemon.has_ended
        assert heard[0]["subject"] == "cytube.commands.RigRoom.chat"
        assert b"Good evening." in heard[0]["body"]
        await eventually(lambda: daemon.decisions().get("replied") == 1)
        await listening.aclose()
        assert daemon.health()["nats_connected"]


@pytest.mark.parametrize(
    ("kind", "expected"), [("memory", EventBus), ("redis", RedisEventBus), ("nats", NatsBus)]
)
async def test_the_bus_of_a_type(kind, expected):
    """`memory` needs nothing; it is for those who run the bot within another program."""
    config = Config.model_validate(
        settings(nats="nats://127.0.0.1:9", model="http://127.0.0.1:9/v1", bus={"type": kind})
    )
    bus = make_bus(config, SystemClock(), lambda: 0.5)
    assert type(bus) is expected
    await bus.close()
