"""What one provider is: where, which model, how patient. Checked when made, frozen after."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec

from llm_bot.llm_client.exceptions import ConfigurationError
from llm_bot.llm_client.models import MOST, number_problem

# field -> from, to, whether it is a whole number
_BOUNDS = {
    "timeout_seconds": (0.001, MOST, False),
    "retry_delay_seconds": (0, MOST, False),
    "max_retry_delay_seconds": (0, MOST, False),
    "model_cache_ttl_seconds": (0, MOST, False),
    "breaker_cooling_seconds": (0, MOST, False),
    "breaker_rejected_seconds": (0, MOST, False),
    "max_attempts": (1, MOST, True),
    "max_concurrent_requests": (1, MOST, True),
    "breaker_failures": (1, MOST, True),
}
_PARAMETER_BOUNDS = {
    "temperature": (0, 2, False),
    "top_p": (0, 1, False),
    "frequency_penalty": (-2, 2, False),
    "presence_penalty": (-2, 2, False),
    "max_tokens": (1, MOST, True),
}
# HTTP libraries quote what they refuse, a key perhaps: so it has to be right before.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
# The client fills these in itself. What `extra_body` says of `stream` goes out.
RESERVED_FIELDS = frozenset({"messages", "stream"})


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMConfig:
    """One provider, and those to fall back to.

    Key, address, headers and extra body are in no repr; `address` is fit to be shown.

    Attributes:
        provider: Name of the adapter: `openai`, `ollama`, `lmstudio`, `mlx`.
        base_url: Address that the paths are appended to; for the local three with or without `/v1`.
        api_key: Sent as a bearer token; optional for the local three.
        model: Model to ask where a request names none.
        timeout_seconds: Bounds one HTTP request, connection to last byte.
        max_attempts: Requests to this provider for one answer, the first included.
        retry_delay_seconds: The first backoff at most; it doubles with each attempt.
        max_retry_delay_seconds: No backoff is longer. Without a deadline, a server that asks for
            a longer pause than this isn't asked again.
        max_concurrent_requests: Requests on the wire at a time.
        model_cache_ttl_seconds: How long a list of models is believed.
        parameters: Defaults of the request body (`temperature`, `max_tokens`, ...).
        fallbacks: Further providers, in order.
        breaker_failures: Failures in a row that take the provider out.
        breaker_cooling_seconds: For how long; then a single request may try.
        breaker_rejected_seconds: For how long after a wrong key, an unknown model, a spent quota.
        extra_headers: Added to each request; they win over the client's own.
        extra_body: Added to each request body, over `parameters`.
        vision_model: Model for requests with images (mlx).

    Raises:
        ConfigurationError: A value is wrong; `field` names it.

    >>> LLMConfig(provider="ollama", base_url="http://127.0.0.1:11434", model="m").max_attempts
    3
    >>> LLMConfig(provider="ollama", base_url="localhost", model="m")
    Traceback (most recent call last):
    llm_bot.llm_client.exceptions.ConfigurationError: base_url: must begin with http:// or https://
    """

    provider: str
    base_url: str = field(repr=False)
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout_seconds: float = 30
    max_attempts: int = 3
    retry_delay_seconds: float = 1
    max_retry_delay_seconds: float = 8
    max_concurrent_requests: int = 10
    model_cache_ttl_seconds: float = 300
    parameters: Mapping[str, Any] = field(default_factory=_empty)
    fallbacks: Sequence[LLMConfig] = ()
    breaker_failures: int = 5
    breaker_cooling_seconds: float = 30
    breaker_rejected_seconds: float = 300
    extra_headers: Mapping[str, str] = field(default_factory=_empty, repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=_empty, repr=False)
    vision_model: str | None = None

    def __post_init__(self) -> None:
        _check_name("provider", self.provider)
        _check_name("model", self.model)
        if self.vision_model is not None:
            _check_name("vision_model", self.vision_model)
        _check_url(self.base_url)
        if self.api_key is not None:
            _check_key(self.api_key)
        for name, bounds in _BOUNDS.items():
            _check_number(name, getattr(self, name), *bounds)
        for name in ("parameters", "extra_headers", "extra_body"):
            value = getattr(self, name)
            if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
                raise ConfigurationError("must be a mapping with names as keys", field=name)
            object.__setattr__(self, name, MappingProxyType(dict(value)))
        _check_headers(self.extra_headers)
        _check_body("parameters", self.parameters, RESERVED_FIELDS)
        _check_body("extra_body", self.extra_body, RESERVED_FIELDS - {"stream"})
        _check_parameters(self.parameters)
        self._check_fallbacks()

    def _check_fallbacks(self) -> None:
        given: object = self.fallbacks
        if not isinstance(given, Sequence) or not all(isinstance(one, LLMConfig) for one in given):
            raise ConfigurationError("must be a sequence of LLMConfig", field="fallbacks")
        if any(one.fallbacks for one in given):
            raise ConfigurationError("must not have fallbacks of their own", field="fallbacks")
        object.__setattr__(self, "fallbacks", tuple(given))

    @property
    def address(self) -> str:
        """`base_url` without user, password and query: fit to be shown."""
        parts = urlsplit(self.base_url)
        netloc = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{netloc}{parts.path}"


def _check_name(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError("must be a text that isn't empty", field=name)


def _check_url(value: object) -> None:
    if not isinstance(value, str) or not value.lower().startswith(("http://", "https://")):
        raise ConfigurationError("must begin with http:// or https://", field="base_url")
    if any(char.isspace() or not char.isprintable() for char in value):
        raise ConfigurationError("holds white space or control characters", field="base_url")
    try:
        parts = urlsplit(value)
        has_host = bool(parts.hostname)
        _ = parts.port  # checked only when it is read
    except ValueError:
        has_host = False
    if not has_host:
        raise ConfigurationError("isn't an address with a host", field="base_url")
    if "#" in value:
        raise ConfigurationError("must not have a fragment", field="base_url")


def _check_key(value: object) -> None:
    if not isinstance(value, str) or not value.strip() or not _HEADER_VALUE.fullmatch(value):
        raise ConfigurationError("must be printable ASCII", field="api_key")


def _check_headers(headers: Mapping[str, object]) -> None:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError("a name isn't that of a header", field="extra_headers")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ConfigurationError("must be printable ASCII", field=f"extra_headers.{name}")


def _check_number(name: str, value: object, low: float, high: float, is_whole: bool) -> None:
    problem = number_problem(value, low, high, is_whole=is_whole)
    if problem is not None:
        raise ConfigurationError(problem, field=name)


def _check_body(name: str, body: Mapping[str, object], reserved: frozenset[str]) -> None:
    if taken := reserved & body.keys():
        raise ConfigurationError("is set by the client", field=f"{name}.{min(taken)}")
    try:
        msgspec.json.encode(dict(body))
    except (TypeError, ValueError, RecursionError) as exc:
        raise ConfigurationError("can't be written as JSON", field=name) from exc


def _check_parameters(parameters: Mapping[str, Any]) -> None:
    for name, bounds in _PARAMETER_BOUNDS.items():
        if parameters.get(name) is not None:
            _check_number(f"parameters.{name}", parameters[name], *bounds)
    stop = parameters.get("stop")
    texts = [stop] if isinstance(stop, str) else stop
    if stop is not None and not (
        isinstance(texts, (list, tuple)) and all(isinstance(text, str) for text in texts)
    ):
        raise ConfigurationError("must be a text or a list of texts", field="parameters.stop")
