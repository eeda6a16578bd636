"""An HTTP server on loopback that answers what it was told to, in order.

    async with ScriptedServer() as server:
        server.script(Answer(503), chat("Hello"))
        ...  # ask server.url; server.requests says what came

When the script has run out, it answers 500 and says so.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

PATIENCE_SECONDS = 10  # after this a test that waits for the server fails instead of hanging


@dataclass(frozen=True)
class Answer:
    """A whole answer: bytes and texts as they are, anything else as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    gate: asyncio.Event | None = None  # answered once it is set


@dataclass(frozen=True)
class Stall:
    """Sends `pieces` of a body (without any: not even headers) and then nothing more."""

    pieces: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Reset:
    """Sends `pieces` of a body (without any: not even headers) and drops the connection."""

    pieces: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Flood:
    """Sends a body without end, until the client leaves."""

    status: int = 200


Step = Answer | Stall | Reset | Flood


@dataclass(frozen=True)
class Received:
    """A request as it came; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def chat(content: Any = "Hello", *, finish_reason: Any = "stop", **message: Any) -> Answer:
    """The usual answer of a chat server."""
    return Answer(body=chat_body(content, finish_reason=finish_reason, **message))


def chat_body(content: Any = "Hello", *, finish_reason: Any = "stop", **message: Any) -> Any:
    """The JSON of the usual answer."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "served-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, **message},
                "finish_reason": finish_reason,
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
    }


class ScriptedServer:
    """See the module. `floods` counts the bytes that floods managed to send."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.floods = 0
        self.url = ""
        self._script: deque[Step] = deque()
        self._released = asyncio.Event()
        self._changed = asyncio.Condition()
        self._server = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        await self._runner.cleanup()

    def script(self, *steps: Step) -> None:
        """Answer the next requests like this, one after another."""
        self._script.extend(steps)

    def script_is_over(self) -> None:
        """Forget what wasn't asked for."""
        self._script.clear()

    @property
    def open_connections(self) -> int:
        # aiohttp keeps a connection that was lost in its list for as long as a handler runs.
        return sum(1 for each in self._server.connections if each.transport is not None)

    async def wait_for_requests(self, number: int) -> None:
        """Return when that many requests have come since the start."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= number)

    async def wait_for_no_connection(self) -> None:
        """Return when no client is connected any more."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.open_connections:  # noqa: ASYNC110 -- aiohttp has no event for it
                await asyncio.sleep(0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(request.method, request.path_qs, headers, await request.read())
        async with self._changed:
            self.requests.append(received)
            self._changed.notify_all()
        match self._script.popleft() if self._script else Answer(500, "the script has run out"):
            case Answer() as answer:
                if answer.gate is not None:
                    await answer.gate.wait()
                return _whole(answer)
            case Stall(pieces):
                response = await _begin(request, pieces)
                await self._released.wait()
                return response
            case Reset(pieces):
                response = await _begin(request, pieces)
                assert request.transport is not None
                request.transport.abort()
                return response
            case Flood(status):
                return await self._flood(request, status)

    async def _flood(self, request: web.BaseRequest, status: int) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        block = b" " * 65536
        try:
            while not self._released.is_set():
                await response.write(block)
                self.floods += len(block)
        except ConnectionError:
            pass
        return response


async def _begin(request: web.BaseRequest, pieces: tuple[bytes, ...]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "application/json"})
    if pieces:
        await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
    return response


def _whole(answer: Answer) -> web.Response:
    body, kind = answer.body, "text/plain"
    if not isinstance(body, (bytes, str)):
        body, kind = json.dumps(body), "application/json"
    raw = body.encode() if isinstance(body, str) else body
    return web.Response(
        status=answer.status, body=raw, headers={"content-type": kind, **answer.headers}
    )
