"""What can go wrong, by what the caller can do about it.

    LLMError
      ConfigurationError        the set-up is wrong: a field of `LLMConfig`, a redirecting address
      ConnectionError           no connection, or one that broke before the answer was whole
      TimeoutError              no whole answer within `timeout_seconds`
      AuthenticationError       the key is missing, wrong, or may not do this
      ModelNotFoundError        the server doesn't know the model (or the path: see `base_url`)
      RateLimitError            too many requests for now, or a quota that is spent
      ValidationError           the request itself is refused; the same one never succeeds
      GenerationError           the server failed, or what it answered can't be used
      DeadlineExceededError     `deadline_seconds` passed
      AllProvidersFailedError   every provider failed; `errors` says how, in their order

`ConnectionError` and `TimeoutError` aren't Python's own of the same names.
No text of these ever holds a key, a header or a password.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from llm_bot.llm_client.models import Attempt, AttemptStatus


class LLMError(Exception):
    """Base of everything that the client raises on purpose.

    Attributes:
        provider: Unique name of the provider, empty where none is concerned.
        status: HTTP status, None if there was no answer.
        retry_after: Seconds that the server asks to wait, or for which it isn't asked anyway;
            None where nothing is known.
        retryable: Whether the same request to the same provider may succeed later.
        code: Short, stable name of the case.
        attempts: HTTP requests that were tried before this was raised, over all providers.
        attempt_log: Each of them, in order.

    >>> error = RateLimitError("slow down", provider="openai", status=429, retry_after=2.0)
    >>> str(error), error.retryable, error.code
    ('openai: slow down (HTTP 429)', True, 'rate_limited')
    """

    default_code: ClassVar[str] = "llm_error"
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        text: str = "",
        *,
        provider: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(text)
        self.provider = provider
        self.status = status
        self.retry_after = retry_after
        self.retryable = self.default_retryable if retryable is None else retryable
        self.code = code or self.default_code
        self.attempts = 0
        self.attempt_log: tuple[Attempt, ...] = ()

    def __str__(self) -> str:
        prefix = f"{self.provider}: " if self.provider else ""
        suffix = f" (HTTP {self.status})" if self.status is not None else ""
        return f"{prefix}{self.args[0]}{suffix}"

    @property
    def outcome(self) -> AttemptStatus:
        """The label under which a metric counts a request that ended like this."""
        return AttemptStatus.ERROR if self.retryable else AttemptStatus.REJECTED


class ConfigurationError(LLMError):
    """The set-up is wrong. `field` names the field of `LLMConfig`.

    >>> ConfigurationError("must be above 0", field="timeout_seconds").field
    'timeout_seconds'
    """

    default_code = "configuration"

    def __init__(
        self,
        text: str = "",
        *,
        field: str = "",
        provider: str = "",
        status: int | None = None,
        code: str | None = None,
    ) -> None:
        self.field = field
        named = f"{field}: {text}" if field else text
        super().__init__(named, provider=provider, status=status, code=code)


class ConnectionError(LLMError):
    """No connection, or one that broke before the answer was whole.

    >>> str(ConnectionError("no answer from http://127.0.0.1:11434", provider="ollama"))
    'ollama: no answer from http://127.0.0.1:11434'
    """

    default_code = "connection"
    default_retryable = True


class TimeoutError(LLMError):
    """No whole answer within `timeout_seconds`, or a server that says so of its own upstream.

    >>> error = TimeoutError("no whole answer within 30 s", provider="openai")
    >>> error.retryable, error.status, error.outcome.value
    (True, None, 'timeout')
    """

    default_code = "timeout"
    default_retryable = True

    @property
    def outcome(self) -> AttemptStatus:
        return AttemptStatus.TIMEOUT


class AuthenticationError(LLMError):
    """The key is missing, wrong, or may not do this.

    >>> AuthenticationError("the key is refused", provider="openai", status=401).retryable
    False
    """

    default_code = "authentication"


class ModelNotFoundError(LLMError):
    """The server doesn't know the model, or the path of the request.

    >>> str(ModelNotFoundError("no model 'm'", provider="ollama", status=404))
    "ollama: no model 'm' (HTTP 404)"
    """

    default_code = "model_not_found"


class RateLimitError(LLMError):
    """Too many requests for now; or, with `code` "quota" and not retryable, a spent quota.

    >>> error = RateLimitError("slow down", provider="openai", status=429, retry_after=2.5)
    >>> error.retry_after if error.retryable else None
    2.5
    """

    default_code = "rate_limited"
    default_retryable = True

    @property
    def outcome(self) -> AttemptStatus:
        return AttemptStatus.RATE_LIMITED


class ValidationError(LLMError):
    """The request itself is refused, by the server or, with no `status`, before it was sent.

    >>> ValidationError("there is no message").status is None
    True
    """

    default_code = "validation"


class GenerationError(LLMError):
    """The server failed, or its answer can't be used.

    `code` tells the cases apart: "server_error" (a status), "bad_json", "bad_shape", "empty" (not
    retryable if a content filter kept the answer back), "length" (nothing but reasoning before the
    token cap), "too_large".

    >>> GenerationError("the answer isn't JSON", provider="mlx", code="bad_json").code
    'bad_json'
    """

    default_code = "generation"
    default_retryable = True


class DeadlineExceededError(LLMError):
    """`deadline_seconds` passed before there was an answer, or any error to report instead.

    >>> DeadlineExceededError("the deadline cut the request short", provider="mlx").retryable
    False
    """

    default_code = "deadline"

    @property
    def outcome(self) -> AttemptStatus:
        return AttemptStatus.TIMEOUT


class AllProvidersFailedError(LLMError):
    """Every provider failed; `errors` holds the last error of each, in their order.

    Retryable if any of them is.

    >>> slow, refused = TimeoutError("too slow"), AuthenticationError("the key is refused")
    >>> error = AllProvidersFailedError(errors=[slow, refused])
    >>> str(error), error.errors[1].code, error.retryable
    ('too slow; the key is refused', 'authentication', True)
    """

    default_code = "all_failed"

    def __init__(self, text: str = "", *, errors: Sequence[LLMError] = ()) -> None:
        self.errors = tuple(errors)
        super().__init__(text or "; ".join(str(error) for error in self.errors))
        self.retryable = any(error.retryable for error in self.errors)


def failure_of_all(errors: Sequence[LLMError]) -> LLMError:
    """What to raise when all providers failed: the error itself if there is only one."""
    return errors[0] if len(errors) == 1 else AllProvidersFailedError(errors=errors)
