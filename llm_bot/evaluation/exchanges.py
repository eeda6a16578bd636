"""What a line calls for and what a reply offers: a number, a name, a greeting, advice.

An answer often shares no word with its question ("what year?", "1986, I think"), but its form is
the one that was asked for. The kinds are the names of the tables in `vocabulary.toml`.
"""

from __future__ import annotations

import re

from llm_bot.evaluation.vocabulary import by_word, listed

_CALLS = by_word("calls")
_OFFERS = by_word("offers")
_OPENERS = by_word("openers")
_AUXILIARIES = listed("auxiliaries")
_ASKING = listed("asking")
_MEASURED = listed("measured")
_COUNTED = listed("counted")
_NUMBERS = listed("numbers")

_SENTENCE = re.compile(r"[.!?…¡¿:;,\n]+\s*")
# Nothing in these can be read in two ways: a line may be made to take long.
_GAP = re.compile(r"\s{2,}|[^\S ]")
_WORD = re.compile(r"(?<![\w'’-])[\d_'’-]*+[^\W\d_][\w'’-]*+[,:]? ")
_CAPITAL = re.compile(r" [A-ZÄÖÜÁÉÍÓÚ][\w'’-]")
_MAY_BE_NAMES = frozenset({"person", "place", "suggestion", "words_of"})

_OFFER_CHARACTERS = 500
"""What is read of a reply, as `words.MAX_CHARACTERS`."""


def called_for(text: str, words: list[str]) -> set[str]:
    """The kinds of reply that a line calls for; `words` are its tokens.

    >>> called_for("what year is this?", ["what", "year", "is", "this"])
    {'number'}
    """
    kinds = {kind for word in words for kind in _CALLS.get(word, ())}
    if "how" in words and not _MEASURED.isdisjoint(words):
        kinds.add("number")
    if ("what" in words or "which" in words) and not _COUNTED.isdisjoint(words):
        kinds.add("number")
    if _ASKING.isdisjoint(words):
        asks = "?" in text and not _AUXILIARIES.isdisjoint(words)
        if asks or (words and words[0] in _AUXILIARIES):
            kinds.add("yes_no")
    return kinds


def offered(text: str, words: list[str]) -> set[str]:
    """The kinds of reply that a reply can be; `words` are its tokens.

    >>> sorted(offered("1986, I think", ["1986", "i", "think"]))
    ['number', 'opinion']
    """
    text = text[:_OFFER_CHARACTERS]
    kinds = {kind for word in words for kind in _OFFERS.get(word, ())}
    if any(char.isdigit() for char in text) or not _NUMBERS.isdisjoint(words):
        kinds.add("number")
    if _has_name_inside(text):
        kinds |= _MAY_BE_NAMES
    for sentence in _SENTENCE.split(text):
        kinds.update(_OPENERS.get(sentence.partition(" ")[0].lower(), ()))
    return kinds


def _has_name_inside(text: str) -> bool:
    """Whether a word with a capital follows another word, nothing but single spaces between words.

    >>> [_has_name_inside(text) for text in ("Ask ann, or Bob", "Bob", "7 Bobs", "no.  Bob")]
    [True, False, False, False]
    """
    for part in _GAP.split(text):
        word = _WORD.search(part)
        if word and _CAPITAL.search(part, word.end() - 1):
            return True
    return False
