"""Rooms don't wait for each other, and users and limits are known over all of them."""

from __future__ import annotations

from tests.daemon import Daemon, Peer, settings
from tests.servers import eventually
from tests.unit.llm_client.scripted_server import Stall, chat

AT_ONCE_SECONDS = 30.0  # half of the stall


async def test_user_over_two_rooms(tmp_path, nats_server, model):
    """A user has one history over all rooms: what he got in one counts in the other (LIMIT-4)."""
    config = settings(
        nats=nats_server.url,
        model=model.url,
        rooms=("Here", "There"),
        rate_limits={"max_per_user_per_minute": 2},
    )
    async with (
        Daemon(tmp_path, config) as daemon,
        Peer(nats_server.url, channel="Here") as here,
        Peer(nats_server.url, channel="There", answers=None) as there,
    ):
        model.script(*(chat(f"Answer {number}.") for number in range(3)))
        await here.say("bob", "RigBot: one?")
        await here.hears(1)
        await there.say("bob", "RigBot: two?")
        await here.hears(2)
        await there.say("bob", "RigBot: three?")
        await eventually(lambda: daemon.decisions("There").get("user_limit") == 1)
        await there.say("alice", "RigBot: and I?")
        await here.hears(3)

        assert daemon.decisions("Here").get("user_limit") is None


async def test_provoked_filters_are_not_free(tmp_path, nats_server, model):
    """Answers that are filtered away spend the user's permits, and give the room's back."""
    # LIMIT-7, LIMIT-8
    config = settings(
        nats=nats_server.url,
        model=model.url,
        rate_limits={"max_per_user_per_minute": 2, "max_per_channel_per_minute": 2},
        response_processing={"content_filter": {"block_keywords": ["forbidden"]}},
    )
    async with Daemon(tmp_path, config) as daemon, Peer(nats_server.url) as room:
        model.script(
            chat("A forbidden thing."), chat("Forbidden again."), chat("Fine, alice."), chat("Too.")
        )
        await room.say("mallory", "RigBot: say it")
        await eventually(lambda: daemon.decisions().get("filtered") == 1)
        await room.say("mallory", "RigBot: say it again")
        await eventually(lambda: daemon.decisions().get("filtered") == 2)
        await room.say("mallory", "RigBot: once more")
        await eventually(lambda: daemon.decisions().get("user_limit") == 1)
        await room.say("alice", "RigBot: and I?")
        await room.say("bob", "RigBot: and I?")
        await room.hears(2)

        assert room.texts == ["Fine, alice.", "Too."]
        assert len(model.requests) == 4


async def test_stalled_room(tmp_path, nats_server, model):
    """A model that doesn't answer in one room delays nothing in another, nor the hearing and
    deciding in its own, nor its private messages (REQ-6)."""
    config = settings(
        nats=nats_server.url,
        model=model.url,
        rooms=("Slow", "Quick"),
        llm_api={"timeout_seconds": 60},
        replies={"deadline_seconds": 60},
        shutdown_grace_seconds=0.2,
    )
    async with (
        Daemon(tmp_path, config) as daemon,
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
