"""From a line in a room to a reply in it: every kind of connector, and what the daemon tells."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.aio.client import Client

from llm_bot import __version__
from llm_bot.config import NatsConfig
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.demo.stand_ins.kryten import Dialect
from llm_bot.nats_client import NatsBus
from llm_bot.ports import SystemClock
from tests.daemon import API_KEY, Daemon, Peer, settings, unanswered
from tests.servers import NatsServer, eventually
from tests.unit.llm_client.scripted_server import Answer, chat

WAITS = {"confirm_seconds": 5}  # so that an echo, or its lack, makes a difference
QUICK_REQUESTS = 0.3
PER_MINUTE = "max_per_channel_per_minute"


@asynccontextmanager
async def connector(url: str, **options: Any) -> AsyncIterator[StandInConnector]:
    """A stand-in for the connector and the room behind it, on a NATS server."""
    config = NatsConfig.model_validate({"servers": [url]})
    bus = NatsBus(config, clock=SystemClock(), rng=random.random, name="connector")
    await bus.connect()
    try:
        place = {"channel": "RigRoom", "domain": "cytu.be", "bot_name": "RigBot", **options}
        async with StandInConnector(bus, **place) as room:
            await bus.flush()
            yield room
    finally:
        await bus.close()


async def add_stream(server: NatsServer) -> None:
    """A stream over everything that begins with `kryten.`, requests included."""
    client = Client()
    await client.connect(server.url)
    await client.jetstream().add_stream(name="everything", subjects=["kryten.>"])
    await client.close()


# --- who carries it out ---


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_connector(tmp_path, nats_server, model, dialect):
    """In each dialect a public and a private line are answered once, and the echo confirms it."""
    model.script(chat("In public."), chat("In private."))
    whole = settings(nats=nats_server.url, model=model.url, replies=WAITS)
    async with (
        Daemon(tmp_path, whole) as daemon,
        connector(nats_server.url, dialect=dialect) as room,
    ):
        await room.connect()
        await room.say("alice", "rigbot, hello?")
        await eventually(lambda: len(room.said) == 1)
        await room.pm("alice", "and here?")
        await eventually(lambda: len(room.said) == 2)
        outcomes = await daemon.decided(4)

        assert list(room.said) == [(None, "In public."), ("alice", "In private.")]
        assert outcomes == {"replied": 2, "own_line": 2}
        assert not room.refused
        assert daemon.metric("deliveries_total", result="echoed") == 2
        assert daemon.metric("responses_sent_total", target_type="chat") == 1
        assert daemon.metric("responses_sent_total", target_type="pm") == 1


async def test_no_connector(tmp_path, nats_server, model):
    """Nobody answers requests: the command for older connectors is published, once."""
    model.script(chat("Good evening."), chat("Psst."))
    whole = settings(nats=nats_server.url, model=model.url)
    async with (
        Daemon(tmp_path, whole) as daemon,
        Peer(nats_server.url, answers=None) as peer,
    ):
        await peer.say("alice", "RigBot: hello?")
        await peer.hears(1)
        await peer.pm("alice", "are you?")
        await peer.hears(2)
        await daemon.decided(2)

        assert [(one.subject, one.body) for one in peer.said] == [
            (
                "kryten.commands.cytube.rigroom.chat",
                {"action": "chat", "data": {"message": "Good evening."}},
            ),
            (
                "kryten.commands.cytube.rigroom.pm",
                {"action": "pm", "data": {"to": "alice", "message": "Psst."}},
            ),
        ]
        assert daemon.decisions() == {"replied": 2}


async def test_unanswered(tmp_path, nats_server, model):
    """A connector that doesn't answer in time may have said it: it isn't sent again."""
    model.script(chat("Good evening."), chat("Good evening again."))
    whole = settings(
        nats=nats_server.url, model=model.url, rate_limits={"max_per_channel_per_minute": 10}
    )
    whole["nats"]["request_timeout"] = QUICK_REQUESTS
    async with (
        Daemon(tmp_path, whole) as daemon,
        Peer(nats_server.url, answers=unanswered) as peer,
    ):
        await peer.say("alice", "RigBot: hello?")
        outcomes = await daemon.decided(1)

        assert outcomes == {"replied": 1}
        assert daemon.metric("rate_limit_remaining", limit_type=PER_MINUTE) == 9
        await peer.say("alice", "RigBot: hello?")
        await peer.hears(2)
        assert [(one.subject, one.text) for one in peer.said] == [
            ("kryten.robot.command", "Good evening."),
            ("kryten.robot.command", "Good evening again."),
        ]


async def test_stream_with_connector(tmp_path, own_nats_server, model):
    """A stream over the connector's subjects answers too, and sooner: the connector counts."""
    server = own_nats_server(jetstream=True)
    await add_stream(server)
    model.script(chat("Good evening."))
    whole = settings(nats=server.url, model=model.url, replies=WAITS)
    async with (
        Daemon(tmp_path, whole) as daemon,
        Peer(server.url, answers=unanswered) as peer,
        connector(server.url) as room,
    ):
        await room.say("alice", "RigBot: hello?")
        outcomes = await daemon.decided(2)

        assert outcomes == {"replied": 1, "own_line": 1}
        assert list(room.said) == [(None, "Good evening.")]
        assert [one.subject for one in peer.said] == ["kryten.robot.command"]


async def test_stream_without_connector(tmp_path, own_nats_server, model):
    """A stream's receipt is no connector's answer: delivery failed, and nothing more is sent."""
    server = own_nats_server(jetstream=True)
    await add_stream(server)
    model.script(chat("Good evening."))
    whole = settings(nats=server.url, model=model.url)
    whole["nats"]["request_timeout"] = QUICK_REQUESTS
    async with Daemon(tmp_path, whole) as daemon, Peer(server.url, answers=unanswered) as peer:
        await peer.say("alice", "RigBot: hello?")
        outcomes = await daemon.decided(1)

        assert outcomes == {"delivery_failed": 1}
        assert [one.subject for one in peer.said] == ["kryten.robot.command"]
        assert "stream" in (await daemon.logs("reply.none"))[0]["detail"]


# --- how much ---


# --- what it tells ---


async def test_health(tmp_path, nats_server, model):
    """/health and /ready say what the interface promises, before and after an exchange."""
    model.script(chat("Good evening."))
    channels = [{"name": "RigRoom"}, {"name": "Still", "silenced": True}]
    channels.append({"name": "Off", "enabled": False})
    whole = settings(nats=nats_server.url, model=model.url, channels=channels)
    async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
        before = daemon.health()
        await peer.say("alice", "nothing to answer")
        await peer.say("alice", "RigBot: hello?")
        await daemon.decided(2)
        after = daemon.health()

        assert before.pop("uptime_seconds") < after.pop("uptime_seconds")
        assert set(before.pop("rooms")) == set(after.pop("rooms")) == {"RigRoom", "Still"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", after.pop("last_event_timestamp"))
        assert before == {
            "status": "healthy",
            "version": __version__,
            "nats_connected": True,
            "llm_api_available": True,
            "channels": {"RigRoom": "active", "Still": "silent", "Off": "disabled"},
            "providers": {"openai": "up"},
            "provider_problems": {},
            "provider_quirks": {},
            "last_event_timestamp": None,
            "metrics": {"events_received": 0, "triggers_fired": 0, "responses_sent": 0},
        }
        del before["last_event_timestamp"]
        counts = {"events_received": 2, "triggers_fired": 1, "responses_sent": 1}
        assert after == {**before, "metrics": counts}
        status, kind, text = daemon.get("/ready")
        assert (status, kind) == (200, "application/json")
        assert json.loads(text).keys() == daemon.health().keys()


async def test_metrics(tmp_path, nats_server, model):
    """/metrics tells what has happened, and no user and no text. It speaks OpenMetrics when asked
    to."""
    model.script(chat("Good evening."), Answer(503), chat("ok"), chat("Good evening once more."))
    whole = settings(
        nats=nats_server.url, model=model.url, rate_limits={"max_per_channel_per_minute": 2}
    )
    whole["llm_api"] |= {"retry_attempts": 1, "retry_delay_seconds": 0.01}
    async with (
        Daemon(tmp_path, whole) as daemon,
        Peer(nats_server.url, channel="RigRoom") as peer,
    ):
        await peer.publish(peer.address.event_subject("chatMsg"), b"{")
        for number in range(3):
            await peer.say("Wilhelmina", f"RigBot: quicksilver {number}?")
            await daemon.decided(number + 1)
        await peer.say("Wilhelmina", "RigBot: quicksilver 3?")
        await peer.flush()
        await daemon.decided(4)
        status, kind, text = daemon.get("/metrics")

        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        assert not re.search("wilhelmina|quicksilver", text, re.IGNORECASE)
        assert daemon.metric("llm_requests_total", status="success") == 3
        assert daemon.metric("llm_retries_total", provider="openai") == 1
        assert daemon.metric("llm_tokens_total", kind="prompt") == 33
        assert daemon.metric("nats_connected") == daemon.metric("active_channels") == 1
        open_metrics = daemon.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert open_metrics[1].startswith("application/openmetrics-text")
        assert open_metrics[2].endswith("# EOF\n")


async def test_log_keeps_quiet(tmp_path, own_nats_server, model):
    """By default no line, prompt, answer or secret is in the log, at whatever level (LOG-4)."""
    password = "nats-password-4711"
    server = own_nats_server(config=f'authorization {{ user: rig, password: "{password}" }}')
    model.script(
        chat("The answer is zanzibar."),
        chat("Psst, zanzibar."),
        Answer(401, {"error": {"message": f"wrong key {API_KEY}"}}),
    )
    whole = settings(nats=server.url, model=model.url, log_level="DEBUG")
    whole["nats"] |= {"user": "rig", "password": password}
    whole["llm_api"]["system_prompt"] = "You like the word mozambique."
    async with (
        Daemon(tmp_path, whole) as daemon,
        Peer(server.url, user="rig", password=password) as peer,
    ):
        await peer.publish(peer.address.event_subject("chatMsg"), b'{"msg": "zanzibar"')
        await peer.say("alice", "RigBot: what about zanzibar?")
        await daemon.decided(1)
        await peer.pm("alice", "and zanzibar in private?")
        await daemon.decided(2)
        await peer.say("alice", "RigBot: zanzibar once more?")
        outcomes = await daemon.decided(3)
        assert outcomes == {"replied": 2, "llm_failed": 1}
        daemon.terminate()
        assert await daemon.wait() == 0

        assert await daemon.logs("reply.sent")
        assert await daemon.logs("event.dropped")
        for secret in ("zanzibar", "mozambique", API_KEY, password):
            assert secret not in daemon.output.lower()


async def test_correlation_id(tmp_path, nats_server, model):
    """The id of a line goes through the log, the request to the model, and what is published."""
    model.script(chat("Good evening."))
    whole = settings(nats=nats_server.url, model=model.url)
    async with (
        Daemon(tmp_path, whole) as daemon,
        Peer(nats_server.url, answers=None) as peer,
    ):
        line = {"username": "alice", "msg": "RigBot: hello?", "meta": {}}
        body = json.dumps(line).encode()
        subject = peer.address.event_subject("chatMsg")
        await peer.client.publish(subject, body, headers={"Correlation-Id": "given-by-the-header"})
        await peer.hears(1)
        await daemon.decided(1)

        assert model.requests[0].headers["x-correlation-id"] == "given-by-the-header"
        assert {one.headers["Correlation-Id"] for one in peer.said} == {"given-by-the-header"}
        assert (await daemon.logs("reply.sent"))[0]["correlation_id"] == "given-by-the-header"
