"""The last look at a line before it is said: what CyTube would act on is taken away here.

Nothing bypasses the guard, canned lines included. CyTube runs a line that begins with `/` as a
command with the bot's rank, colours one that begins with `>`, other bots obey one that begins with
`!`, a link may get the bot kicked, and what is too long is cut off, if need be through an emoji.

`Guard.check` is a fixed point: what it lets through it lets through unchanged.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Iterator

import msgspec
import regex

from llm_bot.response_processor.processor import FilterReason
from llm_bot.text.cleaning import collapse_white_space, strip_invisible
from llm_bot.text.cutting import cut_utf16, utf16_length


class Guarded(msgspec.Struct, frozen=True):
    """A line that may be published as it stands. `changes` names what was done to it."""

    text: str
    changes: tuple[str, ...] = ()


class GuardRefusal(msgspec.Struct, frozen=True):
    """Nothing may be published."""

    reason: FilterReason


# What a line may not begin with, each in the full-width form too: CyTube takes that for plain text,
# but whatever normalises on the way wouldn't.
_FORBIDDEN_START = frozenset("/／>＞!！")
# What other bots take for a command, directly before a letter or digit.
_COMMAND_SYMBOLS = frozenset("!$.?-;%&~+=\\|")
# What may hide before it: accents without a letter, and what Python's Unicode doesn't know yet.
_ACCENTS = frozenset({"Mn", "Mc", "Me"})
_UNASSIGNED = "Cn"

# Where a link gets its space: after a scheme, and after a dot inside a word. Any two letters after
# a dot count as a top-level domain, since a list of them is out of date at once and a space costs
# little. The ideographic full stop, which ends sentences, counts before Latin letters only.
_LINK_JOINT = regex.compile(
    r"""
      (?<= [:：][/／]{2} ) (?=\S)
    | (?<= \S[.．․﹒] ) (?= \p{Alphabetic}\p{M}*+\p{Alphabetic} )
    | (?<= \S[。｡] ) (?= [A-Za-z]{2} )
    """,
    regex.VERBOSE,
)

# A secret with fewer letters and digits is looked for with its punctuation.
_BARE_SECRET_CHARACTERS = 6
# So much of a longer secret in a row gives it away.
_TELLING_RUN_CHARACTERS = 8

_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# CyTube's own idea of a link, and the domains that an operator there may have forbidden.
_CYTUBE_LINK = re.compile(r"\w://[^\s]|[^\W_]\.[a-z]{2}", re.ASCII | re.IGNORECASE)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,50}")


def is_publishable_name(name: str) -> bool:
    """Whether a private message may go to `name`: the letters that CyTube allows, up to 50.

    CyTube itself ends at 20; the bot hears names of up to 50, so that it can answer on forks.
    """
    return _NAME.fullmatch(name) is not None


class Guard:
    """Makes lines harmless for one room; `secrets` are the values that must never be said."""

    def __init__(
        self,
        *,
        secrets: tuple[str, ...],
        allow_links: bool,
        max_units: int,
        ignored_prefixes: tuple[str, ...] = (),
    ) -> None:
        self._secrets = _Secrets(secrets)
        self._prefixes = tuple(filter(None, (prefix.strip() for prefix in ignored_prefixes)))
        self._allow_links = allow_links
        self._max_units = max_units

    def check(self, text: str) -> Guarded | GuardRefusal:
        """`text` as it may be published, or why it may not."""
        if self._secrets.are_told_by(text):
            return GuardRefusal(FilterReason.SECRET)
        changes = []
        for name, step in (
            ("invisible", strip_invisible),
            ("white_space", collapse_white_space),
            ("start", self._strip_start),
            ("links", self._break_links),
            ("length", self._cut),
        ):
            changed = step(text)
            if changed != text:
                changes.append(name)
            text = changed
        if not text:
            return GuardRefusal(FilterReason.EMPTY)
        if self._secrets.are_told_by(text):  # the cut may have ended inside one
            return GuardRefusal(FilterReason.SECRET)
        if not self._is_harmless(text):
            return GuardRefusal(FilterReason.UNSAFE)
        return Guarded(text, tuple(changes))

    def _strip_start(self, text: str) -> str:
        """`text` without what the chat server or another bot would take for a command."""
        while True:
            stripped = _strip_forbidden_start(text)
            for prefix in self._prefixes:
                stripped = stripped.removeprefix(prefix)
            if stripped[:1] in _COMMAND_SYMBOLS and stripped[1:2].isalnum():
                stripped = stripped[1:]
            if stripped == text:
                return text
            text = stripped

    def _break_links(self, text: str) -> str:
        return text if self._allow_links else _LINK_JOINT.sub(" ", text)

    def _cut(self, text: str) -> str:
        return cut_utf16(text, self._max_units).rstrip(" ")

    def _is_harmless(self, text: str) -> bool:
        """The promises once more, by other means than those that should have kept them."""
        return (
            utf16_length(text) <= self._max_units
            and "  " not in text
            and text[0] not in _FORBIDDEN_START | {" "}
            and not any(unicodedata.category(each) in _FORBIDDEN_CATEGORIES for each in text)
            and (self._allow_links or not _CYTUBE_LINK.search(text))
        )


def _strip_forbidden_start(text: str) -> str:
    """`text` from behind the last mark that it may not begin with, and no accent or space first."""
    start = 0
    for index, character in enumerate(text):
        if character in _FORBIDDEN_START:
            start = index + 1
        elif not (
            _shows_nothing_alone(character) or unicodedata.category(character) == _UNASSIGNED
        ):
            break
    while start < len(text) and _shows_nothing_alone(text[start]):
        start += 1
    return text[start:]


def _shows_nothing_alone(character: str) -> bool:
    return character == " " or unicodedata.category(character) in _ACCENTS


class _Secrets:
    """Recognises secrets in a text, however they are spaced, cased, accented or encoded."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)} - {""}
        self._whole = {form for form in forms if len(form) < _TELLING_RUN_CHARACTERS}
        self._runs = {run for form in forms for run in _runs(form)}

    def are_told_by(self, text: str) -> bool:
        """Whether `text` has a run of a secret's characters, punctuation included or left out."""
        return any(
            not self._runs.isdisjoint(_runs(view)) or any(form in view for form in self._whole)
            for view in {_squeezed(text), _bare(text)}
        )


def _forms(secret: str) -> Iterator[str]:
    """A secret as it may be told: in its own characters, bare, reversed, in base64, in hex."""
    yield _squeezed(secret)
    if len(_bare(secret)) < _BARE_SECRET_CHARACTERS:
        return  # of so few letters others are made all the time
    raw = secret.encode()
    forms = [secret, secret[::-1], raw.hex(), raw[::-1].hex()]
    # Within other base64 it looks in three ways, by where it begins; the ends don't count.
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + raw).decode()
        forms.append(encoded[4 if shift else 0 : -4])
    for form in forms:
        yield _squeezed(form)
        yield _bare(form)


def _runs(text: str) -> Iterator[str]:
    length = _TELLING_RUN_CHARACTERS
    return (text[at : at + length] for at in range(len(text) - length + 1))


def _squeezed(text: str) -> str:
    """What is visible, in one case and one width, without white space and accents."""
    folded = unicodedata.normalize("NFKD", strip_invisible(text)).casefold()
    return "".join(each for each in folded if not (each.isspace() or unicodedata.combining(each)))


def _bare(text: str) -> str:
    """The letters and digits among that."""
    return "".join(each for each in _squeezed(text) if each.isalnum())
