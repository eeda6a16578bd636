"""Users and limits are known over all rooms."""

from __future__ import annotations

from tests.daemon import Daemon, Peer, settings
from tests.servers import eventually
from tests.unit.llm_client.scripted_server import chat


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
