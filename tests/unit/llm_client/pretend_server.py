"""Model servers that are pretended on loopback: they answer by path, as each one documents it.

    async with PretendServer("ollama") as server:
        ...  # ask server.url; server.chats says what was asked for

What differs from server to server stands in `_KINDS`; tests switch further quirks on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

MODEL = "asked-model"
VISION = "vision-model"
SLOWLY = "Answer slowly."  # asks for an answer that never comes
_KNOWN = {"model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p"}
_KNOWN |= {"stream", "stop", "seed", "frequency_penalty", "presence_penalty"}

Refusal = tuple[int, Any]


def _openai_error(message: str, code: str | None, param: str | None = None) -> Any:
    kind = "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _lmstudio_template(message: str) -> Refusal:
    text = f'Error rendering prompt with jinja template: "{message}".\n\nThis is usually an issue'
    return 400, {"error": f"{text} with the model's prompt template."}


def _ollama_model(model: str) -> Refusal:
    text = f'model "{model}" not found, try pulling it first'
    return 404, {"error": {"message": text, "type": "api_error", "param": None, "code": None}}


@dataclass(frozen=True)
class Kind:
    """How one kind of server refuses."""

    health: str
    unknown_model: Callable[[str], Refusal]
    no_key: Refusal
    template: Callable[[str], Refusal]
    no_models: Any = field(default_factory=lambda: {"object": "list", "data": []})
    refuses_unknown: bool = False


_KINDS: Mapping[str, Kind] = {
    "openai": Kind(
        health="/v1/models",
        unknown_model=lambda model: (
            404,
            _openai_error(f"The model `{model}` does not exist", "model_not_found"),
        ),
        no_key=(401, _openai_error("Incorrect API key provided.", "invalid_api_key")),
        template=lambda _: (
            400,
            _openai_error(
                "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
                "unsupported_value",
                "messages[0].role",
            ),
        ),
        refuses_unknown=True,
    ),
    "ollama": Kind(
        health="/api/tags",
        unknown_model=_ollama_model,
        no_key=(401, {"error": "unauthorized"}),
        template=lambda text: (500, {"error": {"message": f"template: {text}", "code": None}}),
        no_models={"object": "list", "data": None},
    ),
    "lmstudio": Kind(
        health="/v1/models",
        unknown_model=lambda model: (
            404,
            _openai_error(f'Model "{model}" not found.', "model_not_found", "model"),
        ),
        no_key=(401, _openai_error("A valid API token is required.", "invalid_api_key")),
        template=_lmstudio_template,
    ),
    "mlx": Kind(
        health="/v1/models",
        unknown_model=lambda model: (404, {"error": f"404 Client Error. Not Found: {model}"}),
        no_key=(401, {"error": "unauthorized"}),
        template=lambda text: (404, {"error": text}),
    ),
}


class PretendServer:
    """See the module.

    Attributes:
        key: If set, it is asked for.
        models: What it has.
        refused: Fields of the body that it refuses, as OpenAI does.
        strict: The words with which its template refuses what isn't user, assistant, user, ...
        limit: The most characters of a prompt that it doesn't refuse.
        context: The most characters of a prompt; Ollama cuts what is above.
    """

    def __init__(self, provider: str) -> None:
        self.kind = _KINDS[provider]
        self.key: str | None = None
        self.models = [MODEL, VISION]
        self.refused: set[str] = set()
        self.strict = ""
        self.context = 1_000_000
        self.limit = 15_000
        self.chats: list[Any] = []
        self.paths: list[str] = []
        self.url = ""
        self._released = asyncio.Event()
        server = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End it, whoever is being answered. Idempotent."""
        self._released.set()
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.paths.append(request.path)
        body = await request.json() if request.can_read_body else None
        if SLOWLY in json.dumps(body):
            await self._released.wait()
        status, answer = self._answer(request, body)
        return web.Response(
            status=status, body=json.dumps(answer).encode(), content_type="application/json"
        )

    def _answer(self, request: web.BaseRequest, body: Any) -> tuple[int, Any]:
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return self.kind.no_key
        match request.method, request.path:
            case "GET", "/v1/models" if not self.models:
                return 200, self.kind.no_models
            case "GET", "/v1/models":
                return 200, {"object": "list", "data": [{"id": name} for name in self.models]}
            case "GET", "/api/tags" if self.kind.health == "/api/tags":
                return 200, {"models": [{"name": name} for name in self.models]}
            case "POST", "/v1/chat/completions":
                self.chats.append(body)
                return self._refusal(body) or (200, self._chat(body))
            case "POST", "/v1/embeddings":
                vectors = [[float(len(text)), 1.0] for text in body["input"]]
                data = [{"index": n, "embedding": each} for n, each in enumerate(vectors)]
                return 200, {"object": "list", "data": data}
            case _:
                return 404, {"detail": "Not Found"}

    def _refusal(self, body: Any) -> Refusal | None:
        if body["model"] not in self.models:
            return self.kind.unknown_model(body["model"])
        unknown = set(body) - _KNOWN if self.kind.refuses_unknown else set()
        for name in sorted(self.refused & set(body)):
            return 400, _refused_parameter(name)
        for name in sorted(unknown):
            return 400, _openai_error(f"Unknown parameter: '{name}'.", "unknown_parameter", name)
        if len(_prompt(body)) > self.limit:
            text = f"This model's maximum context length is {self.limit} tokens."
            return 400, _openai_error(text, "context_length_exceeded", "messages")
        roles = [message["role"] for message in body["messages"]]
        turns = ["user", "assistant"] * len(roles)
        is_refused = self.strict and roles != turns[: len(roles)]
        return self.kind.template(self.strict) if is_refused else None

    def _chat(self, body: Any) -> Any:
        whole = text = f"Hello from {body['model']}."
        for stop in body.get("stop", []):
            text = text.partition(stop)[0]
        cap = body.get("max_tokens") or body.get("max_completion_tokens") or 1000
        text = text[: cap * 4]
        sent, written = min(len(_prompt(body)), self.context) // 4, -(-len(text) // 4)
        is_cut = len(text) < len(whole) and len(text) == cap * 4
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "length" if is_cut else "stop",
        }
        usage = {"prompt_tokens": sent, "completion_tokens": written}
        return {
            "object": "chat.completion",
            "model": body["model"],
            "choices": [choice],
            "usage": {**usage, "total_tokens": sent + written},
        }


def _prompt(body: Any) -> str:
    return "".join(str(message["content"]) for message in body["messages"])


def _refused_parameter(name: str) -> Any:
    text = f"Unsupported parameter: '{name}' is not supported with this model."
    other = {"max_tokens": " Use 'max_completion_tokens' instead."}.get(name, "")
    return _openai_error(text + other, "unsupported_parameter", name)
