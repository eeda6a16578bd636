"""What happens in a full and unruly room, with the daemon as a real process."""

from __future__ import annotations

import time

import pytest

from tests.daemon import Daemon, Peer, settings
from tests.servers import eventually
from tests.unit.llm_client.scripted_server import ScriptedServer, chat


@pytest.fixture
async def model():
    async with ScriptedServer() as server:
        yield server


async def test_list_of_a_thousand_people(tmp_path, nats_server, model):
    """A user list of 1,000 people is taken in whole: whoever it calls muted is ignored (WHO-3)."""
    people = [
        {
            "name": f"guest{number}",
            "rank": 0,
            "profile": {"image": "https://example.invalid/i.png", "text": "x" * 200},
            "meta": {"afk": False, "muted": number == 999, "smuted": False, "aliases": ["a"] * 5},
        }
        for number in range(1000)
    ]
    config = settings(nats=nats_server.url, model=model.url)
    async with Daemon(tmp_path, config) as daemon, Peer(nats_server.url) as room:
        model.script(chat("Welcome all."))
        await room.event("userlist", people)
        await room.say("guest999", "RigBot: can you hear me?")
        await room.say("guest998", "RigBot: and me?")
        await room.hears(1)

        assert room.texts == ["Welcome all."]
        assert (await daemon.decided(2))["ignored_user"] == 1
        assert daemon.metric("events_dropped_total") == 0
        assert daemon.health()["rooms"]["RigRoom"]["roster"] == "known"


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


async def test_cooldown_in_mid_burst(tmp_path, nats_server, model):
    """A `cooldown` event pauses the room and fails the line under way; later ones wait."""
    # SEND-10, SEND-13
    config = settings(nats=nats_server.url, model=model.url, replies={"confirm_seconds": 5})
    async with Daemon(tmp_path, config) as daemon, Peer(nats_server.url) as room:
        model.script(chat("First of all."), chat("And then."))
        await room.say("alice", "RigBot: one?")
        await room.hears(1)
        refused_at = time.monotonic()
        await room.event("cooldown", 1000)
        await eventually(lambda: daemon.decisions().get("delivery_failed") == 1)
        await room.say("bob", "RigBot: two?")
        await room.hears(2)

        assert time.monotonic() - refused_at >= 0.95
        assert room.texts == ["First of all.", "And then."]
        assert daemon.metric("deliveries_total", result="refused") == 1


async def test_noflood_is_told(tmp_path, nats_server, model):
    """`noflood` marks the room as muted in /health until a line of the bot's is seen again."""
    # SEND-10
    config = settings(nats=nats_server.url, model=model.url)
    async with Daemon(tmp_path, config) as daemon, Peer(nats_server.url) as room:
        model.script(chat("First of all."))
        await room.event("noflood", {"action": "chat", "msg": "You have been muted"})
        await eventually(lambda: daemon.health()["channels"] == {"RigRoom": "muted"})
        await room.say("alice", "RigBot: one?")
        await room.hears(1)
        await room.say("RigBot", "First of all.")
        await eventually(lambda: daemon.health()["channels"] == {"RigRoom": "active"})
