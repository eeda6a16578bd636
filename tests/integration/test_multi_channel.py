"""Rooms don't wait for each other, and hearing waits for nothing."""

from __future__ import annotations

from tests.daemon import Daemon, Peer, settings
from tests.servers import eventually
from tests.unit.llm_client.scripted_server import ScriptedServer, Stall, chat

PATIENT = {"timeout_seconds": 60}
LONG = {"deadline_seconds": 60}
AT_ONCE_SECONDS = 30.0  # the stalled model never answers, however slow the machine


def two_rooms(nats: str, model: ScriptedServer) -> dict[str, object]:
    return settings(
        nats=nats,
        model=model.url,
        rooms=("Slow", "Quick"),
        llm_api=PATIENT,
        replies=LONG,
        shutdown_grace_seconds=0.2,
    )


async def test_stalled_room(tmp_path, nats_server, model):
    """A model that doesn't answer in one room delays nothing in another, nor the hearing and
    deciding in its own, nor its private messages (REQ-6)."""
    async with (
        Daemon(tmp_path, two_rooms(nats_server.url, model)) as daemon,
        Peer(nats_server.url, channel="Slow") as slow,
        Peer(nats_server.url, channel="Quick", answers=None) as quick,
    ):
        model.script(Stall(), chat("One."), chat("Two."), chat("Three."), chat("Privately."))
        await slow.say("alice", "RigBot: are you there?")
        await model.wait_for_requests(1)

        for number in range(1, 4):
            await quick.say("bob", f"RigBot: number {number}?")
            await slow.hears(number, timeout=AT_ONCE_SECONDS)
        await slow.pm("alice", "and here?")
        await slow.hears(4, timeout=AT_ONCE_SECONDS)
        assert slow.texts == ["One.", "Two.", "Three.", "Privately."]
        rooms = [one.body["meta"]["channel"] for one in slow.said]
        assert rooms == ["Quick", "Quick", "Quick", "Slow"]
        assert slow.said[3].body["args"]["to"] == "alice"

        for number in range(500):
            await slow.say("carol", f"chatter {number}")
        for number in range(7):
            await slow.say(f"user{number}", "RigBot: me too?")
        await eventually(lambda: daemon.decisions("Slow").get("queue_full") == 3)

        assert daemon.decisions("Slow") == {"no_match": 500, "queue_full": 3, "replied": 1}
        assert daemon.decisions("Quick") == {"replied": 3}
        assert daemon.metric("reply_queue_depth", channel="Slow") == 4
        assert daemon.metric("context_window_size", channel="Slow") == 100
        assert daemon.is_ready
        assert len(model.requests) == 5
        daemon.terminate()
        assert await daemon.wait() == 0


async def test_newer_line_replaces(tmp_path, nats_server, model):
    """A newer line of a user whose line still waits takes its place: one answer, to the newer."""
    async with (
        Daemon(tmp_path, two_rooms(nats_server.url, model)) as daemon,
        Peer(nats_server.url, channel="Slow") as slow,
    ):
        model.script(Stall())
        await slow.say("alice", "RigBot: are you there?")
        await model.wait_for_requests(1)

        await slow.say("bob", "RigBot: the first thing?")
        await slow.say("bob", "RigBot: no, the second?")

        assert await daemon.decided(1) == {"superseded": 1}
        assert daemon.metric("reply_queue_depth", channel="Slow") == 1


async def test_rooms_keep_apart(tmp_path, nats_server, model):
    """What is said in one room is in no prompt of another, and a reply goes to its own room."""
    async with (
        Daemon(tmp_path, two_rooms(nats_server.url, model)) as daemon,
        Peer(nats_server.url, channel="Slow") as slow,
        Peer(nats_server.url, channel="Quick", answers=None) as quick,
    ):
        model.script(chat("To the quick."), chat("To the slow."))
        await slow.say("alice", "only the slow know this")
        await quick.say("bob", "RigBot: what is the secret?")
        await slow.hears(1)
        await slow.say("alice", "RigBot: what do we know?")
        await slow.hears(2)
        await daemon.decided(3)

        rooms = [one.body["meta"]["channel"] for one in slow.said]
        assert list(zip(rooms, slow.texts, strict=True)) == [
            ("Quick", "To the quick."),
            ("Slow", "To the slow."),
        ]
        shown = [b"only the slow know this" in one.body for one in model.requests]
        assert shown == [False, True]
        assert daemon.health()["channels"] == {"Slow": "active", "Quick": "active"}
