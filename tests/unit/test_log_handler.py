"""The thread that writes the log: order, room for a stalled reader, the end."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

import pytest

from llm_bot.logging_config import LogHandler
from tests.servers import eventually

MORE_THAN_A_PIPE_HOLDS = "0" * 200_000
log = logging.getLogger("llm_bot.test")


class Pipe:
    """A pipe, the writing end of which is a stream."""

    def __init__(self) -> None:
        self._reading, writing = os.pipe()
        self.stream: TextIO = open(writing, "w", encoding="latin-1")  # noqa: SIM115
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)

    def read(self) -> None:
        """Take what there is, and what comes until the stream is closed."""
        self._reader.start()

    def _read(self) -> None:
        with open(self._reading, encoding="latin-1") as reading:
            for line in reading:
                self.lines.append(line.rstrip("\n"))

    def close(self) -> None:
        self.stream.close()
        if self._reader.ident is None:
            self.read()
        self._reader.join(120)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def handler_of(stream: TextIO, size: int = 1000) -> LogHandler:
    """What writes the root's log to `stream`, beside whatever pytest has there."""
    handler = LogHandler(stream, size=size)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


@pytest.fixture
def handler(pipe: Pipe) -> Iterator[LogHandler]:
    """With room for three lines."""
    handler = handler_of(pipe.stream, size=3)
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


async def test_before_and_after_it_writes_at_once(pipe, handler):
    """Without its thread it is a stream's handler; with it every byte comes, in the stream's
    encoding."""
    pipe.read()
    log.warning("one")
    with handler.in_background():
        log.warning("ü" * 200_000)
        log.warning("漢")
    log.warning("three")
    await eventually(lambda: len(pipe.lines) == 4)
    assert pipe.lines == ["one", "ü" * 200_000, "\\u6f22", "three"]


async def test_a_stalled_reader_holds_up_nobody(pipe, handler):
    """LOG-7: so many lines wait, the further ones are lost and counted, and in the end told."""
    with handler.in_background():
        log.warning(MORE_THAN_A_PIPE_HOLDS)
        await eventually(handler.lines.empty)
        for number in range(1, 10):
            log.warning(str(number))  # would never return
        assert handler.lost == 6
        pipe.read()
        await eventually(lambda: "log.lines_lost" in pipe.lines)
    assert pipe.lines == [MORE_THAN_A_PIPE_HOLDS, "1", "2", "3", "log.lines_lost"]


def test_the_end_does_not_wait_for_ever(pipe, handler):
    """LOG-7: what nobody takes is given up, and what is logged afterwards waits for nobody."""
    with handler.in_background(close_seconds=0.05):
        for _ in range(10):
            log.warning(MORE_THAN_A_PIPE_HOLDS)
    log.warning("after")
    assert handler.lost >= 6


def test_a_process_ends_while_its_reader_stalls():
    """LOG-7: neither the thread nor a lock that it holds keeps the interpreter from its end."""
    code = (
        "import sys, logging\n"
        "from llm_bot.logging_config import LogHandler\n"
        "handler = LogHandler(sys.stderr)\n"
        "logging.getLogger().addHandler(handler)\n"
        "with handler.in_background(close_seconds=0.05):\n"
        "    for _ in range(5):\n"
        "        logging.error('x' * 200_000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert process.wait(120) == 0
    process.communicate()


@pytest.mark.parametrize("in_background", [False, True])
def test_a_reader_that_has_gone(capsys, in_background):
    """Nobody is told by an exception, nor on standard error: the log is the last who could."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = open(writing, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    handler = handler_of(stream)
    record = logging.makeLogRecord({"msg": "one"})
    if in_background:
        with handler.in_background():
            handler.handle(record)
    else:
        handler.handle(record)
    assert handler.lost == 0
    with suppress(BrokenPipeError):
        stream.close()
    assert capsys.readouterr() == ("", "")
