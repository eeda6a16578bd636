"""The film night in the terminal: how fast it goes, and lines of whoever watches."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from llm_bot.demo.film_clock import FilmClock
from llm_bot.demo.recording import RecordedEvent, at_speed, shifted
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.demo.terminal.narrator import Narrator

YOU = "you"
OPENING_PAUSE_SECONDS = 0.12
"""Real seconds between lines until the first that is answered: nobody waits for a demo."""

OPENING_FILM_SECONDS = 40.0
"""By then somebody has named the bot; a configuration without triggers doesn't rush on."""

_USER_NAME = re.compile(r"[\w-]{1,20}", re.ASCII)

HELP = (
    "plain text: say it in the room, as `you`",
    "/pm TEXT: write to the bot privately",
    "/as NAME TEXT: say it as somebody else",
    "/quit: leave, as Ctrl-D and Ctrl-C do; /help: this",
)


@dataclass(frozen=True, slots=True)
class FilmRoom:
    """The room while the demo runs. `is_open` is set once it is told who is here."""

    connector: StandInConnector
    clock: FilmClock
    narrator: Narrator
    quit: Callable[[], None]
    is_open: asyncio.Event = field(default_factory=asyncio.Event)

    async def play(self, events: tuple[RecordedEvent, ...], speed: float) -> None:
        """The whole evening, each event as if it happened now."""
        opening_ends = events[0].t + OPENING_FILM_SECONDS if events else 0.0
        title: str | None = None
        for pause, event in at_speed(events, speed):
            if not self.narrator.has_admitted and event.t < opening_ends:
                pause = min(pause, OPENING_PAUSE_SECONDS)
            await asyncio.sleep(pause)
            [now] = shifted([event], self.clock.time())
            await self.connector.play(now)
            await asyncio.sleep(0)
            title = self._announce(now, title)
            if event.name == "userlist":
                self.is_open.set()  # whoever spoke before it wouldn't be in it
        self.is_open.set()

    def _announce(self, event: RecordedEvent, title: str | None) -> str | None:
        """Tell what is no line: another film, somebody who leaves. Returns what is on."""
        payload = event.payload
        if not isinstance(payload, dict):
            return title
        if event.name == "changeMedia" and payload.get("title") != title:
            title = str(payload.get("title"))
            self.narrator.banner(f"On the screen: {title}")
        elif event.name == "userLeave":
            self.narrator.remark(f"{payload.get('name')} has left.")
        return title

    async def take(self, typed: str) -> None:
        """Do what was typed, as soon as the room is open."""
        await self.is_open.wait()
        command, _, rest = typed.strip().partition(" ")
        rest = rest.strip()
        match command.lower():
            case "":
                return
            case "/quit" | "/exit" | "/q":
                self.quit()
            case "/pm" if rest:
                await self.connector.pm(YOU, rest)
            case "/as" if rest:
                await self._say_as(*rest.partition(" ")[::2])
            case _ if not command.startswith("/"):
                await self.connector.say(YOU, typed.strip())
            case name:
                if name not in ("/help", "/?"):
                    self.narrator.note("Nothing is said of a line that begins with / but by these:")
                for row in HELP:
                    self.narrator.note(row)

    async def _say_as(self, name: str, text: str) -> None:
        if not _USER_NAME.fullmatch(name):
            self.narrator.note("A name is 1 to 20 letters, digits, - or _.")
        elif name.lower() == self.connector.bot_name.lower():
            self.narrator.note(f"{name} is the bot; it speaks for itself.")
        elif not text.strip():
            self.narrator.note(f"And what does {name} say?")
        else:
            await self.connector.say(name, text.strip())
