"""Asking about a room at the start and when a connector joins (KNOW-1 to KNOW-6)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from llm_bot.bus import EventBus
from llm_bot.errors import BusError, UnsupportedByBusError
from llm_bot.models import Dialect
from llm_bot.ports import Event
from llm_bot.room import Room
from llm_bot.runtime.room_service import RoomService
from llm_bot.runtime.room_sync import CONNECTED_SUBJECT
from tests.servers import eventually
from tests.unit import builders
from tests.unit.builders import room_event

DOMAIN = "cytu.be"
LEVEL = f"kryten.user_level.{DOMAIN}.MyChannel"
PEOPLE = [
    {"name": "alice", "rank": 2, "meta": {"afk": True, "muted": False, "ip": "192.0.2.1"}},
    {"name": "mallory", "rank": 1, "meta": {"muted": True}},
]
FILM = {"id": "abc", "type": "yt", "title": "A film", "seconds": 60, "currentTime": -3}
USERS = ("kryten_MyChannel_userlist", "users")
CURRENT = ("kryten_MyChannel_playlist", "current")


class Bench:
    """A room on the memory bus with whoever may be asked about it."""

    def __init__(
        self,
        bus: EventBus | None = None,
        *,
        domain: str | None = DOMAIN,
        request_timeout: float = 2.0,
        **channel: Any,
    ) -> None:
        self.bus = bus or EventBus()
        self.room: Room = builders.room(channel={"domain": domain, **channel})
        shared = builders.shared(self.bus, request_timeout=request_timeout)
        self.clock, self.tally = shared.clock, shared.tally
        service = RoomService(self.room, shared)
        self.handler, self.introduction = service.handler, service.sync
        self.requests: list[Event] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.introduction.run())
        try:
            yield
            assert not task.done(), "it ended, or failed"
        finally:
            task.cancel()
            await asyncio.wait({task})
            await self.bus.close()

    async def answers(self, body: Any, subject: str = LEVEL) -> None:
        """A connector that answers the question for its name."""

        async def answer(event: Event) -> None:
            self.requests.append(event)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            await self.bus.publish(event.reply, data)

        await self.bus.subscribe(subject, answer)

    def stores(self, place: tuple[str, str], value: Any) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.bus.values[place] = data

    def connected(self, **changes: Any) -> None:
        body = {"target": "CyTube", "domain": DOMAIN, "channel": "MyChannel", **changes}
        event = Event(CONNECTED_SUBJECT, json.dumps(body).encode())
        self.introduction.hear_connected(event)

    def hear(self, name: str, payload: Any) -> None:
        self.handler.handle(room_event(name, payload), Dialect.KRYTEN)

    @property
    def asked(self) -> dict[str, str]:
        found: dict[str, str] = self.introduction.status()["asked"]
        return found

    async def comes(self, **asked: str) -> None:
        """Return when this came of the questions."""
        await eventually(lambda: asked.items() <= self.asked.items(), what=f"{asked}")

    async def asks(self) -> dict[str, str]:
        """Ask, and return what came of it."""
        self.introduction.ask()
        before = self.asked
        await eventually(lambda: self.asked["media"] != before["media"], what="an answer")
        await eventually(lambda: self.asked["roster"] != before["roster"], what="an answer")
        return self.asked


def level(name: str = "MyBot") -> dict[str, Any]:
    return {"success": True, "rank": 1, "username": name}


async def test_all_is_known():
    """KNOW-1: login, people and film are known after one round, addresses are kept nowhere."""
    bench = Bench()
    await bench.answers(level("Account7"))
    bench.stores(USERS, PEOPLE)
    bench.stores(CURRENT, FILM)
    async with bench.running():
        bench.introduction.ask()
        await bench.comes(login="answered", roster="answered", media="answered")

    assert bench.introduction.status() == {
        "login": "Account7",
        "roster": "known",
        "media": "known",
        "asked": {"login": "answered", "roster": "answered", "media": "answered"},
    }
    assert "account7" in bench.room.own_keys
    assert bench.room.roster.is_muted("mallory")
    assert "192.0.2.1" not in repr(list(bench.room.roster))
    assert bench.room.media is not None
    assert bench.room.media.title == "A film"
    assert bench.room.media_frees_in(bench.clock.monotonic()) == 0
    assert bench.requests[0].headers is not None
    assert set(bench.requests[0].headers) == {
        "Correlation-Id", "Timestamp", "Source", "Schema-Version",
    }  # fmt: skip


async def test_nothing_is_there(caplog):
    """KNOW-2: nobody answers and nothing is stored: it goes on without, and warns of nothing."""
    bench = Bench()
    async with bench.running():
        bench.introduction.ask()
        await bench.comes(login="no_answer", roster="not_stored", media="not_stored")

    status = bench.introduction.status()
    assert (status["login"], status["roster"], status["media"]) == (None, "unknown", "unknown")
    assert not caplog.records
    assert not bench.tally.dropped


async def test_another_login_is_a_warning(caplog):
    """A login that isn't `bot.username` is told, one that is isn't."""
    for name, warned in (("mybot", []), ("Account7", ["room.other_login"])):
        caplog.clear()
        bench = Bench()
        await bench.answers(level(name))
        async with bench.running():
            bench.introduction.ask()
            await bench.comes(login="answered")
        assert [one.message for one in caplog.records] == warned


async def test_without_a_domain_nobody_is_asked():
    """The domain isn't known: no question for the login, until an envelope tells it."""
    bench = Bench(domain=None)
    await bench.answers(level())
    async with bench.running():
        asked = await bench.asks()
        assert asked["login"] == "not_yet"
        assert not bench.requests
        bench.hear("usercount", 3)
        assert asked["login"] == "not_yet"
        bench.hear("addUser", {"name": "bob"})
        await bench.comes(login="answered")
        bench.hear("addUser", {"name": "carol"})
        bench.introduction.ask()
        bench.stores(CURRENT, FILM)
        await bench.comes(media="answered")

    assert len(bench.requests) == 1  # the first envelope asks, no other does


@pytest.mark.parametrize(
    ("name", "found"),
    [
        pytest.param("kryten_MyChannel", True, id="as-configured"),
        pytest.param("kryten_mychannel", True, id="lower-case"),
        pytest.param("cytube_MyChannel", True, id="first-version"),
        pytest.param("cytube_mychannel", True, id="first-version-lower-case"),
        pytest.param("kryten_MYCHANNEL", False, id="a-spelling-nobody-told"),
        pytest.param("kryten_other", False, id="another-room"),
    ],
)
async def test_spellings_of_buckets(name, found):
    """KNOW-3: a bucket is found as configured, in lower case, and by its early name."""
    bench = Bench()
    bench.stores((f"{name}_userlist", "users"), PEOPLE)
    bench.stores((f"{name}_playlist", "current"), FILM)
    async with bench.running():
        asked = await bench.asks()
    outcome = "answered" if found else "not_stored"
    assert (asked["roster"], asked["media"]) == (outcome, outcome)


async def test_the_connector_spells_it():
    """The spelling of a connector that says it is there is tried, also where none fitted."""
    bench = Bench()
    await bench.answers(level("Account7"), "kryten.user_level.CyTu.be.MYCHANNEL")
    bench.stores(("kryten_MYCHANNEL_userlist", "users"), PEOPLE)
    async with bench.running():
        bench.introduction.ask()
        await bench.comes(login="no_answer", roster="not_stored")
        bench.connected(domain="CyTu.be", channel="MYCHANNEL")
        await bench.comes(login="answered", roster="answered")
    assert bench.room.login_name == "Account7"


async def test_today_before_early():
    """Where both versions of the connector left a bucket, today's counts."""
    bench = Bench()
    bench.stores(("cytube_MyChannel_playlist", "current"), {**FILM, "title": "Early"})
    bench.stores(("kryten_mychannel_playlist", "current"), {**FILM, "title": "Today"})
    async with bench.running():
        await bench.asks()
    assert bench.room.media is not None
    assert bench.room.media.title == "Today"


async def test_what_was_heard_counts_more():
    """KNOW-4: a user list and a film that were heard are left as they are."""
    bench = Bench()
    bench.stores(USERS, PEOPLE)
    bench.stores(CURRENT, FILM)
    bench.hear("userlist", [{"name": "bob"}])
    bench.hear("changeMedia", {**FILM, "id": "xyz", "title": "Another"})
    async with bench.running():
        bench.introduction.ask()
        await bench.comes(login="no_answer")

    assert [person.name for person in bench.room.roster] == ["bob"]
    assert bench.room.media is not None
    assert bench.room.media.title == "Another"
    assert (bench.asked["roster"], bench.asked["media"]) == ("not_yet", "not_yet")


async def test_what_is_heard_while_it_asks_counts_more():
    """An answer that comes after the event itself changes nothing."""
    bench = Bench()
    bench.hear("userlist", [{"name": "bob"}])
    bench.hear("changeMedia", {**FILM, "id": "xyz", "title": "Another"})
    assert bench.handler.learn("userlist", json.dumps(PEOPLE).encode())
    assert bench.handler.learn("changemedia", json.dumps(FILM).encode())

    assert [person.name for person in bench.room.roster] == ["bob"]
    assert bench.room.media is not None
    assert bench.room.media.title == "Another"


async def test_who_came_meanwhile_stays():
    """A stored list doesn't undo an arrival, nor what was heard of somebody."""
    bench = Bench()
    bench.stores(USERS, PEOPLE)
    bench.hear("addUser", {"name": "carol"})
    bench.hear("addUser", {"name": "Mallory", "meta": {"muted": False}})
    async with bench.running():
        await bench.asks()

    assert {person.name for person in bench.room.roster} == {"alice", "Mallory", "carol"}
    assert not bench.room.roster.is_muted("mallory")
    bench.hear("userlist", [{"name": "bob"}])
    assert [person.name for person in bench.room.roster] == ["bob"]


@pytest.mark.parametrize(
    ("media_id", "position", "begins"),
    [
        pytest.param("abc", 600, False, id="the-stored-one"),
        pytest.param("abc", -3, False, id="the-stored-one-from-its-start"),
        pytest.param("xyz", 600, False, id="another-long-since"),
        pytest.param("xyz", -3, True, id="another-just-now"),
    ],
)
async def test_first_film_after_a_stored_one(media_id, position, begins):
    """TRIG-8: what was stored may be old, so another film in its middle hasn't just begun."""
    bench = Bench()
    assert bench.handler.learn("changemedia", json.dumps(FILM).encode())
    bench.hear("changeMedia", {**FILM, "id": media_id, "currentTime": position})
    assert (bench.room.media_frees_in(bench.clock.monotonic()) > 0) is begins


@pytest.mark.parametrize("value", [b"", b" ", b"null", b"{}", b"[]\n"])
async def test_nothing_in_it(value):
    """What was stored before anything was known says nothing: it is no drop, and the room isn't
    taken for empty."""
    bench = Bench()
    bench.stores(USERS, value)
    bench.stores(CURRENT, value)
    async with bench.running():
        asked = await bench.asks()
    assert (asked["roster"], asked["media"]) == ("not_stored", "not_stored")
    assert not bench.room.roster.is_known
    assert not bench.tally.dropped


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b"{", "bad_json", id="no-json"),
        pytest.param(b"\xff", "bad_json", id="no-text"),
        pytest.param(b"[" * 100_000, "bad_json", id="too-deep"),
        pytest.param(b"7", "bad_payload", id="a-number"),
        pytest.param(b'"x"' + b" " * 1024 * 1024, "too_large", id="too-large"),
    ],
)
async def test_malformed_values(value, reason, caplog):
    """KNOW-6: what can't be understood is a drop with its reason, and nothing else happens."""
    bench = Bench()
    await bench.answers(value)
    bench.stores(USERS, value)
    bench.stores(CURRENT, value)
    async with bench.running():
        bench.introduction.ask()
        await bench.comes(login="bad_answer", roster="bad_answer", media="bad_answer")

    assert bench.tally.dropped == {reason: 3}
    assert {one.message for one in caplog.records} == {"event.dropped"}
    assert bench.introduction.status()["login"] is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"success": False, "error": "no such user"}, "bad_payload"),
        ({"success": True, "rank": 1}, "bad_name"),
        ({"success": True, "username": ""}, "bad_name"),
        ({"success": True, "username": "x" * 51}, "bad_name"),
        ({"success": True, "username": ["MyBot"]}, "bad_name"),
    ],
)
async def test_malformed_levels(body, reason):
    """An answer without a name that can be one teaches nothing."""
    bench = Bench()
    await bench.answers(body)
    async with bench.running():
        bench.introduction.ask()
        await bench.comes(login="bad_answer")
    assert bench.tally.dropped == {reason: 1}
    assert bench.room.own_keys == {"mybot"}


async def test_a_stream_is_no_connector():
    """The acknowledgement of a stream over these subjects is waited past."""
    bench = Bench(request_timeout=0.1)
    await bench.answers({"stream": "ROOMS", "seq": 7})
    async with bench.running():
        bench.introduction.ask()
        await bench.comes(login="no_answer")
        await bench.answers(level("Account7"))
        bench.introduction.ask()
        await bench.comes(login="answered")
    assert not bench.tally.dropped


async def test_no_answer_in_time():
    """Somebody hears the question and says nothing: it ends, and the rest is known meanwhile."""
    bench = Bench(request_timeout=0.1)
    await bench.bus.subscribe(">", lambda event: None)
    bench.stores(USERS, PEOPLE)
    async with bench.running():
        asked = await bench.asks()
        assert asked["roster"] == "answered"
        assert asked["login"] == "not_yet"
        await bench.comes(login="no_answer")


class Slow(EventBus):
    """Reads as long as the test wants, and counts who reads at once."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.reading = 0
        self.reads = 0

    async def read_value(self, bucket: str, key: str, *, timeout: float) -> bytes | None:
        self.reads += 1
        self.reading += 1
        assert self.reading <= 2  # the two buckets of one round
        try:
            await self.gate.wait()
        finally:
            self.reading -= 1
        return await super().read_value(bucket, key, timeout=timeout)


async def test_one_at_a_time():
    """Requests that come while it asks are one more round."""
    bus = Slow()
    bench = Bench(bus)
    async with bench.running():
        bench.introduction.ask()
        await eventually(lambda: bus.reading == 2)
        for _ in range(100):
            bench.connected()
        await asyncio.sleep(0)
        assert bus.reads == 2
        bus.gate.set()
        await eventually(lambda: bus.reads == 2 * 2 * 4)  # rounds, buckets, names


async def test_reading_is_bounded():
    """A bus that never comes back from reading is left after `request_timeout`."""
    bus = Slow()
    bench = Bench(bus, request_timeout=0.1)
    async with bench.running():
        bench.introduction.ask()
        await bench.comes(roster="no_answer", media="no_answer")
    assert bus.reading == 0


class Refusing(EventBus):
    """Raises `error` whatever it is asked."""

    error: BusError
    refusals = 0

    def has_refused(self, count: int) -> bool:
        return self.refusals == count

    async def request(self, *_: Any, **__: Any) -> Event:
        self.refusals += 1
        raise self.error

    async def read_value(self, *_: Any, **__: Any) -> bytes | None:
        self.refusals += 1
        raise self.error


async def test_bus_that_refuses(caplog):
    """A refusal is logged, and ends nothing."""
    bus = Refusing()
    bus.error = BusError("the account may not publish on it")
    bench = Bench(bus)
    async with bench.running():
        for wanted in (3, 6):
            bench.connected()
            await eventually(partial(bus.has_refused, wanted))
            await bench.comes(login="failed", roster="failed", media="failed")
    failed = [one for one in caplog.records if one.message == "room.ask_failed"]
    assert len(failed) == 6
    assert {vars(one)["what"] for one in failed} == {"login", "roster", "media"}


async def test_bus_without_such_things(caplog):
    """A bus without requests and buckets is no error."""
    bus = Refusing()
    bus.error = UnsupportedByBusError("no such thing")
    bench = Bench(bus)
    async with bench.running():
        bench.introduction.ask()
        await bench.comes(login="no_answer", roster="not_stored", media="not_stored")
    assert not caplog.records


async def test_bus_that_is_away():
    """It asks when the bus is back, and ends in peace when the bus is closed."""
    bench = Bench()
    bench.stores(USERS, PEOPLE)
    bench.bus.disconnect()
    task = asyncio.create_task(bench.introduction.run())
    bench.introduction.ask()
    bench.bus.reconnect()
    await bench.comes(roster="answered")
    await bench.bus.close()
    bench.introduction.ask()
    await asyncio.wait_for(task, 2)


@pytest.mark.parametrize(
    ("changes", "asks"),
    [
        pytest.param({}, True, id="this-room"),
        pytest.param({"channel": "MYCHANNEL"}, True, id="in-another-case"),
        pytest.param({"domain": "CyTu.Be"}, True, id="domain-in-another-case"),
        pytest.param({"target": "NATS"}, False, id="connected-to-nats"),
        pytest.param({"channel": "other"}, False, id="another-room"),
        pytest.param({"domain": "other.example"}, False, id="another-domain"),
        pytest.param({"domain": None}, False, id="no-domain"),
        pytest.param({"channel": ["MyChannel"]}, False, id="no-name"),
        pytest.param({"target": 7}, False, id="no-target"),
    ],
)
async def test_which_connector(changes, asks):
    """KNOW-1: only a connector that has joined this room makes it ask anew."""
    bench = Bench()
    bench.connected(**changes)
    assert bench.introduction._wanted.is_set() is asks


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
async def test_malformed_connections(data):
    """A message that isn't what it should be is passed over."""
    bench = Bench()
    bench.introduction.hear_connected(Event(CONNECTED_SUBJECT, data))
    assert not bench.introduction._wanted.is_set()


async def test_only_a_connector_makes_it_ask_for_a_known_login():
    """A login that was told is asked for again when a connector joins, and not otherwise."""
    bench = Bench()
    await bench.answers(level())
    async with bench.running():
        bench.introduction.ask()
        await bench.comes(login="answered")
        bench.stores(USERS, PEOPLE)
        bench.introduction.ask()
        await bench.comes(roster="answered")
        assert len(bench.requests) == 1
        bench.connected()
        await eventually(lambda: len(bench.requests) == 2)


async def test_connection_tells_the_domain():
    """Without a configured domain that of the connector's message is asked, an odd one isn't."""
    bench = Bench(domain=None)
    await bench.answers(level("Account7"), "kryten.user_level.localhost:18443.MyChannel")
    everything: list[str] = []
    await bench.bus.subscribe("kryten.>", lambda event: everything.append(event.subject))
    async with bench.running():
        bench.connected(domain="a b.>")
        await bench.comes(roster="not_stored")
        assert bench.asked["login"] == "not_yet"
        bench.connected(domain="localhost:18443")
        await bench.comes(login="answered")
    assert everything == ["kryten.user_level.localhost:18443.MyChannel"]
