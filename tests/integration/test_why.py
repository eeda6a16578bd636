"""Why it answered and why it kept silent, asked of a running daemon: HTTP, terminal, and NATS."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import nats

from tests.daemon import ROOT, Daemon, Peer, settings
from tests.servers import eventually
from tests.unit.llm_client.scripted_server import chat

TOKEN = "a-token-that-is-long-enough"


async def told(daemon: Daemon, query: str = "", **headers: str) -> Any:
    """What /decisions says."""
    _, _, body = await asyncio.to_thread(lambda: daemon.get(f"/decisions{query}", **headers))
    return json.loads(body)


async def why(*arguments: str) -> tuple[int, str, str]:
    """`llm-bot why`, as somebody at a terminal of 100 columns runs it."""
    command = [sys.executable, "-m", "llm_bot", "why", *arguments]
    ended = await asyncio.to_thread(
        lambda: subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=30,
            env={**os.environ, "COLUMNS": "100"},
        )
    )
    return ended.returncode, ended.stdout, ended.stderr


async def test_what_was_decided_can_be_read(tmp_path, nats_server, model):
    """A reply, an ignored line and a limit: in JSON, as a table, and one of them in full."""
    model.script(chat("Good evening."))
    whole = settings(nats=nats_server.url, model=model.url)
    whole["rate_limits"]["max_per_user_per_minute"] = 1
    async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: hello?")
        await peer.hears(1)
        await daemon.decided(1)
        await peer.say("bob", "just marmalade")
        await peer.say("alice", "RigBot: and now?")
        await daemon.decided(3)

        decisions = (await told(daemon))["decisions"]
        outcomes = [each["outcome"] for each in decisions]
        assert outcomes == ["user_limit", "no_match", "replied"]
        assert "marmalade" not in json.dumps(decisions)
        assert decisions[2]["reply"]["provider"] == "openai"
        assert 0 <= decisions[2]["reply"]["relevance"] <= 1
        (one,) = (await told(daemon, f"?id={decisions[0]['correlation_id']}"))["decisions"]
        assert one == decisions[0]
        assert len((await told(daemon, "?user=BOB"))["decisions"]) == 1
        assert "no room" in (await told(daemon, "?channel=nowhere"))["error"]
        assert daemon.metric("response_relevance_score_count") == 1

        url = f"http://127.0.0.1:{daemon.port}"
        code, out, err = await why("--url", url)
        assert (code, err) == (0, "")
        assert [line.split()[2] for line in out.splitlines() if line[0] != " "] == [
            "replied",
            "no_match",
            "user_limit",
        ]
        code, out, _ = await why("--url", url, "--id", decisions[0]["correlation_id"])
        assert code == 0
        assert "refused  max_per_user_per_minute" in out
        assert "1 of 1 in 60 s, frees in" in out
        assert "1e+03" not in out
        code, out, _ = await why("--url", url, "--json", "--last", "1")
        assert len(json.loads(out)["decisions"]) == 1


async def test_a_token_guards_the_decisions(tmp_path, nats_server, model):
    """Where the host isn't loopback, /decisions wants the token, and /health doesn't."""
    whole = settings(nats=nats_server.url, model=model.url)
    whole["health"] = {"host": "0.0.0.0", "port": 0, "token": TOKEN}
    async with Daemon(tmp_path, whole) as daemon:
        status, _, body = await asyncio.to_thread(lambda: daemon.get("/decisions"))
        assert status == 401
        assert "token" in body
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert (await told(daemon, **bearer)) == {"decisions": []}
        assert daemon.health()["nats_connected"]


async def test_commands_over_nats(tmp_path, nats_server, model):
    """`ping`, `status` and `why` on the process's own subject; nonsense gets an error (CMD-1)."""
    model.script(chat("Good evening."))
    whole = settings(nats=nats_server.url, model=model.url, instance="bot-7")
    async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: hello?")
        await peer.hears(1)
        await daemon.decided(1)
        client = await nats.connect(nats_server.url)
        try:

            async def ask(body: bytes) -> dict[str, Any]:
                answer = await client.request("bot-7.command", body, timeout=5)
                found = json.loads(answer.data)
                assert found.pop("service") == "bot-7"
                assert isinstance(found, dict)
                return found

            pong = await ask(b'{"command": "ping"}')
            assert pong["success"] is True
            status = await ask(b'{"command": "status"}')
            assert status["data"]["channels"] == {"RigRoom": "active"}
            answer = await ask(b'{"command": "why", "channel": "rigroom", "last": 5}')
            (decision,) = answer["data"]["decisions"]
            assert decision["outcome"] == "replied"
            assert (await ask(b"nonsense"))["success"] is False
        finally:
            await client.close()


async def test_insights_are_published(tmp_path, nats_server, model):
    """With `insights.publish` the relevance of a reply is on the bus, without the words (INS-2)."""
    model.script(chat("Alien came out in 1979."))
    whole = settings(nats=nats_server.url, model=model.url, insights={"publish": True})
    client = await nats.connect(nats_server.url)
    heard: list[dict[str, Any]] = []

    async def hear(message: Any) -> None:
        heard.append(json.loads(message.data))

    try:
        await client.subscribe("llm_bot.insights.rigroom", cb=hear)
        await client.flush()
        async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
            await peer.say("alice", "RigBot: when did Alien come out?")
            await peer.hears(1)
            await daemon.decided(1)
            await eventually(lambda: heard)
            (insight,) = heard
            assert insight["kind"] == "reply.relevance.measured"
            assert insight["channel"] == "RigRoom"
            assert 0.3 < insight["value"] <= 1
            assert "alien" not in json.dumps(insight).lower()
            labels = {"kind": "reply.relevance.measured", "channel": "RigRoom"}
            assert daemon.metric("insights_total", **labels) == 1
    finally:
        await client.close()
