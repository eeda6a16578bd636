"""Blacks out secrets, and makes plain values of any. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any
from urllib.parse import quote, quote_plus

SECRET = "[secret]"  # noqa: S105 - what is shown instead of one

# Whoever is cut here is told; a longer line helps nobody and costs everybody.
_MAX_CHARACTERS = 20_000
_MAX_ITEMS = 100
_MAX_DEPTH = 5
_LARGEST_INTEGER = 2**63 - 1

Plain = str | int | float | bool | list[Any] | dict[str, Any] | None


class Redactor:
    """Makes values that JSON can have of any, none of which holds one of `secrets`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len)
        self._pattern = re.compile("|".join(re.escape(form) for form in reversed(forms)) or r"(?!)")

    def text(self, value: object) -> str:
        """`value` as text, cut where it is too long. Raises what its `__str__` does."""
        text = self._pattern.sub(SECRET, str.__str__(str(value)))
        if len(text) > _MAX_CHARACTERS:
            text = f"{text[:_MAX_CHARACTERS]}... ({len(text)} characters)"
        return text.encode("utf-8", "backslashreplace").decode()

    def plain(self, value: object, depth: int = 0) -> Plain:
        """`value` as JSON can have it; `<its type>` where its methods raise. Never raises."""
        try:
            return self._plain(value, depth)
        except Exception:  # noqa: BLE001 - a value of any type, with methods of its own
            return f"<{type(value).__name__}>"

    def _plain(self, value: object, depth: int) -> Plain:
        match value:
            case None | bool():
                return value
            case int() | float() if -_LARGEST_INTEGER <= value <= _LARGEST_INTEGER:  # no NaN
                shown = repr(value)
                return value if self._pattern.search(shown) is None else self.text(shown)
            case Mapping() if depth < _MAX_DEPTH:
                pairs = islice(value.items(), _MAX_ITEMS)
                return {self.text(key): self.plain(item, depth + 1) for key, item in pairs}
            case list() | tuple() | set() | frozenset() if depth < _MAX_DEPTH:
                return [self.plain(item, depth + 1) for item in islice(value, _MAX_ITEMS)]
            case _:
                return self.text(value)


def _forms(secret: str) -> set[str]:
    """`secret` as it may stand in a text: bare, in a URL, in a literal of Python or JSON."""
    in_bytes = repr(secret.encode("utf-8", "replace"))[2:-1]
    urls = {quote(secret, safe="", errors="replace"), quote_plus(secret, errors="replace")}
    in_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {secret, repr(secret)[1:-1], ascii(secret)[1:-1], in_bytes, *in_json, *urls}
