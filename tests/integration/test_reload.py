"""SIGHUP: the real process takes over another file, or keeps what runs and says why."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.daemon import READY_SECONDS, Daemon, Peer, settings
from tests.servers import eventually
from tests.unit.llm_client.scripted_server import Answer, ScriptedServer, chat, chat_body

OLD_KEY, NEW_KEY = "sk-old-0123456789", "sk-new-9876543210"


def held(content: str) -> tuple[asyncio.Event, Answer]:
    """An answer that comes when its gate is opened."""
    gate = asyncio.Event()
    return gate, Answer(body=chat_body(content), gate=gate)


async def hang_up(daemon: Daemon, config: dict[str, Any] | str | None = None) -> str:
    """Write another file, order a reload, and return how it ended as soon as it has."""
    if config is not None:
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        daemon.config_path.write_text(text, encoding="utf-8")
    before = len(endings(daemon))
    daemon.process.send_signal(signal.SIGHUP)
    await eventually(lambda: len(endings(daemon)) > before, timeout=10, what="the reload's end")
    return endings(daemon)[-1]


def endings(daemon: Daemon) -> list[str]:
    names = ("config.reloaded", "config.reload_failed")
    return [line["message"] for line in daemon.log if line["message"] in names]


def with_key_file(directory: Path, nats: str, model: ScriptedServer, **more: Any) -> dict[str, Any]:
    """A configuration whose key is in the file `key`."""
    (directory / "key").write_text(OLD_KEY)
    config = settings(nats=nats, model=model.url, **more)
    del config["llm_api"]["api_key"]
    config["llm_api"]["api_key_file"] = "key"
    return config


async def test_rotated_key_in_a_file(tmp_path, nats_server, model):
    """LIFE-7, LIFE-9: the reply in flight ends with the old key, the next request carries the new
    one, no key is in the log, and an answer that holds one of them isn't said."""
    config = with_key_file(tmp_path, nats_server.url, model)
    gate, answer = held("An answer of before.")
    model.script(answer, chat("An answer of after."), chat(f"My key is {NEW_KEY}."))
    async with Daemon(tmp_path, config) as daemon, Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: are you there?")
        await model.wait_for_requests(1)
        (tmp_path / "key").write_text(f"{NEW_KEY}\n")
        assert await hang_up(daemon) == "config.reloaded"
        gate.set()
        await peer.hears(1)
        await peer.say("bob", "RigBot: and now?")
        await peer.hears(2)
        await peer.say("carol", "RigBot: what is your key?")
        outcomes = await daemon.decided(3)

        assert peer.texts == ["An answer of before.", "An answer of after."]
        assert outcomes == {"replied": 2, "filtered": 1}
        keys = [one.headers["authorization"].removeprefix("Bearer ") for one in model.requests]
        assert keys == [OLD_KEY, NEW_KEY, NEW_KEY]
        (change,) = await daemon.logs("config.changed")
        assert (change["path"], change["old"], change["new"]) == (
            "llm_api.api_key",
            "(changed)",
            "(changed)",
        )
        for key in (OLD_KEY, NEW_KEY):
            assert key not in daemon.output
        daemon.terminate()
        assert await daemon.wait() == 0


async def test_files_that_can_not_be_used(tmp_path, nats_server, model):
    """LIFE-7: broken YAML, an unset variable, a missing secret file, a key that isn't there: each
    is told and counted, and the bot goes on as it was."""
    config = with_key_file(tmp_path, nats_server.url, model)
    keyless = {**config, "llm_api": {**config["llm_api"]}}
    del keyless["llm_api"]["api_key_file"]
    model.script(chat("Still here."))
    async with Daemon(tmp_path, config) as daemon, Peer(nats_server.url) as peer:
        for file, why in (
            ("bot: [", "config.yaml"),
            ({**config, "bot": {"username": "${NOBODY_SET_THIS}"}}, "NOBODY_SET_THIS"),
            ({**config, "llm_api": {**config["llm_api"], "api_key_file": "./gone"}}, "gone"),
            (keyless, "key"),
        ):
            assert await hang_up(daemon, file) == "config.reload_failed"
            assert why in daemon.logged("config.reload_failed")[-1]["error"]
        daemon.config_path.unlink()
        assert await hang_up(daemon) == "config.reload_failed"

        await peer.say("alice", "RigBot: are you there?")
        await peer.hears(1)
        assert peer.texts == ["Still here."]
        assert daemon.metric("config_reloads_total", result="failed") == 5
        assert daemon.metric("config_reloads_total", result="ok") == 0
        assert daemon.is_ready


async def test_rooms_come_and_go(tmp_path, nats_server, model):
    """LIFE-8: a removed room's reply in flight isn't said and its metrics vanish; a new room is
    answered; the one that stays keeps its window and its counters."""
    nats = nats_server.url
    gate, answer = held("Too late for this room.")
    model.script(chat("To those who stay."), answer, chat("To the newcomers."), chat("Again."))
    before = settings(nats=nats, model=model.url, rooms=("Stays", "Leaves"))
    async with (
        Daemon(tmp_path, before) as daemon,
        Peer(nats, channel="Stays") as stays,
        Peer(nats, channel="Leaves", answers=None) as leaves,
        Peer(nats, channel="Comes", answers=None) as comes,
    ):
        await stays.say("alice", "RigBot: are you there?")
        await stays.hears(1)
        await leaves.say("bob", "RigBot: and here?")
        await model.wait_for_requests(2)
        after = settings(nats=nats, model=model.url, rooms=("Stays", "Comes"))
        assert await hang_up(daemon, after) == "config.reloaded"
        gate.set()
        assert daemon.health()["channels"] == {"Stays": "active", "Comes": "active"}
        assert daemon.decisions("Stays") == {"replied": 1}
        channels = {
            labels["channel"]
            for samples in daemon.metrics().values()
            for labels, _ in samples
            if "channel" in labels
        }
        assert channels == {"Stays", "Comes"}

        await leaves.say("bob", "RigBot: hello?")
        await comes.say("carol", "RigBot: hello?")
        await stays.hears(2)
        await stays.say("alice", "RigBot: still there?")
        await stays.hears(3)
        assert stays.texts == ["To those who stay.", "To the newcomers.", "Again."]
        assert b"are you there?" in model.requests[3].body
        assert await daemon.decided(2, "Stays") == {"replied": 2}


async def test_what_needs_a_restart(tmp_path, nats_server, model):
    """LIFE-9: another server and another port are named in warnings and stay, again at the next
    reload; the rest of the file counts, and so do the options of the command line."""
    config = settings(nats=nats_server.url, model=model.url)
    other = settings(
        nats="nats://127.0.0.1:1",
        model=model.url,
        health={"port": 1},
        instance="another",
        log_level="ERROR",
        context_window={"size": 7},
    )
    model.script(chat("Not said."))
    async with Daemon(tmp_path, config, "--dry-run", "--log-level", "INFO") as daemon:
        assert await hang_up(daemon, other) == "config.reloaded"
        told = await daemon.logs("config.needs_restart")
        assert {line["path"] for line in told} == {"nats.servers", "health.port", "instance"}
        assert {line["level"] for line in told} == {"WARNING"}
        assert [line["path"] for line in daemon.logged("config.changed")] == ["context_window.size"]
        assert await hang_up(daemon) == "config.reloaded"
        assert len(daemon.logged("config.needs_restart")) == 6
        assert len(daemon.logged("config.changed")) == 1
        assert daemon.is_ready
        async with Peer(nats_server.url) as peer:
            await peer.say("alice", "RigBot: are you there?")
            assert await daemon.decided(1) == {"dry_run": 1}
            assert not peer.said


REFUSED_ROOM = """
authorization {
  users = [
    {user: bot, password: bot-password, permissions: {
      publish: ">", subscribe: {allow: ">", deny: ["*.events.*.secret.*", "*.events.*.Secret.*",
        "*.events.secret.*", "*.events.Secret.*", "*.events.*.*.secret.*", "*.events.*.*.Secret.*",
        "*.events.*.*.*.secret.*", "*.events.*.*.*.Secret.*",
        "*.events.*.*.*.*.secret.*", "*.events.*.*.*.*.Secret.*"]}}}
    {user: all, password: all-password}
  ]
}
"""


async def test_room_that_the_account_may_not_hear(tmp_path, own_nats_server, model):
    """LIFE-7: the server refuses a new room: the reload fails with its name, nothing of it stays,
    and the rooms that were there go on."""
    server = own_nats_server(config=REFUSED_ROOM)
    login = {"user": "bot", "password": "bot-password"}

    def rooms(*names: str) -> dict[str, Any]:
        config = settings(nats=server.url, model=model.url, rooms=names)
        return {**config, "nats": {**config["nats"], **login}}

    model.script(chat("Still here."), chat("Here, too."))
    async with (
        Daemon(tmp_path, rooms("RigRoom")) as daemon,
        Peer(server.url, user="all", password="all-password") as peer,
        Peer(server.url, user="all", password="all-password", channel="New", answers=None) as new,
    ):
        assert await hang_up(daemon, rooms("RigRoom", "Secret", "New")) == "config.reload_failed"
        assert "channel Secret" in (await daemon.logs("config.reload_failed"))[0]["error"]
        assert daemon.health()["channels"] == {"RigRoom": "active"}
        await new.say("bob", "RigBot: are you there?")
        await peer.say("alice", "RigBot: are you there?")
        await peer.hears(1)
        assert await hang_up(daemon, rooms("RigRoom", "New")) == "config.reloaded"
        await new.say("bob", "RigBot: and now?")
        await peer.hears(2)
        assert peer.texts == ["Still here.", "Here, too."]
        assert daemon.decisions("New") == {"replied": 1}


async def test_nats_away(tmp_path, own_nats_server, model):
    """LIFE-7: with NATS away a new room fails the reload and leaves nothing; a setting is taken;
    and when NATS is back, so are the rooms as they are by then."""
    server = own_nats_server()
    config = settings(nats=server.url, model=model.url)
    both = settings(nats=server.url, model=model.url, rooms=("RigRoom", "New"))
    quiet = {**config, "channels": [{"name": "RigRoom", "silenced": True}]}
    async with Daemon(tmp_path, config) as daemon:
        server.stop()
        await daemon.logs("nats.disconnected")
        assert await hang_up(daemon, both) == "config.reload_failed"
        assert await hang_up(daemon, quiet) == "config.reloaded"
        server.restart()
        await daemon.logs("nats.reconnected")
        async with (
            Peer(server.url) as peer,
            Peer(server.url, channel="New", answers=None) as new,
        ):
            await new.say("bob", "RigBot: are you there?")
            await new.flush()
            await peer.say("alice", "RigBot: are you there?")
            assert await daemon.decided(1) == {"silenced": 1}
            assert daemon.health()["channels"] == {"RigRoom": "silent"}
            assert not model.requests


async def test_order_during_the_start(tmp_path, own_nats_server, model):
    """LIFE-7: SIGHUP while NATS is waited for doesn't end the process, and counts once it runs."""
    server = own_nats_server()
    server.stop()
    config = settings(nats=server.url, model=model.url, health={"enabled": False})
    config["nats"]["max_reconnect_attempts"] = 0
    daemon = Daemon(tmp_path, config)
    daemon.launch()
    try:
        await daemon.logs("nats.connect_failed")
        daemon.process.send_signal(signal.SIGHUP)
        server.restart()
        await eventually(lambda: endings(daemon), timeout=READY_SECONDS)
        messages = [line["message"] for line in daemon.log]
        assert messages.index("app.ready") < messages.index("config.reloaded")
    finally:
        daemon.end()


@pytest.mark.parametrize("seconds", [0.05, 0.15, 0.25])
async def test_order_during_the_imports(tmp_path, nats_server, model, seconds):
    """LIFE-7: SIGHUP before the first line of the log is one too many, and ends nothing."""
    daemon = Daemon(tmp_path, settings(nats=nats_server.url, model=model.url))
    daemon.launch()
    try:
        await eventually(lambda: holds_hangups(daemon.process.pid), timeout=READY_SECONDS)
        await asyncio.sleep(seconds)  # somewhere in the start, wherever that is
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.ready()
    finally:
        daemon.end()


def holds_hangups(pid: int) -> bool:
    """Whether the process blocks SIGHUP, or has a handler of its own for it by now."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    masks = dict(line.split(":", 1) for line in status.splitlines())
    bit = 1 << (signal.SIGHUP - 1)
    return any(int(masks[name], 16) & bit for name in ("SigBlk", "SigCgt"))


async def test_pipe_as_a_file(tmp_path, nats_server, model):
    """A pipe gives its text once: a reload says so, and doesn't wait for a second one."""
    config = settings(nats=nats_server.url, model=model.url)
    async with Daemon(tmp_path, config) as daemon:
        daemon.config_path.unlink()
        os.mkfifo(daemon.config_path)
        assert await hang_up(daemon) == "config.reload_failed"
        assert await hang_up(daemon) == "config.reload_failed"
        daemon.config_path.unlink()
        assert await hang_up(daemon, config) == "config.reloaded"


async def test_order_during_the_stop(tmp_path, nats_server, model):
    """SIGHUP while it stops changes nothing: it ends in order, with 0."""
    gate, answer = held("The last words.")
    model.script(answer)
    config = settings(nats=nats_server.url, model=model.url, shutdown_grace_seconds=10)
    async with Daemon(tmp_path, config) as daemon, Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: are you there?")
        await model.wait_for_requests(1)
        daemon.terminate()
        await daemon.logs("app.stopping")
        daemon.process.send_signal(signal.SIGHUP)
        gate.set()
        assert await daemon.wait() == 0
        assert peer.texts == ["The last words."]
        assert endings(daemon) == []
