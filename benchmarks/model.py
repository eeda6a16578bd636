"""A process that answers like a model server, after a delay, and never the same twice.

    python -m benchmarks.model SECONDS

It says `{"port": N}`, and ends with whoever started it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import threading
from functools import partial
from typing import cast

LOOPBACK = "127.0.0.1"
THINGS = ("boat", "lighthouse", "red car", "old dog", "letter", "piano", "storm", "bridge")
_numbers = itertools.count(1)


def answer() -> bytes:
    """A whole HTTP response with a completion of one line."""
    number = next(_numbers)
    text = f"Number {number} has to be the one with the {THINGS[number % len(THINGS)]} in it"
    message = {"role": "assistant", "content": text}
    completion = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1,
        "model": "stand-in",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 15, "total_tokens": 315},
    }
    body = json.dumps(completion).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


class Endpoint(asyncio.Protocol):
    """Takes one request after another on a connection."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = body[length:]
        asyncio.get_running_loop().call_later(self._delay, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer())


def end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


async def main(delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Endpoint, delay), LOOPBACK, backlog=500)
    threading.Thread(target=end_with_parent, daemon=True).start()
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
