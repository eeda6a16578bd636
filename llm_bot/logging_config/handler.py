"""Writes the log, from a thread if wanted: a reader that stalls must not stall the bot.

A pipe that nobody reads, a terminal on hold, a full disk that blocks: each holds up whoever writes.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TextIO

log = logging.getLogger(__name__)

LINES_KEPT = 1000
"""That wait for the reader; what comes then is lost, and counted."""

CLOSE_SECONDS = 2.0
"""How long the end of the process waits for the last lines to be taken."""


class LogHandler(QueueHandler):
    """Formats each record where it is logged, and writes the line to `stream`.

    `lost` counts the lines that found no room while a thread wrote. Nothing here raises.
    """

    def __init__(self, stream: TextIO, *, size: int = LINES_KEPT) -> None:
        self.lines: queue.Queue[str | None] = queue.Queue(size)
        super().__init__(self.lines)
        self.stream = stream
        self.secrets: tuple[str, ...] = ()
        self.lost = 0
        self._is_queued = False

    @contextmanager
    def in_background(self, *, close_seconds: float = CLOSE_SECONDS) -> Iterator[None]:
        """While entered, a thread writes to the stream's file. Left, it has `close_seconds` to end.

        Raises:
            OSError: The stream is no file.
        """
        listener = _Listener(self)
        listener.start()
        self._is_queued = True
        try:
            yield
        finally:
            stopping = threading.Thread(target=listener.stop, daemon=True)
            stopping.start()
            stopping.join(close_seconds)
            self._is_queued = stopping.is_alive()  # nobody else shall wait for that reader

    def prepare(self, record: logging.LogRecord) -> str:
        return self.format(record) + "\n"

    def enqueue(self, record: Any) -> None:
        if not self._is_queued:
            self.stream.write(record)
            self.stream.flush()
            return
        try:
            self.lines.put_nowait(record)
        except queue.Full:
            self.lost += 1

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """The reader has gone, and the log is the last who could tell."""


class _Listener(QueueListener):
    """Writes past the stream's buffer: the end of the process would wait for one that stalls."""

    def __init__(self, handler: LogHandler) -> None:
        super().__init__(handler.lines)
        self._handler = handler
        self._told = handler.lost
        self._descriptor = handler.stream.fileno()

    def handle(self, record: Any) -> None:
        line = record.encode(self._handler.stream.encoding, "backslashreplace")
        with suppress(OSError):  # the reader has gone
            while line:
                line = line[os.write(self._descriptor, line) :]
        lost = self._handler.lost - self._told
        if lost and self._handler.lines.empty():
            self._told += lost
            log.warning("log.lines_lost", extra={"lost": lost})

    def enqueue_sentinel(self) -> None:
        self._handler.lines.put(None)  # waits for room, where the library's raises
