"""The id under which a line is followed through logs, records and requests."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Any

from llm_bot.wire.bounds import MAX_ID_CHARACTERS

_NEW_ID_PREFIX = os.urandom(6).hex()
_new_id_number = itertools.count(1)


def new_correlation_id() -> str:
    """Unique to this process and, by its random part, among all. Far cheaper than a UUID."""
    return f"{_NEW_ID_PREFIX}-{next(_new_id_number)}"


def correlation_id(headers: Mapping[str, str] | None, given: Any) -> str:
    """The id in the headers, else the one that the envelope gives, else a new one."""
    if headers:
        for name, value in headers.items():
            if type(name) is not str or type(value) is not str:
                continue  # no bus of ours hands over any, and a cheap look is no reason to fail
            if name.lower() == "correlation-id" and _is_good_id(value):
                return value
    return given if type(given) is str and _is_good_id(given) else new_correlation_id()


def _is_good_id(text: str) -> bool:
    """Printable ASCII without spaces, of some length."""
    return (
        0 < len(text) <= MAX_ID_CHARACTERS
        and text.isascii()
        and text.isprintable()
        and " " not in text
    )
