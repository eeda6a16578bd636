"""From a model's answer to a line worth saying: an ordered table of small steps, then the guard's.

Each step takes the text and what it answers, and returns the text to go on with or the reason why
nothing is said. Whether it is safe to say is not decided here but in `guard`. Another step is a
function and a line of `_steps`, and where it refuses, a reason of `FilterReason`.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum

import msgspec
import regex

from llm_bot.config import ResponseProcessingConfig
from llm_bot.llm_client.reasoning import split_reasoning
from llm_bot.response_processor.speech import (
    is_no_speech,
    unwrapped,
    without_other_turns,
    without_repetition,
    without_scaffolding,
)
from llm_bot.text.cleaning import collapse_white_space, strip_invisible
from llm_bot.text.cutting import cut_at_sentence, cut_utf16
from llm_bot.text.markdown import strip_markdown
from llm_bot.text.template_tokens import cut_at_token

PATTERN_TIMEOUT_SECONDS = 0.05
"""For one pattern: the event loop waits for it, and chat goes on meanwhile."""

MAX_ANSWER_CHARACTERS = 4_096
"""What is looked at of an answer, its reasoning apart; no room takes a quarter of it.

The event loop waits while it is read: of 16,384 characters the worst took 250 ms."""


class FilterReason(StrEnum):
    """Why an answer isn't said: the processor's reasons and the guard's, one closed set.

    `words` follow "the answer" where somebody is told.
    """

    words: str

    def __new__(cls, value: str, words: str) -> FilterReason:
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.words = words
        return reason

    BLOCKED_PATTERN = "blocked_pattern", "fits a pattern of content_filter.block_patterns"
    BLOCKED_KEYWORD = "blocked_keyword", "holds a word of content_filter.block_keywords"
    PATTERN_TIMEOUT = (
        "pattern_timeout",
        "took a pattern of content_filter.block_patterns too long",
    )
    TOO_SHORT = "too_short", "has too few words (content_filter.min_word_count)"
    TOO_LONG = "too_long", "has too many words (content_filter.max_word_count)"
    MISSING_KEYWORD = "missing_keyword", "holds none of content_filter.require_keywords"
    EMPTY = "empty", "is empty"
    ECHO = "echo", "only repeats the line (quality_checks_enabled)"
    DUPLICATE = "duplicate", "was said a few lines ago (deduplicate_window)"
    LOW_QUALITY = "low_quality", "says nothing (quality_checks_enabled)"
    IRRELEVANT = "irrelevant", "has too little to do with the conversation (min_relevance)"
    SECRET = "secret", "holds a secret of the configuration"
    REPETITION = "repetition", "repeats itself over and over"
    OTHER_SPEAKER = "other_speaker", "speaks for somebody else"
    NOT_SPEECH = "not_speech", "is a machine's output or a piece of the prompt"
    UNSAFE = "unsafe", "can't be made safe to say"


class Processed(msgspec.Struct, frozen=True):
    """What became of an answer: the line, or the reason why there is none (`text` is empty then).

    `steps` names those that changed the text, in their order.
    """

    text: str
    steps: tuple[str, ...] = ()
    refusal: FilterReason | None = None


class _Talk(msgspec.Struct, frozen=True):
    """What an answer is measured against: the line, the bot's names, what it said before, who is
    there."""

    line: str
    own_names: tuple[str, ...]
    recent_own_lines: Sequence[str]
    asker: str
    others: Collection[str]


_Step = Callable[[str, _Talk], str | FilterReason]


class ResponseProcessor:
    """The steps for one room, compiled from its settings."""

    def __init__(self, settings: ResponseProcessingConfig) -> None:
        self._steps = tuple(_steps(settings))

    def process(
        self,
        answer: str,
        *,
        line: str,
        own_names: tuple[str, ...],
        recent_own_lines: Sequence[str] = (),
        asker: str = "",
        others: Collection[str] = (),
    ) -> Processed:
        """`answer` as a line that answers `line`.

        Args:
            answer: What the model wrote.
            line: What it answers.
            own_names: The bot's.
            recent_own_lines: What it said before, the newest last.
            asker: Who said `line`.
            others: Who else is or was there, in lower case.
        """
        talk = _Talk(line, own_names, recent_own_lines, asker, others)
        text = answer.strip()
        changed_by: list[str] = []
        for name, step in self._steps:
            result = step(text, talk)
            if isinstance(result, FilterReason):
                return Processed("", tuple(changed_by), result)
            if result != text and name not in changed_by:
                changed_by.append(name)
            text = result
        return Processed(text, tuple(changed_by))


def _steps(settings: ResponseProcessingConfig) -> Iterable[tuple[str, _Step]]:
    """Behaviour, section 7, in its order; a check of relevance would come last."""
    filters = settings.content_filter
    limit = min(settings.max_response_length, settings.server_max_length)
    yield "reasoning", _text_step(lambda text: unwrapped(split_reasoning(text)[0]))
    yield "template", _text_step(cut_at_token)
    yield "scaffolding", _text_step(without_scaffolding)
    yield "length", _text_step(lambda text: text[:MAX_ANSWER_CHARACTERS])
    yield "invisible", _text_step(strip_invisible)
    for _ in range(_SPEAKER_ROUNDS):
        yield "own_name", lambda text, talk: _strip_own_name(text, talk.own_names)
        yield "quotes", _text_step(_strip_quotes)
    yield "other_speakers", _refuse_other_speakers
    yield "not_speech", _refuse_if(FilterReason.NOT_SPEECH, is_no_speech)
    if settings.strip_markdown:
        plain = functools.partial(strip_markdown, keep_addresses=filters.allow_links)
        yield "markdown", _text_step(plain)
    collapse = collapse_white_space if settings.collapse_newlines else _collapse_spaces
    yield "white_space", _text_step(collapse)
    yield "empty", _refuse_if(FilterReason.EMPTY, lambda text: not text.strip())
    if filters.enabled:
        yield "block_patterns", _block_patterns(filters.block_patterns)
        blocked = _keyword_search(filters.block_keywords)
        yield "block_keywords", _refuse_if(FilterReason.BLOCKED_KEYWORD, blocked)
    yield "repetition", _repetition
    cut = cut_utf16 if settings.truncation_strategy == "hard" else cut_at_sentence
    yield "length", lambda text, _: cut(text, limit).rstrip()
    if filters.enabled:
        fewest, most = filters.min_word_count, filters.max_word_count
        yield "min_words", _refuse_if(FilterReason.TOO_SHORT, lambda text: _count(text) < fewest)
        yield "max_words", _refuse_if(FilterReason.TOO_LONG, lambda text: _count(text) > most)
    if filters.enabled and filters.require_keywords:
        required = _keyword_search(filters.require_keywords)
        missing = FilterReason.MISSING_KEYWORD
        yield "require_keywords", _refuse_if(missing, lambda text: not required(text))
    if settings.quality_checks_enabled:
        yield "quality", _refuse_if(FilterReason.LOW_QUALITY, _is_worthless)
        yield "echo", _refuse_echo
        yield "duplicate", _refuse_duplicate(settings.deduplicate_window)


def _text_step(change: Callable[[str], str]) -> _Step:
    return lambda text, _: change(text)


def _refuse_if(reason: FilterReason, is_wrong: Callable[[str], bool]) -> _Step:
    return lambda text, _: reason if is_wrong(text) else text


def _repetition(text: str, _: _Talk) -> str | FilterReason:
    kept = without_repetition(text)
    return FilterReason.REPETITION if kept is None else kept


def _refuse_other_speakers(text: str, talk: _Talk) -> str | FilterReason:
    kept = without_other_turns(text, asker=talk.asker, others=talk.others, own_names=talk.own_names)
    return FilterReason.OTHER_SPEAKER if kept is None else kept


# --- name, quote marks --------------------------------------------------------


def _strip_own_name(text: str, own_names: tuple[str, ...]) -> str:
    speaker = _speaker(own_names)
    while speaker and (mark := speaker.match(text)):
        text = text[mark.end() :]
    return text


@functools.lru_cache(maxsize=256)
def _speaker(own_names: tuple[str, ...]) -> regex.Pattern[str] | None:
    """Matches what models put in front of a line to say whose it is: `**@MyBot**: `, `<MyBot> `.

    The prompt itself marks the bot's own lines with `MyBot (you): `.
    """
    names = _alternatives(own_names)
    if not names:
        return None
    names += r"(?: [\ _]? \(you\) )?+"
    return regex.compile(
        rf"""
        \s*+ (?: \[ \d{{1,2}}:\d\d (?: :\d\d )? \] \s*+ )?+
        (?: [*_`]*+ @? {names} [*_`]*+ \s*+ (?: [:：] [*_`]*+ | [\-–—] (?= \s ) )
          | [*_`]*+ [\[<(] @? {names} [\]>)] [*_`]*+ (?: \s*+ [:：] [*_`]*+ | (?= \s ) ) )
        \s*+
        """,
        regex.VERBOSE | regex.IGNORECASE,
    )


def _alternatives(phrases: Iterable[str]) -> str:
    """An expression for any of `phrases`, white space in them as wide as it likes."""
    spelled = [r"\s+".join(map(_escape, phrase.split())) for phrase in phrases if phrase.strip()]
    return f"(?:{'|'.join(sorted(spelled, key=len, reverse=True))})" if spelled else ""


def _escape(word: str) -> str:
    return regex.escape(word, special_only=False)


_QUOTE_MARKS = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "„": "“", "「": "」", "『": "』"}
_INNER_QUOTE = regex.compile(r"(?<!\w)['’‘]|['’‘](?!\w)")
_SPEAKER_ROUNDS = 2  # a name may stand inside the quote marks, and more of them after it


def _strip_quotes(text: str) -> str:
    """`text` without a pair of quote marks around the whole, if none of the kind stands inside."""
    opening, inner, closing = text[:1], text[1:-1], text[1:][-1:]
    if not closing or _QUOTE_MARKS.get(opening) != closing:
        return text
    if opening in "'‘":  # an apostrophe inside a word closes nothing
        is_parted = _INNER_QUOTE.search(inner.strip('"“”')) is not None
    else:
        is_parted = opening in inner or closing in inner
    return text if is_parted else inner.strip()


# --- spaces and filters -------------------------------------------------------


def _collapse_spaces(text: str) -> str:
    """Single spaces and single newlines, where the newlines are to stay."""
    lines = (collapse_white_space(line) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def _views(text: str) -> tuple[str, ...]:
    """`text` as it is, and with full-width, circled and suchlike letters as plain ones."""
    plain = unicodedata.normalize("NFKC", text)
    return (text,) if plain == text else (text, plain)


def _block_patterns(patterns: Iterable[str]) -> _Step:
    compiled = tuple(regex.compile(pattern, regex.IGNORECASE) for pattern in patterns)

    def block(text: str, _: _Talk) -> str | FilterReason:
        try:
            for view in _views(text):
                for pattern in compiled:
                    if pattern.search(view, timeout=PATTERN_TIMEOUT_SECONDS):
                        return FilterReason.BLOCKED_PATTERN
        except TimeoutError:
            return FilterReason.PATTERN_TIMEOUT
        return text

    return block


def _keyword_search(keywords: Iterable[str]) -> Callable[[str], bool]:
    """Whether any of `keywords` is in a text, as whole words and in any case."""
    names = _alternatives(unicodedata.normalize("NFKC", keyword) for keyword in keywords)
    if not names:
        return lambda _: False
    pattern = regex.compile(rf"(?<!\w){names}(?!\w)", regex.IGNORECASE | regex.FULLCASE)
    return lambda text: any(pattern.search(view) for view in _views(text))


def _count(text: str) -> int:
    return len(text.split())


# --- quality ------------------------------------------------------------------

_SHOWS_SOMETHING = regex.compile(r"[\p{L}\p{N}\p{So}]")
_WORD = regex.compile(r"[\w\p{M}\p{So}]+")
_WORTHLESS = frozenset(
    {"ok", "okay", "okey", "k", "kk", "mkay", "hm", "hmm", "uh", "um", "null", "undefined"}
    | {"no response", "no reply"}
)


def _is_worthless(text: str) -> bool:
    """Punctuation alone, or a bare "ok"."""
    return not _SHOWS_SOMETHING.search(text) or _essence(text, ()) in _WORTHLESS


def _refuse_echo(text: str, talk: _Talk) -> str | FilterReason:
    is_echo = _essence(text, talk.own_names) == _essence(talk.line, talk.own_names)
    return FilterReason.ECHO if is_echo else text


def _refuse_duplicate(window: int) -> _Step:
    def refuse(text: str, talk: _Talk) -> str | FilterReason:
        recent = talk.recent_own_lines[-window:] if window else ()
        essence = _essence(text, talk.own_names)
        is_said = any(essence == _essence(line, talk.own_names) for line in recent)
        return FilterReason.DUPLICATE if is_said else text

    return refuse


def _essence(text: str, own_names: tuple[str, ...]) -> str:
    """The words and emoji of `text` in one case, without the bot's name and punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    names = _name_search(own_names)
    return " ".join(_WORD.findall(names.sub(" ", folded) if names else folded))


@functools.lru_cache(maxsize=256)
def _name_search(own_names: tuple[str, ...]) -> regex.Pattern[str] | None:
    names = _alternatives(own_names)
    return regex.compile(rf"(?<!\w){names}(?!\w)", regex.IGNORECASE) if names else None
