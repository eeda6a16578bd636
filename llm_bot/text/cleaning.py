"""What was heard as people see it: without tags, invisible characters and runs of white space.

Everything here is linear in the length of the text, whatever the text is.

Two readings that we took: a zero-width joiner goes like every other zero-width character, so an
emoji family comes apart into its members; a variation selector stays where it follows an emoji
(it chooses colour or outline and hides nothing) and goes everywhere else.
"""

from __future__ import annotations

import html
import re

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
_SEPARATING_TEXT = """
    article aside blockquote br center dd div dl dt footer form h1 h2 h3 h4 h5 h6 header hr iframe
    img li main nav ol option p pre section select table td th tr ul video
"""
_SEPARATING_TAGS = frozenset(_SEPARATING_TEXT.split())

# More digits than any character has: `html.unescape` raises on thousands of them.
_OVERLONG_REFERENCE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")


def clean_html(msg: str) -> str:
    """The text that people read in a message of CyTube, on one line, at most 1,000 characters."""
    if "<" in msg:
        msg = _MARKUP.sub(_gap, msg)
    if "&" in msg:
        msg = html.unescape(_OVERLONG_REFERENCE.sub("\ufffd", msg))
    return collapse_white_space(strip_invisible(msg))[:MAX_MESSAGE_CHARACTERS].rstrip(" ")


def _gap(tag: re.Match[str]) -> str:
    return " " if (tag["name"] or "").lower() in _SEPARATING_TAGS else ""


def strip_invisible(text: str) -> str:
    """`text` without what nobody can see, white space apart: controls, zero-width, surrogates."""
    if text.isprintable() and (text.isascii() or not _SUSPECT.search(text)):
        return text
    return _STRAY_SELECTOR.sub("", _INVISIBLE.sub("", text))


def collapse_white_space(text: str) -> str:
    """`text` on one line, with one space between words and none around them."""
    return " ".join(text.split())
