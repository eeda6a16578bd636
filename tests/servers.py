"""Real servers for tests, and waiting for what they do."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Self

LOOPBACK = "127.0.0.1"
START_SECONDS = 10.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.01


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


async def eventually(
    predicate: Callable[[], object], *, timeout: float = 20.0, what: str = ""
) -> None:
    """Return once `predicate()` is true; fail when it still isn't after `timeout` seconds.

    The failure says `what`, or else the line of the predicate.
    """
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or _source(predicate)}")
        await asyncio.sleep(POLL_SECONDS)


def comes_up(
    process: subprocess.Popen[bytes], is_ready: Callable[[], bool], seconds: float
) -> bool:
    """Wait until it is ready; false if it has ended, or isn't after so many `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)  # there is nothing to wait on but asking
    return True


def _source(predicate: Callable[[], object]) -> str:
    try:
        return inspect.getsource(predicate).strip()
    except (OSError, TypeError):
        return repr(predicate)


class Server(ABC):
    """A process of its own on loopback. `config` is text for its configuration file.

    The port stays the same over `restart`, and so do its files.
    """

    program: str
    package: str

    def __init__(self, *, config: str = "") -> None:
        self._directory = tempfile.TemporaryDirectory(prefix=f"{self.program}-test-")
        self._home = Path(self._directory.name)
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @abstractmethod
    def _command(self, binary: str, settings: Path) -> list[str]: ...

    @abstractmethod
    def _greets(self) -> bool:
        """Whether it is ready, seen from outside."""

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return (self._home / "log").read_text(errors="replace")

    def start(self) -> Self:
        """Start it and wait until it takes connections. A port of its own is chosen once."""
        if self.port:
            self._launch()
            return self
        for attempt in range(5):
            self.port = free_port()
            try:
                self._launch()
            except _PortTakenError:
                if attempt == 4:
                    raise
            else:
                break
        return self

    def _launch(self) -> None:
        binary = shutil.which(self.program)
        if binary is None:
            hint = f"apt-get install {self.package}"
            raise RuntimeError(f"no {self.program}: install it with: {hint}")
        settings = self._home / "settings"
        settings.write_text(self._config)
        with (self._home / "log").open("wb") as output:
            self._process = subprocess.Popen(
                self._command(binary, settings), stdout=output, stderr=output
            )
        self._wait_ready()

    def _wait_ready(self) -> None:
        assert self._process is not None
        if not comes_up(self._process, self._is_ready, START_SECONDS):
            ended = self._process.poll() is not None
            self.kill()
            if ended and "address already in use" in self.log.lower():
                raise _PortTakenError(self.log)
            raise RuntimeError(f"{self.program} didn't start:\n{self.log}")

    def _is_ready(self) -> bool:
        try:
            return self._greets()
        except OSError:
            return False

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop its process without ending it: connections stay, and nobody answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            os.waitpid(self._process.pid, os.WUNTRACED)  # it may still have answered meanwhile

    def resume(self) -> None:
        """Let a paused one go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def reload(self, config: str) -> None:
        """Have it read another configuration, without a restart."""
        self._config = config
        (self._home / "settings").write_text(config)
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def restart(self) -> None:
        """Start it again on the same port, ended before or not."""
        self.stop()
        self._launch()

    def remove(self) -> None:
        """End it and take its files away."""
        self.kill()
        self._directory.cleanup()


class NatsServer(Server):
    """A nats-server. What JetStream has stored stays over `restart`."""

    program = package = "nats-server"

    def __init__(self, *, config: str = "", jetstream: bool = False) -> None:
        super().__init__(config=config)
        self._jetstream = jetstream

    @property
    def url(self) -> str:
        return f"nats://{LOOPBACK}:{self.port}"

    def _command(self, binary: str, settings: Path) -> list[str]:
        command = [binary, "-a", LOOPBACK, "-p", str(self.port), "-c", str(settings)]
        if self._jetstream:
            command += ["-js", "-sd", str(self._home / "store")]
        return command

    def _greets(self) -> bool:
        with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
            return connection.recv(4) == b"INFO" and "Server is ready" in self.log


class RedisServer(Server):
    """A redis-server that stores nothing."""

    program = package = "redis-server"

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}"

    def _command(self, binary: str, settings: Path) -> list[str]:
        options = {"port": self.port, "bind": LOOPBACK, "dir": self._home, "save": ""}
        flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        return [binary, str(settings), *flags]

    def _greets(self) -> bool:
        with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7) in (b"+PONG\r\n", b"-NOAUTH")


class _PortTakenError(RuntimeError):
    """Somebody else was quicker to listen on the port."""
