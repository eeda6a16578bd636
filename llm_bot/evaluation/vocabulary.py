"""The word lists by which a reply is judged, read once from `vocabulary.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

_LISTS = tomllib.loads(Path(__file__).with_name("vocabulary.toml").read_text(encoding="utf-8"))


def listed(name: str) -> frozenset[str]:
    """The words of a list.

    >>> sorted(listed("counted"))
    ['age', 'date', 'day', 'time', 'year']
    """
    return frozenset(_LISTS[name].split())


def by_word(table: str, form: Callable[[str], str] = str) -> dict[str, tuple[str, ...]]:
    """For each word of a table, in that form, the names of the lists that it stands in.

    >>> by_word("calls")["hello"], by_word("spelled_out")["tmrw"]
    (('greeting',), ('tomorrow',))
    """
    found: dict[str, set[str]] = {}
    for name, words in _LISTS[table].items():
        for word in words.split():
            found.setdefault(form(word), set()).add(name)
    return {word: tuple(sorted(names)) for word, names in found.items()}
