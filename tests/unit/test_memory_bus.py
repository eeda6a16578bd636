"""The in-memory bus, as far as the contract of all buses (tests/integration) doesn't say it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

import llm_bot.bus
from llm_bot.bus import EventBus
from llm_bot.bus.subjects import check_pattern, clean_headers, matches
from llm_bot.errors import BusError, BusUnavailableError
from llm_bot.ports import Event
from tests.servers import eventually


def test_the_library_of_redis_is_imported_by_need():
    """Who asks for `EventBus` doesn't pay for redis-py; `RedisEventBus` has the same address."""
    program = """
import sys
from llm_bot.bus import Event, EventBus
assert "redis" not in sys.modules
from llm_bot.bus import RedisEventBus
assert "redis" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    with pytest.raises(AttributeError):
        llm_bot.bus.Other  # noqa: B018 - the look-up is the test


@pytest.fixture
async def bus():
    bus = EventBus(pending_messages=4)
    yield bus
    await bus.close()


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        pytest.param("a.b", "a.b", True, id="same"),
        pytest.param("a.b", "a.B", False, id="capitals matter"),
        pytest.param("a.*", "a.b", True, id="star takes one token"),
        pytest.param("a.*", "a.b.c", False, id="star takes no two"),
        pytest.param("a.*", "a", False, id="star takes no none"),
        pytest.param("*.b", "a.b", True, id="star in front"),
        pytest.param("a.*.c", "a.b.c", True, id="star inside"),
        pytest.param("a.>", "a.b.c", True, id="rest of many"),
        pytest.param("a.>", "a", False, id="rest needs one at least"),
        pytest.param(">", "a.b", True, id="all"),
        pytest.param("a.b", "a.*", False, id="wildcards are of the pattern alone"),
    ],
)
def test_matches(pattern, subject, expected):
    """`*` stands for one token, `>` at the end for one or more."""
    assert matches(pattern, subject) is expected


@pytest.mark.parametrize("pattern", ["", "a..b", ".a", "a.", "a b", "a.>.b", "a.b*", "a.>b", "a\n"])
def test_bad_pattern(pattern):
    """What NATS doesn't take as a subject to subscribe to is refused."""
    with pytest.raises(BusError):
        check_pattern(pattern)


def test_clean_headers():
    """A header's value stays one line, and half a surrogate pair doesn't stop the message."""
    assert clean_headers({"A": "x\r\nB: y ", "C": "\ud83d"}) == {"A": "x  B: y", "C": "?"}
    assert clean_headers({}) is None
    assert clean_headers(None) is None


async def test_overflow_is_counted(bus):
    """What doesn't fit into a subscription's queue is dropped and counted, the rest is handled."""
    heard: list[Event] = []
    await bus.subscribe("a", heard.append)

    for number in range(6):  # no other task runs in between
        await bus.publish("a", b"%d" % number)
    await eventually(lambda: len(heard) == 4)

    assert bus.dropped == 2
    assert [event.data for event in heard] == [b"0", b"1", b"2", b"3"]


async def test_outage(bus):
    """Between `disconnect` and `reconnect` nothing can be sent; the subscriptions survive."""
    heard: list[Event] = []
    await bus.subscribe("a", heard.append)

    bus.disconnect()
    assert not bus.is_connected
    with pytest.raises(BusUnavailableError):
        await bus.publish("a", b"lost")
    with pytest.raises(BusUnavailableError):
        await bus.flush()

    waiter = asyncio.create_task(bus.wait_connected())
    bus.reconnect()
    bus.reconnect()  # once is enough
    await waiter
    await bus.publish("a", b"heard")
    await eventually(lambda: heard)

    assert bus.reconnects == 1
    assert [event.data for event in heard] == [b"heard"]


async def test_close_releases_waiters():
    """Whoever waits for a connection that will never come is told so."""
    bus = EventBus()
    bus.disconnect()
    waiter = asyncio.create_task(bus.wait_connected())
    await asyncio.sleep(0)

    await bus.close()

    with pytest.raises(BusUnavailableError):
        await waiter


async def test_close_with_hung_handler(monkeypatch):
    """A handler that never ends is cancelled; closing takes a bounded time."""
    monkeypatch.setattr("llm_bot.bus.base.CLOSE_SECONDS", 0.05)
    bus = EventBus()
    cancelled = asyncio.Event()

    async def hang(event: Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await bus.subscribe("a", hang)
    await bus.publish("a", b"")
    await asyncio.sleep(0)
    await bus.close()

    await asyncio.wait_for(cancelled.wait(), 5)
