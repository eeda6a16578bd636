"""Cutting what is said: in UTF-16 units, as CyTube counts, and never through a visible character.

Everything here is linear in the length of the text, whatever the text is.
"""

from __future__ import annotations

import regex

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
