"""The demo in a terminal: what the page's feed tells, printed, and plain lines taken from stdin."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

from llm_bot.decisions import Outcome
from llm_bot.demo.stage import YOU, Stage, introduction
from llm_bot.web.feed import ENTRIES_KEPT
from llm_bot.web.views import entry_view

MAX_COLUMNS = 100
"""Longer rows are hard to read."""

HELP = (
    f"plain text: say it in the room, as {YOU}",
    "/pm TEXT: write to the bot privately",
    "/as NAME TEXT: say it as somebody else",
    "Enter alone: hold the film, to type in peace; once more: let it go on",
    "/quit: leave, as Ctrl-D and Ctrl-C do; /help: this",
)
_USER_NAME = re.compile(r"[\w-]{1,20}", re.ASCII)


def can_type() -> bool:
    """Whether somebody sits at a terminal that shows us and that we may read from."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


async def show(stage: Stage) -> None:
    """Play and print: to the end if nobody can type, else until somebody leaves."""
    stays = can_type()
    bell = asyncio.Event()
    stage.feed.bells.add(bell)
    narrator = Narrator(stage)
    narrator.introduce(can_type=stays)
    try:
        async with asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(stage.play())
            playing.add_done_callback(lambda _: bell.set())
            taking = tasks.create_task(_take_lines(stage, leaves_at_end=stays))
            while True:
                bell.clear()
                narrator.catch_up()
                if playing.done() and not stays and not narrator.is_waiting:
                    break
                await bell.wait()
            taking.cancel()
    finally:
        narrator.summarize()
    stage.stop.set()


class Narrator:
    """Prints what the feed tells of the room where the film is played."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._place = 0
        self._under_way: dict[int, str] = {}
        self._latest = 0
        self._replays = 0
        self._title: str | None = None
        self._outcomes: Counter[str] = Counter()

    @property
    def is_waiting(self) -> bool:
        """Whether a reply is under way."""
        return bool(self._under_way)

    def introduce(self, *, can_type: bool) -> None:
        """What this is, how to take part, how to leave."""
        setting = self._stage.setting
        time = f"runs {setting.speed:g} times as fast, also for every limit and cooldown."
        join_in = (
            f"type a line that names {setting.bot_name}. Enter alone holds the film. /help: more"
        )
        print("llm_bot demo")
        for label, text in (*introduction(setting), ("Time", time), ("Join in", join_in)):
            if can_type or label != "Join in":
                _print(f"{label}: {text}")

    def catch_up(self) -> None:
        """Print what has happened since the last time."""
        for number, entry in self._stage.feed.after(self._place, ENTRIES_KEPT):
            self._place = number
            name, data = entry_view(number, entry, shows_text=True)
            if data["channel"] != self._stage.setting.room.name:
                continue
            if name == "line":
                self._tell_line(data)
            elif name == "decision":
                self._tell_decision(data, self._under_way.pop(data["id"], ""))

    def summarize(self) -> None:
        """How it went."""
        heard = self._outcomes.total() - self._outcomes[Outcome.OWN_LINE]
        _banner("That was it")
        _print(f"{heard} lines heard, {self._outcomes[Outcome.REPLIED]} answered.")
        _print(", ".join(f"{name} {count}" for name, count in self._outcomes.most_common()))

    def _tell_line(self, line: Mapping[str, Any]) -> None:
        if line["outcome"] == Outcome.REPLAYED:
            self._replays += 1
            self._outcomes[Outcome.REPLAYED] += 1
            return
        self._tell_place()
        who = line["user"] or "(the timer)"
        if line["event"] == "pm":
            who += f" to {line['to']}, privately" if line["is_own"] else ", privately"
        if line["is_own"]:
            who = f">> {who}"
        _print(f"{who}: {line['text'] or '(a picture)'}")
        self._latest = line["id"]
        if line["is_own"]:
            self._outcomes[Outcome.OWN_LINE] += 1
        elif line["outcome"] is None:
            self._under_way[line["id"]] = line["user"]
            _print("... asking the model", indent=4)
        else:
            self._tell_decision(line, line["user"])

    def _tell_decision(self, decision: Mapping[str, Any], user: str) -> None:
        outcome, words = decision["outcome"], decision["sentence"]
        self._outcomes[outcome] += 1
        if decision["id"] != self._latest and not words.startswith(user):
            words = f"{user}: {words}"
        _print(f"{outcome}: {words}", indent=4)

    def _tell_place(self) -> None:
        """What is on, if it has changed, below the lines from before the bot came."""
        if self._replays:
            _print(f"({self._replays} older lines: {Outcome.REPLAYED}, never answered)")
            self._replays = 0
        if self._stage.title != self._title:
            self._title = self._stage.title
            _banner(f"On the screen: {self._title}")


async def _take_lines(stage: Stage, *, leaves_at_end: bool) -> None:
    """Do what is typed, line by line."""
    lines: asyncio.Queue[str | None] = asyncio.Queue(1)
    arguments = (asyncio.get_running_loop(), lines)
    threading.Thread(target=_read_lines, args=arguments, daemon=True).start()
    while (line := await lines.get()) is not None:
        await take(stage, line.strip())
    if leaves_at_end:
        stage.stop.set()


def _read_lines(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str | None]) -> None:
    """In a thread, as not every system lets a loop wait for a terminal.

    Unbuffered: a buffer that somebody reads from can't be closed at the end of the process.
    """
    with suppress(OSError, RuntimeError, CancelledError):  # the loop has ended
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as typed:
            for line in typed:
                text = line.decode(errors="replace")
                asyncio.run_coroutine_threadsafe(lines.put(text), loop).result()
        asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()


async def take(stage: Stage, typed: str) -> None:
    """Do what somebody typed."""
    command, _, rest = typed.partition(" ")
    match command.lower():
        case "":
            await _hold_or_go_on(stage)
        case "/quit" | "/exit" | "/q":
            stage.stop.set()
        case "/pm" if rest:
            await stage.say(YOU, rest, private=True)
        case "/as" if rest:
            await _say_as(stage, *rest.partition(" ")[::2])
        case _ if not command.startswith("/"):
            await stage.say(YOU, typed, private=False)
        case _:
            for row in HELP:
                _print(f"! {row}")


async def _hold_or_go_on(stage: Stage) -> None:
    if not stage.is_over:
        speed = 0.0 if stage.film.rate else stage.setting.speed
        await stage.set_speed(speed)
        _banner("The film goes on" if speed else "The film stands still; Enter lets it go on")


async def _say_as(stage: Stage, name: str, text: str) -> None:
    if not _USER_NAME.fullmatch(name):
        _print("! A name is 1 to 20 letters, digits, - or _.")
    elif name.lower() == stage.setting.bot_name.lower():
        _print(f"! {name} is the bot; it speaks for itself.")
    elif text.strip():
        await stage.say(name, text, private=False)


def _banner(text: str) -> None:
    print()
    _print(f"--- {text} ---")
    print()


def _print(text: str, *, indent: int = 0) -> None:
    """`text` in rows as wide as the terminal, without anything that it would act upon."""
    width = min(MAX_COLUMNS, shutil.get_terminal_size((MAX_COLUMNS, 24)).columns)
    head = " " * indent
    shown = "".join(char if char.isprintable() else " " for char in text)
    rows = textwrap.wrap(
        shown, width, initial_indent=head, subsequent_indent=f"{head}  ", break_on_hyphens=False
    )
    print("\n".join(rows), flush=True)
