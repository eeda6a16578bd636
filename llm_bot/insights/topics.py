"""What can be observed about a conversation, and its topics by the words of its lines. Pure.

No model is asked. It rather misses a change of topic than tells of one that isn't there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import islice
from math import log, sqrt

import msgspec

from llm_bot.evaluation.related_words import rarity
from llm_bot.evaluation.words import is_empty_word, stem, tokens


class InsightKind(StrEnum):
    """What can be observed, as `domain.entity.action`. Closed: also a label of metrics."""

    RELEVANCE = "reply.relevance.measured"
    TOPIC = "topic.change.noticed"
    QUESTION = "question.answer.missing"


TOPIC_THRESHOLD = 0.7
"""How different two intervals must be. Measured on 20 lines against 20, made of our own pages cut
into pieces of eight words: 71 of 100 pairs from two pages reach it, and 5 of 100 that follow each
other on one page. The demo's film night, all about one thing, stays below."""

MIN_TELLING_WORDS = 8
"""Different ones that an interval needs: below, a few lines of laughter would be another topic."""

TOPIC_WORDS = 5

LINE_CHARACTERS = 200
"""What is looked at of a line, see `cut`: the longest may be made to cost time."""

_END_CHARACTERS = 60

LINE_WORDS = 40
"""What is looked at of its words: where none are spaced, each character begins one."""

TOPIC_LINES = 100
"""What is compared of an interval that has more lines: evenly chosen ones, about so many."""

WORDS_COMPARED = 800
"""At most, of an interval; its lines share them evenly. A comparison takes 3 ms with them all."""


class Spoken(msgspec.Struct, frozen=True, gc=False):
    """One public line. `time` is epoch seconds, `sequence` its number in the room's stream."""

    user: str
    text: str
    time: float
    is_own: bool = False
    correlation_id: str = ""
    sequence: int = 0


def cut(text: str) -> str:
    """The beginning and the end of a long line: who is called, and whether it asks.

    >>> cut("soup " * 100 + "?")[-70:]
    'soup soup…oup soup soup soup soup soup soup soup soup soup soup soup ?'
    """
    if len(text) <= LINE_CHARACTERS:
        return text
    return f"{text[: LINE_CHARACTERS - _END_CHARACTERS - 1]}…{text[-_END_CHARACTERS:]}"


class TopicChange(msgspec.Struct, frozen=True):
    """They talk about something else since `first`; `difference` lies in `TOPIC_THRESHOLD`..1.

    `words` are the most telling ones of the new topic, as they were written, in lower case.
    """

    first: Spoken
    difference: float
    words: tuple[str, ...]


def telling_words(text: str) -> dict[str, str]:
    """The words that say something about a subject, each under its stem.

    >>> telling_words("who is bringing the popcorn?")
    {'bring': 'bringing', 'popcorn': 'popcorn'}
    """
    words = (
        word for word in tokens(text)[:LINE_WORDS] if len(word) > 1 and not is_empty_word(word)
    )
    return {stem(word): word for word in words}


Profile = Sequence[frozenset[str]]
"""The stems of each line of an interval."""


class _Interval:
    """Lines as they come: `count` of them, the words of those that are compared, by their stems."""

    def __init__(self, first: Spoken) -> None:
        self.first = first
        self.count = 0
        self.lines: list[dict[str, str]] = []
        self.speakers: set[str] = set()


class TopicWatch:
    """Compares each `interval` lines with the `interval` before them: `TOPIC_LINES` of each and
    `WORDS_COMPARED`, so that a long interval of long lines takes no longer than that.

    `names` (the bot's, and those of whoever speaks) are no topic.
    """

    def __init__(self, interval: int, names: Iterable[str] = ()) -> None:
        self.interval = interval
        self._names = frozenset(root for name in names for root in telling_words(name))
        self._every = max(1, -(-interval // TOPIC_LINES))
        self._most_words = WORDS_COMPARED // max(1, -(-interval // self._every))
        self._before: _Interval | None = None
        self._now: _Interval | None = None

    def note(self, line: Spoken) -> TopicChange | None:
        """Take one more line; each `interval`-th time it looks for a change."""
        now = self._now = self._now or _Interval(line)
        if now.count % self._every == 0:
            words = telling_words(line.text)
            now.lines.append(dict(islice(words.items(), self._most_words)))
            now.speakers.update(telling_words(line.user))
        now.count += 1
        if now.count < self.interval:
            return None
        before, self._before, self._now = self._before, now, None
        return self._compared(before, now) if before else None

    def _compared(self, before: _Interval, now: _Interval) -> TopicChange | None:
        names = self._names | before.speakers | now.speakers
        then = [frozenset(words) - names for words in before.lines]
        later = [frozenset(words) - names for words in now.lines]
        difference = difference_of(then, later)
        if difference is None or difference < TOPIC_THRESHOLD:
            return None
        new = Counter(root for line in later for root in line)
        old = Counter(root for line in then for root in line)
        strength = {root: (count - old[root]) * rarity(root) for root, count in new.items()}
        roots = sorted(strength, key=lambda root: -strength[root])[:TOPIC_WORDS]
        words = {root: word for line in now.lines for root, word in line.items()}
        return TopicChange(now.first, difference, tuple(words[root] for root in roots))


def difference_of(before: Profile, now: Profile) -> float | None:
    """How much less two intervals have in common than halves of the same lines that mix them.

    0: as much as any two halves; 1: no word. Comparing with mixed halves makes the number mean the
    same in a room that repeats itself and in one that doesn't. None where too little was said.

    >>> film = [frozenset(line.split()) for line in ("shark boat sea", "boat captain", "shark fin")]
    >>> food = [frozenset(line.split()) for line in ("soup salt spoon", "salt pepper", "soup pan")]
    >>> difference_of(film * 3, food * 3), difference_of(film * 4, film * 4)
    (None, None)
    >>> round(difference_of((film + food) * 2, (food + film) * 2), 1)
    0.0
    """
    if min(len(frozenset().union(*part)) for part in (before, now)) < MIN_TELLING_WORDS:
        return None
    lines = (*before, *now)
    total = Counter(root for line in lines for root in line)
    weights = {
        root: (rarity(root) * log(1 + len(lines) / count)) ** 2 for root, count in total.items()
    }
    mixed = [_likeness(half, total, weights) for half in _mixed_halves(lines)]
    usual = sum(mixed) / len(mixed)
    if not usual:
        return None
    return min(1.0, max(0.0, 1 - _likeness(before, total, weights) / usual))


def _mixed_halves(lines: Profile) -> list[Profile]:
    """Every second line, every second pair, and so on: each takes evenly from both intervals."""
    rules = [(2, (0,)), (4, (0, 1)), (4, (0, 3)), (8, (0, 1, 2, 3))]
    return [[line for i, line in enumerate(lines) if i % n in own] for n, own in rules]


def _likeness(part: Profile, total: Counter[str], weights: dict[str, float]) -> float:
    """The cosine of the weighted words of `part` and of all the other lines, 0..1."""
    counts = Counter(root for line in part for root in line)
    product = own = others = 0.0
    for root, weight in weights.items():
        here = counts[root]
        there = total[root] - here
        product += here * there * weight
        own += here * here * weight
        others += there * there * weight
    return product / sqrt(own * others) if own and others else 0.0
