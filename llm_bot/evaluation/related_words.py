"""Words that go together, and how much a word tells about a subject; no corpus was counted.

The table knows everyday subjects only: it can't relate names of people or of films.
"""

from __future__ import annotations

from llm_bot.evaluation.vocabulary import by_word, listed
from llm_bot.evaluation.words import root_of

GROUPS_OF = by_word("groups", root_of)
"""The groups of a stem; a stem that isn't here has none."""

COMMON = 0.35
EVERYDAY = 0.7
RARE = 1.0

_COMMON = frozenset(map(root_of, listed("common")))


def rarity(root: str) -> float:
    """The weight of a root: 0.35 (fits everywhere, as numbers do), 0.7 (in the table), else 1.

    >>> [rarity(root_of(word)) for word in ("time", "drums", "Kubrick")]
    [0.35, 0.7, 1.0]
    """
    if root in _COMMON or root.isdigit():
        return COMMON
    return EVERYDAY if root in GROUPS_OF else RARE
