"""Whether to ask again, and when. Pure: chance and time are arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.exceptions import LLMError

_NUMBER = r"[0-9]{1,13}(?:\.[0-9]{1,12})?"
_AMOUNT = re.compile(rf"({_NUMBER})\s?([a-z]{{0,12}})", re.IGNORECASE)
# "try again in 1m42.6s", "retry after 30 seconds"; an amount without a unit counts seconds.
_IN_WORDS = re.compile(
    r"\b(?:try(?:ing)? again|retry(?:ing)?|wait)\s+(?:(?:in|after|for)\s+)?(?:about\s+)?"
    rf"((?:{_NUMBER}\s?[a-z]{{0,12}}(?:,?\s+and\s+|,\s*|\s*)){{1,5}})",
    re.IGNORECASE,
)
_MAX_WORDS = 10_000  # what follows is no message to a reader any more
_UNITS = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
# An amount beyond these is a moment of the epoch, in seconds (2001) or milliseconds.
_EARLIEST_EPOCH = 1e9
_EARLIEST_MILLISECONDS = 1e12
# 2 ** 30 seconds are 34 years: beyond, the cap decides anyway.
_MAX_DOUBLINGS = 30


def backoff_seconds(attempt: int, chance: float, *, first: float, longest: float) -> float:
    """Pause after attempt number `attempt` (from 1): the upper half of the doubled delay, capped.

    >>> [backoff_seconds(attempt, 1.0, first=1, longest=3) for attempt in (1, 2, 3)]
    [1.0, 2.0, 3.0]
    >>> backoff_seconds(1, 0.0, first=1, longest=3)
    0.5
    """
    ceiling = first * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS)
    return (0.5 + chance / 2) * min(ceiling, longest)


def next_wait(
    error: LLMError, attempt: int, config: LLMConfig, *, remaining: float, chance: float
) -> float | None:
    """Seconds to wait before asking the same provider again, or None to give up.

    `remaining` is what is left until the deadline, infinite without one. What the server asks for
    is the least that is waited; without a deadline, more than the longest backoff isn't.
    """
    if not error.retryable or attempt >= config.max_attempts:
        return None
    longest = config.max_retry_delay_seconds
    asked = error.retry_after or 0.0
    backoff = backoff_seconds(attempt, chance, first=config.retry_delay_seconds, longest=longest)
    wait = max(asked, backoff)
    return wait if wait < remaining and (remaining < float("inf") or asked <= longest) else None


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds from `now` (Unix epoch) that a `Retry-After` asks for; None if it can't be read.

    >>> parse_retry_after("2", now=0.0)
    2.0
    >>> parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now=20.0)
    40.0
    """
    text = (value or "").strip()
    if re.fullmatch(_NUMBER, text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone is taken for GMT, the only one that HTTP allows.
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, aware.timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def parse_reset_headers(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until the limits that are used up are renewed; None where no header tells.

    `X-RateLimit-Reset*` counts for a limit whose `Remaining` is 0 or missing; it is an amount of
    seconds, a moment of the epoch in seconds or milliseconds, or like `1m3s`.

    >>> parse_reset_headers({"x-ratelimit-reset-requests": "1m3s"}, now=0.0)
    63.0
    >>> parse_reset_headers(
    ...     {"x-ratelimit-remaining": "7", "x-ratelimit-reset": "60"}, now=0.0
    ... ) is None
    True
    """
    waits = []
    for name, value in headers.items():
        prefix, found, kind = name.partition("-reset")
        if not found or not prefix.endswith("ratelimit"):
            continue
        wait = _amount(value)
        if wait is None or headers.get(f"{prefix}-remaining{kind}", "0") not in ("0", "0.0"):
            continue
        if wait > _EARLIEST_MILLISECONDS:
            wait /= 1000
        waits.append(max(0.0, wait - now) if wait > _EARLIEST_EPOCH else wait)
    return max(waits, default=None)


def parse_wait_in_words(text: str) -> float | None:
    """Seconds that a message asks to wait; None if it doesn't, or not in a way that is known.

    >>> parse_wait_in_words("Rate limit reached. Please try again in 1m42.6s.")
    102.6
    >>> parse_wait_in_words("too many requests") is None
    True
    """
    found = _IN_WORDS.search(text[:_MAX_WORDS])
    return None if found is None else _amount(found[1])


def _amount(text: str) -> float | None:
    """The seconds in `1m42.6s`, `2.5`, `3 minutes`; None where there are none."""
    amounts = _AMOUNT.findall(text)
    total = 0.0
    for amount, unit in amounts:
        factor = _UNITS.get(unit.lower())
        if factor is None:
            return total or None  # the sentence goes on with something else
        total += float(amount) * factor
    return total if amounts else None
