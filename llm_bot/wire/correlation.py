"""The id under which a line is followed through logs, records and requests."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

MAX_ID_CHARACTERS = 128

_NEW_ID_PREFIX = os.urandom(6).hex()
_new_id_number = itertools.count(1)

# Visible ASCII: it goes into headers.
_GOOD_ID = re.compile(rf"[!-~]{{1,{MAX_ID_CHARACTERS}}}")


def new_correlation_id() -> str:
    """Unique to this process and, by its random part, among all. Far cheaper than a UUID."""
    return f"{_NEW_ID_PREFIX}-{next(_new_id_number)}"


def correlation_id(headers: Mapping[str, str] | None, given: Any) -> str:
    """The id in the headers, else the one that the envelope gives, else a new one."""
    if headers:
        for name, value in headers.items():
            if str(name).lower() == "correlation-id" and _is_good(value):
                return value
    return given if _is_good(given) else new_correlation_id()


def _is_good(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and _GOOD_ID.fullmatch(value) is not None
