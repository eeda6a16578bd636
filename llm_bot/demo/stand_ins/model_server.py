"""A stand-in for a model: a small OpenAI-compatible server on loopback, for the demo and tests.

There is no model in it. It answers with lines composed in advance, the same ones for the same
prompt, and says so: its only model is called `stand-in`. Token counts are estimates.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from aiohttp import web

from llm_bot.demo.stand_ins.scene import answer_to

MODEL_ID = "stand-in"
HOST = "127.0.0.1"
REQUESTS_KEPT = 500
CHARACTERS_PER_TOKEN = 4
MAX_BODY_BYTES = 4 * 1024 * 1024
SHUTDOWN_SECONDS = 0.5  # an answer that is still being delayed is not worth waiting for
RETRY_AFTER_SECONDS = 5

Mode = Literal["ok", "timeout", "500", "429"]


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request for a completion, as it arrived; names of headers are found in any case."""

    body: dict[str, Any]
    headers: Mapping[str, str]

    @property
    def prompt(self) -> str:
        """All texts of its messages, in order."""
        return "\n".join(message["content"] for message in self.body["messages"])


class StandInModelServer:
    """`async with StandInModelServer() as server:` listens, and `server.base_url` says where.

    `delay_seconds`, how long it pretends to think, may be changed at any time, and so may `mode`,
    how it fails: "timeout" leaves requests without an answer until it is another one.
    """

    def __init__(self, *, port: int = 0, delay_seconds: float = 0.0) -> None:
        self.delay_seconds = delay_seconds
        self.port = port
        self.requests: deque[ReceivedRequest] = deque(maxlen=REQUESTS_KEPT)
        self._mode: Mode = "ok"
        self._mode_left = asyncio.Event()
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        self._mode_left.set()  # for whoever waits in the mode that was
        self._mode_left = asyncio.Event()

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, self.port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.mode = "ok"  # requests that hang would hold up the end
        await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.Response:
        received = ReceivedRequest(await request.json(), request.headers)
        self.requests.append(received)
        match self.mode:
            case "500":
                return _error(500, "It was told to fail.", "server_error")
            case "429":
                refusal = _error(429, "It was told to refuse.", "rate_limit_error")
                refusal.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
                return refusal
            case "timeout":
                await self._mode_left.wait()
        await asyncio.sleep(self.delay_seconds)
        return web.json_response(_completion(answer_to(received.body), received.prompt))


def _completion(answer: str, prompt: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer}
    asked, written = _tokens(prompt), _tokens(answer)
    return {
        "object": "chat.completion",
        "model": MODEL_ID,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": asked,
            "completion_tokens": written,
            "total_tokens": asked + written,
        },
    }


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _error(status: int, message: str, kind: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": kind}}, status=status)
