"""What a line calls for and what a reply offers: a number, a name, a greeting, advice.

An answer often shares no word with its question ("what year?", "1986, I think"), but its form is
the one that was asked for. Word lists made for this, English with some German and Spanish.
"""

from __future__ import annotations

import re

NUMBER, PERSON, PLACE, REASON, YES_NO, SUGGESTION, OPINION, ADVICE = (1 << n for n in range(8))
GREETING, FAREWELL, THANKS, COMFORT, JOY, LAUGH, WORDS_OF = (1 << n for n in range(8, 15))

NAMES_OF_KINDS = (
    "number", "person", "place", "reason", "yes_no", "suggestion", "opinion", "advice",
    "greeting", "farewell", "thanks", "comfort", "joy", "laugh", "words_of",
)  # fmt: skip


def _by_word(table: dict[int, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for kind, words in table.items():
        for word in words.split():
            found[word] = found.get(word, 0) | kind
    return found


# Words, as `tokens` gives them, that call for such a reply wherever they stand in the line.
_CALLS = _by_word(
    {
        NUMBER: "when cuanto cuanta cuantos cuantas wann wieviel wieviele",
        PERSON: "who who's whos whose whom wer quien",
        PLACE: "where where's wheres wo wohin donde",
        REASON: "why warum wieso porque",
        SUGGESTION: """suggest suggestion suggestions recommend recommendation recommendations next
            idea ideas irgendwas recomienda welchen any""",
        OPINION: """best favourite fav pick think thoughts opinion better worse worst worth
            overrated underrated vs versus or agree wrong fight like unpopular deserves meinung
            prefer mid bad good amazing genius terrible insane hate love ruined""",
        ADVICE: """help broken stuck work works lag lagging buffering error fix cant can't couldn't
            doesnt doesn't won't wont how hungry tired sick cold heat heiß heiss learn
            learning first lost dropped find screen subs sleep""",
        GREETING: """hi hello hey heya hiya morning evening afternoon sup yo howdy greetings back
            hallo moin servus hola buenas buenos wb""",
        FAREWELL: """bye goodnight night cya later asleep leaving bed sleepy tschuss adios nacht
            ciao gtg g2g laters""",
        THANKS: "thanks thank cheers tysm danke gracias appreciate",
        COMFORT: """died dead sick flu ill fail failed failing lost sad ugh rip broke cancelled
            hurts hurt fired divorced dumped pain alone tired sore crying sold again
            sorry scared kaputt triste""",
        JOY: """birthday passed won promoted engaged married hired yay yayy woo finally congrats
            well interview geburtstag cumpleanos signed welcome""",
        LAUGH: "lol lmao lmaoo lmaooo rofl haha hahaha kekw jaja jajaja joke lul xd",
        WORDS_OF: "pronounce spell mean means called named name translate capital",
    }
)
_AUXILIARIES_TEXT = """
    is are do does did can could will would should has have was were am isn't aren't don't
    doesn't anyone anybody ist sind hat kann es hay alguien puedo
"""
_AUXILIARIES = frozenset(_AUXILIARIES_TEXT.split())
_MEASURED_TEXT = """
    much many long old tall far big fast high late often heavy deep
"""
_MEASURED = frozenset(_MEASURED_TEXT.split())
_COUNTED_TEXT = """
    year time day date age
"""
_ASKING = frozenset(("what", "what's", "whats", "which", "who", "where", "when", "why", "how"))
_COUNTED = frozenset(_COUNTED_TEXT.split())

_NUMBER_WORDS_TEXT = """
    one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty
    hundred thousand million billion half zwei drei vier zehn dos tres cuatro cinco diez media
"""
_NUMBER_WORDS = frozenset(_NUMBER_WORDS_TEXT.split())
# Words that offer such a reply wherever they stand in it.
_OFFERS = _by_word(
    {
        PERSON: "he he's she she's they his her",
        PLACE: "here there near left right somewhere",
        REASON: "because since cause cos so weil porque",
        OPINION: """think love best better worst great overrated underrated favourite fair still
            pick harsh worth wrong agree deserves deserve with hate fan never
            embarrassing genius perfect""",
        ADVICE: "you'll should help helps could",
        COMFORT: "sorry feel hang ouch hug hugs better ugh pass poor ohje",
        LAUGH: "lol haha hahaha lmao joke jaja",
    }
)
# Words that open a sentence which offers such a reply.
_OPENERS = _by_word(
    {
        YES_NO: """yes yeah yep yup no nope nah not maybe probably possibly sure same both neither
            ja nein doch si absolutely definitely never sometimes depends""",
        NUMBER: "about around roughly nearly",
        PERSON: "that's it's thats its",
        SUGGESTION: """try how watch start maybe let's lets what go put wie prueba pick play
            something""",
        ADVICE: """try check turn hit click refresh use put keep wait ask take close open stop
            drop switch go get give tell see start restart bring roll look look's save add sleep
            drink""",
        GREETING: "hi hello hey morning good welcome hallo hola evening wb",
        FAREWELL: "bye sleep goodnight good night see sweet later schlaf",
        THANKS: "any anytime you're glad happy no my welcome gern gerne denada",
        COMFORT: "oh i'm sorry get hang fingers take don't you'll",
        JOY: "happy congrats congratulations nice yay fingers good welcome well glad enjoy",
    }
)
_SENTENCE = re.compile(r"[.!?…¡¿:;,\n]+\s*")
# Each is matched at one place or reads each character once: a line may be made to take long.
_CAPITAL = re.compile(r" [A-ZÄÖÜÁÉÍÓÚ][\w'’-]")
_NO_SINGLE_SPACE = re.compile(r"\s{2,}|[^\S ]")
_ENDING_OF_A_WORD = re.compile(r"[,:]?[\w'’-]*?[^\W\d_]")

_OFFER_CHARACTERS = 500
"""What is read of a reply, as `words.MAX_CHARACTERS`."""


def called_for(text: str, words: list[str]) -> int:
    """The kinds of reply that a line calls for, one bit each; `words` are its tokens.

    >>> kinds_of(called_for("what year is this?", ["what", "year", "is", "this"]))
    ['number']
    """
    kinds = 0
    for word in words:
        kinds |= _CALLS.get(word, 0)
    if "how" in words and not _MEASURED.isdisjoint(words):
        kinds |= NUMBER
    if ("what" in words or "which" in words) and not _COUNTED.isdisjoint(words):
        kinds |= NUMBER
    if _ASKING.isdisjoint(words):
        asks = "?" in text and not _AUXILIARIES.isdisjoint(words)
        if asks or (words and words[0] in _AUXILIARIES):
            kinds |= YES_NO
    return kinds


def offered(text: str, words: list[str]) -> int:
    """The kinds of reply that a reply can be, one bit each; `words` are its tokens.

    >>> kinds_of(offered("1986, I think", ["1986", "i", "think"]))
    ['number', 'opinion']
    """
    text = text[:_OFFER_CHARACTERS]
    kinds = 0
    for word in words:
        kinds |= _OFFERS.get(word, 0)
    if any(char.isdigit() for char in text) or not _NUMBER_WORDS.isdisjoint(words):
        kinds |= NUMBER
    if _has_name_inside(text):
        kinds |= PERSON | PLACE | SUGGESTION | WORDS_OF
    for sentence in _SENTENCE.split(text):
        opener = sentence.partition(" ")[0].lower()
        kinds |= _OPENERS.get(opener, 0)
    return kinds


def _has_name_inside(text: str) -> bool:
    """Whether a word with a capital follows another word, nothing but single spaces between words.

    >>> [_has_name_inside(text) for text in ("Ask ann, or Bob", "Bob", "7 Bobs", "no.  Bob")]
    [True, False, False, False]
    """
    if not _CAPITAL.search(text):
        return False
    for part in _NO_SINGLE_SPACE.split(text):
        names = [found.start() for found in _CAPITAL.finditer(part)]
        # Whatever stands between, so the last name and the first word will do.
        words = part[: names[-1]].split(" ") if names else ()
        if any(_ENDING_OF_A_WORD.match(word[::-1]) for word in words):
            return True
    return False


def kinds_of(mask: int) -> list[str]:
    """The names of the kinds in a mask, to look at.

    >>> kinds_of(NUMBER | LAUGH)
    ['number', 'laugh']
    """
    return [name for number, name in enumerate(NAMES_OF_KINDS) if mask >> number & 1]
