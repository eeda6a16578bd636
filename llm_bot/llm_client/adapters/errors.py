"""From an answer that is no success to the exception that it stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.adapters.error_body import ErrorBody
from llm_bot.llm_client.adapters.http import HTTPReply
from llm_bot.llm_client.retry import parse_reset_headers, parse_retry_after, parse_wait_in_words

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
    return found.status if found.status is not None and reply.status < 300 else reply.status


def error_for(
    reply: HTTPReply,
    found: ErrorBody,
    *,
    model: str,
    address: str,
    now: float,
    show: Callable[[str], str],
) -> errors.LLMError:
    """The exception for `reply`, with what the server said in its text.

    Args:
        found: What `reply` says, without quotations: whoever chats could else keep everybody from
            the provider.
        address: Where it was asked, fit to be shown.
        now: Unix epoch.
        show: Makes a text fit to be shown.
    """
    status = status_of(reply, found)
    if 300 <= status < 400:
        where = _shown_target(show(reply.headers.get("location", "")))
        text = f"the server redirects{where}; name the final address"
        return errors.ConfigurationError(text, field="base_url", status=status, code="redirect")
    kind, text, details = (
        _of_account(status, found) or _of_model(status, found, model) or _by_status(status, found)
    )
    said = show(found.message)
    if details.get("code") == "wrong_address":
        text = f"wrong address? Nothing of that kind at {address}{said and f': {said}'}"
    else:
        text = said or text
    wait = _asked_to_wait(reply, status, found.message, now)
    return kind(text, status=status, retry_after=wait, **details)


# Of an exception: its class, what it says where the server says nothing, and its other arguments.
_Kind = tuple[type[errors.LLMError], str, dict[str, Any]]


def _of_account(status: int, found: ErrorBody) -> _Kind | None:
    """For what says that nobody is answered, whatever the request; None for anything else."""
    is_refusal = 400 <= status < 500
    if status == 402 or (is_refusal and _is_any(found, _SPENT, _SPENT_CODES)):
        return errors.RateLimitError, "the quota is spent", {"retryable": False, "code": "quota"}
    if (
        status == 401
        or (status == 403 and not is_about_moderation(found))
        or (is_refusal and _is_any(found, _KEY, _KEY_CODES))
    ):
        return errors.AuthenticationError, "the key is refused", {}
    return None


def _of_model(status: int, found: ErrorBody, model: str) -> _Kind | None:
    """For what says that the model isn't there, or not yet; None for anything else."""
    if _LOADING.search(found.message):
        return errors.GenerationError, "the model is loading", {"code": "loading"}
    if not 400 <= status < 500 or not _is_about_model(status, found):
        return None
    if status == 404 and not found.codes and model not in found.message:
        return errors.ModelNotFoundError, "", {"code": "wrong_address"}
    return errors.ModelNotFoundError, f"the server knows no model {model!r}", {}


def _by_status(status: int, found: ErrorBody) -> _Kind:
    """For what says nothing about the key or the model's name."""
    if status == 429:
        return errors.RateLimitError, "too many requests", {}
    if is_about_moderation(found):
        return errors.ValidationError, "the request is refused", {"code": "moderated"}
    if bad := found.codes & _BAD_SAMPLE_CODES:
        return errors.GenerationError, "the model's output was refused", {"code": min(bad)}
    if status in (408, 504):
        return errors.TimeoutError, "the server ran out of time", {}
    if status < 300 or status in _PASSING_STATUSES or 500 <= status < 600:
        return errors.GenerationError, "the server failed", {"code": "server_error"}
    return errors.ValidationError, "the request is refused", {}


def is_about_moderation(found: ErrorBody) -> bool:
    """Whether a server refuses what the request says, and nothing else about it."""
    return any(map(is_word_of_moderation, (found.message, *found.codes)))


def is_word_of_moderation(text: str) -> bool:
    """Whether `text`, a reason or a message, says that what was written may not be answered."""
    return _MODERATION.search(text) is not None


def _is_any(found: ErrorBody, phrases: re.Pattern[str], codes: Iterable[str]) -> bool:
    """Whether the error has one of `codes`, or says one of `phrases`."""
    return not found.codes.isdisjoint(codes) or phrases.search(found.message) is not None


def _is_about_model(status: int, found: ErrorBody) -> bool:
    """A 404 speaks of the model, or the path, unless its words speak of something else."""
    if "model" in found.params or "model_not_found" in found.codes:
        return True
    if status != 404:
        return _NO_SUCH_MODEL.match(found.message) is not None
    # mlx_lm answers with a 404 whatever goes wrong once it has the model.
    if "template" in found.message or "role" in found.message:
        return False
    return not found.message or any(map(_MISSING.search, (found.message, *found.codes)))


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


def _shown_target(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2]
    return f" to {parts.scheme}://{host}{parts.path}" if host else ""
