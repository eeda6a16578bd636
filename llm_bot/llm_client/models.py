"""The words of the client: what is asked, what is answered, what was tried.

Values only, frozen; nothing here reads a clock or touches the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class AttemptStatus(StrEnum):
    """How one HTTP request ended, as a closed set that can label a metric.

    >>> AttemptStatus("rate_limited"), f"{AttemptStatus.TIMEOUT}"
    (<AttemptStatus.RATE_LIMITED: 'rate_limited'>, 'timeout')
    """

    SUCCESS = "success"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    ERROR = "error"  # another that may pass
    REJECTED = "rejected"  # the same request would fail again


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text within a message of several parts.

    >>> Message("user", [TextPart("Which film is this?")]).content
    [TextPart(text='Which film is this?')]
    """

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image within a message: an http(s) or `data:` URL, or the path of a file.

    A file is read when the request is sent, and becomes part of it; one that is missing, no image
    by its name, or over 20 MiB is a `ValidationError`.

    >>> content = [TextPart("Which film is this?"), ImagePart("https://example.org/still.png")]
    >>> LLMRequest([Message("user", content)]).messages[0].content[1]
    ImagePart(path_or_data_url='https://example.org/still.png')
    """

    path_or_data_url: str


Content = str | Sequence[TextPart | ImagePart]
SYSTEM_ROLES = frozenset({"system", "developer"})
ROLES = SYSTEM_ROLES | {"user", "assistant"}
MOST = 1e9  # more of anything than makes sense
# field of a request -> from, to, whether it is a whole number
_BOUNDS = {
    "temperature": (0, 2, False),
    "max_tokens": (1, MOST, True),
    "timeout_seconds": (0.001, MOST, False),
    "deadline_seconds": (-MOST, MOST, False),
}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation; `role` is `system`, `developer`, `user` or `assistant`.

    >>> Message("user", "Which film is this?").role
    'user'
    """

    role: str
    content: Content


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """What to ask. An option left at None is the configuration's, then the server's own.

    Attributes:
        messages: The conversation, oldest first. One text stands for a user's message; mappings
            with `role` and `content` become messages.
        model: Instead of the configured model, with the first provider.
        temperature: Instead of the configured one, from 0 to 2.
        max_tokens: The most tokens that the answer may have.
        stop: Texts that end the answer.
        parameters: Further fields of the request body, over those of the configuration.
        timeout_seconds: Bounds each HTTP request, connection to last byte.
        deadline_seconds: Bounds everything, from the call of `generate`: waiting for a slot,
            every attempt, every pause between two.
        correlation_id: Goes out as the header `X-Correlation-Id`.
        asker: Who asks, so that one person's failures aren't taken for the provider's; isn't sent.
        shorten: What to say instead where a server says that the conversation is too long: called
            with 1, 2, ... it gives the messages with a half, a quarter, ... of it.

    Raises:
        TypeError: The messages aren't messages.
        ValueError: A value is out of its range, or a role isn't known.

    >>> LLMRequest([Message("user", "Hello")], max_tokens=50).max_tokens
    50
    >>> LLMRequest("Hello").messages
    (Message(role='user', content='Hello'),)
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
    asker: str | None = None
    shorten: Callable[[int], Sequence[Message]] | None = field(
        default=None, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        given: object = self.messages
        if isinstance(given, str):
            given = [Message("user", given)]
        if not isinstance(given, Sequence):
            raise TypeError("messages must be a text or a sequence of messages")
        object.__setattr__(self, "messages", tuple(map(_message, given)))
        for name, (low, high, is_whole) in _BOUNDS.items():
            value = getattr(self, name)
            problem = None if value is None else number_problem(value, low, high, is_whole=is_whole)
            if problem is not None:
                raise ValueError(f"{name} {problem}")

    def shortened(self, halvings: int) -> Sequence[Message]:
        """The messages with so many times the half of the conversation, the oldest left out."""
        if self.shorten is not None:
            return self.shorten(halvings)
        kept = [message for message in self.messages if message.role in SYSTEM_ROLES]
        others = [message for message in self.messages if message.role not in SYSTEM_ROLES]
        return [*kept, *others[-max(1, len(others) >> halvings) :]]


def _message(given: object) -> Message:
    if isinstance(given, Mapping):
        given = Message(str(given.get("role", "")), given.get("content", ""))
    if not isinstance(given, Message):
        raise TypeError("a message must be a Message, or a mapping with role and content")
    if given.role not in ROLES:
        raise ValueError(f"role {given.role!r} isn't one of {', '.join(sorted(ROLES))}")
    return given


def number_problem(value: object, low: float, high: float, *, is_whole: bool = False) -> str | None:
    """Why `value` can't be used, as the end of a sentence; None if it is a number in that range."""
    kinds = int if is_whole else (int, float)
    if isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high:
        return None
    return f"must be a {'whole ' if is_whole else ''}number from {low:g} to {high:g}"


def texts_of(messages: Sequence[Message]) -> list[str]:
    """The texts in `messages`, in their order."""
    texts: list[str] = []
    for message in messages:
        parts = message.content
        if isinstance(parts, str):
            texts.append(parts)
        else:
            texts += [part.text for part in parts if isinstance(part, TextPart)]
    return texts


def characters_of(messages: Sequence[Message]) -> int:
    """How long the texts of `messages` are together."""
    return sum(map(len, texts_of(messages)))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counted them; None where it didn't say.

    >>> Usage(prompt_tokens=11, completion_tokens=5).total_tokens is None
    True
    """

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
        seconds: How long it took, sending included, waiting for a slot not.
        outcome: The same as one of five words, for metrics.
        is_retry: Whether the same provider had been asked before in this call.
        is_fallback: Whether it is the first to another than the first provider.

    >>> failed = Attempt("openai", "m", 503, "server_error", 0.5, AttemptStatus.ERROR)
    >>> answered = Attempt("ollama", "m", 200, None, 1.5, is_fallback=True)
    >>> failed.seconds + answered.seconds
    2.0
    """

    provider: str
    model: str
    status: int | None
    error: str | None
    seconds: float
    outcome: AttemptStatus = AttemptStatus.SUCCESS
    is_retry: bool = False
    is_fallback: bool = False


@dataclass(frozen=True, slots=True)
class LLMResponse:
    """What the model said, and what it took to get it.

    Attributes:
        content: The answer, without reasoning; never empty.
        reasoning: What the model thought aloud, None if it didn't.
        model: The model that answered, as the server names it; the one that was asked for if the
            server gives no name, or none of up to 200 printable characters.
        provider: Unique name of the provider that answered.
        finish_reason: `stop`, `length`, ...; None where the server didn't say.
        usage: Tokens.
        latency_seconds: From the call of `generate` to the answer, waits included.
        attempts: HTTP requests over all providers; the length of `attempt_log`.
        retries: Repeats with the same provider.
        fallback_used: Whether another than the first provider answered.
        attempt_log: Each request that went out, in order.

    >>> response = LLMResponse("Metropolis.", provider="ollama", usage=Usage(11, 5, 16))
    >>> response.content, response.usage.total_tokens, response.finish_reason
    ('Metropolis.', 16, None)
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


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that a provider lists.

    Attributes:
        id: Its name, as requests give it.
        provider: Unique name of the provider.
        metadata: Whatever else the server says of it.

    >>> ModelInfo("gpt-4o-mini", "openai", {"owned_by": "system"}).id
    'gpt-4o-mini'
    """

    id: str
    provider: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


class ProviderState(StrEnum):
    """How a provider stands with its client.

    >>> [state.value for state in ProviderState]
    ['up', 'down', 'cooling']
    """

    UP = "up"
    DOWN = "down"  # the last request failed; the next is tried all the same
    COOLING = "cooling"  # it is left in peace for a while


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """What a health check found out.

    Attributes:
        available: Whether it answered the check.
        state: How it stands with the client, from the requests before; the check doesn't change it.
        latency_seconds: How long the check took, None if it failed.
        error: Why it failed, without secrets; None if it didn't.

    >>> health = ProviderHealth(True, ProviderState.COOLING, 0.02, None)
    >>> health.available and health.state is not ProviderState.UP  # it's back, not yet trusted
    True
    """

    available: bool
    state: ProviderState
    latency_seconds: float | None
    error: str | None
