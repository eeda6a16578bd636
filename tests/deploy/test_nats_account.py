"""The NATS account that docs/DEPLOYMENT.md gives the bot is enough, and as narrow as it looks."""

from __future__ import annotations

import json
import re
from typing import Any

import nats
import pytest

from tests.daemon import ROOT, Daemon, Peer, settings
from tests.servers import eventually
from tests.unit.llm_client.scripted_server import ScriptedServer, chat

ROOM = "mychannel"
FILM = {"id": "abc", "title": "The Stored Film", "seconds": 5400, "type": "yt"}
BUCKETS: dict[str, tuple[str, Any]] = {
    f"kryten_{ROOM}_userlist": ("users", [{"name": "alice", "rank": 1, "meta": {}}]),
    f"kryten_{ROOM}_playlist": ("current", FILM),
}


@pytest.fixture
def account(own_nats_server):
    """A server with the page's block as its configuration."""
    page = (ROOT / "docs" / "DEPLOYMENT.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```nats\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    for name in ("CONNECTOR", "LLM_BOT"):
        block = block.replace(f"${name}_PASSWORD", f"{name.lower()}-secret")
    return own_nats_server(config=block, jetstream=True)


async def test_it_is_enough(tmp_path, account):
    """Nothing is refused while it starts, asks about the room, answers, and tells why."""
    async with ScriptedServer() as model, connector(account.url) as peer:
        model.script(chat("Good evening."))
        for bucket, (key, value) in BUCKETS.items():
            store = await peer.client.jetstream().create_key_value(bucket=bucket)
            await store.put(key, json.dumps(value).encode())
        login = {"user": "llm_bot", "password": "llm_bot-secret", "dialect": "kryten"}
        whole = settings(
            nats=account.url, model=model.url, rooms=(ROOM,), insights={"publish": True}
        )
        whole["nats"] |= login
        async with Daemon(tmp_path, whole) as daemon:
            await peer.say("alice", "RigBot: hello?")
            await eventually(lambda: "Good evening." in texts(peer))
            asked = await peer.client.request("llm_bot.command", b'{"command": "why"}', timeout=5)
            assert json.loads(asked.data)["success"]
            insights = "llm_bot.insights"
            await eventually(lambda: any(one.subject.startswith(insights) for one in peer.said))
            answered = {"roster": "answered", "media": "answered"}
            await eventually(lambda: answered.items() <= questions(daemon).items())
            refused = [line for line in daemon.log if "refused" in line["message"]]
            assert refused == []


async def test_it_is_narrow(account):
    """Another room is neither heard nor spoken to."""
    errors: list[str] = []

    async def note(error: Exception) -> None:
        errors.append(str(error))

    client = await nats.connect(
        account.url, user="llm_bot", password="llm_bot-secret", error_cb=note, allow_reconnect=False
    )
    await client.subscribe("kryten.events.cytube.other.*")
    await client.publish("kryten.lifecycle.robot.startup", b"{}")
    await client.flush()
    await eventually(lambda: len(errors) == 2)
    await client.close()
    assert "other" in errors[0]
    assert "robot.startup" in errors[1]


def connector(url: str) -> Peer:
    return Peer(url, channel=ROOM, user="connector", password="connector-secret")


def texts(peer: Peer) -> list[Any]:
    return [one.text for one in peer.said if one.subject == "kryten.robot.command"]


def questions(daemon: Daemon) -> dict[str, Any]:
    """What came of the questions about the room so far."""
    found: dict[str, Any] = daemon.health()["rooms"][ROOM]["asked"]
    return found
