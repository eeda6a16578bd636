"""The demo in the browser: the real bot with its live page, and controls to try it with."""

from __future__ import annotations

import asyncio
import random
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from llm_bot.app import App
from llm_bot.bus import EventBus
from llm_bot.config import Config
from llm_bot.demo.film_clock import FilmClock
from llm_bot.demo.page.browser import open_page
from llm_bot.demo.page.room_actions import THINKING_SECONDS, RoomActions, rate_at
from llm_bot.demo.player import FilmPlayer
from llm_bot.demo.setting import DOMAIN, HOST, Setting, with_models_at
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.demo.stand_ins.model_server import StandInModelServer
from llm_bot.demo.terminal.screen import Screen, wrapped
from llm_bot.logging_config import configure_logging
from llm_bot.shutdown_handler import shutdown_signals

GUESTS = ("ada", "bertil")
"""Whoever is in the rooms where nothing is played."""


async def serve(setting: Setting, *, port: int, opens_browser: bool, has_colour: bool) -> bool:
    """Serve the page at a free `port` until a signal ends it. Returns whether somebody still reads
    the output."""
    stop = asyncio.Event()
    screen = Screen(sys.stdout, has_colour=has_colour, on_close=stop.set)
    page = _Page(setting, port, stop, screen, opens_browser=opens_browser)
    async with AsyncExitStack() as stack:
        stack.enter_context(shutdown_signals(stop))
        await page.run(stack)
    return not screen.is_closed


def free_port(port: int) -> int:
    """`port`, or any free one if it is 0. Raises `OSError` if it can't be had."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        found: int = probe.getsockname()[1]
    return found


@dataclass(frozen=True, slots=True)
class _Page:
    """All that plays together."""

    setting: Setting
    port: int
    stop: asyncio.Event
    screen: Screen
    opens_browser: bool
    bus: EventBus = field(default_factory=EventBus)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}/"

    async def run(self, stack: AsyncExitStack) -> None:
        """From the first server to the order to stop."""
        setting = self.setting
        rate = rate_at(setting.speed)
        film, clock = FilmClock(setting.speed), FilmClock(rate)
        model, fitted = await self._models(stack, rate)
        connector = await self._connector(stack, setting.channel, setting.domain, clock)
        player = FilmPlayer(connector, film=film, clock=clock)
        actions = RoomActions(
            setting,
            port=self.port,
            connector=connector,
            player=player,
            film=film,
            clock=clock,
            model=model,
            fitted=fitted,
            running=lambda: app.config,
            reload=lambda: app.request_reload(),
        )
        config = actions.load()
        configure_logging(config.logging, config.log_level, secrets=config.secrets())
        app = App(
            config,
            stop=self.stop,
            bus=self.bus,
            clock=clock,
            rng=random.random,
            observers=[player],
            load=actions.load,
            demo=actions,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(app.run())
            playing = tasks.create_task(self._play(stack, app.ready, player, actions))
            await self.stop.wait()
            playing.cancel()
            if model is not None:  # who leaves doesn't wait for a model that hangs on purpose
                model.mode, model.delay_seconds = "ok", 0.0

    async def _models(
        self, stack: AsyncExitStack, rate: float
    ) -> tuple[StandInModelServer | None, Callable[[Config], Config]]:
        """The stand-in that can be broken, and what names all of them in a configuration."""
        if not self.setting.is_stand_in:
            return None, lambda config: config
        servers = [
            await stack.enter_async_context(
                StandInModelServer(delay_seconds=THINKING_SECONDS / rate)
            )
            for _ in (None, *self.setting.loaded.llm_api.fallbacks)
        ]
        addresses = [server.base_url for server in servers]
        return servers[0], lambda config: with_models_at(config, addresses)

    async def _connector(
        self, stack: AsyncExitStack, channel: str, domain: str, clock: FilmClock
    ) -> StandInConnector:
        connector = StandInConnector(
            self.bus,
            channel=channel,
            domain=domain,
            bot_name=self.setting.bot_name,
            dialect=self.setting.dialect,
            clock=clock,
        )
        return await stack.enter_async_context(connector)

    async def _play(
        self,
        stack: AsyncExitStack,
        ready: asyncio.Event,
        player: FilmPlayer,
        actions: RoomActions,
    ) -> None:
        await ready.wait()
        self._introduce()
        if self.opens_browser:
            open_page(self.address)
        for room in self.setting.other_rooms:
            connector = await self._connector(
                stack, room.name, room.domain or DOMAIN, FilmClock(1.0)
            )
            for guest in GUESTS:
                connector.room.see_user(guest)
            await connector.connect()
        await player.play(self.setting.evening)
        await actions.set_speed(1.0)

    def _introduce(self) -> None:
        """Where the page is, what it shows, how to leave."""
        setting, screen = self.setting, self.screen
        api = setting.loaded.llm_api
        answers = f"{api.model} at {urlsplit(api.base_url).hostname}."  # a URL may hold a password
        if setting.is_stand_in:
            answers = "a small stand-in on this machine, no AI: the same line, the same answer."
        rows = [
            ("Page", self.address),
            ("What", f"{setting.bot_name}, the real bot, in a made-up room. Take part there."),
            ("Answers", answers),
            ("Text", "all of it is on the page, as its people are invented."),
            ("Leave", "Ctrl-C."),
        ]
        screen.show(screen.paint("llm_bot demo", "1;35"))
        for label, text in rows:
            first, *others = wrapped(text, screen.columns - 11)
            screen.show(f"  {screen.paint(f'{label:<8}', '1')} {first}")
            for row in others:
                screen.show(f"{'':11}{row}")
