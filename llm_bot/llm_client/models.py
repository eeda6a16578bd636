"""The words of the client: what is asked, what is answered, what was tried.

Values only, frozen; nothing here reads a clock or touches the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class AttemptStatus(StrEnum):
    """How one HTTP request ended, as a closed set that can label a metric."""

    SUCCESS = "success"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    ERROR = "error"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text within a message of several parts."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image within a message: an http(s) or `data:` URL, or the path of a file.

    Paths are understood by the providers that read images; the others refuse them with a
    `ValidationError`.
    """

    path_or_data_url: str


Content = str | Sequence[TextPart | ImagePart]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation; `role` is `system`, `user` or `assistant`.

    >>> Message("user", "Which film is this?").role
    'user'
    """

    role: str
    content: Content


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """What to ask. An option left at None is the configuration's, then the server's own.

    Attributes:
        messages: The conversation, oldest first.
        model: Instead of the configured model.
        temperature: Instead of the configured one.
        max_tokens: The most tokens that the answer may have.
        stop: Texts that end the answer.
        parameters: Further fields of the request body, over those of the configuration.
        timeout_seconds: Bounds each HTTP request, connection to last byte.
        deadline_seconds: Bounds everything, from the call of `generate`: waiting for a slot,
            every attempt, every pause between two.
        correlation_id: Goes out as the header `X-Correlation-Id`.

    >>> LLMRequest([Message("user", "Hello")], max_tokens=50).max_tokens
    50
    """

    messages: Sequence[Message]
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    stop: str | Sequence[str] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    timeout_seconds: float | None = None
    deadline_seconds: float | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counted them; None where it didn't say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request that went out.

    Attributes:
        provider: Unique name of the provider (`openai`, `openai-2`).
        model: The model that was asked for.
        status: HTTP status, None if no whole answer arrived.
        error: Short code of the error (`timeout`, `rate_limited`, ...), None on success.
        seconds: From sending to the end of the attempt.
        outcome: The same as one of five words, for metrics.
    """

    provider: str
    model: str
    status: int | None
    error: str | None
    seconds: float
    outcome: AttemptStatus = AttemptStatus.SUCCESS


@dataclass(frozen=True, slots=True)
class LLMResponse:
    """What the model said, and what it took to get it.

    Attributes:
        content: The answer, without reasoning; never empty.
        reasoning: What the model thought aloud, None if it didn't.
        model: The model that answered, as the server names it.
        provider: Unique name of the provider that answered.
        finish_reason: `stop`, `length`, ...; None where the server didn't say.
        usage: Tokens.
        latency_seconds: From the call of `generate` to the answer, waits included.
        attempts: HTTP requests over all providers; the length of `attempt_log`.
        retries: Repeats with the same provider.
        fallback_used: Whether another than the first provider answered.
        attempt_log: Each request that went out, in order.
    """

    content: str
    reasoning: str | None = None
    model: str = ""
    provider: str = ""
    finish_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    latency_seconds: float = 0.0
    attempts: int = 1
    retries: int = 0
    fallback_used: bool = False
    attempt_log: tuple[Attempt, ...] = ()
