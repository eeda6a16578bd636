"""The daemon as a service: what systemd is told of its life, and what its neighbours on NATS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
import yaml
from nats.aio.msg import Msg

from llm_bot.config import NatsConfig
from llm_bot.demo.stand_ins.model_server import StandInModelServer
from llm_bot.nats_client import NatsBus
from llm_bot.ports import SystemClock
from llm_bot.runtime.announcer import ROBOT_STARTUP_SUBJECT, Announcer
from tests.daemon import Daemon, settings
from tests.fakes import ManualClock
from tests.notify import NotifySocket
from tests.servers import NatsServer, eventually

SECONDS = 15.0


@pytest.fixture
async def model():
    async with StandInModelServer() as server:
        yield server


@contextlib.asynccontextmanager
async def heard(url: str, subject: str) -> AsyncIterator[list[tuple[str, dict[str, Any]]]]:
    """What is published on `subject`, as the last part of the subject and the body."""
    events: list[tuple[str, dict[str, Any]]] = []

    async def hear(message: Msg) -> None:
        events.append((message.subject.rpartition(".")[2], json.loads(message.data)))

    client = await nats.connect(url, reconnect_time_wait=0.1)
    try:
        await client.subscribe(subject, cb=hear)
        await client.flush()
        yield events
    finally:
        await client.close()


def names(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [name for name, _ in events]


# --- systemd ---


async def test_what_systemd_is_told(tmp_path, own_nats_server, model):
    """SVC-1 to SVC-4: ready when the rooms are heard and not before, reloads, outages, the end."""
    server = own_nats_server()
    server.stop()
    whole = settings(nats=server.url, model=model.base_url, shutdown_grace_seconds=0)
    whole["nats"]["max_reconnect_attempts"] = 0
    daemon = Daemon(tmp_path, whole)
    with NotifySocket() as systemd:
        daemon.environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000"}
        daemon.launch()
        try:
            await systemd.hears("EXTEND_TIMEOUT_USEC", timeout=SECONDS)
            assert systemd.values("STATUS") == ["starting; NATS away; 0 of 1 rooms heard"]
            assert not systemd.with_name("READY")

            server.restart()
            await systemd.hears("READY", timeout=SECONDS)
            await daemon.ready()  # the log may be a moment behind
            assert daemon.is_ready
            heard_all = "NATS connected; 1 of 1 rooms heard; openai up"
            assert systemd.with_name("READY")[0]["STATUS"] == heard_all

            await reload(daemon, systemd, count=1)
            daemon.config_path.write_text("nonsense: [", encoding="utf-8")
            await reload(daemon, systemd, count=2)
            assert await daemon.logs("config.reload_failed")
            daemon.config_path.write_text(yaml.safe_dump(whole), encoding="utf-8")

            server.stop()
            await says(systemd, "NATS away; 1 of 1 rooms heard; openai up")
            server.restart()
            await says(systemd, heard_all)

            alive = len(systemd.with_name("WATCHDOG"))
            await systemd.hears("WATCHDOG", alive + 3, timeout=SECONDS)
            daemon.pause()
            alive = len(systemd.with_name("WATCHDOG"))
            await asyncio.sleep(0.6)  # in which it would have been three more
            assert len(systemd.with_name("WATCHDOG")) == alive
            daemon.resume()

            daemon.terminate()
            await systemd.hears("STOPPING", timeout=SECONDS)
            assert await daemon.wait() == 0
            assert systemd.states[-1] == "STOPPING"
            assert not daemon.logged("systemd.not_told")
        finally:
            daemon.end()


async def reload(daemon: Daemon, systemd: NotifySocket, *, count: int) -> None:
    """Order a reload; what is told of it are its beginning and its end."""
    daemon.process.send_signal(signal.SIGHUP)
    await systemd.hears("READY", count + 1, timeout=SECONDS)
    assert systemd.states == ["READY", *("RELOADING", "READY") * count]
    assert int(systemd.values("MONOTONIC_USEC")[-1]) > 0


async def says(systemd: NotifySocket, expected: str) -> None:
    """Return when that is the status."""
    await eventually(
        lambda: systemd.values("STATUS")[-1] == expected, timeout=SECONDS, what=expected
    )


async def test_a_manager_that_is_gone(tmp_path, nats_server, model):
    """SVC-6: a socket that nobody has changes nothing but a line in the log."""
    whole = settings(nats=nats_server.url, model=model.base_url)
    daemon = Daemon(tmp_path, whole)
    daemon.environ = {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "100000"}
    async with daemon:
        daemon.terminate()
        assert await daemon.wait() == 0
    (told,) = await daemon.logs("systemd.not_told")
    assert told["level"] == "WARNING"


# --- the neighbours on NATS ---


async def test_what_the_neighbours_are_told(tmp_path, nats_server, model):
    """ANN-1, ANN-2, ANN-3: startup with the port that is bound, again for a connector that starts,
    shutdown at the end."""
    whole = settings(nats=nats_server.url, model=model.base_url, instance="bot_under-test")
    async with heard(nats_server.url, "kryten.lifecycle.bot_under-test.*") as events:
        async with Daemon(tmp_path, whole) as daemon:
            await eventually(lambda: events, timeout=SECONDS)
            name, body = events[0]
            assert (name, body["service"]) == ("startup", "bot_under-test")
            assert body["metadata"]["endpoints"] == {
                "health": {"port": daemon.port, "path": "/health"},
                "metrics": {"port": daemon.port, "path": "/metrics"},
            }

            connector = await nats.connect(nats_server.url)
            await connector.publish(ROBOT_STARTUP_SUBJECT, b'{"service": "robot"}')
            await connector.close()
            await eventually(lambda: len(events) == 2, timeout=SECONDS)

            daemon.terminate()
            assert await daemon.wait() == 0
        await eventually(lambda: len(events) == 3, timeout=SECONDS)
    assert names(events) == ["startup", "startup", "shutdown"]
    assert events[-1][1]["reason"] == "told to stop"


@contextlib.asynccontextmanager
async def announcing(server: NatsServer, **login: Any) -> AsyncIterator[ManualClock]:
    """A service on NATS that lives as fast as the clock is moved."""
    config = NatsConfig.model_validate({"servers": [server.url], **login})
    bus = NatsBus(config, clock=SystemClock(), rng=lambda: 0.1, name="test")
    clock = ManualClock()
    await bus.connect()
    announcer = Announcer(bus, "llm_bot", clock=clock)
    try:
        await announcer.listen()
        await bus.flush()
        async with asyncio.TaskGroup() as tasks:
            announcer.start(tasks, port=None)
            yield clock
            await announcer.stop("told to stop")
    finally:
        await bus.close()


async def test_heartbeats_and_a_restart_of_nats(own_nats_server):
    """ANN-2, ANN-3, ANN-4: a heartbeat every 30 s; after an outage a startup, and nothing of what
    would have been said meanwhile."""
    server = own_nats_server()
    ours = "kryten.lifecycle.llm_bot.*"
    async with heard(server.url, ours) as events, announcing(server) as clock:
        for expected in ("startup", "heartbeat", "heartbeat"):
            await eventually(lambda: events)
            assert events.pop()[0] == expected
            clock.advance(30)
        await eventually(lambda: events)

        server.stop()
        for _ in range(10):
            clock.advance(30)
            await asyncio.sleep(0)
        server.restart()
        async with heard(server.url, ours) as anew:  # time stands still: nothing is said before
            await eventually(lambda: advanced(clock) and bool(anew), timeout=SECONDS)
            assert names(anew) == ["startup"]


def advanced(clock: ManualClock, seconds: float = 0.1) -> bool:
    """Let so much time pass, and real time in which something may come over NATS."""
    clock.advance(seconds)
    return True


ACCOUNTS = """
authorization { users = [
  { user: neighbour, password: password }
  { user: bot, password: password, permissions: {
      publish: { deny: "kryten.lifecycle.>" }, subscribe: { deny: "kryten.lifecycle.>" } } }
] }
"""


async def test_an_account_that_may_do_neither(own_nats_server, caplog):
    """ANN-5: one line says that connectors aren't heard; that NATS refused a message, it says
    itself. Nothing fails."""
    server = own_nats_server(config=ACCOUNTS)

    def told() -> list[str]:
        return [record.message for record in caplog.records if record.levelname == "WARNING"]

    async with announcing(server, user="bot", password="password") as clock:
        await eventually(lambda: advanced(clock, 30) and "nats.publish_refused" in told())
    assert told().count("lifecycle.not_heard") == 1
