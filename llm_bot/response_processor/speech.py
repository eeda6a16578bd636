"""What of an answer is no speech: machine output, our own prompt, other speakers, loops. Pure."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

import msgspec
import regex

# A name as the chat server allows it, before a colon, where a turn may begin: at the start, on a
# line of its own, or after the end of a sentence. The prompt writes turns so, times before them.
_TURN = regex.compile(
    r"""
    (?: \A | \n | (?<= [.!?…] ["'”’)]? ) [ ] )
    \s*+ (?: \[ \d{1,2}:\d\d (?: :\d\d )? \] \s*+ )?+
    [*_`<\[@]{0,4}+ (?P<name>[\w\-]{1,20}) [*_`>\]]{0,4}+ (?: \s?\(you\) )?+ \s?[:：]
    """,
    regex.VERBOSE,
)
# The fence around the conversation, what it says when empty, a time as the prompt writes it.
_SCAFFOLDING = regex.compile(
    r"<{3}[0-9a-f]{12}\b|\b[0-9a-f]{12}>{3}|\(nothing yet\)|\[\d\d:\d\d:\d\d\]"
)
_TOOL_CALL = regex.compile(
    r"<\|?/?(?:tool_calls?|function_call)\b|<function[=_]|\[TOOL_CALLS\]|\"arguments\"\s*:",
    regex.IGNORECASE,
)
_WRAPPER = regex.compile(
    r"<(answer|response|final)>(?P<inner>.*?)(?:</\1>|\Z)", regex.IGNORECASE | regex.DOTALL
)
_FENCED = regex.compile(r"\A```\w*\n(?P<inner>.*?)\n?```\Z", regex.DOTALL)
_SENTENCE = regex.compile(r"[^.!?…\n]++(?:[.!?…]++[\"'”’)]?+)?+\s*+")

MOST_REPETITIONS = 2
"""So often the same sentence may stand in a row."""

LEAST_WORDS = 3
"""A shorter sentence may be said again and again: "Run! Run! Run!"."""

_LOOP_WORDS = 8
_LOOP_ROUNDS = 10
_LOOP_LETTERS = regex.compile(r"(\S{1,4}?)\1{40,}")


def unwrapped(text: str) -> str:
    """`text` without the wrapper that a model was taught to put around its final answer."""
    found = _WRAPPER.search(text)
    return found["inner"].strip() if found else text


def is_no_speech(text: str) -> bool:
    """Whether it is a call of a tool, JSON and nothing else, or has our own prompt inside."""
    if _TOOL_CALL.search(text) or _SCAFFOLDING.search(text):
        return True
    fenced = _FENCED.match(text)
    body = fenced["inner"] if fenced else text
    if not body.startswith(("{", "[")):
        return False
    try:
        return isinstance(msgspec.json.decode(body), dict | list)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False


def without_scaffolding(text: str) -> str:
    """`text` without marks of our own prompt around it."""
    while found := _SCAFFOLDING.match(text):
        text = text[found.end() :].lstrip()
    while (found := _SCAFFOLDING.search(text)) and not text[found.end() :].strip():
        text = text[: found.start()].rstrip()
    return text


def without_other_turns(
    text: str, *, asker: str, others: Collection[str], own_names: Collection[str]
) -> str | None:
    """`text` up to where somebody of the room begins to speak; None if that is at the start.

    The asker's name at the start is an address and stays.

    Args:
        asker: Who is answered.
        others: Who else may be spoken for, in lower case.
        own_names: The bot's, whose name at the start has been taken away.
    """
    people = {asker.lower(), *others, *(name.lower() for name in own_names)}
    for turn in _TURN.finditer(text):
        name = turn["name"].lower()
        if name not in people:
            continue
        if turn.start():
            return text[: turn.start()].rstrip()
        if name != asker.lower():
            return None
    return text


def without_repetition(text: str) -> str | None:
    """`text` with a sentence that is said over and over said once; None if only a loop is left."""
    kept: list[str] = []
    looped = ""
    for said, run in groupby(_SENTENCE.findall(text), key=lambda each: each.strip().casefold()):
        sentences = list(run)
        if len(sentences) > MOST_REPETITIONS and len(said.split()) >= LEAST_WORDS:
            kept.append(sentences[0])
            looped = said
        elif not (looped and looped.startswith(said)):  # else the loop was cut in its middle
            kept += sentences
    if looped:
        text = "".join(kept).strip()
        if text[-1:] not in ".!?…\"'”’)":
            return None
    words = text.casefold().split()
    for period in range(1, _LOOP_WORDS + 1):
        rounds = len(words) // period
        if rounds >= _LOOP_ROUNDS and words == (words[:period] * (rounds + 1))[: len(words)]:
            return None
    return None if _LOOP_LETTERS.search(text) else text
