"""The demo in a terminal: a film night that plays itself, each line with its decision."""

from __future__ import annotations

import asyncio
import io
import random
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from llm_bot.app import App
from llm_bot.bus import EventBus
from llm_bot.config import LoggingConfig
from llm_bot.demo.film_clock import FilmClock
from llm_bot.demo.page.room_actions import THINKING_SECONDS
from llm_bot.demo.setting import Setting, with_models_at
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.demo.stand_ins.model_server import StandInModelServer
from llm_bot.demo.terminal.film_room import YOU, FilmRoom
from llm_bot.demo.terminal.keyboard import Keyboard, can_type
from llm_bot.demo.terminal.narrator import Narrator
from llm_bot.demo.terminal.screen import Screen, wrapped
from llm_bot.logging_config import configure_logging
from llm_bot.shutdown_handler import shutdown_signals, unless_stopped

SETTLE_SECONDS = 10.0
"""How long the last reply may take when the film night is over and nobody types."""

CHANCE_SEED = 37
"""Of the film night's two lines that are left to chance the first is refused, the second not."""


async def show(setting: Setting, *, has_colour: bool) -> bool:
    """The demo from start to end. Returns whether somebody still reads its output."""
    stop = asyncio.Event()
    screen = Screen(sys.stdout, has_colour=has_colour, on_close=stop.set)
    narrator = Narrator(screen)
    configure_logging(
        LoggingConfig(format="text"),
        "WARNING",
        secrets=setting.config.secrets(),
        stream=_NoteStream(narrator.note),
    )
    stage = _Stage(setting, screen, narrator, stop, can_type())
    stage.introduce()
    async with AsyncExitStack() as stack:
        stack.enter_context(shutdown_signals(stop))
        await stage.run(stack)
    narrator.summary()
    return not screen.is_closed


@dataclass(frozen=True, slots=True)
class _Stage:
    """All that plays together."""

    setting: Setting
    screen: Screen
    narrator: Narrator
    stop: asyncio.Event
    is_interactive: bool

    def introduce(self) -> None:
        """What this is, how to take part, how to leave."""
        setting, screen = self.setting, self.screen
        bot, api = setting.bot_name, setting.config.llm_api
        answers = f"{api.model} at {urlsplit(api.base_url).hostname}."  # a URL may hold a password
        if setting.is_stand_in:
            answers = "a small stand-in on this machine, no AI: the same line, the same answer."
        leave = "Ctrl-C."
        rows = [
            ("What", f"{bot}, the real bot, in a made-up room: a film night that plays itself."),
            ("Answers", answers),
            ("Time", f"runs {setting.speed:g} times as fast, also for every limit and cooldown."),
        ]
        if self.is_interactive:
            leave = "/quit, Ctrl-D or Ctrl-C."
            rows.append(
                ("Join in", f"type a line that names {bot} and press Enter; /help for more.")
            )
        rows.append(("Leave", leave))
        screen.show(screen.paint("llm_bot demo", "1;35"))
        for label, text in rows:
            first, *others = wrapped(text, screen.columns - 11)
            screen.show(f"  {screen.paint(f'{label:<8}', '1')} {first}")
            for row in others:
                screen.show(f"{'':11}{row}")

    async def run(self, stack: AsyncExitStack) -> None:
        """From the first server to the last reply."""
        setting, config = self.setting, self.setting.config
        rng: Callable[[], float] = random.random
        if setting.is_stand_in:
            server = StandInModelServer(delay_seconds=THINKING_SECONDS / setting.speed)
            await stack.enter_async_context(server)
            addresses = (server.base_url, *(server.base_url for _ in config.llm_api.fallbacks))
            config = with_models_at(config, addresses)
            rng = random.Random(CHANCE_SEED).random
        bus, clock = EventBus(), FilmClock(setting.speed)
        connector = StandInConnector(
            bus,
            channel=setting.channel,
            domain=setting.domain,
            bot_name=setting.bot_name,
            dialect=setting.dialect,
            clock=clock,
        )
        await stack.enter_async_context(connector)
        app = App(
            config,
            stop=self.stop,
            bus=bus,
            clock=clock,
            rng=rng,
            observers=[self.narrator],
        )
        room = FilmRoom(connector, clock, self.narrator, quit=self.stop.set)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(app.run())
            if await unless_stopped(self.stop, app.ready.wait()):
                await self._show(room)
            self.stop.set()

    async def _show(self, room: FilmRoom) -> None:
        if not self.is_interactive:
            if await unless_stopped(self.stop, self._play(room)):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.narrator.is_settled.wait(), SETTLE_SECONDS)
            return
        self.screen.label = f"{YOU} ›"
        self.screen.hint = f"say something, to {self.setting.bot_name} for example; /help, /quit"
        with Keyboard(self.screen, on_end=self.stop.set) as keyboard:
            await unless_stopped(self.stop, self._take_part(room, keyboard))

    async def _play(self, room: FilmRoom) -> None:
        await room.play(self.setting.evening, self.setting.speed)

    async def _take_part(self, room: FilmRoom, keyboard: Keyboard) -> None:
        """Play, and take lines for as long as somebody stays."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._play_to_the_end(room))
            while True:
                await room.take(await keyboard.lines.get())

    async def _play_to_the_end(self, room: FilmRoom) -> None:
        await self._play(room)
        room.clock.change_rate(1.0)
        self.narrator.banner("The film night is over")
        stays = f"{self.setting.bot_name} is still here, and time runs as it does. /quit leaves."
        self.narrator.remark(stays)


class _NoteStream(io.StringIO):
    """Takes the log's lines, warnings and worse, and has them shown between the others."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def write(self, text: str) -> int:
        for row in text.splitlines():
            if row.strip():
                self._note(row)
        return len(text)
