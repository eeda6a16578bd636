"""The demo in the browser: when it opens one, what it plays, and what its visitors may do."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from llm_bot.bus import EventBus
from llm_bot.demo.casting import bot_of, people_of, recast, titles_of, without_lines_of
from llm_bot.demo.film_clock import FilmClock
from llm_bot.demo.page.browser import wants_browser
from llm_bot.demo.page.room_actions import FLOOD_LINES, FLOODER, YOU, RoomActions
from llm_bot.demo.player import FilmPlayer
from llm_bot.demo.recording import RecordedEvent, film_night
from llm_bot.demo.setting import Setting, read_setting, with_models_at
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.demo.stand_ins.model_server import StandInModelServer
from tests.servers import eventually

DESKTOP = {"DISPLAY": ":0"}
REMOTE = {"SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"}


@pytest.mark.parametrize(
    ("environment", "platform", "has_terminal", "browser", "wanted"),
    [
        (DESKTOP, "linux", True, "xdg-open", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True, "/usr/bin/firefox", True),
        ({}, "darwin", True, "default", True),
        ({}, "win32", True, "windows-default", True),
        ({}, "linux", True, "firefox", False),
        (DESKTOP, "linux", True, None, False),
        (DESKTOP, "linux", True, "/usr/bin/w3m", False),
        (DESKTOP, "linux", False, "xdg-open", False),
        (
            {**DESKTOP, "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"},
            "linux",
            True,
            "firefox",
            False,
        ),
        ({"SSH_TTY": "/dev/pts/1"}, "darwin", True, "default", False),
    ],
)
def test_a_browser_is_opened_where_somebody_sees_it(
    environment, platform, has_terminal, browser, wanted
):
    """With a screen and a browser for it at this machine, and not for scripts."""
    assert wanted is wants_browser(
        environment, platform, has_terminal=has_terminal, browser=browser
    )


def test_who_and_what_is_in_the_film_night():
    """Everybody who speaks but the server and the bot, and the titles, in their order."""
    people = people_of(film_night(), "Reel")
    assert people[:3] == ("marigold", "Dr_Vespertine", "kowalski")
    assert not {"Reel", "[server]"} & set(people)
    assert bot_of(film_night()) == "Reel"
    assert titles_of(film_night())[-1] == "Nosferatu (1922)"


def test_another_recording_is_recast():
    """Its bot's name, which it logged in with, and its room give way; old answers are left out."""
    evening = (
        RecordedEvent(0, "cytube.events.attic.login", {"success": True, "name": "Hal"}),
        RecordedEvent(1, "cytube.events.attic.chatMsg", {"username": "ann", "msg": "Hal, halt!"}),
        RecordedEvent(2, "cytube.events.attic.chatMsg", {"username": "hal", "msg": "no"}),
    )
    bot = bot_of(evening)
    _, line = recast(
        without_lines_of(evening, bot),
        channel="Cellar",
        domain="cytube.example",
        bot_name="Marvin",
        recorded_bot=bot,
    )
    assert line.subject == "cytube.events.cellar.chatMsg"
    assert line.data == {"username": "ann", "msg": "Marvin, halt!"}


async def test_a_sleeper_follows_the_clock():
    """Who sleeps on a clock that stands still wakes up when it goes on, at its new pace."""
    clock = FilmClock(0)
    sleeping = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0)
    before = clock.monotonic()
    assert clock.monotonic() == before
    assert not sleeping.done()
    clock.change_rate(1e6)
    async with asyncio.timeout(5):
        await sleeping


CONFIG = """
nats: {servers: ["nats://127.0.0.1:4222"]}
channels: [{name: Closed, enabled: false}, {name: Cellar, silenced: true}, {name: Attic}]
bot: {username: Projector}
llm_api: {provider: ollama, base_url: "http://127.0.0.1:1/v1", model: m, timeout_seconds: 20}
rate_limits: {max_per_user_per_hour: 7}
health: {host: 0.0.0.0, port: 9, token: 0123456789abcdef0123456789abcdef}
dry_run: true
"""


def named(tmp_path: Path) -> Setting:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return read_setting(path, 2.5)


def test_a_configuration_is_made_fit_for_the_page(tmp_path):
    """Its rooms and limits; its own server on loopback, without a token; text may be seen."""
    setting = named(tmp_path)
    config = setting.page_config(port=5, rate=10, is_muted=False)
    assert [(one.name, one.silenced) for one in config.channels] == [
        ("Cellar", False),
        ("Attic", False),
    ]
    health = config.health
    assert (health.enabled, health.host, health.port, health.token) == (True, "127.0.0.1", 5, None)
    assert (config.logging.content, config.dry_run) == ("full", False)
    assert config.llm_api.timeout_seconds == 200
    assert config.rate_limits.max_per_user_per_hour == 7
    muted = setting.page_config(port=5, rate=10, is_muted=True)
    assert [one.silenced for one in muted.channels] == [True, False]


def test_the_stand_ins_get_their_addresses():
    """The first provider the first, its fallback the second."""
    config = with_models_at(read_setting(None, 1).loaded, ["http://a/v1", "http://b/v1"])
    assert config.llm_api.base_url == "http://a/v1"
    assert [one.base_url for one in config.llm_api.fallbacks] == ["http://b/v1"]


class Visit:
    """Actions in a room where the film has got to its list of people."""

    def __init__(self, setting: Setting, room: StandInConnector, *, is_stand_in: bool) -> None:
        self.room = room
        self.film, self.clock = FilmClock(1), FilmClock(1)
        self.player = FilmPlayer(room, film=self.film, clock=self.clock)
        self.model = StandInModelServer() if is_stand_in else None
        self.reloads = 0
        self.actions = RoomActions(
            setting,
            port=5,
            connector=room,
            player=self.player,
            film=self.film,
            clock=self.clock,
            model=self.model,
            fitted=lambda config: config,
            running=lambda: self.config,
            reload=self._reload,
        )
        self.config = self.actions.load()
        self.lines: list[tuple[str, str]] = []

    def _reload(self) -> None:
        self.reloads += 1
        self.config = self.actions.load()


@asynccontextmanager
async def visit(setting: Setting | None = None):
    chosen = setting or read_setting(None, 2.5)
    async with AsyncExitStack() as stack:
        bus = EventBus()
        await bus.connect()
        stack.push_async_callback(bus.close)
        room = StandInConnector(bus, channel="FilmNight", domain="x.example", bot_name="Reel")
        await stack.enter_async_context(room)
        visiting = Visit(chosen, room, is_stand_in=setting is None)
        visiting.player.is_open.set()
        yield visiting


async def test_visitors_come_in_before_they_speak():
    """Once, as anybody, in the room and in private."""
    async with visit() as at:
        await at.actions.say(YOU, "hello", private=False)
        await at.actions.say(YOU, "psst", private=True)
        said = [(line["username"], line["msg"]) for line in at.room.room.history]
        assert said == [(YOU, "hello")]
        assert YOU.lower() in at.room.room.users


async def test_nobody_comes_in_before_the_room_is_open():
    """The list of people that the bot is told then would leave out whoever did."""
    async with visit() as at:
        at.player.is_open.clear()
        saying = asyncio.create_task(at.actions.say(YOU, "hello", private=False))
        await asyncio.sleep(0)
        assert not at.room.room.history
        at.player.is_open.set()
        await saying
        assert at.room.room.history


async def test_a_flood_is_one_person_in_a_second():
    """Thirty lines in their order."""
    async with visit() as at:
        started = time.monotonic()
        await at.actions.flood()
        assert time.monotonic() - started < 5
        lines = list(at.room.room.history)
        assert {line["username"] for line in lines} == {FLOODER}
        assert lines[-1]["msg"].endswith(f"({FLOOD_LINES} of {FLOOD_LINES})")


async def test_what_is_on_is_changed_and_shown():
    """By a title of the list, which has those of the film night and more."""
    async with visit() as at:
        titles = at.actions.describe()["media"]
        assert {"Nosferatu (1922)", "Metropolis (1927)"} <= set(titles)
        await at.actions.change_media("Metropolis (1927)")
        assert at.actions.state()["media"] == "Metropolis (1927)"


async def test_muting_is_a_reload():
    """What the page shows is the configuration that runs."""
    async with visit() as at:
        assert not at.actions.state()["muted"]
        await at.actions.mute(on=True)
        assert at.actions.state()["muted"]
        assert at.config.channels[0].silenced
        await at.actions.mute(on=False)
        assert (at.reloads, at.actions.state()["muted"]) == (2, False)


async def test_a_film_that_stands_still_leaves_the_bot_its_time():
    """The recording stops, the bot's cooldowns don't."""
    async with visit() as at:
        await at.actions.set_speed(0)
        assert (at.film.rate, at.clock.rate) == (0, 1)
        await at.actions.set_speed(10)
        shown = at.actions.state()
        assert (shown["speed"], shown["rate"], at.reloads) == (10, 10, 0)
        assert at.model is not None
        assert at.model.delay_seconds == pytest.approx(0.09)


async def test_the_stand_in_can_be_broken():
    """And the page shows how it stands."""
    async with visit() as at:
        assert at.actions.describe()["can_break_model"]
        await at.actions.set_model("429")
        assert at.actions.state()["model"] == "429"


async def test_a_real_model_is_not_ours_to_break(tmp_path):
    """It isn't offered, refused all the same, and given its real time at any speed."""
    async with visit(named(tmp_path)) as at:
        assert not at.actions.describe()["can_break_model"]
        assert "model" not in at.actions.state()
        with pytest.raises(web.HTTPConflict):
            await at.actions.set_model("500")
        await at.actions.set_speed(10)
        assert (at.reloads, at.config.llm_api.timeout_seconds) == (1, 200)


async def test_the_film_stands_still_and_goes_on():
    """Nothing is played at speed 0; the end is noted, and the room is open long before."""
    async with visit() as at:
        at.player.is_open.clear()
        at.film.change_rate(0)
        playing = asyncio.create_task(at.player.play(read_setting(None, 1).evening))
        await asyncio.sleep(0)
        assert not at.player.is_open.is_set()
        at.film.change_rate(1e6)
        await eventually(at.player.is_open.is_set)
        async with asyncio.timeout(10):
            await playing
        assert at.player.is_over
        assert at.actions.state()["media"] == "Nosferatu (1922)"
