"""The bus on Redis, as far as the contract of all buses doesn't say it, and the daemon on it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from llm_bot.app import App
from llm_bot.bus import RedisEventBus
from llm_bot.bus import redis as redis_module
from llm_bot.bus.framing import pack, unpack
from llm_bot.config import Config
from llm_bot.decisions import Outcome
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.demo.stand_ins.kryten import Dialect
from llm_bot.demo.stand_ins.model_server import StandInModelServer
from llm_bot.errors import BusError, BusUnavailableError, NotPermittedError, RequestTimeoutError
from llm_bot.ports import Event
from llm_bot.runtime.room_service import RoomService
from tests.buses import bodies, listen
from tests.fakes import Recorder
from tests.servers import RedisServer, eventually, free_port
from tests.unit import builders

PASSWORD = "pass-word-1"


@contextlib.asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[RedisEventBus]:
    """A bus that has connected, on a client of its own."""
    bus = RedisEventBus(url, **options)
    try:
        await bus.connect()
        yield bus
    finally:
        await bus.close()


# --- the frame around a message ---


@given(
    st.one_of(st.binary(), st.binary().map(lambda rest: b"NATS/1.0\r\n" + rest)),
    st.dictionaries(
        st.text("abcXYZ-09", min_size=1),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")).map(str.strip),
    ),
)
def test_what_is_packed_is_unpacked(data, headers):
    """Any body with any headers comes out as it went in."""
    assert unpack("a", pack(data, headers)) == Event("a", data, headers or None)


@pytest.mark.parametrize(
    ("data", "headers", "message"),
    [
        (b'{"a":1}', None, b'{"a":1}'),
        (b"", None, b""),
        (b"{}", {"A": "1", "B": "é"}, b"NATS/1.0\r\nA: 1\r\nB: \xc3\xa9\r\n\r\n{}"),
        (b"NATS/1.0\r\nA: 1\r\n\r\n", None, b"NATS/1.0\r\n\r\nNATS/1.0\r\nA: 1\r\n\r\n"),
    ],
)
def test_the_frame(data, headers, message):
    """Headers go in front of the body as NATS writes them; without any there is only the body
    (BUS-5).
    """
    assert pack(data, headers) == message


@pytest.mark.parametrize(
    "message",
    [
        b"NATS/1.0",
        b"NATS/1.0\r\n",
        b"NATS/1.0\r\nA: 1\r\n",
        b"NATS/1.0\r\nno header\r\n\r\nx",
        b"NATS/1.0\r\nA B: 1\r\n\r\nx",
        b"NATS/1.0\r\nA: \xff\r\n\r\nx",
        b"NATS/1.0\nA: 1\n\nx",
        b' NATS/1.0\r\nA: 1\r\n\r\n{"a": 1}',
    ],
)
def test_what_is_no_frame(message):
    """What only looks like a frame is a body, whole."""
    assert unpack("a", message) == Event("a", message)


# --- what others publish and hear ---


async def test_foreign_messages(redis_server):
    """Whoever publishes with plain Redis is heard, with headers or without; so are we by them."""
    async with connected(redis_server.url) as bus, Redis.from_url(redis_server.url) as client:
        heard = await listen(bus, "a.*")
        await client.publish("a.b", '{"content": "hi"}')
        await client.publish("a.c", b"NATS/1.0\r\nSource: x\r\n\r\n{}")
        await client.publish("a.d", b"NATS/1.0\r\nbroken")
        await eventually(lambda: len(heard) == 3)
        async with client.pubsub(ignore_subscribe_messages=True) as listener:
            await listener.subscribe("out")
            await listener.get_message(timeout=5)
            await bus.publish("out", {"n": 1})
            message = await listener.get_message(timeout=5)

    assert heard[0]["content"] == "hi"
    assert [one.headers for one in heard] == [None, {"Source": "x"}, None]
    assert heard[1].data == b"{}"
    assert heard[2].data == b"NATS/1.0\r\nbroken"
    assert message is not None
    assert message["data"] == b'{"n":1}'


async def test_channels_that_are_no_subjects(redis_server):
    """Channels with white space, or that are no text, are dropped and counted."""
    async with connected(redis_server.url) as bus, Redis.from_url(redis_server.url) as client:
        heard = await listen(bus, ">")
        for channel in (b"a b", b"\xff", b"a\r\nb"):
            await client.publish(channel, b"x")
        await eventually(lambda: bus.undecodable == 3)

        assert heard == []


async def test_special_characters(redis_server):
    """What means something in a glob of Redis is a character like any other in a subject."""
    async with connected(redis_server.url) as bus:
        for token in ("a?", "[ab]", "a\\", "a[", "]", "a^", "{a}", "$JS", "ä"):
            exact, wild = await listen(bus, f"{token}.x"), await listen(bus, f"{token}.*")
            for first in ("a", "b", "ab", "ax", token):
                await bus.publish(f"{first}.x", b"")
            await eventually(lambda: exact and wild)  # noqa: B023
            assert [event.subject for event in (*exact, *wild)] == [f"{token}.x"] * 2


# --- the connection ---


async def test_nobody_there(caplog):
    """After the last try the error says where, how often and why; what is secret isn't told."""
    port = free_port()
    client = Redis.from_url(f"redis://me:{PASSWORD}@127.0.0.1:{port}")
    bus = RedisEventBus(client, tries=3)

    with pytest.raises(BusUnavailableError) as caught:
        await bus.connect()
    with pytest.raises(BusUnavailableError, match="can't connect"):
        await bus.subscribe("a", print)  # each use tries again
    await bus.close()

    assert caplog.messages == ["redis.connect_failed"] * 6
    assert f"127.0.0.1:{port} (tries: 3)" in str(caught.value)
    assert "Connect call failed" in str(caught.value)
    assert PASSWORD not in str(caught.value) + caplog.text + repr(caplog.records)


async def test_wrong_password(own_redis_server, caplog):
    """A login that the server refuses is called so, and the password isn't shown."""
    server = own_redis_server(config="requirepass another-word\n")
    for url in (server.url, server.url.replace("//", f"//:{PASSWORD}@")):
        bus = RedisEventBus(Redis.from_url(url), tries=1)
        with pytest.raises(BusUnavailableError, match="refused the login") as caught:
            await bus.connect()
        assert PASSWORD not in str(caught.value) + caplog.text
        await bus.close()


async def test_permissions(own_redis_server):
    """What the account may not hear or say is known at once, all else goes on; what it may later
    hear is heard after the next connection."""
    server = own_redis_server(
        config=f"user default on >{PASSWORD} resetchannels &ok.* allcommands\n"
    )
    url = server.url.replace("//", f"//:{PASSWORD}@")
    async with connected(url) as bus, Redis.from_url(url) as client:
        heard: list[str] = []
        subjects = ("ok.a", "other.a", "other.*")
        made = [
            await bus.subscribe(each, lambda event: heard.append(event.subject))
            for each in subjects
        ]
        assert [each.refused for each in made] == [False, True, True]
        with pytest.raises(NotPermittedError):
            await bus.publish("other.a", b"")
        await bus.publish("ok.a", b"")
        await eventually(lambda: heard == ["ok.a"])
        await made.pop().unsubscribe()

        await client.execute_command("ACL", "SETUSER", "default", "allchannels")
        await client.client_kill_filter(_type="pubsub")
        await eventually(lambda: bus.reconnects == 1)
        assert [each.refused for each in made] == [False, False]
        await bus.publish("other.a", b"")
        await eventually(lambda: heard == ["ok.a", "other.a"])


@pytest.mark.parametrize(
    "options", [{"decode_responses": True}, {"protocol": 3}, {"protocol": 2}, {"socket_timeout": 1}]
)
async def test_whatever_the_client_is_set_to(redis_server, options):
    """The bus uses where the client connects to, and who it is; the client stays its owner's."""
    client = Redis.from_url(redis_server.url, **options)
    bus = RedisEventBus(client)  # which connects at its first use
    heard = await listen(bus, "a.*")
    await bus.publish("a.b", b"\xff", {"A": "1"})
    await eventually(lambda: heard)
    await bus.close()
    with pytest.raises(BusUnavailableError):
        await bus.connect()

    assert heard == [Event("a.b", b"\xff", {"A": "1"})]
    assert await client.ping()
    await client.aclose()


async def test_another_kind_of_client():
    """A client that isn't for asyncio is refused in words."""
    with pytest.raises(TypeError, match=r"needs a redis\.asyncio\.Redis"):
        RedisEventBus(redis.Redis())  # type: ignore[arg-type]


def test_without_the_library():
    """Where redis-py is missing, the module can be imported, and the error says what to
    install (BUS-6).
    """
    program = """
import sys
sys.modules["redis"] = None
from llm_bot.bus.redis import RedisEventBus
from llm_bot.errors import BusUnavailableError
try:
    RedisEventBus(None)
except BusUnavailableError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install 'llm-chat-bot[redis]'" in done.stdout, done.stderr


@pytest.mark.parametrize("noticed_by", ["ping", "publish", "subscribe"])
async def test_a_server_that_falls_silent(own_redis_server, monkeypatch, noticed_by):
    """A server that says nothing counts as lost; what was sent to it isn't repeated."""
    for name in ("ANSWER_SECONDS", "UNSUBSCRIBE_SECONDS"):
        monkeypatch.setattr(redis_module, name, 0.1)
    if noticed_by == "ping":
        monkeypatch.setattr(redis_module, "PING_SECONDS", 0.1)
    server: RedisServer = own_redis_server()
    async with connected(server.url) as bus:
        heard: list[Event] = []
        ending = await bus.subscribe("ending", heard.append)
        await bus.subscribe("a", heard.append)
        server.pause()
        match noticed_by:
            case "ping":
                with pytest.raises(BusError):
                    await bus.flush(0.01)
            case "publish":
                with pytest.raises(RequestTimeoutError):
                    await bus.publish("a", b"perhaps")
            case _:
                await ending.unsubscribe()
                await bus.subscribe("b", heard.append)
        await eventually(lambda: not bus.is_connected)
        with pytest.raises(BusUnavailableError):
            await bus.publish("a", b"never")

        server.kill()
        server.restart()
        await asyncio.wait_for(bus.wait_connected(), 10)
        await bus.publish("a", b"after")
        await eventually(lambda: heard)

        assert bodies(heard) == [b"after"]


async def test_close_while_connecting():
    """Who waits for the first connection is told that there will be none."""
    bus = RedisEventBus(f"redis://127.0.0.1:{free_port()}", tries=0)
    connecting = asyncio.create_task(bus.connect())
    await asyncio.sleep(0)
    await bus.close()
    with pytest.raises(BusUnavailableError, match="closed"):
        await connecting


async def test_big_messages(own_redis_server):
    """A body of megabytes arrives whole; one that is too big for the server costs a reconnect."""
    server = own_redis_server(config="proto-max-bulk-len 4mb\n")
    async with connected(server.url) as bus:
        heard = await listen(bus, "a")
        body = bytes(range(256)) * 12_000
        await bus.publish("a", body)
        await eventually(lambda: heard)
        with pytest.raises(BusError):
            await bus.publish("a", bytes(5_000_000))
        await asyncio.wait_for(bus.wait_connected(), 10)

        assert bodies(heard) == [body]


async def test_cancelled_publishers(redis_server):
    """Whoever gives up waiting for the server's word disturbs nobody else."""
    async with connected(redis_server.url) as bus:
        heard = await listen(bus, "a")
        for _ in range(20):
            task = asyncio.create_task(bus.publish("a", b"x"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        await bus.publish("a", b"last")
        await eventually(lambda: heard and heard[-1].data == b"last")

        assert bus.is_connected
        assert bus.reconnects == 0


# --- the daemon on it ---


async def test_a_reply_without_an_answer(own_redis_server, monkeypatch):
    """If the server doesn't say that it has the reply, it may have it: it isn't sent again."""
    monkeypatch.setattr(redis_module, "ANSWER_SECONDS", 0.2)
    server = own_redis_server()
    async with connected(server.url) as bus:
        service = RoomService(builders.room(), builders.shared(bus))
        job = builders.job()
        server.pause()
        failure = await service.delivery.send("hi", job)
        service.delivery.close()
        server.kill()

    assert failure is None
    assert "didn't say that it has it" in job.record.detail


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_a_reply_is_published(own_redis_server, dialect):
    """The daemon logs in, and says a reply as the plain command of the dialect, since there are no
    requests; it is seen (BUS-4)."""
    server = own_redis_server(config=f"requirepass {PASSWORD}\n")
    url = server.url.replace("//", f"//:{PASSWORD}@")
    stop, recorder = asyncio.Event(), Recorder()
    async with (
        StandInModelServer() as model,
        connected(url) as rooms_bus,
        StandInConnector(
            rooms_bus, channel="RoomA", domain="cytube.example", bot_name="MyBot", dialect=dialect
        ) as room,
        Redis.from_url(url) as client,
    ):
        requests = await listen(rooms_bus, "kryten.robot.command")
        config = Config.model_validate(
            {
                "nats": {"servers": ["nats://127.0.0.1:9"]},
                "bus": {"type": "redis", "url": server.url, "password": PASSWORD},
                "channels": [{"name": "RoomA"}],
                "bot": {"username": "MyBot"},
                "llm_api": {"provider": "ollama", "base_url": model.base_url, "model": "stand-in"},
                "rate_limits": {"global_cooldown_seconds": 0},
                "replies": {"min_interval_seconds": 0, "confirm_seconds": 2},
                "health": {"enabled": False},
            }
        )
        app = App(config, stop=stop, observers=[recorder])
        running = asyncio.create_task(app.run())
        await asyncio.wait_for(app.ready.wait(), 5)
        assert config.instance in {one["name"] for one in await client.client_list()}
        await room.say("alice", "MyBot: which film is it?")
        await eventually(lambda: room.said)
        await room.pm("alice", "and when?")
        await eventually(lambda: len(room.said) == 2)
        replied = [record for record in recorder.records if record.user == "alice"]
        await eventually(lambda: all(one.outcome is Outcome.REPLIED for one in replied))
        assert app.status.is_ready()
        stop.set()
        await asyncio.wait_for(running, 10)

    assert [to for to, _ in room.said] == [None, "alice"]
    assert len(replied) == 2
    assert requests == []
