"""The demo itself: the whole bot on a bus in memory, a room around it, and what visitors do there.

How it is shown is up to a face, the page's or the terminal's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from llm_bot.app import App
from llm_bot.bus import EventBus
from llm_bot.config import ChannelConfig, Config
from llm_bot.demo.casting import people_of, titles_of
from llm_bot.demo.film_clock import FilmClock
from llm_bot.demo.recording import pauses, shifted
from llm_bot.demo.setting import DOMAIN, Setting
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.demo.stand_ins.model_server import Mode, StandInModelServer
from llm_bot.logging_config import configure_logging
from llm_bot.shutdown_handler import shutdown_signals
from llm_bot.web.feed import Feed

YOU = "You"
GUESTS = ("ada", "bertil")
"""Whoever is in the rooms where nothing is played."""

FLOODER = "Parrot"
"""Not of the film night, whose people keep their own limits for their own lines."""

FLOOD = (
    "{bot}, answer me! ({number} of {count})",
    "I need bot help! ({number} of {count})",
    "so what do you think? ({number} of {count})",
)
"""Each for another trigger of the demo's own configuration, so that several limits are met."""

FLOOD_LINES = 30
FLOOD_PAUSE_SECONDS = 0.03
MORE_TITLES = ("Metropolis (1927)", "Safety Last! (1923)", "Plan 9 from Outer Space (1957)")
SPEEDS = (0.0, 1.0, 2.5, 10.0, 50.0)
"""The film's; at 0 it stands still, and the bot's time passes as it does."""

THINKING_SECONDS = 0.9
"""The stand-in's, of the film's time: answers at once wouldn't look like answers."""

OPENING_PAUSE_SECONDS = 0.06
"""Real seconds between lines until the first that is answered: nobody waits for a demo."""

OPENING_FILM_SECONDS = 40.0
"""By then somebody has named the bot; a configuration without triggers doesn't rush on."""

CHANCE_SEED = 37
"""Of the film night's two lines that are left to chance the first is refused, the second not."""


class Stage:
    """The room, the film, the bot. Its public coroutines are the `DemoActions` of the page.

    `film` says how fast the recording goes, and stands still at rate 0; `clock` is the bot's.
    Without `models`, the stand-ins, there is a real one: it isn't ours to break, and at any speed
    it is given the time that it needs. `is_open` is set once the bot is told who is here: whoever
    came before would be unknown. `feed` has what happens, as a page shows it. `stop` ends it all.
    """

    def __init__(
        self,
        setting: Setting,
        models: Sequence[StandInModelServer],
        *,
        port: int | None,
        stop: asyncio.Event,
    ) -> None:
        self.setting = setting
        self.models = models
        self.stop = stop
        self.film, self.clock = FilmClock(setting.speed), FilmClock(setting.speed)
        self.bus = EventBus()
        self.connector = self.connector_of(setting.room)
        self.is_open = asyncio.Event()
        self.is_over = False
        self.feed = Feed()
        self._port = port
        self._is_muted = False
        people = people_of(setting.evening)
        self._people = list(dict.fromkeys((YOU, *people, FLOODER)))
        self._titles = list(dict.fromkeys((*titles_of(setting.evening), *MORE_TITLES)))
        self._speeds = sorted({*SPEEDS, setting.speed})
        self._think()
        self.app = App(
            self.config(),
            stop=stop,
            bus=self.bus,
            clock=self.clock,
            rng=random.Random(CHANCE_SEED).random if models else random.random,
            observers=[self.feed],
            load=self.config,
            demo=None if port is None else self,
        )

    def connector_of(self, room: ChannelConfig) -> StandInConnector:
        """What plays CyTube in that room, where people live as fast as the bot."""
        return StandInConnector(
            self.bus,
            channel=room.name,
            domain=room.domain or DOMAIN,
            bot_name=self.setting.bot_name,
            dialect=self.setting.dialect,
            clock=self.clock,
        )

    def config(self) -> Config:
        """The configuration with what visitors have changed.

        A stand-in is waited for as if the speed were that of the start: another one would be a
        reload, which forgets how the providers stand.
        """
        return self.setting.config(
            port=self._port,
            rate=self.setting.speed if self.models else self.clock.rate,
            is_muted=self._is_muted,
            models=[model.base_url for model in self.models],
        )

    async def play(self) -> None:
        """The whole evening, each event as if it happened now; then time runs as it does."""
        evening = self.setting.evening
        if all(event.name.lower() != "userlist" for event in evening):
            self.is_open.set()
        for pause, event in pauses(evening):
            is_opening = event.t < evening[0].t + OPENING_FILM_SECONDS and self.film.rate
            if is_opening and not self.app.status.read()["metrics"]["triggers_fired"]:
                pause = min(pause, OPENING_PAUSE_SECONDS * self.film.rate)
            await self.film.sleep(pause)
            [now] = shifted([event], self.clock.time())
            await self.connector.play(now)
            if event.name.lower() == "userlist":
                self.is_open.set()
        self.is_over = True
        await self.set_speed(1.0)

    # --- what visitors see and do ---

    def describe(self) -> Mapping[str, Any]:
        return {
            "people": self._people,
            "media": self._titles,
            "speeds": self._speeds,
            "bot": self.setting.bot_name,
            "can_break_model": bool(self.models),
            "provider": self.setting.loaded.llm_api.provider,
        }

    def state(self) -> Mapping[str, Any]:
        known = {
            "speed": self.film.rate,
            "rate": self.clock.rate,
            "muted": self.app.config.channels[0].silenced,
            "media": self.title,
            "is_over": self.is_over,
        }
        return {**known, "model": self.models[0].mode} if self.models else known

    @property
    def title(self) -> str | None:
        """What is on."""
        media = self.connector.room.media
        return None if media is None else media.get("title")

    async def say(self, user: str, text: str, *, private: bool) -> None:
        await self._come_in(user)
        if private:
            await self.connector.pm(user, text)
        else:
            await self.connector.say(user, text)

    async def change_media(self, title: str) -> None:
        await self.is_open.wait()
        await self.connector.change_media(title)

    async def flood(self) -> None:
        await self._come_in(FLOODER)
        for number in range(1, FLOOD_LINES + 1):
            pattern = FLOOD[(number - 1) % len(FLOOD)]
            bot = self.setting.bot_name
            line = pattern.format(bot=bot, number=number, count=FLOOD_LINES)
            await self.connector.say(FLOODER, line)
            await asyncio.sleep(FLOOD_PAUSE_SECONDS)

    async def mute(self, *, on: bool) -> None:
        """A reload, as an operator would do it."""
        self._is_muted = on
        self.app.request_reload()

    async def set_model(self, mode: Mode) -> None:
        if not self.models:
            raise web.HTTPConflict(text="The model is a real one, which the demo can't break.\n")
        self.models[0].mode = mode

    async def set_speed(self, speed: float) -> None:
        rate = speed or 1.0  # the bot is to answer while the film stands still, too
        has_changed = rate != self.clock.rate
        self.film.change_rate(speed)
        self.clock.change_rate(rate)
        self._think()
        if has_changed and not self.models:
            self.app.request_reload()

    def _think(self) -> None:
        for model in self.models:
            model.delay_seconds = THINKING_SECONDS / self.clock.rate

    async def _come_in(self, user: str) -> None:
        """Join like anybody, unless already here."""
        await self.is_open.wait()
        if user.lower() not in self.connector.room.users:
            await self.connector.join(user)


Face = Callable[[Stage], Awaitable[None]]
"""Shows what happens on a stage where the bot is ready, and plays the evening."""


async def perform(setting: Setting, face: Face, *, port: int | None) -> bool:
    """Run the bot, and `face` beside it, until a signal or the face ends it.

    The page is served at a `port`, else not at all. Returns whether somebody still reads the
    output.
    """
    stop = asyncio.Event()
    has_reader = True
    async with AsyncExitStack() as stack:
        stack.enter_context(shutdown_signals(stop))
        providers = (None, *setting.loaded.llm_api.fallbacks) if setting.is_stand_in else ()
        models = [await stack.enter_async_context(StandInModelServer()) for _ in providers]
        stage = Stage(setting, models, port=port, stop=stop)
        config = stage.app.config
        configure_logging(config.logging, config.log_level, secrets=config.secrets())
        await stack.enter_async_context(stage.connector)

        async def show() -> None:
            nonlocal has_reader
            await stage.app.ready.wait()
            try:
                await _populate(stage, stack)
                await face(stage)
            except* BrokenPipeError:
                has_reader = False
                stop.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stage.app.run())
            showing = tasks.create_task(show())
            await stop.wait()
            showing.cancel()
            for model in models:  # who leaves doesn't wait for a model that hangs on purpose
                model.mode, model.delay_seconds = "ok", 0.0
    return has_reader


async def _populate(stage: Stage, stack: AsyncExitStack) -> None:
    for room in stage.setting.other_rooms:
        connector = await stack.enter_async_context(stage.connector_of(room))
        for guest in GUESTS:
            connector.room.see_user(guest)
        await connector.connect()


def introduction(setting: Setting) -> list[tuple[str, str]]:
    """What this is and who answers, as a label and a text each."""
    api = setting.loaded.llm_api
    answers = f"{api.model} at {urlsplit(api.base_url).hostname}."  # a URL may hold a password
    if setting.is_stand_in:
        answers = "a small stand-in on this machine, no AI: the same line, the same answer."
    return [
        ("What", f"{setting.bot_name}, the real bot, in a made-up room. Take part there."),
        ("Answers", answers),
    ]
