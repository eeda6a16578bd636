"""The demo: what is played with which configuration, what visitors may do, where it is shown."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from llm_bot.app import App
from llm_bot.bus import EventBus
from llm_bot.demo.casting import bot_of, people_of, recast, titles_of
from llm_bot.demo.film_clock import FilmClock
from llm_bot.demo.page import wants_browser
from llm_bot.demo.recording import RecordedEvent, event_subjects_only, film_night, pauses, shifted
from llm_bot.demo.setting import DOMAIN, Setting, read_setting
from llm_bot.demo.stage import CHANCE_SEED, FLOOD_LINES, FLOODER, YOU, Stage
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.demo.stand_ins.model_server import StandInModelServer
from llm_bot.demo.terminal import HELP, take
from llm_bot.room import RoomObserver
from tests.fakes import ManualClock
from tests.servers import eventually

DESKTOP = {"DISPLAY": ":0"}
PATIENCE_SECONDS = 60


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
        ({**DESKTOP, "SSH_CONNECTION": "192.0.2.1 1 2"}, "linux", True, "firefox", False),
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


# --- what is played ---


def test_who_and_what_is_in_the_film_night():
    """Everybody who speaks but the server, and the titles, in their order; and the bot."""
    people = people_of(film_night())
    assert people[:3] == ("marigold", "Dr_Vespertine", "kowalski")
    assert "[server]" not in people
    assert bot_of(film_night()) == "Reel"
    assert titles_of(film_night())[-1] == "Nosferatu (1922)"


def test_the_film_night_is_played_with_another_bot():
    """Channel, domain and the bot's name are the configuration's, in every line and subject."""
    recorded = event_subjects_only(film_night())
    events = recast(recorded, channel="Cellar", domain="chat.example", bot_name="Projector")
    rooms = {(event.data["channel"], event.data["domain"]) for event in events}
    assert rooms == {("Cellar", "chat.example")}
    assert all(".cellar." in event.subject for event in events)
    texts = "\n".join(str(event.data) for event in events)
    assert not re.search(r"(?<!\w)Reel(?!\w)", texts, re.IGNORECASE)
    assert "Projector, is it always this loud" in texts
    assert "surreel" in texts


def test_the_film_night_with_its_own_bot_is_as_recorded():
    """Even how people spell its name."""
    recorded = event_subjects_only(film_night())
    place = {"channel": "FilmNight", "domain": "cytube.example"}
    assert recast(recorded, **place, bot_name="Reel") == recorded


@pytest.mark.parametrize("bot", ["Hal", "Reel"])
def test_another_recording_is_recast(bot):
    """Its bot's name, which it logged in with, and its room give way; old answers are left out."""
    login = RecordedEvent(0, "cytube.events.attic.login", {"success": True, "name": "Hal"})
    evening = (
        *([login] if bot == "Hal" else []),
        RecordedEvent(1, "cytube.events.attic.chatMsg", {"username": "ann", "msg": f"{bot}, halt"}),
        RecordedEvent(2, "cytube.events.attic.chatMsg", {"username": bot.lower(), "msg": "no"}),
    )
    *_, line = recast(evening, channel="Cellar", domain="cytube.example", bot_name="Marvin")
    assert line.subject == "cytube.events.cellar.chatMsg"
    assert line.data == {"username": "ann", "msg": "Marvin, halt"}


class Decisions(RoomObserver):
    """How lines ended; `are_made` while no reply is under way."""

    def __init__(self) -> None:
        self.outcomes: Counter[str | None] = Counter()
        self._sent = 0

    @property
    def are_made(self) -> bool:
        """The limits know of a reply when it is sent, which is after its echo may come."""
        return not self.outcomes[None] and self._sent == self.outcomes["replied"]

    def on_decision(self, record, line, /):
        self.outcomes[record.outcome] += 1

    def on_concluded(self, record):
        self.outcomes[record.outcome] += 1
        self.outcomes[None] -= 1

    def on_reply(self, record):
        self._sent += 1


def received(app: App, beyond: int = 0) -> int:
    """How many events the bot has heard, as far as there are more than `beyond`."""
    return max(0, int(app.status.read()["metrics"]["events_received"]) - beyond)


async def test_the_film_night_shows_every_kind_of_decision():
    """What it was written for, however fast the machine: the next line comes when the last one is
    answered. None of the answers is a command, although somebody tries to make the bot give one."""
    setting, bus, clock = read_setting(None, 1), EventBus(), ManualClock()
    decisions, stop = Decisions(), asyncio.Event()
    async with StandInModelServer() as model, asyncio.TaskGroup() as tasks:
        config = setting.config(port=None, rate=1, models=[model.base_url] * 2)
        unpaced = config.replies.model_copy(update={"min_interval_seconds": 0})
        app = App(
            config.model_copy(update={"replies": unpaced}),
            stop=stop,
            bus=bus,
            clock=clock,
            rng=random.Random(CHANCE_SEED).random,
            observers=[decisions],
        )
        tasks.create_task(app.run())
        await app.ready.wait()
        place: dict[str, Any] = {
            "channel": setting.room.name,
            "domain": DOMAIN,
            "bot_name": setting.bot_name,
        }
        async with StandInConnector(bus, **place, clock=clock) as room:
            for pause, event in pauses(setting.evening):
                clock.advance(pause)
                before = received(app)
                await room.play(*shifted([event], clock.time()))
                await eventually(partial(received, app, beyond=before), timeout=PATIENCE_SECONDS)
                await eventually(lambda: decisions.are_made, timeout=PATIENCE_SECONDS)
        stop.set()
    assert +decisions.outcomes == {
        "replied": 25,
        "own_line": 25,
        "no_match": 41,
        "replayed": 15,
        "ignored_user": 4,
        **dict.fromkeys(("ignored_prefix", "stale", "probability", "filtered"), 1),
        **dict.fromkeys(("media_cooldown", "trigger_cooldown", "channel_cooldown"), 1),
        **dict.fromkeys(("user_limit", "channel_limit"), 1),
    }
    assert {user for user, _ in room.said} > {None, "newt"}
    assert not room.executed_commands


# --- time ---


def test_film_time_passes_faster_and_never_jumps():
    """`rate` times as fast, both clocks alike, and on from where it was after a change."""
    clock = FilmClock(1000.0)
    before, epoch_before = clock.monotonic(), clock.time()
    clock.change_rate(0)
    after, epoch_after = clock.monotonic(), clock.time()
    assert before <= after == clock.monotonic()
    assert epoch_after - epoch_before >= 0


async def test_a_sleeper_follows_the_clock():
    """Who sleeps on a clock that stands still wakes up when it goes on, at its new pace."""
    clock = FilmClock(0)
    sleeping = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0)
    assert not sleeping.done()
    clock.change_rate(1e6)
    await sleeping


# --- the configuration ---

CONFIG = """
nats: {servers: ["nats://127.0.0.1:4222"], dialect: plain}
channels: [{name: Closed, enabled: false}, {name: Cellar, silenced: true}, {name: Attic}]
bot: {username: Projector}
llm_api:
  provider: ollama
  base_url: http://127.0.0.1:1/v1
  model: m
  timeout_seconds: 20
  fallbacks: [{provider: ollama, base_url: "http://127.0.0.1:1/v1", model: n}]
rate_limits: {max_per_user_per_hour: 7}
health: {host: 0.0.0.0, port: 9, token: 0123456789abcdef0123456789abcdef}
dry_run: true
"""


def named(tmp_path: Path) -> Setting:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return read_setting(path, 2.5)


def test_a_configuration_is_made_fit_for_the_film_night(tmp_path):
    """Its rooms, bot and limits, but nothing that keeps the bot silent or the page from being
    seen here; whatever the dialect; a model keeps its real time."""
    setting = named(tmp_path)
    config = setting.config(port=5, rate=10)
    assert (setting.room.name, setting.bot_name, setting.is_stand_in) == (
        "Cellar",
        "Projector",
        False,
    )
    rooms = [(one.name, one.silenced) for one in config.channels]
    assert rooms == [("Cellar", False), ("Attic", False)]
    health = config.health
    assert (health.enabled, health.host, health.port, health.token) == (True, "127.0.0.1", 5, None)
    assert (config.logging.content, config.dry_run, config.nats.dialect) == ("full", False, "auto")
    assert (config.llm_api.timeout_seconds, config.llm_api.fallbacks[0].timeout_seconds) == (
        200,
        300,
    )
    assert config.replies.deadline_seconds == 450
    assert config.rate_limits.max_per_user_per_hour == 7
    muted = setting.config(port=None, rate=10, is_muted=True)
    assert (muted.channels[0].silenced, muted.health.enabled) == (True, False)


def test_the_stand_ins_get_their_addresses():
    """The first provider the first, its fallback the second."""
    setting = read_setting(None, 1)
    config = setting.config(port=None, rate=1, models=["http://a/v1", "http://b/v1"])
    assert config.llm_api.base_url == "http://a/v1"
    assert [one.base_url for one in config.llm_api.fallbacks] == ["http://b/v1"]


# --- what visitors do ---


@pytest.fixture
async def stage():
    """The demo's own, where the film has got to its list of people; the bot isn't there yet."""
    async for found in staged(read_setting(None, 2.5), StandInModelServer(), StandInModelServer()):
        yield found


@pytest.fixture
async def real(tmp_path):
    """One with a real model."""
    async for found in staged(named(tmp_path)):
        yield found


async def staged(setting: Setting, *models: StandInModelServer):
    found = Stage(setting, models, port=None, stop=asyncio.Event())
    await found.bus.connect()
    found.is_open.set()
    yield found
    await found.bus.close()


def heard(stage: Stage) -> list[tuple[str, str]]:
    """What people have said in the room."""
    lines = [(line["username"], line["msg"]) for line in stage.connector.room.history]
    return [line for line in lines if line[0] != "[server]"]


async def test_visitors_come_in_before_they_speak(stage):
    """Once, as anybody, in the room and in private."""
    await stage.say(YOU, "hello", private=False)
    await stage.say(YOU, "psst", private=True)
    assert heard(stage) == [(YOU, "hello")]
    assert YOU.lower() in stage.connector.room.users


async def test_nobody_comes_in_before_the_room_is_open(stage):
    """The list of people that the bot is told then would leave out whoever did."""
    stage.is_open.clear()
    saying = asyncio.create_task(stage.say(YOU, "hello", private=False))
    await asyncio.sleep(0)
    assert not heard(stage)
    stage.is_open.set()
    await saying
    assert heard(stage)


async def test_a_flood_is_one_person(stage):
    """Thirty lines in their order."""
    await stage.flood()
    lines = heard(stage)
    assert {user for user, _ in lines} == {FLOODER}
    assert lines[-1][1].endswith(f"({FLOOD_LINES} of {FLOOD_LINES})")


async def test_what_is_on_is_changed_and_shown(stage):
    """By a title of the list, which has those of the film night and more."""
    assert {"Nosferatu (1922)", "Metropolis (1927)"} <= set(stage.describe()["media"])
    await stage.change_media("Metropolis (1927)")
    assert stage.state()["media"] == "Metropolis (1927)"


async def test_muting_is_a_configuration_to_be_loaded(stage):
    """What the page shows is the one that runs."""
    await stage.mute(on=True)
    assert stage.config().channels[0].silenced
    assert not stage.state()["muted"]


async def test_a_film_that_stands_still_leaves_the_bot_its_time(stage):
    """The recording stops, the bot's cooldowns don't; a stand-in thinks as fast as they pass."""
    await stage.set_speed(0)
    assert (stage.film.rate, stage.clock.rate) == (0, 1)
    before = stage.config()
    await stage.set_speed(10)
    assert (stage.state()["speed"], stage.state()["rate"]) == (10, 10)
    assert stage.models[0].delay_seconds == pytest.approx(0.09)
    assert stage.config() == before, "nothing to reload"


async def test_the_stand_in_can_be_broken(stage):
    """And the page shows how it stands."""
    assert stage.describe()["can_break_model"]
    await stage.set_model("429")
    assert stage.state()["model"] == "429"


async def test_a_real_model_is_not_ours_to_break(real):
    """It isn't offered, refused all the same, and given its real time at any speed."""
    assert not real.describe()["can_break_model"]
    assert "model" not in real.state()
    with pytest.raises(web.HTTPConflict):
        await real.set_model("500")
    await real.set_speed(10)
    assert real.config().llm_api.timeout_seconds == 200


async def test_the_film_stands_still_and_goes_on(stage):
    """Nothing is played at speed 0; the end is noted, and the room is open long before."""
    stage.is_open.clear()
    stage.film.change_rate(0)
    playing = asyncio.create_task(stage.play())
    await asyncio.sleep(0)
    assert not stage.is_open.is_set()
    stage.film.change_rate(1e6)
    await playing
    assert stage.is_open.is_set()
    assert stage.state()["is_over"]
    assert stage.state()["media"] == "Nosferatu (1922)"
    assert (stage.film.rate, stage.clock.rate) == (1, 1)


# --- what is typed in a terminal ---


@pytest.mark.parametrize(
    ("typed", "said", "shown"),
    [
        ("good evening", [(YOU, "good evening")], ""),
        ("/as eve good evening", [("eve", "good evening")], ""),
        ("/as eve", [], ""),
        ("/as reel I am the bot", [], "! reel is the bot"),
        ("/as no! x", [], "! A name is"),
        ("/pm psst", [], ""),
        ("/pm", [], f"! {HELP[0]}"),
        ("/kick bob", [], f"! {HELP[0]}"),
        ("/help", [], f"! {HELP[0]}"),
    ],
)
async def test_typed_lines_are_said(stage, capsys, typed, said, shown):
    """As anybody but the bot; other commands are explained and never said."""
    await take(stage, typed)
    assert heard(stage) == said
    assert capsys.readouterr().out.startswith(shown)
    assert not stage.stop.is_set()


async def test_enter_holds_the_film(stage, capsys):
    """Once more lets it go on, as fast as before; a film night that is over stays so."""
    await take(stage, "")
    assert stage.film.rate == 0
    await take(stage, "")
    assert stage.film.rate == 2.5
    stage.is_over = True
    await take(stage, "")
    assert stage.film.rate == 2.5
    assert "stands still" in capsys.readouterr().out


async def test_quit_leaves(stage):
    """In order."""
    await take(stage, "/QUIT")
    assert stage.stop.is_set()
