"""How much a reply is about what was said: words, their groups, and the form of an answer.

Each word of the reply is looked for in the latest lines: itself, a word with the same beginning,
or one of the same group (`related_words`); later lines count more, rare words count more. Besides
words there is form: a number for "what year?", a greeting for a greeting (`exchanges`), the name
of who spoke, "you", and "it" or "he", which lean on what was said before. Words that nothing in
the context explains count against the reply. A logistic curve makes one number of it.

Older lines can only help: `relevance([line, *context], reply) >= relevance(context, reply)` as
long as the context is shorter than `MAX_LINES`; a test holds that.

What it can't judge: whether a reply is true; names of people and titles that only their shared
world ties together ("best bond?", "Dalton."); irony; languages other than English (some German
and Spanish is in the tables, anything else is compared word by word).

The weights were fitted on the tune part of tests/data/relevance_pairs.jsonl and rounded. Area under
the ROC curve, on against off topic (the plain share of shared words in brackets): tune 0.89 (0.59),
report 0.86 (0.54), measured once, when nothing was left to change; fresh, pairs written after the
weights were set, 0.93 (0.69). "Partly" takes no part in these figures: on against partly is 0.80,
partly against off 0.63 on the report part. Tables, weights and pairs have one author, who wrote the
tables with most pairs in mind: talk of other subjects will be judged less well.
"""

from __future__ import annotations

from math import exp

from llm_bot.evaluation.exchanges import offered
from llm_bot.evaluation.lines import PREFIX, Context, Line, calls, last_lines, read
from llm_bot.evaluation.related_words import GROUPS_OF, rarity
from llm_bot.evaluation.vocabulary import listed
from llm_bot.evaluation.words import MAX_CHARACTERS, is_empty_word, stem, tokens

MAX_WORDS = 60
"""Words of the reply that are judged; what the longest line of CyTube holds."""

_SAME = 0.8
_SAME_BEGINNING = 0.5
_SAME_GROUP = 0.55

# What a line still counts for, the newest first; the reply answers one of the last three.
_RECENCY = (1.0, 0.9, 0.81, 0.73, 0.66, 0.59, 0.53, 0.48, 0.43, *[0.4] * 11)
_ANSWERED = (1.0, 0.7, 0.45)

# The logistic curve: where a reply without any sign stands, and what each sign adds at most.
_START = -0.6
_EXPLAINED = 2.6
_UNEXPLAINED = -1.0
_IN_FORM = 1.4
_NAMES_SPEAKER = 1.3
_LEANS_BACK = 0.7
_ADDRESSES = 0.7

_BACKWARD = listed("backward")
_YOU = listed("you")


def relevance(context: Context, response: str) -> float:
    """From 0 (about something else) to 1 (about this); 0 for an empty reply.

    `context` is a text or lines, the oldest first, each "user: text" or just text. A reply that
    would fit anywhere is near 0.35. The same arguments give the same number, always.

    >>> relevance(["ann: what year is this from?"], "1986, I think") > 0.5
    True
    >>> relevance(["ann: what year is this from?"], "My tomatoes grow slowly on the roof") < 0.3
    True
    >>> relevance(["ann: hi"], " ")
    0.0
    """
    if not response or response.isspace():
        return 0.0
    texts = last_lines(context)[::-1]
    lines = [read(text) for text in texts]
    words = tokens(response)[:MAX_WORDS]
    speakers = {name for line in lines for name in line.speaker}
    said = set(words)
    roots = {stem(word): word in speakers for word in sorted(said) if not is_empty_word(word)}
    explained, unexplained = _words(lines, roots)
    strength = (
        _START
        + _EXPLAINED * (1 - exp(-explained))
        + _UNEXPLAINED * (1 - exp(-unexplained / 3))
        + _IN_FORM * (1 - exp(-_form(texts, offered(response[:MAX_CHARACTERS], words))))
        + _NAMES_SPEAKER * (not speakers.isdisjoint(said))
        + _LEANS_BACK * (not _BACKWARD.isdisjoint(said))
        + _ADDRESSES * (not _YOU.isdisjoint(said))
    )
    return 1 / (1 + exp(-strength))


def _words(lines: list[Line], roots: dict[str, bool]) -> tuple[float, float]:
    """The rarity of the reply's roots that the lines explain, and that of the rest.

    `roots` says of each whether it is a speaker's name, which nothing has to explain.
    """
    groups = {root: GROUPS_OF.get(root, ()) for root in roots}
    strengths = _strengths(lines, {group for each in groups.values() for group in each})
    explained = unexplained = 0.0
    for root, is_name in roots.items():
        found = max([_in_lines(lines, root), *(strengths[group] for group in groups[root])])
        weight = rarity(root)
        explained += weight * found
        unexplained += 0 if is_name else weight * (1 - found)
    return explained, unexplained


def _in_lines(lines: list[Line], root: str) -> float:
    """How well a root is found, itself or its beginning; the newest line with it counts."""
    beginning = root[:PREFIX] if len(root) >= PREFIX else ""
    best = 0.0
    for line, recency in zip(lines, _RECENCY, strict=False):
        if root in line.roots:
            return max(best, _SAME * recency)
        if not best and beginning in line.prefixes:
            best = _SAME_BEGINNING * recency
    return best


def _strengths(lines: list[Line], wanted: set[str]) -> dict[str, float]:
    """How much the lines are about each wanted group, 0 to 1."""
    left = dict.fromkeys(wanted, 1.0)
    for line, recency in zip(lines, _RECENCY, strict=False):
        for group in line.groups:
            if group in left:
                left[group] *= 1 - _SAME_GROUP * recency
    return {group: 1 - share for group, share in left.items()}


def _form(texts: list[str], offers: set[str]) -> float:
    """How much of what the last lines call for the reply offers; each kind counts once."""
    total = 0.0
    for text, weight in zip(texts, _ANSWERED, strict=False):
        met = calls(text) & offers
        total += weight * len(met)
        offers = offers - met
    return total
