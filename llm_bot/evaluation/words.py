"""Words of a line: cut, folded, stemmed, and without those that say nothing about its subject."""

from __future__ import annotations

import re
from functools import lru_cache

MAX_CHARACTERS = 500
"""What is read of one line or reply; CyTube's own limit is 320."""

VOCABULARY = 4096
"""Stems remembered; a busy evening has fewer different words."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# Scripts that put no space between words: Japanese and Chinese; Korean and Thai gain by it too.
UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_FOLD = str.maketrans("áàâãåäéèêëíìîïóòôõöúùûüýñçø’", "aaaaaaeeeeiiiiooooouuuuyncø'")

# What people type for something longer.
_SPELLED_OUT = {
    "u": "you", "ur": "your", "r": "are", "tmrw": "tomorrow", "tmr": "tomorrow",
    "bday": "birthday", "pls": "please", "plz": "please", "thx": "thanks", "ty": "thanks",
    "gn": "goodnight", "rn": "now", "idk": "unsure", "b4": "before", "alr": "already",
    "yr": "year", "yrs": "years", "mins": "minutes", "min": "minutes", "hrs": "hours",
    "secs": "seconds", "sec": "seconds", "fav": "favourite", "fave": "favourite",
    "favorite": "favourite",
    "vid": "video", "vids": "videos", "movies": "movie", "rec": "recommend",
    "recs": "recommend", "prob": "probably", "ppl": "people", "wanna": "want", "gonna": "going",
    "yday": "yesterday", "eps": "episode", "ep": "episode", "convo": "conversation",
    "xmas": "christmas", "soz": "sorry", "obv": "obviously", "ofc": "obviously",
}  # fmt: skip

_IRREGULAR = {
    "ran": "run", "won": "win", "lost": "lose", "died": "die", "dies": "die", "dying": "die",
    "dead": "die", "death": "die", "sang": "sing", "sung": "sing", "bought": "buy", "sold": "sell",
    "paid": "pay", "ate": "eat", "eaten": "eat", "drank": "drink", "slept": "sleep",
    "woke": "wake", "wrote": "write", "written": "write", "made": "make", "making": "make",
    "saw": "see", "seen": "see", "watched": "watch", "heard": "hear", "felt": "feel",
    "thought": "think", "knew": "know", "known": "know", "came": "come", "coming": "come",
    "went": "go", "gone": "go", "going": "go", "goes": "go", "took": "take", "taken": "take",
    "taking": "take", "gave": "give", "given": "give", "told": "tell", "said": "say",
    "shot": "shoot", "drove": "drive", "flew": "fly", "flown": "fly", "broke": "break",
    "broken": "break", "grew": "grow", "grown": "grow", "taught": "teach", "left": "leave",
    "kept": "keep", "found": "find", "feet": "foot", "men": "man", "women": "woman",
    "kids": "kid", "better": "good", "best": "good", "worse": "bad", "worst": "bad",
    "hotter": "hot", "older": "old", "children": "kid", "wives": "wife", "lives": "live",
    "alive": "live",
}  # fmt: skip

# Words that any line may hold: they stand for the language, not for a subject.
_STOPWORDS_TEXT = """
    a about after again all already also always am an and another any anyone anything are as at
    away back be because been before being but by can could did do does doing done down each
    else even ever every few first for from get gets getting got had has have having he her here
    hers him his how i if in into is it its just know last least less let like made make many
    may maybe me might mine more most much must my myself never next no nobody none nor not
    nothing now of off often oh ok okay on once one only or other our out over own please put
    quite really right same seem she should since so some somebody someone something sometimes
    still such sure than thank thanks that the their them then there these they thing things
    think this those though through to too two under until up upon us use very was way we well
    were what when where which while who whom whose why will with without would yeah yep yes yet
    you your yours going go come say tell take give need mean kind lot bit pretty probably
    actually basically literally around both between them up new back im ive id ill youre youve
    dont doesnt didnt isnt wasnt cant couldnt wont wouldnt arent havent hasnt thats whats whos
    theyre theres heres hes shes lets lol lmao lmaoo rofl haha hahaha jaja hehe omg wtf smh tbh
    ngl imo btw rip wow hmm ugh nah nope hey hi hello yay aww ah eh um uh xd tho fr bb gotta
    unsure obviously everyone everything der die das ein eine einen einem einer und oder ist
    sind war hat haben ich du er sie es wir ihr mich dich mir dir nicht kein keine auch noch nur
    mal ja nein so wie was wer wo wann warum mit von zu zum zur auf an im in am bei fur aus als
    dass den dem des hab habe bin eben ohje el la los las un una unos y o es son era fue ser
    estar esta este eso ese yo tu mi su se me te lo le nos que quien como cuando donde si no muy
    mas de del al en con por para ya hay todo todos bien aqui ha he
"""
STOPWORDS = frozenset(_STOPWORDS_TEXT.split())


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
