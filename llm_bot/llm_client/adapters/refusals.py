"""From an HTTP status that isn't a success to the exception that it stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from llm_bot.llm_client.adapters.http import HTTPReply
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
from llm_bot.llm_client.retry import parse_retry_after, parse_wait_in_words

# Statuses below 500 under which the same request may succeed a moment later.
_PASSING_STATUSES = frozenset({409, 425})
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})

# OpenRouter and LiteLLM say with a 400, and without a code, that they haven't a model.
_NO_SUCH_MODEL = re.compile(
    r"\S{1,200} is not a valid model ID\b|(?:\S{1,100}: )?Invalid model name passed in model="
)

Show = Callable[[str], str]
T = TypeVar("T")


class Complaint(NamedTuple):
    """What pydantic has to say of one field."""

    message: str
    field: str
    code: str


class ServerSaid(NamedTuple):
    """The words of an error body; empty where it has none."""

    message: str = ""
    codes: frozenset[str] = frozenset()
    param: str = ""  # the field of the request that the server blames
    complaints: tuple[Complaint, ...] = ()


def read_refusal(
    reply: HTTPReply, *, provider: str, model: str, now: float, show: Show
) -> LLMError:
    """The exception for `reply`, with what the server said in its text."""
    status = reply.status
    said = said_by_server(reply.body)
    text = show(said.message)
    wait = _asked_to_wait(reply, said.message, now)

    def make(kind: type[LLMError], default: str, **details: Any) -> LLMError:
        return kind(text or default, provider=provider, status=status, retry_after=wait, **details)

    if 300 <= status < 400:
        return _redirect(reply, provider, show)
    if status in (401, 403):
        return make(AuthenticationError, "the key is refused")
    if status == 404 or (400 <= status < 500 and _is_about_model(said)):
        default = f"the server knows no model {model!r}, or no such path"
        return make(ModelNotFoundError, default)
    if status == 402 or (status == 429 and said.codes & _SPENT):
        return make(RateLimitError, "the quota is spent", retryable=False, code="quota")
    if status == 429:
        return make(RateLimitError, "too many requests")
    if status in (408, 504):
        return make(TimeoutError, "the server ran out of time")
    if status in _PASSING_STATUSES or 500 <= status < 600:
        return make(GenerationError, "the server failed", code="server_error")
    return make(ValidationError, "the request is refused")


def _is_about_model(said: ServerSaid) -> bool:
    is_blamed = said.param == "model" or _NO_SUCH_MODEL.match(said.message) is not None
    return is_blamed or "model_not_found" in said.codes


def said_by_server(body: bytes) -> ServerSaid:
    """What an error body says.

    Servers put it into `error.message`, `error`, `message` or `detail` (a text, or a list of
    objects with `msg` and `loc`); a body that is neither JSON nor HTML is a message itself.
    """
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return ServerSaid("" if text.startswith(("<", "{", "[")) else text)
    if isinstance(tree, list):  # Google wraps its error in one
        tree = next((each for each in tree if isinstance(each, dict)), None)
    if isinstance(tree, dict):
        return _said_in(tree)
    return ServerSaid(tree if isinstance(tree, str) else "")


def _said_in(tree: dict[str, Any]) -> ServerSaid:
    error = tree.get("error")
    inner: dict[str, Any] = error if isinstance(error, dict) else {}
    # Mistral has its list of complaints in `message`.
    complaints = _first(map(_complaints, (tree.get("detail"), tree.get("message"))), ())
    texts = (
        inner.get("message"),
        error,
        tree.get("message"),
        tree.get("detail"),
        "; ".join(complaint.message for complaint in complaints),
    )
    message = _first((text for text in texts if isinstance(text, str) and text.strip()), "")
    codes = (source.get(key) for source in (inner, tree) for key in ("code", "type"))
    params = (_param(source.get("param")) for source in (inner, tree))
    said = ServerSaid(
        message,
        frozenset(code for code in codes if isinstance(code, str)),
        _first(params, ""),
        complaints,
    )
    return _with_upstream(said, inner.get("metadata"))


def _with_upstream(said: ServerSaid, metadata: object) -> ServerSaid:
    """`said`, and what the server behind it said: OpenRouter passes that on as a text."""
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not isinstance(raw, str):
        return said
    upstream = said_by_server(raw.encode())
    message = ": ".join(filter(None, (said.message, upstream.message)))
    return upstream._replace(
        message=message, codes=said.codes | upstream.codes, param=said.param or upstream.param
    )


def _complaints(detail: object) -> tuple[Complaint, ...]:
    """The complaints of a server with pydantic: what is wrong, and with which field."""
    if isinstance(detail, dict):
        detail = detail.get("detail")
    items = detail if isinstance(detail, list) else []
    return tuple(
        Complaint(item["msg"], _field(item.get("loc")), str(item.get("type")))
        for item in items
        if isinstance(item, dict) and isinstance(item.get("msg"), str)
    )


def _field(location: object) -> str:
    steps = location if isinstance(location, list) else []
    return _first((step for step in steps if isinstance(step, str) and step != "body"), "")


def _param(value: object) -> str:
    """A name; LiteLLM writes "None" where it has none, others a number."""
    is_name = isinstance(value, str) and value[:1].isalpha() and value not in ("None", "null")
    return str(value) if is_name else ""


def _first(values: Iterable[T], default: T) -> T:
    """The first that isn't empty."""
    return next(filter(None, values), default)


def _asked_to_wait(reply: HTTPReply, message: str, now: float) -> float | None:
    """Seconds; the header says it best, some servers say it only in their message."""
    asked = parse_retry_after(reply.headers.get("retry-after"), now)
    if asked is None and (reply.status == 429 or reply.status >= 500):
        return parse_wait_in_words(message)
    return asked


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
