"""What systemd is told about this process: ready, reloading, stopping, a status line, still alive.

Its protocol is a datagram of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names. Sending
never waits: where the socket is gone or full, the daemon goes on without.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum

from llm_bot.ports import Clock, SystemClock

log = logging.getLogger(__name__)

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
LOOK_SECONDS = 2.0
"""The status line is told when it changed, at most so often."""
EXTENSION_SECONDS = 30.0
"""While it starts or stops, the loop asks for so much more time with each look: however long a
server is waited for or replies are finished, only a loop that is stuck runs out of it."""
MIN_PING_SECONDS = 0.05

_MICROSECONDS = 1_000_000

Describe = Callable[[], str]
"""Makes the status line."""


class Phase(StrEnum):
    """Where in its life the process is, and what the status line begins with."""

    STARTING = "starting"
    RUNNING = "running"
    RELOADING = "reloading"
    STOPPING = "stopping"


class ServiceManager:
    """Made with the address of the socket, or without: then it tells nobody.

    `watchdog_seconds` is how long the manager waits for a sign of life, 0 if it doesn't.
    """

    def __init__(
        self, address: str = "", *, watchdog_seconds: float = 0.0, clock: Clock | None = None
    ) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_seconds = watchdog_seconds
        self._clock = clock or SystemClock()
        self._describe: Describe | None = None
        self._phase = Phase.STARTING
        self._told = ""
        self._owed: tuple[str, ...] = ()
        self._is_failing = False

    @classmethod
    def taken_from(
        cls, environ: MutableMapping[str, str], *, pid: int, clock: Clock | None = None
    ) -> ServiceManager:
        """The one that started the process `pid`, if any. Its variables are taken away: they are
        meant for this process, not for those that it may start."""
        address, usec, watched = (environ.pop(name, "") for name in VARIABLES)
        is_ours = watched in ("", str(pid))
        seconds = int(usec) / _MICROSECONDS if is_ours and _is_number(usec) else 0.0
        return cls(address, watchdog_seconds=seconds, clock=clock)

    @asynccontextmanager
    async def watch(self, describe: Describe) -> AsyncIterator[None]:
        """Keep the manager informed, from this loop alone: a stuck one is to be noticed."""
        if not self._address:
            yield
            return
        self._describe = describe
        tasks = {asyncio.create_task(self._every(LOOK_SECONDS, self._look))}
        if self._watchdog_seconds:
            pause = max(self._watchdog_seconds / 2, MIN_PING_SECONDS)
            tasks.add(asyncio.create_task(self._every(pause, self._ping)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def ready(self) -> None:
        """Started, or done with a reload."""
        self._enter(Phase.RUNNING, "READY=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Within it the configuration is being read anew."""
        now = int(self._clock.monotonic() * _MICROSECONDS)
        self._enter(Phase.RELOADING, "RELOADING=1", f"MONOTONIC_USEC={now}")
        try:
            yield
        finally:
            self.ready()

    def stopping(self) -> None:
        """On the way to the end. Idempotent."""
        if self._phase is not Phase.STOPPING:
            self._enter(Phase.STOPPING, "STOPPING=1", self._extension())

    async def _every(self, seconds: float, act: Callable[[], None]) -> None:
        while True:
            act()
            await self._clock.sleep(seconds)

    def _enter(self, phase: Phase, *lines: str) -> None:
        self._phase = phase
        self._told = self._status()
        # A later phase makes an earlier one that couldn't be told pointless.
        self._owed = () if self._send(*lines, f"STATUS={self._told}") else lines

    def _look(self) -> None:
        lines = list(self._owed)
        status = self._status()
        if self._owed or status != self._told:
            lines.append(f"STATUS={status}")
        if self._phase in (Phase.STARTING, Phase.STOPPING):
            lines.append(self._extension())
        if lines and self._send(*lines):
            self._told = status
            self._owed = ()

    def _ping(self) -> None:
        self._send("WATCHDOG=1")

    def _extension(self) -> str:
        return f"EXTEND_TIMEOUT_USEC={int(EXTENSION_SECONDS * _MICROSECONDS)}"

    def _status(self) -> str:
        text = "" if self._describe is None else self._describe()
        told = text if self._phase is Phase.RUNNING else f"{self._phase}; {text}"
        return " ".join(told.split())

    def _send(self, *lines: str) -> bool:
        if not self._address:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._is_failing:
                self._is_failing = True
                log.warning("systemd.not_told", extra={"error": str(error)})
            return False
        self._is_failing = False
        return True


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
