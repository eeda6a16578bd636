"""`llm-bot demo` as a process: piped, in a terminal, and with somebody who types."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from llm_bot.demo.stand_ins.model_server import StandInModelServer
from tests.servers import eventually

COMMAND = [sys.executable, "-m", "llm_bot", "demo"]
RUN_SECONDS = 120.0  # a run takes ten; the machine may be busy
OWN_LINE = re.compile(r"^>> \w+(?: to \S+, privately)?: (.*)$", re.MULTILINE)
EVENING = [
    {"t": t, "subject": f"cytube.events.elsewhere.{name}", "data": data}
    for t, name, data in (
        (0, "login", {"success": True, "name": "Hal"}),
        (1, "chatMsg", {"username": "alice", "msg": "Hal, \x1b]0;pwned\x07 new?", "time": 1000}),
        (2, "chatMsg", {"username": "Hal", "msg": "an old answer", "time": 2000}),
    )
]


def run(*arguments: str, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The demo to its end, where nobody sits at a terminal; `typed` comes out of a pipe."""
    command = [*COMMAND, *arguments]
    return subprocess.run(
        command, input=typed, capture_output=True, timeout=RUN_SECONDS, check=False
    )


def test_the_film_night_in_a_pipe():
    """Each line with what was decided, the bot's own among them, a summary, and nothing that is for
    a terminal; whoever can't sit at one takes part all the same, and the end of the pipe ends
    nothing."""
    done = run("--speed", "200", typed=b"hello out of a pipe\n")
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    shown = done.stdout.decode()
    assert OWN_LINE.search(shown)
    assert "\nYou: hello out of a pipe\n    no_match: " in shown
    assert "--- On the screen: Nosferatu (1922) ---" in shown
    assert re.search(r"\d+ lines heard, \d+ answered\.\n(?:[a-z_]+ \d+,\s+)+", shown)
    assert "\x1b" not in shown
    assert "\r" not in shown


def test_a_reader_may_leave():
    """`| head` ends it soon, without a traceback."""
    process = subprocess.Popen(
        [*COMMAND, "--speed", "20"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        assert process.stdout.readline() == b"llm_bot demo\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(RUN_SECONDS) == 141


@pytest.mark.parametrize(
    ("option", "content", "told"),
    [("--config", "nats: 3\n", "nats"), ("--recording", "{}\n", "file, line 1: missing t")],
)
def test_what_cannot_be_used_is_told(tmp_path, option, content, told):
    """With the problems of the file and exit code 1, as everywhere."""
    path = tmp_path / "file"
    path.write_text(content)
    done = run(option, str(path))
    assert (done.returncode, done.stdout) == (1, b"")
    assert told in done.stderr.decode()
    assert b"Traceback" not in done.stderr


async def test_a_configuration_brings_its_own_model_and_name(tmp_path):
    """With `--config` the film night is played in its room, with its bot, and asks its model."""
    async with StandInModelServer() as server:
        path = tmp_path / "config.yaml"
        path.write_text(
            f"""
nats: {{servers: ["nats://127.0.0.1:4222"]}}
channels: [{{name: Cellar}}, {{name: Attic}}]
bot: {{username: Projector}}
llm_api: {{provider: ollama, base_url: "{server.base_url}", model: mine}}
"""
        )
        with terminal("--terminal", "--config", str(path), "--speed", "20") as shown:
            await shown.until_async(r">> Projector: ")
            shown.leave(b"/quit\n")
        assert server.requests[0].body["model"] == "mine"
        assert "Projector" in server.requests[0].prompt


def test_a_port_that_is_taken_is_told():
    """In one line, with exit code 3, before anything starts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--port", str(port))
    assert done.returncode == 3
    assert done.stderr.decode() == f"port {port}: Address already in use\n"


def test_any_recording_can_be_played(tmp_path):
    """Another room's evening in the bot's own, without what the bot of that time said; nothing of
    it reaches a terminal but letters."""
    path = tmp_path / "evening.jsonl"
    path.write_text("".join(f"{json.dumps(event)}\n" for event in EVENING))
    shown = run("--recording", str(path), "--speed", "20").stdout.decode()
    assert "alice: Reel, ]0;pwned new?" in shown
    assert "\x1b" not in shown
    assert OWN_LINE.search(shown)
    assert "old answer" not in shown


class Terminal:
    """The demo in a terminal of its own; `text` is what it has shown."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._mine, theirs = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, **environment},
        )
        os.close(theirs)

    def type(self, keys: bytes) -> None:
        os.write(self._mine, keys)

    def until(self, pattern: str) -> str:
        """Read until `pattern` has been shown."""
        deadline = time.monotonic() + RUN_SECONDS
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"never shown: {pattern}\n{self.text}"
            ready, _, _ = select.select([self._mine], [], [], 0.1)
            if ready:
                try:
                    self.text += os.read(self._mine, 65536).decode(errors="replace")
                except OSError as exc:  # how Linux says that nobody has the other end open
                    raise AssertionError(f"it ended:\n{self.text}") from exc
        return self.text

    async def until_async(self, pattern: str) -> str:
        """The same, while something else of the test runs."""
        return await asyncio.to_thread(self.until, pattern)

    def leave(self, keys: bytes) -> None:
        """It ends in order when these are typed, with a summary."""
        self.type(keys)
        shown = self.until("lines heard")
        assert self.process.wait(RUN_SECONDS) == 0
        assert "Traceback" not in shown

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._mine)


@contextmanager
def terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    """One that is gone in the end."""
    opened = Terminal(*arguments, **environment)
    try:
        yield opened
    finally:
        opened.close()


def test_whoever_types_is_answered():
    """In private, and as anybody, with what is decided about each line; Ctrl-D leaves. Over SSH
    there is no need to ask for it."""
    with terminal(SSH_TTY="/dev/pts/1") as shown:
        shown.until("Join in: type a line that names Reel")
        shown.type(b"/pm hello there, who are you?\n")
        shown.until(r">> Reel to You, privately: \S+")
        shown.type("/as eve ünï \x07 evening\n".encode())
        shown.until(r"\neve: ünï +evening\r\n    no_match: ")
        shown.leave(b"\x04")


def test_ctrl_c_leaves_in_order():
    """Exit code 0, a summary, no traceback, and the terminal as it was."""
    with terminal("--terminal") as shown:
        shown.until(r">> Reel: ")
        shown.process.send_signal(signal.SIGINT)
        shown.leave(b"")


def test_a_browser_is_opened_for_whoever_has_one(tmp_path):
    """With the address that is printed."""
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\necho "$1" >{seen}.new && mv {seen}.new {seen}\n')
    browser.chmod(0o755)
    with terminal(DISPLAY=":0", BROWSER=f"{browser} %s", SSH_CONNECTION="", SSH_TTY="") as shown:
        address = re.search(r"http://127\.0\.0\.1:\d+/", shown.until("Ctrl-C"))
        asyncio.run(eventually(seen.exists, timeout=RUN_SECONDS))
        shown.process.send_signal(signal.SIGINT)
        assert shown.process.wait(RUN_SECONDS) == 0
    assert address
    assert seen.read_text().strip() == address[0]
