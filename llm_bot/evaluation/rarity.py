"""How much a word tells about a subject, by classes made for this; no corpus was counted."""

from __future__ import annotations

from llm_bot.evaluation.related_words import GROUPS_OF
from llm_bot.evaluation.words import stem

COMMON = 0.35
EVERYDAY = 0.7
RARE = 1.0

# Words that fit nearly any subject: two lines that share one needn't be about the same thing.
_COMMON_TEXT = """
    want look good bad nice great love hate day time year people man guy work start feel people
    try keep ask call find leave long old big little small real hard week hour minute night
    today world part place point end watch see hear talk word line name show turn play run move
    stop wait help better best worst morning tomorrow tonight second half side high low fast
    slow free full open close person live money house room set idea reason matter case wrong
    whole different next fine enough away far early late almost probably gut schon bueno bien
    ganz mucho years days minutes hours three four five ten hundred answer question fun
    interesting fact course agree guess hope remember everybody sound true fair wild crazy weird
    favourite important least usual always
"""
_COMMON = frozenset(stem(word) for word in _COMMON_TEXT.split())


def rarity(root: str) -> float:
    """The weight of a root: 0.35 (fits everywhere, as numbers do), 0.7 (in the table), else 1.

    >>> [rarity(stem(word)) for word in ("time", "drums", "Kubrick")]
    [0.35, 0.7, 1.0]
    """
    if root in _COMMON or root.isdigit():
        return COMMON
    return EVERYDAY if root in GROUPS_OF else RARE
