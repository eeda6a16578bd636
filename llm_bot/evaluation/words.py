"""Words of a line: cut, folded, stemmed, and without those that say nothing about its subject."""

from __future__ import annotations

import re
from functools import lru_cache

from llm_bot.evaluation.vocabulary import by_word, listed

MAX_CHARACTERS = 500
"""What is read of one line or reply; CyTube's own limit is 320."""

VOCABULARY = 4096
"""Stems remembered; a busy evening has fewer different words."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# Scripts that put no space between words: Japanese and Chinese; Korean and Thai gain by it too.
UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_FOLD = str.maketrans("áàâãåäéèêëíìîïóòôõöúùûüýñçø’", "aaaaaaeeeeiiiiooooouuuuyncø'")

STOPWORDS = listed("stopwords")
_SPELLED_OUT = {short: meant for short, (meant,) in by_word("spelled_out").items()}
_IRREGULAR = {form: root for form, (root,) in by_word("irregular").items()}

_ENDINGS = ("ings", "ing", "ies", "ied", "ers", "er", "ed", "ly", "es", "s")
_LAST_LETTERS = frozenset(ending[-1] for ending in _ENDINGS)


def tokens(text: str) -> list[str]:
    """The words of a line, folded to lower case, without accents, short forms spelled out.

    >>> tokens("Never heard of Amélie, have u?")
    ['never', 'heard', 'of', 'amelie', 'have', 'you']
    """
    folded = text[:MAX_CHARACTERS].lower()
    if not folded.isascii():
        folded = folded.translate(_FOLD)
        if UNSPACED.search(folded):
            folded = UNSPACED.sub(_pairs, folded)
    return [_SPELLED_OUT.get(word, word) for word in _WORD.findall(folded)]


def _pairs(found: re.Match[str]) -> str:
    """Each two neighbours of a run, spaced: the nearest thing to words that needs no dictionary."""
    run = found[0]
    return " " + " ".join(run[at : at + 2] for at in range(max(1, len(run) - 1))) + " "


def is_empty_word(word: str) -> bool:
    """Whether a word (as of `tokens`) says nothing about a subject.

    >>> [is_empty_word(word) for word in ("the", "don't", "shark")]
    [True, True, False]
    """
    return word in STOPWORDS or ("'" in word and word.replace("'", "") in STOPWORDS)


def root_of(word: str) -> str:
    """A root shared by the forms of a word; rough, made for chat, never longer than the word.

    >>> {root_of(word) for word in ("stream", "streams", "streamed", "streaming", "streamer")}
    {'stream'}
    >>> root_of("running"), root_of("stories"), root_of("sold"), root_of("vu")
    ('run', 'stori', 'sell', 'vu')
    """
    word = word.lower()
    if not word.isascii():
        word = word.translate(_FOLD)
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    word = word.partition("'")[0] or word
    if word[-1:] not in _LAST_LETTERS:
        return _tidied(word, "")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return _tidied(word.removesuffix(ending), ending)
    return _tidied(word, "")


stem = lru_cache(VOCABULARY)(root_of)
"""`root_of` for what people say: they say the same words again and again."""


def _tidied(root: str, ending: str) -> str:
    if ending in {"ies", "ied"}:
        return root + "i"
    if ending == "s" and root.endswith("s"):  # "boss", not "bos"
        return root + "s"
    if len(root) > 3 and root[-1] == root[-2] and root[-1] not in "lsz" and ending:
        return root[:-1]
    if len(root) > 3 and root[-1] in "ey":
        return root[:-1] + ("i" if root[-1] == "y" else "")
    return root
