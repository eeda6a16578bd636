"""The state that the live page shows: rooms, people, limits and when they free up."""

from __future__ import annotations

from typing import Any

from llm_bot.decisions import DecisionRecord, Outcome, ReplyRecord
from llm_bot.models import Media, Person
from llm_bot.rate_limiter import Permit, RateLimiter
from llm_bot.triggers.configured import room_demand, user_demand
from llm_bot.web.state import USERS_SHOWN, LiveState
from tests.fakes import ManualClock
from tests.unit import builders

TRIGGERS = [
    {"type": "mention", "cooldown_seconds": 10, "rate_limit": {"max_per_hour": 7}},
    {"type": "pm", "cooldown_seconds": 5},
]


class Scene:
    """One room, its limiter, a clock moved by hand."""

    def __init__(self, **sections: Any) -> None:
        self.clock = ManualClock()
        self.limiter = RateLimiter()
        self.room = builders.room(**sections)
        self.status: dict[str, Any] = {
            "uptime_seconds": 3.0,
            "nats_connected": True,
            "providers": {"openai": "up"},
            "channels": {"MyChannel": "active"},
        }
        self.live = LiveState(
            rooms=lambda: [self.room],
            limiter=self.limiter,
            clock=self.clock,
            status=lambda: self.status,
        )

    def answer(self, user: str) -> None:
        """The bot has answered `user` just now."""
        limits = self.room.config.rate_limits
        demands = [room_demand(self.room.key, limits), user_demand(user.lower(), limits)]
        permit = self.limiter.admit(demands, self.clock.now)
        assert isinstance(permit, Permit)
        permit.send(self.clock.now)
        permit.spend(self.clock.now)
        record = DecisionRecord("id", "MyChannel", user, 1.0, "chat", Outcome.REPLIED)
        record.reply = ReplyRecord()
        self.room.decisions.add(record)

    @property
    def view(self) -> dict[str, Any]:
        view: dict[str, Any] = self.live.read()["rooms"][0]
        return view

    def limit(self, of: str, name: str) -> dict[str, Any]:
        (found,) = (one for one in self.view["limits"] if (one["of"], one["name"]) == (of, name))
        return {key: found[key] for key in ("used", "limit", "frees_in_seconds")}


def test_services_and_rooms_are_those_of_the_status():
    """NATS, providers, uptime and the state of a room come from the status of /health."""
    scene = Scene()
    scene.status["channels"]["MyChannel"] = "muted"
    state = scene.live.read()
    assert state["nats_connected"] is True
    assert state["providers"] == {"openai": "up"}
    assert state["uptime_seconds"] == 3.0
    assert scene.view["state"] == "muted"
    assert scene.live.room_names == ["MyChannel"]


def test_room_says_who_is_here_what_is_on_and_how_lines_ended():
    """People are counted once a list was heard; outcomes are counted by how they look."""
    scene = Scene()
    assert (scene.view["people"], scene.view["media"]) == (None, None)
    scene.room.roster.replace([Person("alice"), Person("MyBot")])
    scene.room.media = Media("1", "yt", "Stalker")
    for outcome in (Outcome.REPLIED, Outcome.USER_LIMIT, Outcome.CHANNEL_LIMIT):
        scene.room.tally.decisions[outcome] += 1
    view = scene.view
    assert (view["bot"], view["people"], view["media"]) == ("MyBot", 2, "Stalker")
    assert view["decisions"] == {"answered": 1, "refused": 2}
    assert view["waiting"] == 0


def test_limits_fill_and_drain():
    """A limit tells how full it is, and when there is room for one more than now."""
    scene = Scene(rate_limits={"max_per_channel_per_minute": 5, "global_cooldown_seconds": 20})
    assert scene.limit("room", "max_per_channel_per_minute") == {
        "used": 0,
        "limit": 5,
        "frees_in_seconds": None,
    }
    scene.answer("alice")
    scene.clock.advance(15)
    assert scene.limit("room", "max_per_channel_per_minute") == {
        "used": 1,
        "limit": 5,
        "frees_in_seconds": 45.0,
    }
    assert scene.limit("room", "global_cooldown_seconds")["frees_in_seconds"] == 5.0
    scene.clock.advance(45)
    assert scene.limit("room", "max_per_channel_per_minute")["used"] == 0


def test_reply_under_way_counts_and_frees_nobody_knows_when():
    """What is held counts; when it ends nobody can tell."""
    scene = Scene()
    demand = room_demand(scene.room.key, scene.room.config.rate_limits)
    assert isinstance(scene.limiter.admit([demand], scene.clock.now), Permit)
    limit = scene.limit("room", "max_per_channel_per_minute")
    assert (limit["used"], limit["frees_in_seconds"]) == (1, None)


def test_limits_of_triggers_and_of_the_film_are_there():
    """A trigger's pause and limits, and the quiet after a new film; a private pause is each
    user's own and isn't the room's."""
    scene = Scene(triggers=TRIGGERS, rate_limits={"media_change_cooldown_seconds": 30})
    names = [(one["of"], one["name"]) for one in scene.view["limits"]]
    assert ("mention", "cooldown_seconds") in names
    assert ("mention", "max_per_hour") in names
    assert ("pm", "cooldown_seconds") not in names
    assert scene.limit("room", "media_change_cooldown_seconds")["used"] == 0
    scene.room.media_changed_at = scene.clock.now - 10
    film = scene.limit("room", "media_change_cooldown_seconds")
    assert (film["used"], film["frees_in_seconds"]) == (1, 20.0)


def test_no_pause_after_a_film_is_no_limit():
    """Where it is switched off it isn't shown."""
    scene = Scene(rate_limits={"media_change_cooldown_seconds": 0})
    names = [one["name"] for one in scene.view["limits"]]
    assert "media_change_cooldown_seconds" not in names


def test_users_who_were_answered_are_shown_fullest_first():
    """A handful of users, those closest to their limits, by the name as it was last written."""
    scene = Scene(rate_limits={"global_cooldown_seconds": 0, "max_per_channel_per_minute": 99})
    for number in range(USERS_SHOWN + 2):
        scene.answer(f"User{number}")
    scene.answer("User3")
    users = [one["of"] for one in scene.view["limits"] if one["of"].startswith("User")]
    assert users[0] == "User3"
    assert len(set(users)) == USERS_SHOWN
    scene.clock.advance(7200)
    assert not [one for one in scene.view["limits"] if one["of"].startswith("User")]
