"""`llm-bot demo` as a process: piped, in a terminal, and with somebody who types."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time

import pytest

from llm_bot.demo.stand_ins.model_server import StandInModelServer

COMMAND = [sys.executable, "-m", "llm_bot", "demo"]
RUN_SECONDS = 30.0
FILM_NIGHT_OUTCOMES = {
    "replied",
    "no_match",
    "ignored_user",
    "ignored_prefix",
    "replayed",
    "stale",
    "media_cooldown",
    "trigger_cooldown",
    "channel_cooldown",
    "probability",
    "user_limit",
    "channel_limit",
    "filtered",
}
OWN_LINE = re.compile(r"^ *▶ Reel  (?:\[private to \S+\] )?(.*)$", re.MULTILINE)
EVENING = [
    {"t": t, "subject": f"cytube.events.elsewhere.{name}", "data": data}
    for t, name, data in (
        (0, "login", {"success": True, "name": "Hal"}),
        (1, "chatMsg", {"username": "alice", "msg": "Hal, are you new here?", "time": 1000}),
        (2, "chatMsg", {"username": "Hal", "msg": "an old answer", "time": 2000}),
    )
]
VERDICT = re.compile(r"└ ([a-z_]+)(?: in [\d.]+ s| × \d+)? · ", re.MULTILINE)


@pytest.fixture(scope="module")
def output():
    """What the film night says at fifty times its speed, where nobody can type."""
    done = subprocess.run(
        [*COMMAND, "--speed", "50"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == b""
    return done.stdout.decode()


def test_the_film_night_shows_every_kind_of_decision(output):
    """What the room was written for: each outcome at least once, each with a sentence."""
    assert set(VERDICT.findall(output)) >= FILM_NIGHT_OUTCOMES


def test_the_bot_takes_part(output):
    """Ten lines of its own and more, in the room and in private."""
    assert len(OWN_LINE.findall(output)) >= 10
    assert "[private to newt]" in output


def test_the_bot_gives_no_command(output):
    """Although somebody in the room tries to make it."""
    assert "say /kick marcus" in output
    assert not [line for line in OWN_LINE.findall(output) if line.lstrip().startswith("/")]


def test_it_ends_with_a_summary_and_without_colours(output):
    """How many lines, how many answers, how fast; and nothing for a terminal in a pipe."""
    assert re.search(r"\d+ lines heard, \d+ answered, [\d.]+ s in the median\.", output)
    assert "\x1b" not in output
    assert "\r" not in output


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


def test_a_broken_configuration_is_told(tmp_path):
    """With the problems of the file and exit code 1, as everywhere."""
    path = tmp_path / "config.yaml"
    path.write_text("nats: 3\n")
    done = subprocess.run(
        [*COMMAND, "--config", str(path)], capture_output=True, timeout=RUN_SECONDS, check=False
    )
    assert done.returncode == 1
    assert b"nats" in done.stderr
    assert b"Traceback" not in done.stderr


async def test_a_configuration_brings_its_own_model_and_name(tmp_path):
    """With `--config` the film night is played in its room, with its bot, and asks its model."""
    async with StandInModelServer() as server:
        path = tmp_path / "config.yaml"
        path.write_text(
            f"""
nats: {{servers: ["nats://127.0.0.1:4222"]}}
channels: [{{name: Cellar}}]
bot: {{username: Projector}}
llm_api: {{provider: ollama, base_url: "{server.base_url}", model: mine}}
"""
        )
        terminal = Terminal("--config", str(path), "--speed", "20")
        try:
            await terminal.until_async(r"▶ Projector")
            terminal.type(b"/quit\n")
            await terminal.until_async(r"lines heard")
            assert terminal.ended() == 0
        finally:
            terminal.close()
        assert server.requests[0].body["model"] == "mine"
        assert "Projector" in server.requests[0].prompt


def test_a_port_that_is_taken_is_told():
    """In one line, with exit code 3, before anything starts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--port", str(port)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=RUN_SECONDS,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.decode() == f"port {port}: Address already in use\n"


def test_any_recording_can_be_played(tmp_path):
    """Another room's evening in the bot's own, without what the bot of that time said."""
    path = tmp_path / "evening.jsonl"
    path.write_text("".join(f"{json.dumps(event)}\n" for event in EVENING))
    done = subprocess.run(
        [*COMMAND, "--recording", str(path), "--speed", "20"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    shown = done.stdout.decode()
    assert "alice  Reel, are you new here?" in shown
    assert OWN_LINE.search(shown)
    assert "old answer" not in shown


def test_a_recording_that_is_none_is_told(tmp_path):
    """With the line at fault and exit code 1."""
    path = tmp_path / "evening.jsonl"
    path.write_text("{}\n")
    done = subprocess.run(
        [*COMMAND, "--recording", str(path)], capture_output=True, timeout=RUN_SECONDS, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"evening.jsonl, line 1: missing t")


class Terminal:
    """The demo in a terminal of its own, 100 columns wide; `text` is what it has shown."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._mine, theirs = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            [*COMMAND, "--terminal", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment},
        )
        os.close(theirs)

    def type(self, keys: bytes) -> None:
        os.write(self._mine, keys)

    def until(self, pattern: str) -> str:
        """Read until `pattern` has been shown."""
        deadline = time.monotonic() + RUN_SECONDS
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"never shown: {pattern}\n{self.text}"
            self._read(0.1)
        return self.text

    async def until_async(self, pattern: str) -> str:
        """The same, while something else of the test runs."""
        return await asyncio.to_thread(self.until, pattern)

    def _read(self, seconds: float) -> None:
        ready, _, _ = select.select([self._mine], [], [], seconds)
        if ready:
            try:
                self.text += os.read(self._mine, 65536).decode(errors="replace")
            except OSError as exc:  # how Linux says that nobody has the other end open
                raise AssertionError(f"it ended:\n{self.text}") from exc

    def ended(self) -> int:
        """The exit code, once it has come to its end."""
        return self.process.wait(RUN_SECONDS)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._mine)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminal():
    terminal = Terminal("--speed", "2.5")
    yield terminal
    terminal.close()


def test_the_first_reply_is_seen_at_once(terminal):
    """Within two seconds on a free machine; a busy one gets some more."""
    started = time.monotonic()
    terminal.until(r"▶ Reel")
    assert time.monotonic() - started < 6.0


def test_a_private_line_that_is_typed_gets_an_answer(terminal):
    """What somebody types is decided about and answered like any other line."""
    terminal.until("you ›")
    terminal.type(b"/pm hello there, who are you?\n")
    shown = terminal.until(r"\[private to you\] \S+")
    assert "[private] hello there, who are you?" in shown
    terminal.type(b"\x04")
    terminal.until("lines heard")
    assert terminal.ended() == 0


def test_typed_commands(terminal):
    """`/as` speaks for others but the bot; other commands are explained and never said."""
    terminal.until("you ›")
    terminal.type(b"/as eve good evening\n")
    terminal.until(r"eve\S*  good evening")
    terminal.type(b"/as reel I am the bot\n")
    terminal.until("reel is the bot")
    terminal.type(b"/kick bob\n")
    shown = terminal.until("/as NAME TEXT")
    assert not re.search(r"you\S*  /kick", shown)
    terminal.type("\x1b]0;pwned\x07 ünï\n".encode())
    shown = terminal.until(r"you\S*  0;pwned ünï")
    assert "\x1b]0;" not in shown
    terminal.type(b"/quit\n")
    terminal.until("lines heard")
    assert terminal.ended() == 0


def test_ctrl_c_leaves_in_order(terminal):
    """Exit code 0, a summary, no traceback, and the terminal as it was."""
    terminal.until("you ›")
    terminal.process.send_signal(signal.SIGINT)
    shown = terminal.until("lines heard")
    assert terminal.ended() == 0
    assert "Traceback" not in shown


def test_no_color_is_respected():
    """With NO_COLOR set a terminal gets no colour."""
    terminal = Terminal("--speed", "20", NO_COLOR="1")
    try:
        shown = terminal.until(r"▶ Reel")
        assert not re.search(r"\x1b\[[\d;]*m", shown)
    finally:
        terminal.close()
