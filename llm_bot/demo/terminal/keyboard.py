"""The terminal's keyboard while rows scroll: what is typed stays together at the bottom."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from llm_bot.demo.terminal.screen import Screen, Typing

READ_BYTES = 4096
MAX_WAITING_LINES = 100
"""Of a long text pasted in; the rest is left out."""


def can_type() -> bool:
    """Whether somebody sits at a terminal that shows us and that we may read from."""
    if sys.stdin is None or sys.stdout is None or os.environ.get("TERM") == "dumb":
        return False
    try:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()  # else reading would stop us
    except (OSError, ValueError):
        return False


class Keyboard:
    """`with Keyboard(screen, on_end=...) as keyboard:` and `await keyboard.lines.get()`.

    Within it keys arrive one by one and are shown by the screen; Ctrl-C is a signal as ever. Ctrl-D
    on an empty line, and a terminal that goes away, call `on_end`.
    """

    def __init__(self, screen: Screen, *, on_end: Callable[[], None]) -> None:
        self.lines: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING_LINES)
        self._screen = screen
        self._on_end = on_end
        self._typing = Typing()
        self._fd = sys.stdin.fileno()
        self._loop = asyncio.get_running_loop()
        self._before = termios.tcgetattr(self._fd)

    def __enter__(self) -> Self:
        tty.setcbreak(self._fd)
        self._loop.add_reader(self._fd, self._read)
        self._screen.typing = self._typing
        self._screen.refresh()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.remove_reader(self._fd)
        self._screen.end_typing()
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._fd)
            self._on_end()
            return
        for line in self._typing.feed(data):
            with suppress(asyncio.QueueFull):
                self.lines.put_nowait(line)
        if self._typing.is_ended:
            self._on_end()
        self._screen.refresh()
