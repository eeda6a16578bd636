"""What visitors of the demo's page do: talk as anybody, change the film, flood, mute, fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from llm_bot.config import Config
from llm_bot.demo.casting import people_of, titles_of
from llm_bot.demo.film_clock import FilmClock
from llm_bot.demo.player import FilmPlayer
from llm_bot.demo.setting import Setting
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.demo.stand_ins.model_server import Mode, StandInModelServer

YOU = "You"
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


PATIENT_RATE = 2.5
"""At it the stand-in is waited for as long as its configuration says. Another speed changes that,
as the alternative is a reload, which forgets how the providers stand."""


def rate_at(speed: float) -> float:
    """How fast time passes for the bot, who is to answer while the film stands still, too."""
    return speed or 1.0


class RoomActions:
    """The controls of the page, as `DemoActions` wants them. `load` is for the `App`.

    Muting is a reload, as an operator would do it: `reload` asks the running bot for one, and
    `running` is the configuration that it has at this moment. Without `model`, the stand-in, there
    is a real one: it isn't ours to break, and at any speed it is given the time that it needs.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        port: int,
        connector: StandInConnector,
        player: FilmPlayer,
        film: FilmClock,
        clock: FilmClock,
        model: StandInModelServer | None,
        fitted: Callable[[Config], Config],
        running: Callable[[], Config],
        reload: Callable[[], None],
    ) -> None:
        self._setting = setting
        self._port = port
        self._connector = connector
        self._player = player
        self._film = film
        self._clock = clock
        self._model = model
        self._fitted = fitted
        self._running = running
        self._reload = reload
        self._is_muted = False
        people = people_of(setting.evening, setting.bot_name)
        self._people = list(dict.fromkeys((YOU, *people, FLOODER)))
        self._titles = list(dict.fromkeys((*titles_of(setting.evening), *MORE_TITLES)))
        self._speeds = sorted({*SPEEDS, setting.speed})

    def load(self) -> Config:
        """The configuration with what visitors have changed."""
        rate = self._clock.rate if self._model is None else PATIENT_RATE
        config = self._setting.page_config(port=self._port, rate=rate, is_muted=self._is_muted)
        return self._fitted(config)

    def describe(self) -> Mapping[str, Any]:
        return {
            "people": self._people,
            "media": self._titles,
            "speeds": self._speeds,
            "room": self._setting.channel,
            "can_break_model": self._model is not None,
            "provider": self._setting.loaded.llm_api.provider,
        }

    def state(self) -> Mapping[str, Any]:
        media = self._connector.room.media
        known = {
            "speed": self._film.rate,
            "rate": self._clock.rate,
            "muted": self._running().channels[0].silenced,
            "media": None if media is None else media.get("title"),
            "is_over": self._player.is_over,
        }
        return known if self._model is None else {**known, "model": self._model.mode}

    async def say(self, user: str, text: str, *, private: bool) -> None:
        await self._come_in(user)
        if private:
            await self._connector.pm(user, text)
        else:
            await self._connector.say(user, text)

    async def change_media(self, title: str) -> None:
        await self._player.is_open.wait()
        await self._connector.change_media(title)

    async def flood(self) -> None:
        await self._come_in(FLOODER)
        for number in range(1, FLOOD_LINES + 1):
            pattern = FLOOD[(number - 1) % len(FLOOD)]
            bot = self._setting.bot_name
            line = pattern.format(bot=bot, number=number, count=FLOOD_LINES)
            await self._connector.say(FLOODER, line)
            await asyncio.sleep(FLOOD_PAUSE_SECONDS)

    async def mute(self, *, on: bool) -> None:
        self._is_muted = on
        self._reload()

    async def set_model(self, mode: Mode) -> None:
        if self._model is None:
            raise web.HTTPConflict(text="The model is a real one, which the demo can't break.\n")
        self._model.mode = mode

    async def set_speed(self, speed: float) -> None:
        rate = rate_at(speed)
        has_changed = rate != self._clock.rate
        self._film.change_rate(speed)
        self._clock.change_rate(rate)
        if self._model is not None:
            self._model.delay_seconds = THINKING_SECONDS / rate
        elif has_changed:
            self._reload()

    async def _come_in(self, user: str) -> None:
        """Join like anybody, unless already here."""
        await self._player.is_open.wait()
        if user.lower() not in self._connector.room.users:
            await self._connector.join(user)
