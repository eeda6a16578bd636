"""Subjects, headers, and the choice of a bus, as far as the contract of all buses
(tests/integration) doesn't say it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import llm_bot.bus
from llm_bot.bus import EventBus, RedisEventBus
from llm_bot.bus.subjects import check_pattern, clean_headers, matches
from llm_bot.config import Config
from llm_bot.errors import BusError
from llm_bot.nats_client import NatsBus
from llm_bot.ports import SystemClock
from llm_bot.runtime.bus_factory import make_bus


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


async def test_values():
    """`read_value` finds what was put into `values`; capitals matter."""
    bus = EventBus()
    bus.values["room", "users"] = b"x"
    assert await bus.read_value("room", "users", timeout=5) == b"x"
    for bucket, key in (("room", "other"), ("room", "Users"), ("Room", "users")):
        assert await bus.read_value(bucket, key, timeout=5) is None
    await bus.close()


@pytest.mark.parametrize(
    ("kind", "expected"), [("memory", EventBus), ("redis", RedisEventBus), ("nats", NatsBus)]
)
def test_the_bus_of_a_type(kind, expected):
    """`bus.type` chooses; none of them connects before it is told to."""
    config = Config.model_validate(
        {
            "nats": {"servers": ["nats://127.0.0.1:9"]},
            "bus": {"type": kind},
            "channels": [{"name": "Room"}],
            "bot": {"username": "Bot"},
            "llm_api": {"provider": "ollama", "base_url": "http://127.0.0.1:9", "model": "m"},
        }
    )
    bus = make_bus(config, SystemClock(), lambda: 0.5)
    assert type(bus) is expected
    assert bus.is_connected == (kind == "memory")
