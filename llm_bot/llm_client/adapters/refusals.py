"""From an HTTP status that isn't a success to the exception that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from llm_bot.llm_client.adapters.base import HTTPReply
from llm_bot.llm_client.exceptions import (
    AuthenticationError,
    ConfigurationError,
    GenerationError,
    LLMError,
    ModelNotFoundError,
    RateLimitError,
    TimeoutError,
    ValidationError,
)
from llm_bot.llm_client.retry import parse_retry_after

# Statuses below 500 under which the same request may succeed a moment later.
_PASSING_STATUSES = frozenset({409, 425})
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})

Show = Callable[[str], str]


def read_refusal(
    reply: HTTPReply, *, provider: str, model: str, now: float, show: Show
) -> LLMError:
    """The exception for `reply`, with what the server said in its text."""
    status = reply.status
    said, codes = said_by_server(reply.body)
    text = show(said)
    wait = parse_retry_after(reply.headers.get("retry-after"), now)

    def make(kind: type[LLMError], default: str, **details: Any) -> LLMError:
        return kind(text or default, provider=provider, status=status, retry_after=wait, **details)

    if 300 <= status < 400:
        return _redirect(reply, provider, show)
    if status in (401, 403):
        return make(AuthenticationError, "the key is refused")
    if status == 404 or "model_not_found" in codes:
        default = f"the server knows no model {model!r}, or no such path"
        return make(ModelNotFoundError, default)
    if status == 402 or (status == 429 and codes & _SPENT):
        return make(RateLimitError, "the quota is spent", retryable=False, code="quota")
    if status == 429:
        return make(RateLimitError, "too many requests")
    if status in (408, 504):
        return make(TimeoutError, "the server ran out of time")
    if status in _PASSING_STATUSES or 500 <= status < 600:
        return make(GenerationError, "the server failed", code="server_error")
    return make(ValidationError, "the request is refused")


def said_by_server(body: bytes) -> tuple[str, frozenset[str]]:
    """The message in an error body, and the codes and types beside it; empty if it has none.

    Servers put it into `error.message`, `error`, `message` or `detail` (a text, or a list of
    objects with `msg`); a body that is neither JSON nor HTML is a message itself.
    """
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return ("" if text.startswith(("<", "{", "[")) else text), frozenset()
    if not isinstance(tree, dict):
        return (tree if isinstance(tree, str) else ""), frozenset()
    error = tree.get("error")
    inner: dict[str, Any] = error if isinstance(error, dict) else {}
    candidates = (inner.get("message"), error, tree.get("message"), _detail(tree.get("detail")))
    message = next((text for text in candidates if isinstance(text, str) and text.strip()), "")
    codes = (source.get(key) for source in (inner, tree) for key in ("code", "type"))
    return message, frozenset(code for code in codes if isinstance(code, str))


def _detail(detail: object) -> object:
    if not isinstance(detail, list):
        return detail
    messages = (each.get("msg") for each in detail if isinstance(each, dict))
    return "; ".join(text for text in messages if isinstance(text, str))


def _redirect(reply: HTTPReply, provider: str, show: Show) -> ConfigurationError:
    where = _shown_target(show(reply.headers.get("location", "")))
    return ConfigurationError(
        f"the server redirects{where}; name the final address",
        field="base_url",
        provider=provider,
        status=reply.status,
        code="redirect",
    )


def _shown_target(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2]
    return f" to {parts.scheme}://{host}{parts.path}" if host else ""
