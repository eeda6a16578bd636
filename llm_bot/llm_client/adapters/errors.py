"""From an answer that is no success to the exception that it stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from llm_bot.llm_client.adapters.error_body import ErrorBody, read_error_body, without_quotations
from llm_bot.llm_client.adapters.http import HTTPReply
from llm_bot.llm_client.adapters.refusal_grammar import is_any
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
from llm_bot.llm_client.retry import (
    parse_reset_headers,
    parse_retry_after,
    parse_wait_in_words,
)

Show = Callable[[str], str]

LONGEST_WAIT_IN_WORDS = 60.0
# Statuses below 500 under which the same request may succeed a moment later.
_PASSING_STATUSES = frozenset({409, 425})

# Phrases are longer than a quotation that isn't taken out, so that nobody can say them in chat.
_KEY_CODES = frozenset(
    {"invalid_api_key", "API_KEY_INVALID", "authentication_error", "UNAUTHENTICATED"}
)
_KEY = re.compile(
    r"(?:invalid|incorrect|wrong|missing|expired) api[ _-]?key"
    r"|api[ _-]?key (?:is )?(?:not valid|invalid|missing|not found|expired|incorrect|required)"
    r"|no api[ _-]?key (?:passed|provided|given)",
    re.IGNORECASE,
)
_SPENT_CODES = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "Arrearage",
        "insufficient_balance",
    }
)
_SPENT = re.compile(
    r"credit balance is too low|insufficient (?:credits?|balance|quota|funds)"
    r"|exceeded your current quota|out of credits|account is in good standing",
    re.IGNORECASE,
)
# The sample went wrong, not the request.
_BAD_SAMPLE_CODES = frozenset({"tool_use_failed", "json_validate_failed", "output_parse_failed"})
_LOADING = re.compile(
    r"no models? (?:is |are )?(?:currently )?loaded"
    r"|models? (?:is |are )?(?:still |currently )?loading|loading model|model is not ready",
    re.IGNORECASE,
)
_MODERATION = re.compile(
    r"moderat|flagged|polic(?:y|ies)|content[ _-]?filter|safety|prohibited_content|blocklist"
    r"|\bspii\b|\brecitation\b|\brefusal\b",
    re.IGNORECASE,
)
_MISSING = re.compile(
    r"not[ _]?found|\bno such\b|(?:\bnot|n't) exist|\bno (?:models?|endpoints?|routes?)\b"
    r"|\b(?:unknown|invalid|unexpected|unrecogni[sz]ed) (?:request )?"
    r"(?:model|engine|deployment|url|path|endpoint|route)"
    r"|\bmodels?\b.{0,100}?(?:\bnot\b|n't\b|\bun(?:known|available|supported)|invalid)"
    r"|\b(?:can(?:not|'t)|unable to|failed to) (?:find|locate|load)\b"
    r"|deprecated|decommissioned|no longer",
    re.IGNORECASE | re.DOTALL,
)
# OpenRouter and LiteLLM say with a 400, and without a code, that they haven't a model.
_NO_SUCH_MODEL = re.compile(
    r"\S{1,200} is not a valid model ID\b|(?:\S{1,100}: )?Invalid model name passed in model="
)


def status_of(reply: HTTPReply, found: ErrorBody) -> int:
    """The status of an answer; a body that says more than the status line is believed."""
    if found.status is not None and reply.status < 300:
        return found.status
    return reply.status


def read_error(
    reply: HTTPReply,
    *,
    provider: str,
    model: str,
    address: str,
    now: float,
    show: Show,
    messages: Sequence[Message] = (),
) -> LLMError:
    """The exception for `reply`, with what the server said in its text.

    What it quotes of `messages` neither stands in the text nor decides anything: whoever chats
    could keep everybody from the provider.
    """
    found = without_quotations(read_error_body(reply.body), messages)
    status = status_of(reply, found)
    if 300 <= status < 400:
        return _redirect(reply, provider, show)
    text = show(found.message)
    wait = _asked_to_wait(reply, status, found.message, now)

    def make(kind: type[LLMError], default: str, **details: Any) -> LLMError:
        return kind(text or default, provider=provider, status=status, retry_after=wait, **details)

    of_account = _of_account(status, found, make)
    if of_account is not None:
        return of_account
    if _LOADING.search(found.message):
        return make(GenerationError, "the model is loading", code="loading")
    if 400 <= status < 500 and _is_about_model(status, found):
        if status == 404 and not found.codes and model not in found.message:
            said = f": {text}" if text else ""
            return ModelNotFoundError(
                f"wrong address? Nothing of that kind at {address}{said}",
                provider=provider,
                status=status,
                code="wrong_address",
            )
        return make(ModelNotFoundError, f"the server knows no model {model!r}")
    if status == 429:
        return make(RateLimitError, "too many requests")
    return _by_status(status, found, make)


def _of_account(status: int, found: ErrorBody, make: Callable[..., LLMError]) -> LLMError | None:
    """For what says that nobody is answered, whatever the request; None for anything else."""
    is_refusal = 400 <= status < 500
    if status == 402 or (is_refusal and is_any(_SPENT, found, _SPENT_CODES)):
        return make(RateLimitError, "the quota is spent", retryable=False, code="quota")
    if status == 401 or (status == 403 and not is_about_moderation(found)):
        return make(AuthenticationError, "the key is refused")
    if is_refusal and is_any(_KEY, found, _KEY_CODES):
        return make(AuthenticationError, "the key is refused")
    return None


def _by_status(status: int, found: ErrorBody, make: Callable[..., LLMError]) -> LLMError:
    """For what says nothing about the key, the model's name or a limit."""
    if is_about_moderation(found):
        return make(ValidationError, "the request is refused", code="moderated")
    if bad := found.codes & _BAD_SAMPLE_CODES:
        return make(GenerationError, "the model's output was refused", code=min(bad))
    if status in (408, 504):
        return make(TimeoutError, "the server ran out of time")
    if status < 300 or status in _PASSING_STATUSES or 500 <= status < 600:
        return make(GenerationError, "the server failed", code="server_error")
    return make(ValidationError, "the request is refused")


def is_about_moderation(found: ErrorBody) -> bool:
    """Whether a server refuses what the request says, and nothing else about it."""
    return any(map(is_word_of_moderation, (found.message, *found.codes)))


def is_word_of_moderation(text: str) -> bool:
    """Whether `text`, a reason or a message, says that what was written may not be answered."""
    return _MODERATION.search(text) is not None


def _is_about_model(status: int, found: ErrorBody) -> bool:
    """A 404 speaks of the model, or the path, unless its words speak of something else."""
    if "model" in found.params or "model_not_found" in found.codes:
        return True
    if status != 404:
        return _NO_SUCH_MODEL.match(found.message) is not None
    # mlx_lm answers with a 404 whatever goes wrong once it has the model.
    if "template" in found.message or "role" in found.message:
        return False
    return (
        not found.message or is_any(_MISSING, found, ()) or any(map(_MISSING.search, found.codes))
    )


def _asked_to_wait(reply: HTTPReply, status: int, message: str, now: float) -> float | None:
    """Seconds; a header says it best, some servers say it only in their message.

    Words count in a 429 alone, for a minute at most, and only where nothing of the conversation
    stands in them.
    """
    asked = parse_retry_after(reply.headers.get("retry-after"), now)
    if asked is None and status in (429, 503):
        asked = parse_reset_headers(reply.headers, now)
    if asked is None and status == 429 and "…" not in message:
        words = parse_wait_in_words(message)
        return None if words is None else min(words, LONGEST_WAIT_IN_WORDS)
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
