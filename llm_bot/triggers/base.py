"""What a trigger is: a condition on a line, and the names that limits and records know it by."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from llm_bot.models import ChatLine


class Trigger(Protocol):
    """`kind` is the type in the configuration; `key` is unique in a room, also over a reload."""

    @property
    def kind(self) -> str: ...

    @property
    def key(self) -> str: ...

    def match(self, line: ChatLine) -> str | None:
        """What in `line` it fires on, None if nothing."""
        ...


class WholeWords:
    """Finds any of some phrases in a text, as whole words, whatever characters they are made of.

    A phrase stands alone where neither a letter, digit or underscore comes before or after it. The
    first look is a plain substring search: nearly every line ends there.
    """

    def __init__(self, phrases: Iterable[str], *, ignore_case: bool = True) -> None:
        found = {_fold(phrase, ignore_case=ignore_case) for phrase in phrases}
        # The longest first, so that what is reported is the longest that stands there.
        self._phrases = tuple(sorted(filter(None, found), key=lambda text: (-len(text), text)))
        choices = "|".join(re.escape(phrase) for phrase in self._phrases)
        self._whole = re.compile(rf"(?<!\w)(?:{choices})(?!\w)")

    def find(self, folded: str) -> str | None:
        """The first phrase in `folded`, which is the text in lower case if case doesn't matter."""
        for phrase in self._phrases:
            if phrase in folded:
                found = self._whole.search(folded)
                return found[0] if found else None
        return None


def _fold(phrase: str, *, ignore_case: bool) -> str:
    joined = " ".join(phrase.split())
    return joined.lower() if ignore_case else joined
