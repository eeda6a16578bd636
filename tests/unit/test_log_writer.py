"""The thread that writes the log: order, room for a stalled reader, the end."""

from __future__ import annotations

import io
import logging
import os
import threading

import pytest

from llm_bot.logging_config.log_writer import LogWriter
from tests.servers import eventually


class Held(io.StringIO):
    """Takes nothing while `go` isn't set, as a pipe that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.entered = threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        self.go.wait(20)
        return super().write(text)


def test_before_and_after_it_writes_at_once():
    """Without its thread it is what it was: a stream."""
    stream = io.StringIO()
    writer = LogWriter(stream)
    writer.write("one\n")
    assert stream.getvalue() == "one\n"
    with writer:
        writer.write("two\n")
    writer.write("three\n")
    writer.close()
    assert stream.getvalue() == "one\ntwo\nthree\n"


async def test_a_stalled_reader_holds_up_nobody(caplog):
    """LOG-7: so many lines wait, the further ones are lost and counted, and in the end told."""
    stream = Held()
    with LogWriter(stream, size=3) as writer:
        writer.write("0\n")
        assert stream.entered.wait(20)
        for number in range(1, 10):
            writer.write(f"{number}\n")  # would never return
        assert writer.lost == 6
        with caplog.at_level(logging.WARNING):
            stream.go.set()
            await eventually(lambda: "log.lines_lost" in caplog.messages)
    assert stream.getvalue().split() == ["0", "1", "2", "3"]
    (told,) = caplog.records
    assert vars(told)["lost"] == 6


def test_the_end_does_not_wait_for_ever():
    """LOG-7: what nobody takes is given up."""
    stream = Held()
    writer = LogWriter(stream, size=1).__enter__()
    writer.write("0\n")
    assert stream.entered.wait(20)
    writer.write("1\n")
    writer.close(0.05)
    stream.go.set()


@pytest.mark.parametrize("how", ["closed", "gone"])
def test_a_stream_that_fails(how):
    """Nobody is told by an exception: the log is the last who could."""
    if how == "closed":
        stream: io.TextIOBase = io.StringIO()
        stream.close()
    else:
        reading, writing = os.pipe()
        os.close(reading)
        stream = open(writing, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    with LogWriter(stream) as writer:  # type: ignore[arg-type]
        writer.write("one\n")
        writer.write("two\n")
    assert writer.lost == 0
    stream.close()


def test_a_pipe_gets_every_byte():
    """More than fits at once, in the encoding of the stream; nothing stays in a buffer."""
    reading, writing = os.pipe()
    text = "ü" * 200_000 + "\n"
    read: list[bytes] = []

    def take() -> None:
        with open(reading, "rb") as pipe:
            read.append(pipe.read())

    reader = threading.Thread(target=take)
    reader.start()
    with open(writing, "w", encoding="latin-1") as stream, LogWriter(stream) as writer:
        writer.write(text)
        writer.write("漢\n")
    reader.join(20)
    assert read == [text.encode("latin-1") + b"\\u6f22\n"]
