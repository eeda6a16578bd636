"""A stand-in for a model: a small OpenAI-compatible server on loopback, for the demo and tests.

There is no model in it. It answers with lines composed in advance, the same ones for the same
prompt, and it says so: its only model is called `stand-in`, and so is its `system_fingerprint`.
Token counts are estimates (four characters a token), marked `approximate`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from aiohttp import web

from llm_bot.demo.stand_ins.scene import answer_to, text_of

MODEL_ID = "stand-in"
FINGERPRINT = "stand-in-no-model"
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
        return "\n".join(text_of(message) for message in self.body["messages"])


class StandInModelServer:
    """`async with StandInModelServer() as server:` listens, and `server.base_url` says where.

    `delay_seconds`, how long it pretends to think, may be changed at any time, and so may `mode`,
    how it fails: "timeout" leaves requests without an answer until it is another one.
    """

    def __init__(self, *, port: int = 0, delay_seconds: float = 0.0) -> None:
        self.delay_seconds = delay_seconds
        self.requests: deque[ReceivedRequest] = deque(maxlen=REQUESTS_KEPT)
        self._port = port
        self._runner: web.AppRunner | None = None
        self._mode: Mode = "ok"
        self._mode_left = asyncio.Event()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        self._mode_left.set()  # for whoever waits in the mode that was
        self._mode_left = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that it listens on; the one asked for until it does."""
        if self._runner is None or not self._runner.addresses:
            return self._port
        return int(self._runner.addresses[0][1])

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            raise RuntimeError("the stand-in model server is already open")
        app = web.Application(middlewares=[_errors_as_json], client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", _list_models)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        runner, self._runner = self._runner, None
        self.mode = "ok"  # requests that hang would hold up the end
        if runner is not None:
            await runner.cleanup()

    async def _complete(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read())
        except (ValueError, RecursionError):
            return _error(400, "We could not parse the JSON body of your request.")
        problem = _problem_of(body)
        if problem is not None:
            return problem
        self.requests.append(ReceivedRequest(body, request.headers))
        match self.mode:
            case "500":
                return _error(500, "It was told to fail.", kind="server_error")
            case "429":
                refusal = _error(429, "It was told to refuse.", kind="rate_limit_error")
                refusal.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
                return refusal
            case "timeout":
                await self._mode_left.wait()
        await asyncio.sleep(self.delay_seconds)
        return web.json_response(_completion(body))


def _problem_of(body: object) -> web.Response | None:
    if not isinstance(body, dict):
        return _error(400, "The body of your request is not a JSON object.")
    messages = body.get("messages")
    if messages is None:
        return _error(400, "Missing required parameter: 'messages'.", param="messages")
    if not isinstance(messages, list) or not messages:
        return _error(400, "Invalid 'messages': not a list of messages.", param="messages")
    if not all(isinstance(message, dict) for message in messages):
        return _error(400, "Invalid 'messages': not all are objects.", param="messages")
    if body.get("stream"):
        return _error(400, "The stand-in does not stream.", param="stream")
    return None


def _completion(body: dict[str, Any]) -> dict[str, Any]:
    content, finish_reason = _bounded(answer_to(body), body)
    prompt_tokens = sum(_tokens(text_of(message)) for message in body["messages"])
    completion_tokens = _tokens(content)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return {
        "id": f"chatcmpl-stand-in-{digest[:16]}",
        "object": "chat.completion",
        "created": 0,  # deterministic to the last byte
        "model": MODEL_ID,
        "system_fingerprint": FINGERPRINT,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content},
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "approximate": True,
        },
    }


def _bounded(answer: str, body: dict[str, Any]) -> tuple[str, str]:
    """`answer` as far as the request's `stop` and `max_tokens` let it go, and why it ended."""
    stop = body.get("stop")
    for sequence in stop if isinstance(stop, list) else [stop]:
        if isinstance(sequence, str) and sequence:
            answer = answer.partition(sequence)[0]
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    if isinstance(limit, int) and _tokens(answer) > limit:
        return answer[: limit * CHARACTERS_PER_TOKEN], "length"
    return answer, "stop"


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


async def _list_models(_: web.Request) -> web.Response:
    model = {"id": MODEL_ID, "object": "model", "created": 0, "owned_by": "llm-bot demo"}
    return web.json_response({"object": "list", "data": [model]})


def _error(
    status: int, message: str, *, param: str | None = None, kind: str = "invalid_request_error"
) -> web.Response:
    error = {"message": message, "type": kind, "param": param, "code": None}
    return web.json_response({"error": error}, status=status)


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as exc:
        return _error(exc.status, f"{exc.reason}: {request.method} {request.path}")
