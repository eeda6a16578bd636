"""Text on a terminal: widths, wrapping, colours, and a line being typed below what scrolls.

Whatever a user writes goes through `harmless` before it gets here or is made so here: nothing in it
can move the cursor, ring, recolour or rename the window.
"""

from __future__ import annotations

import codecs
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO

FALLBACK_COLUMNS = 100
"""Where the output is no terminal."""

MAX_COLUMNS = 110
"""Longer rows are hard to read."""

MIN_COLUMNS = 40
MAX_TYPED_CHARACTERS = 400
"""More than the chat server takes in a line (320)."""

Style = str
"""Parameters of an ANSI colour sequence, such as `1;36`; empty for none."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|[^\[O\x1b]|(?=\x1b))")
_UNFINISHED_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?\Z")
_MANY_MARKS = re.compile(
    r"([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff])"
    r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+"
)
_WORD_END = re.compile(r"\S*\s*\Z")


def harmless(text: str) -> str:
    """`text` on one line, without anything that a terminal acts upon; marks don't pile up."""
    shown = "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)
    return _MANY_MARKS.sub(r"\1", shown)


def columns(text: str) -> int:
    """How many columns `text` takes, as well as that can be known."""
    return len(text) if text.isascii() else sum(_columns_of(char) for char in text)


def _columns_of(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def wrapped(text: str, width: int) -> list[str]:
    """`text` in rows of at most `width` columns, broken between words where that goes."""
    rows: list[str] = []
    row, used = "", 0
    for piece in _pieces(text, width):
        needed = columns(piece)
        if row and used + 1 + needed > width:
            rows.append(row)
            row, used = piece, needed
        else:
            row = f"{row} {piece}" if row else piece
            used = columns(row)
    return [*rows, row] if row or not rows else rows


def _pieces(text: str, width: int) -> Iterable[str]:
    for word in text.split(" "):
        while columns(word) > width:
            end = _fitting(word, width)
            yield word[:end]
            word = word[end:]
        if word:
            yield word


def _fitting(word: str, width: int) -> int:
    """How many of its first characters fit, at least one."""
    used = 0
    for at, char in enumerate(word):
        used += _columns_of(char)
        if used > width:
            return max(1, at)
    return len(word)


class Typing:
    """The line that is being typed: bytes of the terminal in, finished lines out. Pure."""

    def __init__(self) -> None:
        self.text = ""
        self.is_ended = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, data: bytes) -> list[str]:
        """Take what was typed. Returns the lines finished by it; Ctrl-D sets `is_ended`."""
        text = self._held + self._decoder.decode(data)
        unfinished = _UNFINISHED_ESCAPE.search(text)
        self._held = unfinished[0] if unfinished else ""
        text = text[: len(text) - len(self._held)]
        lines: list[str] = []
        for char in _ESCAPES.sub("", text):  # arrow keys and the like
            if char in "\r\n":
                lines.append(self.text)
                self.text = ""
            elif char in _EDITS:
                self.text = _EDITS[char](self.text)
            elif char == "\x04":
                self.is_ended = self.is_ended or not self.text
            elif char.isprintable() and len(self.text) < MAX_TYPED_CHARACTERS:
                self.text += char
        return lines


_EDITS: Mapping[str, Callable[[str], str]] = {
    "\x7f": lambda text: text[:-1],
    "\x08": lambda text: text[:-1],
    "\x15": lambda _: "",  # Ctrl-U
    "\x17": lambda text: _WORD_END.sub("", text.rstrip()),  # Ctrl-W
    "\t": lambda text: f"{text} ",
}


class Screen:
    """Rows on a stream, and below them what is being typed, if `typing` is set.

    A stream whose reader has gone closes the screen: `is_closed`, and `on_close` is called once.
    """

    def __init__(self, stream: TextIO, *, has_colour: bool, on_close: Callable[[], None]) -> None:
        self._stream = stream
        self._has_colour = has_colour
        self._on_close = on_close
        self.typing: Typing | None = None
        self.label = ""
        self.hint = ""
        self.is_closed = False

    @property
    def columns(self) -> int:
        """The width for rows."""
        size = shutil.get_terminal_size((FALLBACK_COLUMNS, 24))
        return max(MIN_COLUMNS, min(MAX_COLUMNS, size.columns))

    def paint(self, text: str, style: Style) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._has_colour and style and text else text

    def show(self, *rows: str) -> None:
        """Add rows above what is being typed."""
        erased = "" if self.typing is None else "\r\x1b[K"
        self._write(erased + "".join(f"{row}\n" for row in rows) + self._prompt())

    def refresh(self) -> None:
        """Show what is being typed anew."""
        self.show()

    def end_typing(self) -> None:
        """Take the line being typed away for good."""
        if self.typing is not None:
            self.typing = None
            self._write("\r\x1b[K")

    def _prompt(self) -> str:
        if self.typing is None:
            return ""
        width = shutil.get_terminal_size((FALLBACK_COLUMNS, 24)).columns
        room = max(1, width - columns(self.label) - 2)
        label = self.paint(self.label, "1")
        if not self.typing.text:
            hint = self.paint(self.hint[:room], "2")
            return f"{label} {hint}\r{label} "
        shown = self.typing.text
        while columns(shown) > room:
            shown = shown[1:]
        return f"{label} {shown}"

    def _write(self, text: str) -> None:
        if self.is_closed:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the reader has gone, the terminal was closed
            self.is_closed = True
            self._on_close()
