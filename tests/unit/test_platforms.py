"""Where there is no POSIX: what starts, and how the daemon ends, in an interpreter without it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SECONDS = 60.0

# What the standard library and others need of POSIX on this machine is there before it goes.
WITHOUT_POSIX = """
import asyncio, asyncio.unix_events, logging.handlers, multiprocessing.util, os, subprocess
import signal, sys
for name in ("termios", "tty", "pty", "fcntl", "pwd", "grp", "resource", "readline", "syslog"):
    sys.modules[name] = None
for module, names in {
    signal: ("pthread_sigmask", "pthread_kill", "sigtimedwait", "sigwait", "SIGHUP", "SIGUSR1",
             "SIGUSR2", "SIGWINCH", "SIGQUIT", "SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK"),
    os: ("getuid", "geteuid", "getgid", "getegid", "fork", "getpgid", "killpg", "uname", "sysconf"),
    asyncio.unix_events._UnixSelectorEventLoop: ("add_signal_handler", "remove_signal_handler"),
}.items():
    for name in names:
        delattr(module, name)
from llm_bot.__main__ import main
"""
CONFIG = """
nats: {servers: ["nats://127.0.0.1:1"]}
bus: {type: memory}
channels: [{name: lounge}]
bot: {username: MyBot}
llm_api: {provider: ollama, base_url: "http://127.0.0.1:1/v1", model: m}
health: {enabled: false}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


@contextmanager
def started(code: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WITHOUT_POSIX + code]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        bound = threading.Timer(SECONDS, process.kill)
        bound.start()
        yield process
        process.wait()
        bound.cancel()


@pytest.mark.parametrize(
    "code",
    [
        "assert main(['--help']) == 0",
        "assert main(['check', '--config', {config!r}]) == 0",
        "assert main(['schema']) == 0",
        "import llm_bot.cli.demo, llm_bot.cli.why, llm_bot.cli.healthcheck, llm_bot.cli.models",
        "import llm_bot.llm_client, llm_bot.bus, llm_bot.agents, llm_bot.bus.redis",
    ],
)
def test_what_needs_no_posix(code: str, config: Path) -> None:
    """Commands, the demo and the library start without what only POSIX has."""
    with started(code.format(config=str(config))) as process:
        _, error = process.communicate()
    assert (process.returncode, error) == (0, "")


def test_ctrl_c_stops_the_daemon(config: Path) -> None:
    """In order, where the event loop takes no signal handlers (LIFE-3)."""
    with started(f"sys.exit(main(['--config', {str(config)!r}]))") as process:
        assert process.stderr
        lines = iter(process.stderr)
        assert any("app.ready" in line for line in lines)
        process.send_signal(signal.SIGINT)
        assert any("app.stopped" in line for line in lines)
    assert process.returncode == 0
