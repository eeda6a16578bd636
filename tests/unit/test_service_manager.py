"""What systemd is told over a real socket, with time that passes when told to."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from llm_bot.runtime.status import status_line
from llm_bot.runtime.systemd import ServiceManager
from tests.fakes import ManualClock
from tests.notify import NotifySocket

STATUS = {
    "nats_connected": True,
    "channels": {"RoomA": "active", "RoomB": "silent"},
    "providers": {"openai": "up", "ollama": "cooling"},
}
PID = 4711


@pytest.fixture
def systemd() -> Iterator[NotifySocket]:
    with NotifySocket() as listening:
        yield listening


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def settle() -> None:
    """Let whoever was woken run until it sleeps again."""
    for _ in range(5):
        await asyncio.sleep(0)


async def after(clock: ManualClock, seconds: float) -> None:
    clock.advance(seconds)
    await settle()


async def test_life(systemd, clock):
    """SVC-1: starting, ready, reloading, ready again, stopping, each with a status."""
    manager = ServiceManager(systemd.address, clock=clock)
    async with manager.watch(lambda: "all is well"):
        await settle()
        manager.ready()
        with manager.reloading():
            pass
        manager.stopping()
        manager.stopping()

    extension = "30000000"
    assert systemd.told == [
        {"STATUS": "starting; all is well", "EXTEND_TIMEOUT_USEC": extension},
        {"READY": "1", "STATUS": "all is well"},
        {"RELOADING": "1", "MONOTONIC_USEC": "1000000000", "STATUS": "reloading; all is well"},
        {"READY": "1", "STATUS": "all is well"},
        {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": extension, "STATUS": "stopping; all is well"},
    ]


async def test_abstract_socket(clock):
    """SVC-1: an address that begins with @ names a socket without a file."""
    with NotifySocket(abstract=True) as systemd:
        ServiceManager(systemd.address, clock=clock).ready()
        assert systemd.values("READY") == ["1"]


async def test_ready_again_after_a_reload_that_fails(systemd, clock):
    """SVC-1: whatever becomes of a reload, it ends."""
    manager = ServiceManager(systemd.address, clock=clock)
    with pytest.raises(ValueError, match="a bug"), manager.reloading():
        raise ValueError("a bug")
    assert systemd.values("READY") == ["1"]


async def test_the_status_is_told_when_it_changes(systemd, clock):
    """SVC-2: once for each change, looked at every 2 s; of what comes and goes between, nothing."""
    said = ["one"]
    manager = ServiceManager(systemd.address, clock=clock)
    async with manager.watch(lambda: said[-1]):
        manager.ready()
        for text in ("one", "two", "two", "three\nlines   of it"):
            said.append(text)
            await after(clock, 2)
        said.append("never seen")
        await after(clock, 1.9)
        said.append("three lines of it")
        await after(clock, 0.2)
    assert systemd.values("STATUS") == ["one", "two", "three lines of it"]


async def test_more_time_while_it_starts_and_stops(systemd, clock):
    """SVC-3: asked for with each look, but not while it runs."""
    manager = ServiceManager(systemd.address, clock=clock)
    extensions = []
    async with manager.watch(lambda: ""):
        for step in (lambda: None, manager.ready, manager.stopping):
            await settle()
            step()
            before = len(systemd.with_name("EXTEND_TIMEOUT_USEC"))
            for _ in range(3):
                await after(clock, 2)
            extensions.append(len(systemd.with_name("EXTEND_TIMEOUT_USEC")) - before)
    assert extensions == [3, 0, 3]


@pytest.mark.parametrize(("usec", "pause"), [(1_000_000, 0.5), (60_000_000, 2.0)])
async def test_watchdog(systemd, clock, usec, pause):
    """SVC-4: a sign of life at half of the time that the watchdog gives, at least every 2 s."""
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": str(usec)}
    manager = ServiceManager.taken_from(environ, pid=PID, clock=clock)
    async with manager.watch(lambda: ""):
        await settle()
        counts = [len(systemd.with_name("WATCHDOG"))]
        for seconds in (pause - 0.1, 0.2, pause):
            await after(clock, seconds)
            counts.append(len(systemd.with_name("WATCHDOG")))
    assert counts == [1, 1, 2, 3]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "2000000"}, 1),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(PID)}, 1),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "soon", "WATCHDOG_PID": str(PID)}, 0),
        ({"WATCHDOG_USEC": "-2000000"}, 0),
        ({"WATCHDOG_USEC": "0"}, 0),
        ({"WATCHDOG_USEC": "9" * 100}, 0),
    ],
)
async def test_whose_watchdog(systemd, clock, variables, expected):
    """SVC-4: fed only where it is set, in numbers, and for this process."""
    environ = {"NOTIFY_SOCKET": systemd.address, **variables}
    async with ServiceManager.taken_from(environ, pid=PID, clock=clock).watch(lambda: ""):
        await settle()
    assert len(systemd.with_name("WATCHDOG")) == expected


async def test_a_stuck_loop_gives_no_sign_of_life(systemd):
    """SVC-4: nothing but the loop feeds the watchdog, neither a thread nor a timer."""
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "100000"}
    async with ServiceManager.taken_from(environ, pid=PID).watch(lambda: ""):
        await systemd.hears("WATCHDOG", 3)
        before = len(systemd.with_name("WATCHDOG"))
        time.sleep(0.5)  # noqa: ASYNC251 - the loop is stuck
        assert len(systemd.with_name("WATCHDOG")) == before
        await systemd.hears("WATCHDOG", before + 1)


def test_the_variables_are_taken_away():
    """SVC-5: processes that this one may start don't speak in its name."""
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "2", "HOME": "/root"}
    ServiceManager.taken_from(environ, pid=PID)
    assert environ == {"HOME": "/root"}


async def test_without_a_manager_nothing_is_done(clock, caplog):
    """SVC-5: no variables, no messages, no tasks; the status isn't even made."""

    def describe() -> str:
        raise AssertionError("nobody wants to know")

    manager = ServiceManager.taken_from({"WATCHDOG_USEC": "1000000"}, pid=PID, clock=clock)
    before = asyncio.all_tasks()
    async with manager.watch(describe):
        manager.ready()
        with manager.reloading():
            assert asyncio.all_tasks() == before
        manager.stopping()
    assert not caplog.records


@pytest.mark.parametrize("address", ["/nowhere/socket", "@nobody-listens-here", "/" + "x" * 200])
async def test_a_socket_that_is_gone_harms_nobody(address, clock, caplog):
    """SVC-6: it is told once in the log, and everything goes on."""
    manager = ServiceManager(address, watchdog_seconds=1.0, clock=clock)
    async with manager.watch(lambda: "well"):
        manager.ready()
        for _ in range(5):
            await after(clock, 2)
        manager.stopping()
    assert [record.message for record in caplog.records] == ["systemd.not_told"]


async def test_a_full_socket_is_told_later(systemd, clock, caplog):
    """SVC-6: who is too full to hear it isn't waited for, and told of the last state once it has
    room."""
    manager = ServiceManager(systemd.address, clock=clock)
    fill(systemd.address)
    async with manager.watch(lambda: "well"):
        await settle()
        manager.ready()
        with manager.reloading():
            pass
        await after(clock, 2)
        assert not [one for one in systemd.told if "filling" not in one]

        await after(clock, 2)
        assert [one for one in systemd.told if "filling" not in one] == [
            {"READY": "1", "STATUS": "well"}
        ]
    assert [record.message for record in caplog.records] == ["systemd.not_told"]


def fill(address: str) -> None:
    """Leave no room in the queue of a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                sender.sendto(b"filling=1", address)


@pytest.mark.parametrize(
    ("changes", "arguments", "expected"),
    [
        pytest.param(
            {},
            {"bus": "nats", "heard": 2, "rooms": 2},
            "NATS connected; 2 of 2 rooms heard, 1 silent; openai up, ollama cooling",
            id="running",
        ),
        pytest.param(
            {"nats_connected": False, "channels": {}, "providers": {}},
            {"bus": "nats", "heard": 0, "rooms": 3},
            "NATS away; 0 of 3 rooms heard",
            id="starting",
        ),
        pytest.param(
            {"channels": {"A": "muted", "B": "muted", "C": "silent"}},
            {"bus": "redis", "heard": 3, "rooms": 3},
            "Redis connected; 3 of 3 rooms heard, 1 silent, 2 muted; openai up, ollama cooling",
            id="muted",
        ),
    ],
)
def test_status_line(changes, arguments, expected):
    """SVC-2: the bus, the rooms, each provider."""
    assert status_line({**STATUS, **changes}, **arguments) == expected
