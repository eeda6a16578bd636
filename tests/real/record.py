"""Asks the real servers odd things and writes what they answer to tests/data/model_servers.

    python -m tests.real.record            # all servers
    python -m tests.real.record mlx

Unit tests replay these answers, so they are kept as they came; only folders, the machine, the
key, and with them the content length are replaced.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.real.install import PROJECT, installed
from tests.real.servers import (
    KEY,
    LiteLLMServer,
    LlamaCppServer,
    MLXServer,
    MLXServerWithoutCache,
    ModelServer,
    StrictLlamaCppServer,
)

DATA = PROJECT / "tests" / "data" / "model_servers"
SHOWN_KEY = "sk-the-key"
MODEL_FOLDER = "/models"
HEADERS = (
    "content-type",
    "retry-after",
    "www-authenticate",
    "location",
    "content-length",
    "connection",
)
PACKAGES = {
    "mlx": ("mlx-lm", "mlx", "transformers"),
    "litellm": ("litellm", "fastapi"),
    "llamacpp": ("llama-cpp-python", "fastapi"),
}
LONG = "word " * 2000
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)


class Probe(NamedTuple):
    """One thing to ask. `key`: the bearer token, None for no header."""

    name: str
    method: str
    path: str
    body: Any = None
    key: str | None = KEY


HEALTH = Probe("health", "GET", "/health")


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _chat(name: str, model: str, /, *messages: Any, key: str | None = KEY, **fields: Any) -> Probe:
    body = {
        "model": model,
        "messages": list(messages) or [_user("Hello")],
        "max_tokens": 8,
        "temperature": 0,
        **fields,
    }
    body = {name: value for name, value in body.items() if value is not ...}
    return Probe(name, "POST", "/v1/chat/completions", body, key)


def common(model: str) -> Iterable[Probe]:
    """What every server is asked."""
    system = {"role": "system", "content": "Be kind."}
    parts = [{"type": "text", "text": "Hello"}]
    image = [*parts, {"type": "image_url", "image_url": {"url": PIXEL}}]
    yield _chat("chat", model)
    yield _chat("chat, system role", model, system, _user("Hello"))
    yield _chat("chat, several turns", model, _user("a"), _said("b"), _user("c"))
    yield _chat("chat, user twice", model, _user("a"), _user("b"))
    yield _chat("chat, assistant first", model, _said("a"), _user("b"))
    yield _chat("chat, ends with the assistant", model, _user("a"), _said("b"))
    yield _chat("chat, developer role", model, {"role": "developer", "content": "x"}, _user("a"))
    yield _chat("chat, unknown role", model, {"role": "narrator", "content": "x"}, _user("a"))
    yield _chat("chat, text part", model, {"role": "user", "content": parts})
    yield _chat("chat, image", model, {"role": "user", "content": image})
    yield _chat("chat, empty content", model, _user(""))
    yield _chat("chat, content null", model, {"role": "user", "content": None})
    yield _chat("chat, no messages", model)._replace(body={"model": model, "messages": []})
    yield _chat("chat, messages missing", model)._replace(body={"model": model})
    yield _chat("chat, unknown model", "no-such-model")
    yield _chat("chat, no model", model, model=...)
    yield _chat("chat, unknown parameter", model, no_such_parameter=1)
    yield _chat("chat, all usual parameters", model, **USUAL)
    yield _chat("chat, max_completion_tokens", model, max_tokens=..., max_completion_tokens=4)
    yield _chat("chat, max_tokens 0", model, max_tokens=0)
    yield _chat("chat, max_tokens null", model, max_tokens=None, stop=["a", "e", "i", "o", "u"])
    yield _chat("chat, temperature a text", model, temperature="hot")
    yield _chat("chat, temperature 5", model, temperature=5)
    yield _chat("chat, stop list", model, stop=["\n\n", "User:", "Assistant:"])
    yield _chat("chat, stop null", model, stop=None)
    yield _chat("chat, n 2", model, n=2)
    yield _chat("chat, json mode", model, response_format={"type": "json_object"})
    yield _chat("chat, too long", model, _user(LONG))
    yield _chat("chat, wrong key", model, key="sk-wrong")
    yield _chat("chat, no key", model, key=None)
    yield Probe("chat, not JSON", "POST", "/v1/chat/completions", b'{"model": ')
    yield Probe("chat, JSON list", "POST", "/v1/chat/completions", [])
    yield Probe("chat without /v1", "POST", "/chat/completions", _chat("", model).body)
    yield Probe("chat with /v1 twice", "POST", "/v1/v1/chat/completions", _chat("", model).body)
    yield Probe("chat by GET", "GET", "/v1/chat/completions")
    yield Probe("models", "GET", "/v1/models")
    yield Probe("models, wrong key", "GET", "/v1/models", key="sk-wrong")
    yield Probe("models, no key", "GET", "/v1/models", key=None)
    yield Probe("models without /v1", "GET", "/models")
    yield Probe("embeddings", "POST", "/v1/embeddings", {"model": model, "input": ["a", "b"]})


USUAL: dict[str, Any] = {
    "temperature": 0.7,
    "top_p": 0.9,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.3,
    "stop": ["\n\n", "User:", "Assistant:"],
    "seed": 1,
}


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def strict(model: str) -> Iterable[Probe]:
    """What a template that wants strict turns is asked."""
    yield _chat("strict template, chat", model)
    yield _chat("strict template, system role", model, _system(), _user("Hello"))
    yield _chat("strict template, user twice", model, _user("a"), _user("b"))
    yield _chat("strict template, assistant first", model, _said("a"), _user("b"))


def _system() -> dict[str, str]:
    return {"role": "system", "content": "Be kind."}


def litellm_only() -> Iterable[Probe]:
    """The failures that LiteLLM is set up to have, and its health apart from `/health`."""
    # `/health` itself asks every model, and answers with tracebacks.
    yield Probe("liveliness", "GET", "/health/liveliness", key=None)
    for model in ("rate-limited", "too-long", "broken", "gone"):
        yield _chat(f"provider behind it: {model}", model)


def plans(name: str) -> list[tuple[type[ModelServer], list[Probe]]]:
    """Which servers to start for `name`, and what to ask each."""
    if name == "mlx":
        default = _chat("chat, default_model", "default_model")
        models = [Probe("models, no model was ever downloaded", "GET", "/v1/models")]
        return [
            (MLXServer, [*common("tiny"), HEALTH, *strict("strict"), default]),
            (MLXServerWithoutCache, models),
        ]
    if name == "litellm":
        return [(LiteLLMServer, [*common("tiny"), *litellm_only()])]
    return [
        (LlamaCppServer, [*common("tiny"), HEALTH]),
        (StrictLlamaCppServer, list(strict("tiny"))),
    ]


def ask(client: httpx.Client, server: ModelServer, probe: Probe) -> dict[str, Any]:
    """Ask once; the exchange as it is stored."""
    headers = {"authorization": f"Bearer {probe.key}"} if probe.key else {}
    if probe.body is not None:
        headers["content-type"] = "application/json"
    raw = probe.body if isinstance(probe.body, bytes) else json.dumps(probe.body).encode()
    content = None if probe.body is None else raw
    exchange: dict[str, Any] = {
        "name": probe.name,
        "method": probe.method,
        "path": probe.path,
        "request_headers": {key: _clean(value, server) for key, value in headers.items()},
        "request": probe.body.decode() if isinstance(probe.body, bytes) else probe.body,
    }
    try:
        reply = client.request(
            probe.method, server.url + probe.path, content=content, headers=headers
        )
    except httpx.HTTPError as exc:
        return exchange | {"broken": type(exc).__name__}
    shown = {key: reply.headers[key] for key in HEADERS if key in reply.headers}
    body = _clean(reply.text, server)
    if "content-length" in shown:
        shown["content-length"] = str(len(body.encode()))  # that of the cleaned body
    return exchange | {
        "http_version": reply.http_version,
        "status": reply.status_code,
        "headers": shown,
        "body": body,
    }


def _clean(text: str, server: ModelServer) -> str:
    """`text` without this machine in it."""
    for place in {str(server.home.resolve()), str(server.home)}:
        text = text.replace(place, MODEL_FOLDER)
    text = text.replace(str(server.python.parents[1]), "/venv").replace(str(PROJECT), "/project")
    text = text.replace(KEY, SHOWN_KEY).replace(f"127.0.0.1:{server.port}", "127.0.0.1:8080")
    return re.sub(r"Linux-[\w.+-]*|macOS-[\w.+-]*", "Linux", text)


def versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """The installed versions of `packages`."""
    code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    done = subprocess.run(
        [str(python), "-c", code, *packages], capture_output=True, text=True, check=True
    )
    return dict(zip(packages, done.stdout.split(), strict=True))


def record(name: str) -> None:
    """Write tests/data/model_servers/`name`.json."""
    python = installed(name, print)
    exchanges: list[dict[str, Any]] = []
    for kind, probes in plans(name):
        server = kind(python)
        try:
            server.start()
            # A connection for each, since some servers drop theirs after an error.
            limits = httpx.Limits(max_keepalive_connections=0)
            with httpx.Client(trust_env=False, timeout=60, limits=limits) as client:
                exchanges += [ask(client, server, probe) for probe in probes]
        except BaseException:
            server.remove(keep_log=True)
            raise
        server.remove(keep_log=False)
    written = {
        "server": name,
        "versions": versions(python, PACKAGES[name]),
        "recorded": time.strftime("%Y-%m-%d", time.gmtime()),
        "exchanges": exchanges,
    }
    DATA.mkdir(parents=True, exist_ok=True)
    text = json.dumps(written, indent=1, ensure_ascii=False)
    (DATA / f"{name}.json").write_text(text + "\n")
    sys.stdout.write(f"{name}: {len(exchanges)} answers\n")


if __name__ == "__main__":
    for each in sys.argv[1:] or PACKAGES:
        record(each)
