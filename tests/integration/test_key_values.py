"""`read_value` on NATS, against buckets that nats-py itself has made (KNOW-5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import nats
import pytest
from nats.js import JetStreamContext

from llm_bot.errors import BusUnavailableError, NotPermittedError, RequestTimeoutError
from llm_bot.nats_client import NatsBus
from tests.servers import NatsServer, eventually

ACCOUNTS = """
accounts {
  STORING: { jetstream: enabled, users: [
    { user: connector, password: password }
    { user: direct, password: password, permissions: {
        publish: ["$JS.API.DIRECT.GET.KV_direct.$KV.direct.k"], subscribe: ["_INBOX.>"] } }
    { user: nobody, password: password, permissions: {
        publish: ["kryten.>"], subscribe: ["_INBOX.>"] } }
  ] }
  WITHOUT: { users: [{ user: without, password: password }] }
}
"""


@pytest.fixture
def server(own_nats_server) -> NatsServer:
    made: NatsServer = own_nats_server(config=ACCOUNTS, jetstream=True)
    return made


@pytest.fixture
def login(connect, server) -> Callable[[str], Awaitable[NatsBus]]:
    """Connects a bus as one of the users."""
    return lambda user: connect(server.url, user=user, password="password")


@pytest.fixture
async def jetstream(server) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(server.url, user="connector", password="password")
    yield client.jetstream()
    await client.close()


async def test_values(login, jetstream):
    """The latest value of a key comes back as it was put, up to the size of a big room's list."""
    bucket = await jetstream.create_key_value(bucket="kryten_Room-1_userlist")
    large = bytes(range(256)) * 2048
    for key, value in {"users": b"old", "empty": b"", "large": large, "a/b=c.d": b"odd"}.items():
        await bucket.put(key, value)
    await bucket.put("users", b"new")
    bus = await login("connector")

    found = {
        key: await bus.read_value("kryten_Room-1_userlist", key, timeout=5)
        for key in ("users", "empty", "large", "a/b=c.d")
    }

    assert found == {"users": b"new", "empty": b"", "large": large, "a/b=c.d": b"odd"}


@pytest.mark.parametrize("direct", [False, True])
async def test_deleted_values(login, jetstream, direct):
    """A key that was deleted or purged has no value."""
    bucket = await jetstream.create_key_value(bucket="b", direct=direct)
    for key in ("deleted", "purged"):
        await bucket.put(key, b"x")
    await bucket.delete("deleted")
    await bucket.purge("purged")
    bus = await login("connector")

    assert await bus.read_value("b", "deleted", timeout=5) is None
    assert await bus.read_value("b", "purged", timeout=5) is None
    assert await bus.read_value("b", "never", timeout=5) is None


async def test_nothing_is_created(login, jetstream):
    """Reading what isn't there leaves nothing behind."""
    bus = await login("connector")

    assert await bus.read_value("b", "k", timeout=5) is None
    assert await bus.read_value("a.b", "k", timeout=5) is None

    assert await jetstream.streams_info() == []
    assert bus.publish_refusals == 0


async def test_account_without_jetstream(login):
    """Where the account has no JetStream there is no value, and nobody waits for one."""
    bus = await login("without")
    assert await asyncio.wait_for(bus.read_value("b", "k", timeout=60), 5) is None


async def test_direct_reading(login, jetstream):
    """An account that may read one key directly, and nothing else, reads that one."""
    bucket = await jetstream.create_key_value(bucket="direct", direct=True)
    await bucket.put("k", b"value")
    bus = await login("direct")

    assert await bus.read_value("direct", "k", timeout=5) == b"value"
    with pytest.raises(NotPermittedError):
        await bus.read_value("direct", "other", timeout=30)


async def test_account_that_may_not_read(login, jetstream):
    """A refusal is told at once, and isn't waited for."""
    await jetstream.create_key_value(bucket="b")
    bus = await login("nobody")
    with pytest.raises(NotPermittedError):
        await asyncio.wait_for(bus.read_value("b", "k", timeout=60), 5)


async def test_server_that_says_nothing(login, server):
    """The wait for a value is bounded, and there is none while the server is away."""
    bus = await login("connector")
    server.pause()
    with pytest.raises(RequestTimeoutError):
        await bus.read_value("b", "k", timeout=0.1)

    server.kill()
    await eventually(lambda: not bus.is_connected)
    with pytest.raises(BusUnavailableError):
        await bus.read_value("b", "k", timeout=5)
