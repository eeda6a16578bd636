"""Real servers for tests, and waiting for what they do."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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
    predicate: Callable[[], object], *, timeout: float = 5.0, what: str = ""
) -> None:
    """Return once `predicate()` is true; fail when it still isn't after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or predicate}")
        await asyncio.sleep(POLL_SECONDS)


class NatsServer:
    """A nats-server process of its own on loopback. `config` is text for its configuration file.

    The port stays the same over `restart`, and so does what JetStream has stored.
    """

    def __init__(self, *, config: str = "", jetstream: bool = False) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="nats-test-")
        self._home = Path(self._directory.name)
        self._config = config
        self._jetstream = jetstream
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"nats://{LOOPBACK}:{self.port}"

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return (self._home / "log").read_text(errors="replace")

    def start(self) -> NatsServer:
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
        binary = shutil.which("nats-server")
        if binary is None:
            raise RuntimeError("no nats-server: install it with: apt-get install nats-server")
        settings = self._home / "nats.conf"
        settings.write_text(self._config)
        command = [binary, "-a", LOOPBACK, "-p", str(self.port), "-c", str(settings)]
        if self._jetstream:
            command += ["-js", "-sd", str(self._home / "store")]
        with (self._home / "log").open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        self._wait_ready()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._greets():
            assert self._process is not None
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                if ended and "address already in use" in self.log:
                    raise _PortTakenError(self.log)
                raise RuntimeError(f"nats-server didn't start:\n{self.log}")
            time.sleep(POLL_SECONDS)

    def _greets(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                return connection.recv(4) == b"INFO" and "Server is ready" in self.log
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

    def restart(self) -> None:
        """Start it again on the same port, ended before or not."""
        self.stop()
        self._launch()

    def remove(self) -> None:
        """End it and take its files away."""
        self.kill()
        self._directory.cleanup()


class _PortTakenError(RuntimeError):
    """Somebody else was quicker to listen on the port."""
