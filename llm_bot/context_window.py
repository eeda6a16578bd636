"""The latest lines of a conversation, bounded in number and age. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec


class WindowLine(msgspec.Struct, frozen=True, gc=False):
    """One line as the model will see it. `time` is Unix epoch seconds."""

    user: str
    text: str
    time: float
    is_own: bool = False
    correlation_id: str = ""

    def __getitem__(self, name: str) -> str:
        """`role`, `content` or `user_id`: what other agents call these. Raises `KeyError`."""
        match name:
            case "role":
                return "assistant" if self.is_own else "user"
            case "content":
                return self.text
            case "user_id":
                return self.user
        raise KeyError(name)


class ContextWindow:
    """At most `size` lines, none older than `max_age_seconds`; adding one costs the same always."""

    __slots__ = ("_lines", "_max_age_seconds", "_size")

    def __init__(self, size: int, max_age_seconds: float) -> None:
        self._size = size
        self._max_age_seconds = max_age_seconds
        self._lines: deque[WindowLine] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[WindowLine]:
        return iter(self._lines)

    def add(self, line: WindowLine) -> None:
        """A line that was said just now: it comes last, whatever a clock that was set back says."""
        lines = self._lines
        if lines and line.time < lines[-1].time:
            line = msgspec.structs.replace(line, time=lines[-1].time)
        lines.append(line)
        oldest = line.time - self._max_age_seconds
        while lines[0].time < oldest:
            lines.popleft()

    def insert(self, line: WindowLine) -> None:
        """An old line, in its place in time; if it's too old or has no room there, nowhere."""
        lines = self._lines
        if not lines or line.time >= lines[-1].time:
            self.add(line)
            return
        if line.time < lines[-1].time - self._max_age_seconds:
            return
        at = len(lines) - 1
        while at and lines[at - 1].time > line.time:
            at -= 1
        if len(lines) < self._size:
            lines.insert(at, line)
        elif at:
            lines.popleft()
            lines.insert(at - 1, line)

    def latest(self, limit: int, now: float) -> list[WindowLine]:
        """The newest `limit` lines that aren't too old at epoch time `now`, oldest first."""
        oldest = now - self._max_age_seconds
        found: list[WindowLine] = []
        for line in reversed(self._lines):
            if len(found) >= limit:
                break
            if line.time >= oldest:
                found.append(line)
        found.reverse()
        return found

    def clear(self) -> None:
        self._lines.clear()

    def resize(self, size: int, max_age_seconds: float) -> None:
        """Other bounds from now on; the newest lines that fit stay."""
        self._size, self._max_age_seconds = size, max_age_seconds
        self._lines = deque(self._lines, maxlen=size)
