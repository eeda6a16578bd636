"""A process that publishes chat lines over a raw socket, as fast as NATS takes them or at a pace.

    python -m benchmarks.publisher PORT

Orders come as lines of JSON on standard input, each answered by one line when it is done:
`{"kind": "flood", "rooms": ["a"], "count": 1000}`, or `newcomers`, or `pace` with a `rate`.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.events import TEXTS, USERS, body, frame, lines, newcomers, subject

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 256 * 1024
CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"name":"benchmark","lang":"raw"}\r\n'


class Line:
    """A connection to a NATS server that only publishes."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((LOOPBACK, port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._expect(b"INFO ")
        self._socket.sendall(CONNECT)
        self.flush()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def flush(self) -> None:
        """Return when the server has taken everything."""
        self._socket.sendall(b"PING\r\n")
        self._expect(b"PONG")

    def _expect(self, word: bytes) -> None:
        """Read until a line begins so; answer the server's own pings meanwhile."""
        while True:
            line, end, rest = self._received.partition(b"\r\n")
            if not end:
                received = self._socket.recv(65536)
                if not received:
                    raise ConnectionError("the server hung up")
                self._received += received
                continue
            self._received = rest
            if line == b"PING":
                self._socket.sendall(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                raise ConnectionError(line.decode())
            elif line.startswith(word):
                return


def flood(to: Line, data: bytes) -> dict[str, float]:
    """Publish all of it as fast as the server takes it."""
    started = time.monotonic()
    for at in range(0, len(data), CHUNK_BYTES):
        to.send(data[at : at + CHUNK_BYTES])
    to.flush()
    return {"started": started, "finished": time.monotonic(), "bytes": len(data)}


def pace(to: Line, rooms: Sequence[str], count: int, rate: float, mention: str) -> dict[str, float]:
    """Publish `count` lines at `rate` a second; the correlation id is the nanosecond of sending.

    With `mention` each line names the bot, and comes from somebody else.
    """
    started = time.monotonic()
    for number in range(count):
        due = started + number / rate
        while (wait := due - time.monotonic()) > 0:
            time.sleep(wait)
        room = rooms[number % len(rooms)]
        user = f"asker{number}" if mention else USERS[number % len(USERS)]
        text = f"{mention}{TEXTS[number % len(TEXTS)]} {number}"
        to.send(frame(subject(room), body(room, user, text, time.time(), time.monotonic_ns())))
    to.flush()
    return {"started": started, "finished": time.monotonic()}


def obey(to: Line, order: dict[str, Any], first: int) -> dict[str, float]:
    """Do what one order says; `first` is the number of its first line."""
    rooms, count = order["rooms"], order["count"]
    match order["kind"]:
        case "flood":
            return flood(to, b"".join(lines(rooms, count, time.time(), first)))
        case "newcomers":
            return flood(to, b"".join(newcomers(rooms, count, time.time())))
        case "pace":
            return pace(to, rooms, count, order["rate"], order.get("mention", ""))
        case other:
            raise ValueError(f"no such order: {other}")


def main(port: int) -> None:
    to = Line(port)
    sent = 0
    print(json.dumps({"ready": True}), flush=True)
    for order in map(json.loads, sys.stdin):
        print(json.dumps(obey(to, order, sent)), flush=True)
        sent += order["count"]


if __name__ == "__main__":
    main(int(sys.argv[1]))
