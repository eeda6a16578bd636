"""A line of chat, read once: who spoke, its roots and their groups, what it calls for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from llm_bot.evaluation.exchanges import called_for
from llm_bot.evaluation.related_words import GROUPS_OF
from llm_bot.evaluation.words import (
    MAX_CHARACTERS,
    STOPWORDS,
    UNSPACED,
    is_empty_word,
    stem,
    tokens,
)

Context = str | Sequence[str]
"""What was said: a text, or lines with the oldest first, each "user: text" or just text."""

MAX_LINES = 20
"""The latest lines that are read; older ones are not what a reply answers."""

LINE_CHARACTERS = 320
"""What is read of a line: CyTube's own limit. Twenty such lines, new to it, are read in 2 ms."""

LINE_WORDS = 60
"""What that many characters hold as a rule."""

UNSPACED_CHARACTERS = 50
"""What is read of a line in a script without spaces, where each character begins a word."""

LINES_REMEMBERED = 1024
"""Bound of the memory of lines read: some rooms' windows, about a megabyte."""

PREFIX = 5
"""Words that begin with the same letters, as many as this, may be forms or slips of one another."""

_SPEAKER = re.compile(r"\s*([\w-]{1,20}): ?")


class Line(NamedTuple):
    """What relevance needs of one line. `groups`: twice those with more than one of its roots."""

    speaker: frozenset[str]
    roots: frozenset[str]
    prefixes: frozenset[str]
    groups: tuple[str, ...]


@lru_cache(LINES_REMEMBERED)
def read(text: str) -> Line:
    """One line, which may begin with "user: "; only its first 320 characters count.

    >>> line = read("ann: the drummer is great, who is he?")
    >>> sorted(line.speaker | line.roots)
    ['ann', 'drum', 'great']
    """
    speaker, said = _parts(text[:LINE_CHARACTERS])
    words = set(_words(said)) - STOPWORDS
    roots = frozenset(stem(word) for word in words if not is_empty_word(word))
    found = [group for root in roots for group in GROUPS_OF.get(root, ())]
    once = set(found)
    twice = [group for group in once if found.count(group) > 1]
    return Line(
        # The words of a speaker's name, but those that are in every other line.
        speaker=frozenset(tokens(speaker.replace("_", " "))) - STOPWORDS,
        roots=roots,
        prefixes=frozenset(root[:PREFIX] for root in roots if len(root) >= PREFIX),
        groups=(*once, *twice),
    )


def calls(text: str) -> set[str]:
    """What a line calls for (`exchanges`).

    >>> calls("ann: hi all") == calls("Hello!")
    True
    """
    said = _parts(text[:LINE_CHARACTERS])[1]
    return called_for(said, _words(said))


def _words(said: str) -> list[str]:
    if not said.isascii() and UNSPACED.search(said):
        said = said[:UNSPACED_CHARACTERS]
    return tokens(said)[:LINE_WORDS]


def without_speaker(text: str) -> str:
    """What was said, without "user: " before it.

    >>> without_speaker("ann: hi")
    'hi'
    """
    return _parts(text[:MAX_CHARACTERS])[1]


def _parts(text: str) -> tuple[str, str]:
    """Who spoke, if anybody is named, and what was said."""
    if found := _SPEAKER.match(text):
        return found[1], text[found.end() :]
    return "", text


def last_lines(context: Context) -> list[str]:
    """The latest lines of a context, oldest first: of a text, its last 10,000 characters.

    >>> last_lines("ann: hi\\nbob: hey")
    ['ann: hi', 'bob: hey']
    """
    if isinstance(context, str):
        context = context[-MAX_LINES * MAX_CHARACTERS :].splitlines()
    return list(context[-MAX_LINES:])
