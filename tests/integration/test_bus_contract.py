"""What every `Bus` does, whichever it is."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import nats
import pytest

from llm_bot.bus import EventBus
from llm_bot.bus.redis import RedisEventBus
from llm_bot.config import NatsConfig
from llm_bot.errors import (
    BusError,
    BusUnavailableError,
    NoRespondersError,
    RequestTimeoutError,
    UnacceptedReplyError,
    UnsupportedByBusError,
)
from llm_bot.nats_client import NatsBus
from llm_bot.ports import Bus, Event, SystemClock
from tests.servers import eventually

ALL_BYTES = bytes(range(256))


@dataclass
class Outage:
    """A bus whose server the test can take away and bring back."""

    bus: Bus
    begin: Callable[[], None]
    end: Callable[[], None]


async def connected_to(url: str) -> NatsBus:
    bus = NatsBus(NatsConfig(servers=(url,)), clock=SystemClock(), rng=lambda: 0.1, name="test")
    await bus.connect()
    return bus


async def on_redis(url: str) -> RedisEventBus:
    bus = RedisEventBus(url)
    await bus.connect()
    return bus


async def a_bus(kind: str, request: pytest.FixtureRequest) -> Bus:
    match kind:
        case "memory":
            return EventBus()
        case "redis":
            return await on_redis(request.getfixturevalue("redis_server").url)
        case _:
            return await connected_to(request.getfixturevalue("nats_server").url)


@pytest.fixture(params=["memory", "nats", "redis"])
async def bus(request) -> AsyncIterator[Bus]:
    bus = await a_bus(request.param, request)
    yield bus
    await bus.close()


ON_ASKING_BUSES = pytest.mark.parametrize("bus", ["memory", "nats"], indirect=True)
"""Those that have requests and buckets."""


@pytest.fixture(params=["memory", "nats", "redis"])
async def outage(request) -> AsyncIterator[Outage]:
    outage: Outage
    match request.param:
        case "memory":
            memory = EventBus()
            outage = Outage(memory, memory.disconnect, memory.reconnect)
        case "redis":
            own = request.getfixturevalue("own_redis_server")()
            outage = Outage(await on_redis(own.url), own.kill, own.restart)
        case _:
            server = request.getfixturevalue("own_nats_server")()
            outage = Outage(await connected_to(server.url), server.kill, server.restart)
    yield outage
    await outage.bus.close()


def bodies(heard: list[Event]) -> list[bytes]:
    return [event.data for event in heard]


async def settled(bus: Bus) -> None:
    """Return when all that was published before has reached its subscriptions."""
    marks: list[Event] = []
    mark = await bus.subscribe("mark", marks.append)
    await bus.publish("mark", b"")
    await eventually(lambda: marks)
    await mark.unsubscribe()


# --- events ---


async def test_order(bus):
    """Events of one subscription are handled in the order in which they were published."""
    heard: list[Event] = []
    await bus.subscribe("room.*", heard.append)

    names = itertools.cycle(["chatMsg", "pm", "userLeave", "addUser"])
    expected = [b"%d" % number for number in range(500)]
    for body in expected:
        await bus.publish(f"room.{next(names)}", body)
    await eventually(lambda: len(heard) == 500)

    assert bodies(heard) == expected


async def test_wildcards(bus):
    """`*` hears one token, `>` one or more, and capitals matter (BUS-1)."""
    heard: dict[str, list[str]] = {
        "a.b.c": [], "a.*.c": [], "a.*": [], "*.b.*": [], "a.>": [], "A.b.c": [],
    }  # fmt: skip
    for pattern, subjects in heard.items():
        await bus.subscribe(pattern, lambda event, to=subjects: to.append(event.subject))

    for subject in ("a.b.c", "a.x.c", "a.x", "a", "x.b.x"):
        await bus.publish(subject, b"")
    await settled(bus)

    assert heard == {
        "a.b.c": ["a.b.c"],
        "a.*.c": ["a.b.c", "a.x.c"],
        "a.*": ["a.x"],
        "*.b.*": ["a.b.c", "x.b.x"],
        "a.>": ["a.b.c", "a.x.c", "a.x"],
        "A.b.c": [],
    }


async def test_every_subscription_hears(bus):
    """Two subscriptions to one subject hear each event once each."""
    first: list[Event] = []
    second: list[Event] = []
    await bus.subscribe("a", first.append)
    await bus.subscribe("a", second.append)

    await bus.publish("a", b"x")
    await settled(bus)

    assert bodies(first) == bodies(second) == [b"x"]


async def test_headers(bus):
    """Headers arrive as they were sent; where there were none, there are none."""
    heard: list[Event] = []
    await bus.subscribe("a", heard.append)

    await bus.publish("a", b"", {"Correlation-Id": "c-1", "Source": "llm_bot é"})
    await bus.publish("a", b"", {})
    await bus.publish("a", b"")
    await eventually(lambda: len(heard) == 3)

    assert heard[0].headers == {"Correlation-Id": "c-1", "Source": "llm_bot é"}
    assert heard[1].headers is None
    assert heard[2].headers is None


async def test_header_injection(bus):
    """A line break in the value of a header doesn't begin another header."""
    heard: list[Event] = []
    await bus.subscribe("a", heard.append)

    await bus.publish("a", b"body", {"Source": "x\r\nAdmin: yes\n\nbody"})
    await eventually(lambda: heard)

    assert heard[0].headers is not None
    assert list(heard[0].headers) == ["Source"]
    assert heard[0].data == b"body"


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "é"])
async def test_odd_header_name(bus, name):
    """A header whose name can't be one is refused, and nothing is sent."""
    heard: list[Event] = []
    await bus.subscribe("a", heard.append)

    with pytest.raises(BusError):
        await bus.publish("a", b"", {name: "x"})
    await settled(bus)

    assert heard == []


async def test_bytes(bus):
    """A body of bytes arrives unchanged; an empty one, too."""
    heard: list[Event] = []
    await bus.subscribe("a", heard.append)

    await bus.publish("a", ALL_BYTES)
    await bus.publish("a", b"")
    await eventually(lambda: len(heard) == 2)

    assert bodies(heard) == [ALL_BYTES, b""]


async def test_object(bus):
    """A mapping goes out as JSON, and `event["field"]` reads it."""
    heard: list[Event] = []
    await bus.subscribe("a", heard.append)

    await bus.publish("a", {"content": "h\u00e9llo", "n": [1, None]})
    await bus.publish("a", b"[1]")
    await eventually(lambda: len(heard) == 2)

    assert heard[0]["content"] == "h\u00e9llo"
    assert heard[0]["n"] == [1, None]
    with pytest.raises(KeyError):
        heard[0]["other"]
    with pytest.raises(KeyError):
        heard[1]["content"]


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b 0"])
async def test_bad_subject(bus, subject):
    """A subject with white space, or none, is refused, and nothing is sent."""
    heard: list[Event] = []
    await bus.subscribe(">", heard.append)

    with pytest.raises(BusError):
        await bus.publish(subject, b"")
    with pytest.raises(BusError):
        await bus.subscribe(subject, heard.append)
    await settled(bus)

    assert [event.subject for event in heard if event.subject != "mark"] == []


# --- handlers ---


async def test_async_handler(bus):
    """A coroutine is awaited before the next event is handled."""
    trace: list[str] = []

    async def handler(event: Event) -> None:
        trace.append(f"begin {event.data.decode()}")
        await asyncio.sleep(0.01)
        trace.append(f"end {event.data.decode()}")

    await bus.subscribe("a", handler)
    await bus.publish("a", b"1")
    await bus.publish("a", b"2")
    await eventually(lambda: len(trace) == 4)

    assert trace == ["begin 1", "end 1", "begin 2", "end 2"]


async def test_handler_that_raises(bus, caplog):
    """An exception in a handler is counted and logged, and the next event is handled
    (BUS-2).
    """
    heard: list[bytes] = []

    def plain(event: Event) -> None:
        heard.append(event.data)
        raise ValueError("odd")

    async def awaited(event: Event) -> None:
        plain(event)

    await bus.subscribe("plain", plain)
    await bus.subscribe("awaited", awaited)
    for subject in ("plain", "awaited"):
        await bus.publish(subject, b"1")
        await bus.publish(subject, b"2")
    await eventually(lambda: len(heard) == 4)

    assert bus.handler_errors == 4
    failures = [record for record in caplog.records if record.message == "bus.handler_failed"]
    assert [bool(record.exc_info) for record in failures] == [True] * 4


async def test_cancelled_wait_in_handler(bus):
    """If what a handler waits for is cancelled, that is a failure of this event alone."""
    heard: list[bytes] = []

    async def handler(event: Event) -> None:
        heard.append(event.data)
        raise asyncio.CancelledError

    await bus.subscribe("a", handler)
    await bus.publish("a", b"1")
    await bus.publish("a", b"2")
    await eventually(lambda: len(heard) == 2)

    await eventually(lambda: bus.handler_errors == 2)


async def test_slow_handler_holds_up_nobody(bus):
    """While one subscription's handler waits, the others go on."""
    release = asyncio.Event()
    slow: list[Event] = []
    quick: list[Event] = []

    async def handler(event: Event) -> None:
        await release.wait()
        slow.append(event)

    await bus.subscribe("a", handler)
    await bus.subscribe("a", quick.append)
    await bus.publish("a", b"1")
    await bus.publish("a", b"2")
    await eventually(lambda: len(quick) == 2)
    assert slow == []

    release.set()
    await eventually(lambda: len(slow) == 2)


async def test_handler_that_publishes(bus):
    """A handler may use the bus."""
    heard: list[Event] = []

    async def forward(event: Event) -> None:
        await bus.publish("b", event.data)

    await bus.subscribe("a", forward)
    await bus.subscribe("b", heard.append)
    await bus.publish("a", b"x")
    await eventually(lambda: heard)

    assert bodies(heard) == [b"x"]


async def test_unsubscribe(bus):
    """What was published is handled before `unsubscribe` returns; after that nothing is."""
    heard: list[bytes] = []
    entered = asyncio.Event()
    release = asyncio.Event()

    async def handler(event: Event) -> None:
        entered.set()
        await release.wait()
        heard.append(event.data)

    subscription = await bus.subscribe("a", handler)
    for body in (b"1", b"2", b"3"):
        await bus.publish("a", body)
    ending = asyncio.create_task(subscription.unsubscribe())
    await asyncio.wait_for(entered.wait(), 5)
    release.set()
    await ending
    assert heard == [b"1", b"2", b"3"]

    await bus.publish("a", b"4")
    await settled(bus)
    assert heard == [b"1", b"2", b"3"]

    await subscription.unsubscribe()  # idempotent


async def test_unsubscribe_in_the_handler(bus):
    """A handler may end its own subscription, and doesn't wait for itself."""
    heard: list[bytes] = []
    ended = asyncio.Event()

    async def once(event: Event) -> None:
        heard.append(event.data)
        await subscription.unsubscribe()
        ended.set()

    subscription = await bus.subscribe("a", once)
    await bus.publish("a", b"1")
    await asyncio.wait_for(ended.wait(), 5)
    await subscription.unsubscribe()
    await bus.publish("a", b"2")
    await settled(bus)

    assert heard == [b"1"]


# --- requests ---


async def answer(bus: Bus, *answers: bytes) -> list[Event]:
    """Answer every request on `ask` with all of `answers`; returns where the requests will be."""
    requests: list[Event] = []

    async def handler(event: Event) -> None:
        requests.append(event)
        for body in answers:
            await bus.publish(event.reply, body)

    await bus.subscribe("ask", handler)
    return requests


@ON_ASKING_BUSES
async def test_request(bus):
    """The first answer is the result; the request carried body, headers and where to answer."""
    requests = await answer(bus, b"first", b"second")

    reply = await bus.request("ask", {"q": 1}, timeout=5, headers={"Source": "llm_bot"})

    assert reply.data == b"first"
    assert requests[0]["q"] == 1
    assert requests[0].headers == {"Source": "llm_bot"}
    assert requests[0].reply


@ON_ASKING_BUSES
async def test_request_with_accept(bus):
    """With `accept` the first answer that it takes is the result."""
    await answer(bus, b"no", b"yes", b"yes, too")

    reply = await bus.request(
        "ask", b"", timeout=5, accept=lambda event: event.data.startswith(b"yes")
    )

    assert reply.data == b"yes"


@ON_ASKING_BUSES
async def test_requests_at_once(bus):
    """Each request gets its own answer, however many wait."""

    async def echo(event: Event) -> None:
        await bus.publish(event.reply, event.data)

    await bus.subscribe("ask", echo)
    expected = [b"%d" % number for number in range(50)]
    replies = await asyncio.gather(*(bus.request("ask", body, timeout=5) for body in expected))

    assert bodies(replies) == expected


@ON_ASKING_BUSES
async def test_no_responder(bus):
    """A request that nobody listens for, or not any more, fails at once, `accept` or not."""
    ended = await bus.subscribe("ask", lambda event: None)
    await ended.unsubscribe()
    for accept in (None, lambda event: True):
        with pytest.raises(NoRespondersError):
            await asyncio.wait_for(bus.request("ask", b"", timeout=60, accept=accept), 5)


@ON_ASKING_BUSES
async def test_request_times_out(bus):
    """No answer in time is `RequestTimeoutError`, and an answer that comes later harms nobody."""
    requests = await answer(bus)

    with pytest.raises(RequestTimeoutError):
        await bus.request("ask", b"", timeout=0.05)

    await bus.publish(requests[0].reply, b"late")
    await settled(bus)
    assert bus.handler_errors == 0


@ON_ASKING_BUSES
async def test_unaccepted_answers(bus):
    """If answers came but none was accepted, the error holds the last one."""
    await answer(bus, b"no", b"no again")

    with pytest.raises(UnacceptedReplyError) as caught:
        await bus.request("ask", b"", timeout=0.2, accept=lambda event: False)

    assert caught.value.data == b"no again"


@ON_ASKING_BUSES
async def test_accept_that_raises(bus):
    """An exception in `accept` goes to whoever asked."""
    await answer(bus, b"x")

    def accept(event: Event) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await bus.request("ask", b"", timeout=5, accept=accept)
    assert bus.handler_errors == 0


# --- values ---


@pytest.fixture(params=["memory", "nats"])
async def storing_bus(request) -> AsyncIterator[Bus]:
    """A bus with a bucket `room` in which `users` and `empty` have values."""
    values = {"users": ALL_BYTES, "empty": b""}
    bus: EventBus | NatsBus
    match request.param:
        case "memory":
            bus = EventBus()
            bus.values.update({("room", key): value for key, value in values.items()})
        case _:
            server = request.getfixturevalue("own_nats_server")(jetstream=True)
            client = await nats.connect(server.url)
            bucket = await client.jetstream().create_key_value(bucket="room")
            for key, value in values.items():
                await bucket.put(key, value)
            await client.close()
            bus = await connected_to(server.url)
    yield bus
    await bus.close()


async def test_read_value(storing_bus):
    """A value comes back as it was stored; capitals matter."""
    assert await storing_bus.read_value("room", "users", timeout=5) == ALL_BYTES
    assert await storing_bus.read_value("room", "empty", timeout=5) == b""
    for bucket, key in (("room", "other"), ("room", "Users"), ("Room", "users"), ("r.m", "a b")):
        assert await storing_bus.read_value(bucket, key, timeout=5) is None


@ON_ASKING_BUSES
async def test_read_value_without_buckets(bus):
    """Where there are no buckets there is no value, and nobody waits for one."""
    reading = bus.read_value("room", "users", timeout=60)
    assert await asyncio.wait_for(reading, 5) is None


async def test_neither_requests_nor_buckets(redis_server):
    """Redis has no answers and no buckets: an error says so, and nothing is sent."""
    bus = await on_redis(redis_server.url)
    heard: list[Event] = []
    await bus.subscribe("ask", heard.append)

    with pytest.raises(UnsupportedByBusError, match="no requests on Redis"):
        await bus.request("ask", b"", timeout=5)
    with pytest.raises(UnsupportedByBusError, match="no key-value buckets"):
        await bus.read_value("room", "users", timeout=5)
    await settled(bus)

    assert heard == []
    await bus.close()


# --- the connection ---


async def test_connected(bus):
    """A bus that is connected says so, waits for nothing and has come back from nowhere."""
    assert bus.is_connected
    assert bus.reconnects == 0
    await asyncio.wait_for(bus.wait_connected(), 1)
    await bus.flush()
    assert bus.dropped == 0


async def test_permitted_subscription(bus):
    """What may be heard isn't refused, and a subscription knows its subject."""
    subscription = await bus.subscribe("a.*", lambda event: None)
    await bus.flush()

    assert subscription.subject == "a.*"
    assert not subscription.refused


async def test_close(bus):
    """Closing handles what has arrived; after it nothing can be done, but closing again."""
    heard: list[bytes] = []
    entered = asyncio.Event()

    async def handler(event: Event) -> None:
        entered.set()
        await asyncio.sleep(0.01)
        heard.append(event.data)

    await bus.subscribe("a", handler)
    await bus.publish("a", b"1")
    await bus.publish("a", b"2")
    await bus.flush()
    await asyncio.wait_for(entered.wait(), 5)
    await bus.close()
    await bus.close()

    assert heard == [b"1", b"2"]
    assert not bus.is_connected
    for call in (
        bus.publish("a", b""),
        bus.request("a", b"", timeout=1),
        bus.read_value("a", "b", timeout=1),
        bus.subscribe("a", heard.append),
        bus.flush(),
        bus.wait_connected(),
    ):
        with pytest.raises(BusUnavailableError):
            await call


async def test_outage(outage):
    """While the server is away nothing is accepted; nothing of it is sent when it is back
    (BUS-3).
    """
    bus = outage.bus
    heard: list[Event] = []
    await bus.subscribe("a", heard.append)
    await bus.publish("a", b"before")
    await eventually(lambda: heard)

    outage.begin()
    await eventually(lambda: not bus.is_connected)
    with pytest.raises(BusUnavailableError):
        await bus.publish("a", b"away")
    with pytest.raises(BusUnavailableError):
        await bus.request("a", b"away", timeout=1)
    with pytest.raises(BusUnavailableError):
        await bus.read_value("a", "b", timeout=1)
    with pytest.raises(BusUnavailableError):
        await bus.flush()

    outage.end()
    await asyncio.wait_for(bus.wait_connected(), 10)
    await bus.publish("a", b"after")
    await eventually(lambda: len(heard) > 1)
    await settled(bus)

    assert bodies(heard) == [b"before", b"after"]
    assert bus.reconnects == 1


async def test_subscribe_while_away(outage):
    """Rooms can be added and taken away during an outage; that holds when the server is back."""
    bus = outage.bus
    heard: list[Event] = []
    old = await bus.subscribe("old", heard.append)

    outage.begin()
    await eventually(lambda: not bus.is_connected)
    brief = await bus.subscribe("brief", heard.append)
    await bus.subscribe("new", heard.append)
    await asyncio.wait_for(old.unsubscribe(), 1)
    await asyncio.wait_for(brief.unsubscribe(), 1)
    outage.end()
    await asyncio.wait_for(bus.wait_connected(), 10)

    for subject in ("old", "brief", "new"):
        await bus.publish(subject, b"")
    await settled(bus)
    assert [event.subject for event in heard] == ["new"]


async def test_handlers_go_on_while_away(outage):
    """An outage cancels no handler, and what had arrived is still handled, in order."""
    bus = outage.bus
    heard: list[bytes] = []
    entered = asyncio.Event()
    release = asyncio.Event()

    async def handler(event: Event) -> None:
        entered.set()
        await release.wait()
        heard.append(event.data)

    await bus.subscribe("a", handler)
    for body in (b"1", b"2"):
        await bus.publish("a", body)
    await bus.flush()
    await asyncio.wait_for(entered.wait(), 5)
    outage.begin()
    await eventually(lambda: not bus.is_connected)

    release.set()
    await eventually(lambda: len(heard) == 2)

    assert heard == [b"1", b"2"]


async def test_close_while_away(outage):
    """Closing during an outage is quick and raises nothing."""
    await outage.bus.subscribe("a", lambda event: None)
    outage.begin()
    await eventually(lambda: not outage.bus.is_connected)

    await asyncio.wait_for(outage.bus.close(), 3)

    assert not outage.bus.is_connected
