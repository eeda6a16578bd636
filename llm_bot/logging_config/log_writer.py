"""Writes the log from a thread of its own: a reader that stalls must not stall the bot.

A pipe that nobody reads, a terminal on hold, a full disk that blocks: each holds up whoever writes.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self, TextIO

log = logging.getLogger(__name__)

LINES_KEPT = 1000
"""That wait for the reader; what comes then is lost, and counted."""

CLOSE_SECONDS = 2.0
"""How long the end of the process waits for the last lines to be taken."""


class LogWriter:
    """Entered, it writes to `stream` in the background; left, at once, as before.

    `lost` counts the lines that found no room; once there is room again, the log says how many.
    Nothing here raises.
    """

    def __init__(self, stream: TextIO, *, size: int = LINES_KEPT) -> None:
        self.stream = stream
        self.lost = 0
        self._told = 0
        self._descriptor = _descriptor_of(stream)
        self._lines: queue.Queue[str | None] = queue.Queue(size)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, line: str) -> None:
        """Take one line, with its end."""
        if self._thread is None:
            self._put_out(line)
            return
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.lost += 1

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Wait so long for what was written to be taken. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        ends = time.monotonic() + seconds
        with suppress(queue.Full):
            self._lines.put(None, timeout=seconds)
        thread.join(max(0.0, ends - time.monotonic()))

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            self._put_out(line)
            if self.lost > self._told and self._lines.empty():
                lost, self._told = self.lost - self._told, self.lost
                log.warning("log.lines_lost", extra={"lost": lost})

    def _put_out(self, line: str) -> None:
        with suppress(OSError, ValueError):  # the reader has gone, or the stream was closed
            if self._descriptor is None:
                self.stream.write(line)
                self.stream.flush()
                return
            rest = line.encode(self.stream.encoding or "utf-8", "backslashreplace")
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


def _descriptor_of(stream: TextIO) -> int | None:
    """Where to write past the stream's buffer, whose lock would keep a stalled process from its
    end; None for what is no file."""
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
