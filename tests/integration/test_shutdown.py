"""SIGTERM: what was admitted is finished, within its bounds, whatever is away."""

from __future__ import annotations

import asyncio
import time

from llm_bot.demo.stand_ins.model_server import StandInModelServer
from tests.daemon import Daemon, Peer, settings
from tests.servers import LOOPBACK, eventually, free_port
from tests.unit.llm_client.scripted_server import Answer, Stall, chat, chat_body

GRACE_SECONDS = 1.0
HUNG_SECONDS = 8.0  # 2 for the subscriptions, 5 for the last flush, 1 for the connection
SLACK_SECONDS = 15.0  # for the end of an interpreter on a busy machine


async def test_in_mid_reply(tmp_path, nats_server, model):
    """A reply that is under way, and one that waits, are still said; nothing new is heard."""
    # LIFE-3
    gate = asyncio.Event()
    model.script(Answer(body=chat_body("The first."), gate=gate), chat("The second."))
    whole = settings(nats=nats_server.url, model=model.url, shutdown_grace_seconds=10)
    async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: one?")
        await peer.say("bob", "RigBot: two?")
        await model.wait_for_requests(1)
        await eventually(lambda: daemon.metric("reply_queue_depth") == 1)

        daemon.terminate()
        await eventually(lambda: not daemon.is_ready)
        await peer.say("carol", "RigBot: three?")
        await peer.flush()
        gate.set()

        assert await daemon.wait() == 0
        assert peer.texts == ["The first.", "The second."]
        assert len(model.requests) == 2
        assert [line["message"] for line in daemon.log][-1] == "app.stopped"


async def test_grace_is_over(tmp_path, nats_server, model):
    """What isn't finished within the grace period is given up; the exit code is 0 all the same."""
    # LIFE-3
    model.script(Stall())
    whole = settings(nats=nats_server.url, model=model.url, shutdown_grace_seconds=GRACE_SECONDS)
    async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: one?")
        await model.wait_for_requests(1)
        asked_at = time.monotonic()
        daemon.terminate()

        assert await daemon.wait() == 0
        assert GRACE_SECONDS <= time.monotonic() - asked_at < GRACE_SECONDS + SLACK_SECONDS
        assert peer.said == []


async def test_second_signal(tmp_path, nats_server, model):
    """A second SIGTERM ends it at once with 130 (LIFE-4)."""
    model.script(Stall())
    whole = settings(nats=nats_server.url, model=model.url, shutdown_grace_seconds=60)
    async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: one?")
        await model.wait_for_requests(1)
        daemon.terminate()
        await daemon.logs("app.stopping")
        await asyncio.sleep(0.1)  # twice what makes two signals one order
        daemon.terminate()

        assert await daemon.wait(SLACK_SECONDS) == 130


async def test_without_nats(tmp_path, own_nats_server, model):
    """With NATS away, and a reply waiting for it, it ends with 0 within the grace period."""
    # REQ-10
    server = own_nats_server()
    gate = asyncio.Event()
    model.script(Answer(body=chat_body("Too late."), gate=gate))
    whole = settings(nats=server.url, model=model.url, shutdown_grace_seconds=GRACE_SECONDS)
    async with Daemon(tmp_path, whole) as daemon:
        async with Peer(server.url) as peer:
            await peer.say("alice", "RigBot: one?")
            await model.wait_for_requests(1)
        server.kill()
        gate.set()
        await eventually(lambda: daemon.metric("outbound_buffer_depth") == 1)
        asked_at = time.monotonic()
        daemon.terminate()

        assert await daemon.wait() == 0
        assert time.monotonic() - asked_at < GRACE_SECONDS + SLACK_SECONDS


async def test_hung_nats(tmp_path, own_nats_server, model):
    """A NATS server that has stopped answering is waited for once, not for each subscription."""
    server = own_nats_server()
    whole = settings(nats=server.url, model=model.url, rooms=("One", "Two", "Three"))
    async with Daemon(tmp_path, whole) as daemon:
        server.pause()
        asked_at = time.monotonic()
        daemon.terminate()

        assert await daemon.wait() == 0
        assert time.monotonic() - asked_at < HUNG_SECONDS + SLACK_SECONDS


async def test_before_nats(tmp_path):
    """Told to stop while it still waits for NATS, it ends with 0."""
    server = f"nats://{LOOPBACK}:{free_port()}"
    whole = settings(nats=server, model="http://127.0.0.1:1/v1", health={"port": 0})
    whole["nats"]["max_reconnect_attempts"] = 0
    daemon = Daemon(tmp_path, whole)
    daemon.launch()
    try:
        await daemon.logs("nats.connect_failed")
        daemon.terminate()

        assert await daemon.wait() == 0
    finally:
        daemon.end()


async def test_idle(tmp_path, nats_server):
    """With nothing to do it ends at once, and every subscription is gone."""
    async with StandInModelServer() as model:
        whole = settings(nats=nats_server.url, model=model.base_url, shutdown_grace_seconds=60)
        async with Daemon(tmp_path, whole) as daemon:
            daemon.terminate()

            assert await daemon.wait(SLACK_SECONDS) == 0
            assert not [line for line in daemon.log if line["level"] not in ("INFO", "DEBUG")]
