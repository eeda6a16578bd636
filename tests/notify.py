"""A service manager as its daemon sees it: a datagram socket that hears what it is told."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Self

from tests.servers import eventually

STATES = ("READY", "RELOADING", "STOPPING")


class NotifySocket:
    """Hears notifications while it is entered. `address` is what `NOTIFY_SOCKET` is to hold."""

    def __init__(self, *, abstract: bool = False) -> None:
        # Not a test's own directory, whose path may be too long for a socket.
        self._directory = tempfile.TemporaryDirectory(prefix="notify-")
        path = str(Path(self._directory.name) / "socket")
        self.address = f"@{path}" if abstract else path
        self._bound = f"\0{path}" if abstract else path
        self._told: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        self._socket.setblocking(False)
        self._socket.bind(self._bound)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._directory.cleanup()

    @property
    def told(self) -> list[dict[str, str]]:
        """Each datagram so far, by the names in it."""
        while True:
            try:
                text = self._socket.recv(65_536).decode()
            except BlockingIOError:
                return self._told
            pairs = (line.partition("=") for line in text.split("\n"))
            self._told.append({name: value for name, _, value in pairs})

    def with_name(self, name: str) -> list[dict[str, str]]:
        """The datagrams that have `name`."""
        return [one for one in self.told if name in one]

    def values(self, name: str) -> list[str]:
        """What was told under `name`, in its order."""
        return [one[name] for one in self.with_name(name)]

    @property
    def states(self) -> list[str]:
        """The steps of its life, in their order."""
        return [name for one in self.told for name in STATES if name in one]

    async def hears(self, name: str, count: int = 1, *, timeout: float = 10.0) -> None:
        """Return when `name` was told so often."""
        await eventually(
            lambda: len(self.with_name(name)) >= count,
            timeout=timeout,
            what=f"{name} told {count} times, but {self.told}",
        )
