"""From an HTTP status that isn't a success to the exception that it stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from llm_bot.llm_client.adapters import wording
from llm_bot.llm_client.adapters.http import HTTPReply
from llm_bot.llm_client.adapters.quotations import in_own_words
from llm_bot.llm_client.adapters.said import ServerSaid, said_by_server
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
from llm_bot.llm_client.models import Message
from llm_bot.llm_client.retry import parse_retry_after, parse_wait_in_words

# Statuses below 500 under which the same request may succeed a moment later.
_PASSING_STATUSES = frozenset({409, 425})
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})

# OpenRouter and LiteLLM say with a 400, and without a code, that they haven't a model.
_NO_SUCH_MODEL = re.compile(
    r"\S{1,200} is not a valid model ID\b|(?:\S{1,100}: )?Invalid model name passed in model="
)

Show = Callable[[str], str]


def read_refusal(
    reply: HTTPReply,
    *,
    provider: str,
    model: str,
    now: float,
    show: Show,
    messages: Sequence[Message] = (),
) -> LLMError:
    """The exception for `reply`, with what the server said in its text.

    What it quotes of `messages` is shown, but decides neither how long to wait nor whether there
    is such a model: whoever chats could keep everybody from the provider.
    """
    status = reply.status
    said = said_by_server(reply.body)
    own = in_own_words(said, messages)
    text = show(said.message)
    wait = _asked_to_wait(reply, own.message, now)

    def make(kind: type[LLMError], default: str, **details: Any) -> LLMError:
        return kind(text or default, provider=provider, status=status, retry_after=wait, **details)

    if 300 <= status < 400:
        return _redirect(reply, provider, show)
    if status == 401 or (status == 403 and not is_about_moderation(said)):
        return make(AuthenticationError, "the key is refused")
    if 400 <= status < 500 and _is_about_model(status, said, own):
        default = f"the server knows no model {model!r}, or no such path"
        return make(ModelNotFoundError, default)
    if status == 402 or (status == 429 and said.codes & _SPENT):
        return make(RateLimitError, "the quota is spent", retryable=False, code="quota")
    if status == 429:
        return make(RateLimitError, "too many requests")
    return _by_status(status, make)


def _by_status(status: int, make: Callable[..., LLMError]) -> LLMError:
    """For what says nothing about the key, the model or a limit."""
    if status in (408, 504):
        return make(TimeoutError, "the server ran out of time")
    if status in _PASSING_STATUSES or 500 <= status < 600:
        return make(GenerationError, "the server failed", code="server_error")
    return make(ValidationError, "the request is refused")


def is_about_moderation(said: ServerSaid) -> bool:
    """Whether a server refuses what the request says, and nothing else about it."""
    return any(map(wording.is_about_moderation, (said.message, *said.codes, *said.details)))


def _is_about_model(status: int, said: ServerSaid, own: ServerSaid) -> bool:
    """A 404 speaks of the model, or the path, unless its words speak of something else."""
    if said.param == "model" or "model_not_found" in said.codes:
        return True
    if status != 404:
        return _NO_SUCH_MODEL.match(own.message) is not None
    return not said.message or any(map(wording.is_about_missing, (own.message, *said.codes)))


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
