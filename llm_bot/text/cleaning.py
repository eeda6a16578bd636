"""Text as people see it, without tags, invisible characters and runs of white space; cutting it.

`clean_html` runs for every line of chat, so its first act is to find out that there is nothing to
do. Everything here is linear in the length of the text, whatever the text is.

Two readings that we took: a zero-width joiner goes like every other zero-width character, so an
emoji family comes apart into its members; a variation selector stays where it follows an emoji
(it chooses colour or outline and hides nothing) and goes everywhere else.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache

import regex

MAX_MESSAGE_CHARACTERS = 1000
"""Where a heard message is cut."""

# What nobody sees: controls but white space, format characters (joiners, direction marks, byte
# order mark), lone surrogates, private use (CyTube keeps U+EEEE for itself), noncharacters, the
# fillers that Unicode wants ignored, and U+2800, a Braille cell without a dot. Spelled out because
# the same class by property names is several times slower; a test compares the two.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891"
    "\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800"
    "\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\U000efffe-\U0010ffff]+"
)
# Those among them that `str.isprintable` lets through, and the variation selectors.
_SUSPECT = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
_STRAY_SELECTOR = regex.compile(r"(?<!\p{Emoji})[\uFE0E\uFE0F]+")

# A quoted attribute may hold `>`; every quantifier is possessive, so no `<` is scanned for long.
_ATTRIBUTES = r"""(?:[^"'<>]++|"[^"]*+"|'[^']*+')*+>"""
_MARKUP = re.compile(
    rf"""
      <!--(?:.*?-->|.*)                                                # comment
    | <(?P<raw>script|style)(?=[\s/>]){_ATTRIBUTES}(?:.*?</(?P=raw)[^<>]*+>|.*)
    | </?(?P<name>[a-z][a-z0-9]*+)(?:{_ATTRIBUTES}|[^<>]*+>)           # tag
    | <[!?][^<>]*+>                                                    # declaration
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)

# Tags that stand between words; all others are formatting inside them.
_SEPARATING_TAG = re.compile(
    "article|aside|blockquote|br|center|d[dlt]|div|footer|form|h[1-6r]|header|iframe|img|li|main|nav"
    "|[ou]l|option|p|pre|section|select|t[dhr]|table|video",
    re.IGNORECASE,
)

_LONGEST_SEPARATING_TAG = len("blockquote")

# More digits than any character has: `html.unescape` raises on thousands of them.
_OVERLONG_REFERENCE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")

_GRAPHEME = regex.compile(r"\X")

_ELLIPSIS = "..."
# Any of these marks, with what closes after it. Latin ones end a sentence before a space only.
_SENTENCE_END = regex.compile(r"(?:[.!?…]++[\"'”’»)\]*_]*+(?=\s|$)|[。！？]++[」』”’）]*+)")
# A letter, the number of a list item, a title and the like: the dot after it ends no sentence.
_ABBREVIATION = regex.compile(
    r"""
    (?: (?<!\w) (?: \p{L} | mr | mrs | ms | dr | prof | sr | jr | st | vs | cf | ca | approx | etc
        | vol | fig | ep | pp | inc | ltd | gen | col | sgt | capt | lt | rev )
      | (?: ^ | (?<=\n) | (?<=[.!?:;]\s) ) \d{1,2} ) \. $
    """,
    regex.VERBOSE | regex.IGNORECASE,
)
_LONGEST_ABBREVIATION = 8
_DANGLING = " ,;:-–—(\"'“‘«[/"


def clean_html(msg: str) -> str:
    """The text that people read in a message of CyTube, on one line, at most 1,000 characters."""
    if (
        msg.isprintable()
        and "<" not in msg
        and "&" not in msg
        and "  " not in msg
        and len(msg) <= MAX_MESSAGE_CHARACTERS
        and (msg.isascii() or not _SUSPECT.search(msg))
    ):
        return msg.strip(" ")
    return _clean_slowly(msg)


def _clean_slowly(msg: str) -> str:
    if "<" in msg:
        msg = _MARKUP.sub(_gap, msg)
    if "&" in msg:
        # Half of what people say has one of these, and neither mark can be part of a reference.
        msg = msg.replace("&#39;", "'").replace("&quot;", '"')
        if "&#" in msg:
            msg = _OVERLONG_REFERENCE.sub("\ufffd", msg)
        msg = html.unescape(msg)  # which returns at once where no `&` is left
    return collapse_white_space(strip_invisible(msg))[:MAX_MESSAGE_CHARACTERS].rstrip(" ")


def _gap(tag: re.Match[str]) -> str:
    name = tag["name"]
    is_short = name is not None and len(name) <= _LONGEST_SEPARATING_TAG
    return " " if is_short and _stands_between_words(name) else ""


@lru_cache(64)
def _stands_between_words(name: str) -> bool:
    """The same few names come again and again."""
    return _SEPARATING_TAG.fullmatch(name) is not None


def strip_invisible(text: str) -> str:
    """`text` without what nobody can see, white space apart: controls, zero-width, surrogates."""
    if text.isprintable() and (text.isascii() or not _SUSPECT.search(text)):
        return text
    return _STRAY_SELECTOR.sub("", _INVISIBLE.sub("", text))


def collapse_white_space(text: str) -> str:
    """`text` on one line, with one space between words and none around them."""
    return " ".join(text.split())


def utf16_length(text: str) -> int:
    """The length as CyTube counts it: most emoji are two units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut_utf16(text: str, units: int) -> str:
    """The longest beginning of `text` that fits into `units` without parting a visible character.

    A single character with more accents than fit is parted all the same.
    """
    fits = _characters_within(text, units)
    if fits == len(text):
        return text
    # One character beyond the edge shows whether the edge runs through a grapheme cluster.
    ends = (cluster.end() for cluster in _GRAPHEME.finditer(text[: fits + 1]))
    return text[: max((end for end in ends if end <= fits), default=fits)]


def _characters_within(text: str, units: int) -> int:
    used = 0
    for index, character in enumerate(text):
        used += 2 if character > "\uffff" else 1
        if used > units:
            return index
    return len(text)


def cut_at_sentence(text: str, units: int) -> str:
    """The sentences that fit; if not even one does, the words that fit, and "..."."""
    if utf16_length(text) <= units:
        return text
    room = len(cut_utf16(text, units))
    last = 0
    # With two characters more, an end right at the edge can be told from a "3.5".
    for end in _SENTENCE_END.finditer(text[: room + 2]):
        if end.end() <= room and _ends_sentence(text, end.end()):
            last = end.end()
    return text[:last] if last else _cut_at_word(text, units)


def _ends_sentence(text: str, end: int) -> bool:
    """Whether a sentence really ends there: "e.g. this", "J. Doe" and "well... no" don't."""
    if _ABBREVIATION.search(text, max(0, end - _LONGEST_ABBREVIATION), end):
        return False
    if text[end:].lstrip()[:1].islower():
        return text[end - 1] in ".!?" and text[end - 2 : end] != ".."
    return True


def _cut_at_word(text: str, units: int) -> str:
    room = units - len(_ELLIPSIS)
    head = cut_utf16(text, room) if room > 0 else ""
    if not text[len(head) :][:1].isspace():
        head = head[: max(head.rfind(" "), head.rfind("\n")) + 1] or head
    words = head.rstrip(_DANGLING + "\n.…")
    return words + _ELLIPSIS if words else cut_utf16(text, units)
