"""Keeping secrets out of texts that others see."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from llm_bot.llm_client.config import LLMConfig

MASK = "***"
MAX_TEXT = 300
# Shorter values of headers and queries ("1", "true", "json") are words, not secrets.
_MIN_SECRET = 6


def secrets_of(config: LLMConfig) -> tuple[str, ...]:
    """What must never be shown: key, header values, password and query values; longest first."""
    found = {config.api_key or ""}
    others = set(config.extra_headers.values())
    others |= {word for value in config.extra_headers.values() for word in value.split()}
    parts = urlsplit(config.base_url)
    others |= {value for _, value in parse_qsl(parts.query)}
    found |= {unquote(parts.password or ""), parts.password or "", basic_token(config) or ""}
    found |= {value for value in others if len(value) >= _MIN_SECRET}
    found |= {quote(value, safe="") for value in found}
    return tuple(sorted(filter(None, found), key=len, reverse=True))


def basic_token(config: LLMConfig) -> str | None:
    """User and password of the address as HTTP's basic authentication wants them, if any."""
    parts = urlsplit(config.base_url)
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return base64.b64encode(pair.encode()).decode()


def fit_to_show(text: str, secrets: Iterable[str]) -> str:
    """`text` on one line, without the secrets, of at most 300 characters."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    printable = "".join(char if char.isprintable() else " " for char in text[: 10 * MAX_TEXT])
    line = " ".join(printable.split())
    return line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 3]}..."
