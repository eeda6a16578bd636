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
MIN_LOOK_SECONDS = 0.05
EXTENSION = "EXTEND_TIMEOUT_USEC=30000000"
"""While it starts or stops, the loop asks for so much more time with each look: however long a
server is waited for or replies are finished, only a loop that is stuck runs out of it."""

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
        self._describe: Describe = str
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
        is_number = usec.isascii() and usec.isdigit() and len(usec) < 20
        seconds = int(usec) / 1e6 if is_number and watched in ("", str(pid)) else 0.0
        return cls(address, watchdog_seconds=seconds, clock=clock)

    @asynccontextmanager
    async def watch(self, describe: Describe) -> AsyncIterator[None]:
        """Keep the manager informed, from this loop alone: a stuck one is to be noticed."""
        if not self._address:
            yield
            return
        self._describe = describe
        task = asyncio.create_task(self._keep_informed())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    def ready(self) -> None:
        """Started, or done with a reload."""
        self._enter(Phase.RUNNING, "READY=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Within it the configuration is being read anew."""
        now = int(self._clock.monotonic() * 1e6)
        self._enter(Phase.RELOADING, "RELOADING=1", f"MONOTONIC_USEC={now}")
        try:
            yield
        finally:
            self.ready()

    def stopping(self) -> None:
        """On the way to the end. Idempotent."""
        if self._phase is not Phase.STOPPING:
            self._enter(Phase.STOPPING, "STOPPING=1", EXTENSION)

    def _enter(self, phase: Phase, *lines: str) -> None:
        self._phase = phase
        # A later phase makes an earlier one that couldn't be told pointless.
        self._owed = lines
        self._tell(*lines)

    async def _keep_informed(self) -> None:
        pause, has_watchdog = LOOK_SECONDS, self._watchdog_seconds > 0
        if has_watchdog:
            pause = min(pause, max(self._watchdog_seconds / 2, MIN_LOOK_SECONDS))
        while True:
            lines = ["WATCHDOG=1"] if has_watchdog else []
            if self._phase in (Phase.STARTING, Phase.STOPPING):
                lines.append(EXTENSION)
            self._tell(*lines)
            await self._clock.sleep(pause)

    def _tell(self, *lines: str) -> None:
        """Send `lines`, what is still owed, and the status if it has changed."""
        if not self._address:
            return
        text = self._describe()
        told = text if self._phase is Phase.RUNNING else f"{self._phase}; {text}"
        status = " ".join(told.split())
        due = dict.fromkeys((*self._owed, *lines))
        if self._owed or status != self._told:
            due[f"STATUS={status}"] = None
        if due and self._send("\n".join(due)):
            self._told, self._owed = status, ()

    def _send(self, text: str) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode(), self._address)
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                log.warning("systemd.not_told", extra={"error": str(error)})
            self._is_failing = True
        return not self._is_failing
