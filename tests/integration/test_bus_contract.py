"""What every `Bus` does, whichever it is."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from llm_bot.bus import EventBus, RedisEventBus
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
from tests.buses import bodies, listen, settled
from tests.servers import eventually

ALL_BYTES = bytes(range(256))
ALL_BUSES = ["memory", "nats", "redis"]
ON_ASKING_BUSES = pytest.mark.parametrize("bus", ["memory", "nats"], indirect=True)
"""Those that have requests and buckets."""


def a_bus(kind: str, url: str) -> Bus:
    match kind:
        case "memory":
            return EventBus()
        case "redis":
            return RedisEventBus(url)
        case _:
            config = NatsConfig(servers=(url,))
            return NatsBus(config, clock=SystemClock(), rng=lambda: 0.1, name="test")


@pytest.fixture(params=ALL_BUSES)
async def bus(request) -> AsyncIterator[Bus]:
    kind = request.param
    url = "" if kind == "memory" else request.getfixturevalue(f"{kind}_server").url
    bus = a_bus(kind, url)
    await bus.connect()
    yield bus
    await bus.close()


@dataclass
class Outage:
    """A bus whose server the test can take away and bring back."""

    bus: Bus
    kill: Callable[[], None]
    end: Callable[[], None]

    async def begin(self) -> None:
        self.kill()
        await eventually(lambda: not self.bus.is_connected)


@pytest.fixture(params=ALL_BUSES)
async def outage(request) -> AsyncIterator[Outage]:
    if request.param == "memory":
        memory = EventBus()
        outage = Outage(memory, memory.disconnect, memory.reconnect)
    else:
        server = request.getfixturevalue(f"own_{request.param}_server")()
        outage = Outage(a_bus(request.param, server.url), server.kill, server.restart)
    await outage.bus.connect()
    yield outage
    await outage.bus.close()


class Gate:
    """A handler that waits, once entered, until it is opened."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.heard: list[bytes] = []

    async def handle(self, event: Event) -> None:
        self.entered.set()
        await self.opened.wait()
        self.heard.append(event.data)

    async def wait_entered(self) -> None:
        await asyncio.wait_for(self.entered.wait(), 5)


# --- events ---


async def test_order(bus):
    """Events of four names, through one wildcard subscription, stay in the order in which they
    were published (HEAR-2)."""
    heard = await listen(bus, "room.*")
    names = itertools.cycle(["chatMsg", "pm", "userLeave", "addUser"])
    expected = [(f"room.{next(names)}", b"%d" % number) for number in range(1000)]
    await asyncio.gather(*(bus.publish(subject, body) for subject, body in expected))
    await eventually(lambda: len(heard) == len(expected))

    assert [(event.subject, event.data) for event in heard] == expected


async def test_wildcards(bus):
    """`*` hears one token, `>` one or more, and capitals matter; each subscription hears an event
    once, whatever else fits (BUS-1)."""
    expected = {
        "a.b.c": ["a.b.c"],
        "a.*.c": ["a.b.c", "a.x.c"],
        "a.*": ["a.x"],
        "*.b.*": ["a.b.c", "x.b.x"],
        "a.>": ["a.b.c", "a.x.c", "a.x.y.c", "a.x"],
        ">": ["a.b.c", "a.x.c", "a.x.y.c", "a.x", "a", "x.b.x"],
        "A.b.c": [],
    }
    heard = {pattern: await listen(bus, pattern) for pattern in expected}
    twice = await listen(bus, "a.b.c")

    for subject in expected[">"]:
        await bus.publish(subject, b"")
    await eventually(lambda: len(heard[">"]) == 6)
    await settled(bus)

    heard[">"].pop()  # the mark
    found = {pattern: [event.subject for event in events] for pattern, events in heard.items()}
    assert found == expected
    assert len(twice) == 1


async def test_headers(bus):
    """Headers arrive as they were sent, but that a line break in a value doesn't begin another
    header; where there were none, there are none."""
    heard = await listen(bus, "a")

    await bus.publish("a", b"", {"Correlation-Id": "c-1", "Source": "llm_bot é"})
    await bus.publish("a", b"body", {"Source": "x\r\nAdmin: yes\n\nbody"})
    await bus.publish("a", b"", {})
    await bus.publish("a", b"")
    await eventually(lambda: len(heard) == 4)

    assert heard[0].headers == {"Correlation-Id": "c-1", "Source": "llm_bot é"}
    assert heard[1].headers is not None
    assert list(heard[1].headers) == ["Source"]
    assert heard[1].data == b"body"
    assert [event.headers for event in heard[2:]] == [None, None]


async def test_bodies(bus):
    """Bytes arrive unchanged; a mapping goes out as JSON, and `event["field"]` reads it."""
    heard = await listen(bus, "a")

    for body in (ALL_BYTES, b"", {"content": "h\u00e9llo", "n": [1, None]}, b"[1]"):
        await bus.publish("a", body)
    await eventually(lambda: len(heard) == 4)

    assert bodies(heard)[:2] == [ALL_BYTES, b""]
    assert heard[2]["content"] == "h\u00e9llo"
    assert heard[2]["n"] == [1, None]
    for event, field in ((heard[0], "n"), (heard[2], "other"), (heard[3], "content")):
        with pytest.raises(KeyError):
            event[field]


@pytest.mark.parametrize(
    ("subject", "headers"),
    [
        *((subject, None) for subject in ("", "a b", "a\r\nPUB b 0")),
        *(("a", {name: "x"}) for name in ("", "a b", "a:b", "a\r\nb", "é")),
    ],
)
async def test_what_cannot_be_sent(bus, subject, headers):
    """A subject with white space or none, and a header whose name can't be one, are refused;
    nothing is sent."""
    heard = await listen(bus, ">")

    with pytest.raises(BusError):
        await bus.publish(subject, b"", headers)
    if headers is None:
        with pytest.raises(BusError):
            await bus.subscribe(subject, heard.append)
    await settled(bus)

    assert {event.subject for event in heard} <= {"mark"}


# --- handlers ---


@pytest.mark.parametrize("is_hidden", [False, True])
async def test_async_handler(bus, is_hidden):
    """A coroutine is awaited before the next event is handled, also that of a plain function."""
    trace: list[str] = []

    async def handler(event: Event) -> None:
        trace.append(f"begin {event.data.decode()}")
        await asyncio.sleep(0)
        trace.append(f"end {event.data.decode()}")

    await bus.subscribe("a", (lambda event: handler(event)) if is_hidden else handler)
    for number in range(3):
        await bus.publish("a", b"%d" % number)
    await eventually(lambda: len(trace) == 6)

    assert trace == [f"{what} {number}" for number in range(3) for what in ("begin", "end")]


@pytest.mark.parametrize("error", [ValueError("odd"), asyncio.CancelledError()])
async def test_handler_that_fails(bus, caplog, error):
    """An exception in a handler, or that what it waits for is cancelled, is counted and logged;
    the next event is handled (BUS-2)."""
    heard: list[bytes] = []

    def plain(event: Event) -> None:
        heard.append(event.data)
        raise error

    async def awaited(event: Event) -> None:
        plain(event)

    await bus.subscribe("plain", plain)
    await bus.subscribe("awaited", awaited)
    for subject in ("plain", "awaited"):
        await bus.publish(subject, b"1")
        await bus.publish(subject, b"2")
    await eventually(lambda: bus.handler_errors == 4)

    assert len(heard) == 4
    failures = [record for record in caplog.records if record.message == "bus.handler_failed"]
    assert [bool(record.exc_info) for record in failures] == [True] * 4


async def test_slow_handler(bus):
    """While one subscription's handler waits, the others go on; what is too much for its queue is
    dropped and counted."""
    bus._pending_messages = 10
    gate = Gate()
    await bus.subscribe("a", gate.handle)
    bus._pending_messages = 100
    quick = await listen(bus, "a")

    await bus.publish("a", b"0")
    await gate.wait_entered()
    for number in range(1, 31):
        await bus.publish("a", b"%d" % number)
    await eventually(lambda: bus.dropped == 20)
    await eventually(lambda: len(quick) == 31)
    assert gate.heard == []

    gate.opened.set()
    await eventually(lambda: gate.heard == [b"%d" % number for number in range(11)])


async def test_handler_that_publishes(bus):
    """A handler may use the bus."""

    async def forward(event: Event) -> None:
        await bus.publish("b", event.data)

    await bus.subscribe("a", forward)
    heard = await listen(bus, "b")
    await bus.publish("a", b"x")
    await eventually(lambda: bodies(heard) == [b"x"])


async def test_unsubscribe(bus):
    """What was published is handled before `unsubscribe` returns; after that nothing is."""
    gate = Gate()
    subscription = await bus.subscribe("a", gate.handle)
    for body in (b"1", b"2", b"3"):
        await bus.publish("a", body)
    ending = asyncio.create_task(subscription.unsubscribe())
    await gate.wait_entered()
    gate.opened.set()
    await ending
    assert gate.heard == [b"1", b"2", b"3"]

    await bus.publish("a", b"4")
    await settled(bus)
    assert gate.heard == [b"1", b"2", b"3"]

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
    """The first answer is the result, or the first that `accept` takes; the request carried body,
    headers and where to answer."""
    requests = await answer(bus, b"no", b"yes", b"yes, too")

    reply = await bus.request("ask", {"q": 1}, timeout=5, headers={"Source": "llm_bot"})
    chosen = await bus.request("ask", b"", timeout=5, accept=lambda event: event.data != b"no")

    assert reply.data == b"no"
    assert chosen.data == b"yes"
    assert requests[0]["q"] == 1
    assert requests[0].headers == {"Source": "llm_bot"}
    assert requests[0].reply


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
async def test_cancelled_request(bus, caplog):
    """Who doesn't wait any longer for an answer that is an error leaves no complaint behind."""
    for turns in range(20):
        request = asyncio.create_task(bus.request("ask", b"", timeout=5))
        for _ in range(turns):
            await asyncio.sleep(0)
        request.cancel()
        await asyncio.wait({request})
        if not request.cancelled():
            request.exception()
    gc.collect()
    assert "asyncio" not in {record.name for record in caplog.records}


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
    """If answers came but none was accepted, the error holds the last one; an exception in
    `accept` goes to whoever asked."""
    await answer(bus, b"no", b"no again")

    with pytest.raises(UnacceptedReplyError) as caught:
        await bus.request("ask", b"", timeout=0.2, accept=lambda event: False)
    with pytest.raises(ZeroDivisionError):
        await bus.request("ask", b"", timeout=5, accept=lambda event: bool(1 / 0))

    assert caught.value.data == b"no again"
    assert bus.handler_errors == 0


@ON_ASKING_BUSES
async def test_read_value_without_buckets(bus):
    """Where there are no buckets there is no value, and nobody waits for one."""
    reading = bus.read_value("room", "users", timeout=60)
    assert await asyncio.wait_for(reading, 5) is None


@pytest.mark.parametrize("bus", ["redis"], indirect=True)
async def test_neither_requests_nor_buckets(bus):
    """Redis has no answers and no buckets: an error says so, and nothing is sent."""
    heard = await listen(bus, "ask")

    with pytest.raises(UnsupportedByBusError, match="no requests on Redis"):
        await bus.request("ask", b"", timeout=5)
    with pytest.raises(UnsupportedByBusError, match="no key-value buckets"):
        await bus.read_value("room", "users", timeout=5)
    await settled(bus)

    assert heard == []


# --- the connection ---


def uses(bus: Bus) -> list[Any]:
    """One call of each operation."""
    return [
        bus.publish("a", b""),
        bus.request("a", b"", timeout=1),
        bus.read_value("a", "b", timeout=1),
        bus.flush(),
    ]


async def test_connected(bus):
    """A bus that is connected says so, waits for nothing, has come back from nowhere and lost
    nothing; what may be heard isn't refused."""
    subscription = await bus.subscribe("a.*", lambda event: None)
    await asyncio.wait_for(bus.wait_connected(), 5)
    await bus.flush()

    assert bus.is_connected
    assert (bus.reconnects, bus.dropped) == (0, 0)
    assert subscription.subject == "a.*"
    assert not subscription.refused


async def test_close(bus):
    """Closing handles what has arrived; after it nothing can be done, but closing again."""
    gate = Gate()
    await bus.subscribe("a", gate.handle)
    await bus.publish("a", b"1")
    await bus.publish("a", b"2")
    await gate.wait_entered()
    closing = asyncio.create_task(bus.close())
    gate.opened.set()
    await closing
    await bus.close()

    assert gate.heard == [b"1", b"2"]
    assert not bus.is_connected
    for call in (*uses(bus), bus.connect(), bus.subscribe("a", print), bus.wait_connected()):
        with pytest.raises(BusUnavailableError):
            await call


async def test_close_with_hung_handler(bus, monkeypatch):
    """A handler that never ends is cancelled; closing takes a bounded time."""
    monkeypatch.setattr("llm_bot.bus.base.CLOSE_SECONDS", 0.05)
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(event: Event) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await bus.subscribe("a", hang)
    await bus.publish("a", b"")
    await asyncio.wait_for(entered.wait(), 5)
    await asyncio.wait_for(bus.close(), 5)
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_outage(outage):
    """While the server is away nothing is accepted; nothing of it is sent when it is back, however
    often (BUS-3)."""
    bus = outage.bus
    heard = await listen(bus, "a")
    await bus.publish("a", b"before")
    await eventually(lambda: heard)

    for number in (1, 2):
        await outage.begin()
        for call in uses(bus):
            with pytest.raises(BusUnavailableError):
                await call
        outage.end()
        await asyncio.wait_for(bus.wait_connected(), 10)
        await bus.publish("a", b"after")
        await eventually(lambda: len(heard) > number)  # noqa: B023
        assert bus.reconnects == number

    await settled(bus)
    assert bodies(heard) == [b"before", b"after", b"after"]


async def test_subscribe_while_away(outage):
    """Rooms can be added and taken away during an outage; that holds when the server is back."""
    bus = outage.bus
    heard: list[Event] = []
    old = await bus.subscribe("old", heard.append)

    await outage.begin()
    brief = await bus.subscribe("brief", heard.append)
    await bus.subscribe("new", heard.append)
    await asyncio.wait_for(old.unsubscribe(), 5)
    await asyncio.wait_for(brief.unsubscribe(), 5)
    outage.end()
    await asyncio.wait_for(bus.wait_connected(), 10)

    for subject in ("old", "brief", "new"):
        await bus.publish(subject, b"")
    await eventually(lambda: heard)
    await settled(bus)
    assert [event.subject for event in heard] == ["new"]


async def test_handlers_go_on_while_away(outage):
    """An outage cancels no handler, and what had arrived is still handled, in order."""
    bus, gate = outage.bus, Gate()
    await bus.subscribe("a", gate.handle)
    heard = await listen(bus, "a")
    for body in (b"1", b"2"):
        await bus.publish("a", body)
    await eventually(lambda: len(heard) == 2)
    await gate.wait_entered()
    await outage.begin()

    gate.opened.set()
    await eventually(lambda: gate.heard == [b"1", b"2"])


async def test_close_while_away(outage):
    """Closing during an outage is quick, raises nothing, and tells who waits that there will be no
    connection."""
    await outage.bus.subscribe("a", lambda event: None)
    await outage.begin()
    waiter = asyncio.create_task(outage.bus.wait_connected())
    await asyncio.sleep(0)

    await asyncio.wait_for(outage.bus.close(), 5)

    assert not outage.bus.is_connected
    with pytest.raises(BusUnavailableError):
        await waiter
