"""What every measurement needs around it: a NATS server of its own, and a publisher."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.processes import Process, helper
from tests.servers import NatsServer

# It neither drops a subscriber that is slower than the publisher, nor waits for it.
_SERVER = "max_pending: 1GB\nwrite_deadline: 60s\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is to be measured. `other` is the interpreter with FastStream and uvloop, if any."""

    rounds: int
    rooms: tuple[int, ...]
    other: str | None
    is_quick: bool
    own: str

    def some(self, count: int, quick: int) -> int:
        """`count`, or `quick` where it shall be quick."""
        return quick if self.is_quick else count


@dataclass(frozen=True, slots=True)
class Stage:
    """A running server and its publisher."""

    url: str
    port: int
    publisher: Process


@contextmanager
def stage() -> Iterator[Stage]:
    """Everything ends with the block."""
    server = NatsServer(config=_SERVER)
    try:
        server.start()
        with helper("publisher", str(server.port)) as publisher:
            publisher.line()
            yield Stage(server.url, server.port, publisher)
    finally:
        server.remove()
