"""Rules of the pauses: when the same provider is asked again, and after how long."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.llm_client.exceptions import LLMError
from llm_bot.llm_client.retry import (
    backoff_seconds,
    next_wait,
    parse_reset_headers,
    parse_retry_after,
    parse_wait_in_words,
)
from tests.unit.llm_client.support import config

POLICY = config(max_attempts=4, retry_delay_seconds=1, max_retry_delay_seconds=30)
NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT


def passing(retry_after: float | None = None) -> LLMError:
    return LLMError("busy", retryable=True, retry_after=retry_after)


@pytest.mark.parametrize(
    ("attempt", "chance", "expected"),
    [(1, 1.0, 1.0), (2, 1.0, 2.0), (3, 0.5, 3.0), (6, 1.0, 30.0), (2, 0.0, 1.0), (10**6, 1.0, 30)],
)
def test_backoff_doubles_up_to_its_cap(attempt, chance, expected):
    """The pause is in the upper half of the doubled delay, never above the cap."""
    assert backoff_seconds(attempt, chance, first=1, longest=30) == expected


@pytest.mark.parametrize(
    ("error", "attempt", "remaining", "expected"),
    [
        pytest.param(passing(), 1, math.inf, 1.0, id="backoff"),
        pytest.param(passing(), 4, math.inf, None, id="attempts spent"),
        pytest.param(LLMError("no", retryable=False), 1, math.inf, None, id="never helps"),
        pytest.param(passing(7.0), 1, math.inf, 7.0, id="server's wish is the floor"),
        pytest.param(passing(0.2), 2, math.inf, 2.0, id="backoff above the server's wish"),
        pytest.param(passing(30.0), 1, math.inf, 30.0, id="longest wait without a deadline"),
        pytest.param(passing(30.1), 1, math.inf, None, id="too long without a deadline"),
        pytest.param(passing(40.0), 1, 41.0, 40.0, id="a deadline allows more"),
        pytest.param(passing(40.0), 1, 40.0, None, id="nothing would be left"),
        pytest.param(passing(), 1, 0.5, None, id="backoff doesn't fit"),
        pytest.param(passing(), 1, -1.0, None, id="deadline passed"),
    ],
)
def test_next_wait(error, attempt, remaining, expected):
    """Asked again only if it may help, attempts are left, and the wait ends before the deadline."""
    assert next_wait(error, attempt, POLICY, remaining=remaining, chance=1.0) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        ("Sunday, 06-Nov-94 08:49:47 GMT", 10.0),
        ("Sun Nov  6 08:49:47 1994", 10.0),
        ("Sun, 06 Nov 1994 09:49:47 +0100", 10.0),
        ("Sun, 06 Nov 1994 08:49:47 -0000", 10.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("-1", None),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("١٢", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("Sun, 99 Nov 1994 08:49:47 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, expected):
    """Seconds count as they are, a date from now; the past is no wait, nonsense is no wish."""
    assert parse_retry_after(value, NOW) == expected


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:]+ [A-Z+\-\d]+"))
def test_retry_after_never_raises(value):
    """Any header gives a finite wait that isn't negative, or none."""
    wait = parse_retry_after(value, NOW)
    assert wait is None or (math.isfinite(wait) and wait >= 0)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"reset": "5"}, 5),
        ({"reset": "1m3s", "remaining": "0"}, 63),
        ({"reset": "5", "remaining": "1"}, None),
        ({"reset-requests": "864ms", "reset-tokens": "6m0s", "remaining-tokens": "7"}, 0.864),
        ({"reset-requests": "2", "reset-tokens": "3"}, 3),
        ({"reset": f"{(2e9 + 30) * 1000:.0f}"}, 2e9 + 30 - NOW),
        ({"reset": "1000000001"}, 1_000_000_001 - NOW),
        ({"reset": "soon"}, None),
        ({"limit": "5"}, None),
        ({}, None),
    ],
)
def test_headers_of_limits(headers, seconds):
    """The longest of those that are used up, as seconds, a moment or an amount (LLM-5)."""
    named = {f"x-ratelimit-{name}": value for name, value in headers.items()}
    found = parse_reset_headers({**named, "x-reset": "9"}, NOW)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 1m42.6s. Visit https://console.groq.com", 102.6),
        ("Rate limit reached: Limit 30, Used 30. Please try again in 864ms.", 0.864),
        ("Please try again in 20s. Contact us", 20),
        ("try again in 1h2m3.5s", 3723.5),
        ("Try again in 1 minute and 30 seconds", 90),
        ("Try again in 1 hour, 2 minutes, and 3 seconds.", 3723),
        ("Please retry in 26.5s.", 26.5),
        ("Please retry after 10 seconds.", 10),
        ("Retry after 10", 10),
        ("retrying in 2 MIN", 120),
        ("wait for 3 hrs before", 10800),
        ("please wait about 5 secs", 5),
        ("Please wait 2 days", 172800),
        ("try again in 5 seconds or 3 parsecs", 5),
        ("try again in 5s 3 parsecs", 5),
        ("try again in 0s", 0),
        ("Retry after 3 attempts", None),
        ("try again later", None),
        ("try again in a moment", None),
        ("there are 5 seconds left", None),
        ("x" * 20_000 + "try again in 5s", None),
        ("", None),
    ],
)
def test_a_wait_in_words(text, seconds):
    """A wait is read from a sentence, whatever its units; what is no wait isn't one."""
    found = parse_wait_in_words(text)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


@given(st.text() | st.from_regex(r"(try again in|wait) ([0-9.]{1,14} ?[a-z]{0,4},? ?(and)?){1,6}"))
def test_words_never_raise(text):
    """Any text gives a finite wait that isn't negative, or none."""
    wait = parse_wait_in_words(text)
    assert wait is None or (math.isfinite(wait) and wait >= 0)


@pytest.mark.parametrize("piece", ["try again in 1 ", "1", "Mon, ", "wait  ", "1 s and ", "\t"])
def test_no_wish_takes_long(piece):
    """A header of 64 KiB and a text of a megabyte are read in no time."""
    text = piece * (2**20 // len(piece))
    started = time.process_time()
    parse_wait_in_words(text)
    parse_retry_after(text[: 2**16], NOW)
    assert time.process_time() - started < 5
