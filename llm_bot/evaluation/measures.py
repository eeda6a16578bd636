"""Whether a reply is short, repeats itself, or copies others: by counting."""

from __future__ import annotations

from itertools import pairwise

from llm_bot.evaluation.lines import Context, last_lines, without_speaker
from llm_bot.evaluation.words import tokens

SHORT_CHARACTERS = 140
"""What is short in any room: about two lines on the screen."""

_TIMES_THE_ROOM = 2
_MOST_OF_A_LINE = 500
_RUN = 3


def brevity(context: Context, response: str) -> float:
    """1 while a reply is short, then half for twice the length, a third for thrice.

    Short is up to 140 characters, or twice the average of the latest lines where those are longer.

    >>> brevity(["ann: hi"], "Hello ann!"), brevity(["ann: hi"], "la " * 93 + "l")
    (1.0, 0.5)
    """
    lines = last_lines(context)
    average = sum(min(len(line), _MOST_OF_A_LINE) for line in lines) / max(1, len(lines))
    short = max(SHORT_CHARACTERS, _TIMES_THE_ROOM * average)
    return min(1.0, short / max(1, len(response)))


def repetition(response: str) -> float:
    """The share of neighbouring pairs of words that the reply had before: 0 none, near 1 all.

    Small models repeat themselves when they are stuck.

    >>> repetition("I like it a lot"), repetition("so good so good so good")
    (0.0, 0.6)
    """
    words = tokens(response)
    pairs = list(pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def echo(context: Context, response: str) -> float:
    """The largest share of the reply's runs of three words that one line has too: 0 to 1.

    Shorter replies are compared by runs of their own length; a reply without words has no echo.

    >>> echo(["ann: who let the dogs out"], "Who let the dogs out?")
    1.0
    >>> echo(["ann: who let the dogs out"], "Somebody with a key let the dogs out.")
    0.3333333333333333
    """
    words = tokens(response)
    if not words:
        return 0.0
    length = min(_RUN, len(words))
    own = _runs(words, length)
    said = (_runs(tokens(without_speaker(line)), length) for line in last_lines(context))
    return max((len(own & runs) / len(own) for runs in said), default=0.0)


def _runs(words: list[str], length: int) -> set[tuple[str, ...]]:
    """All runs of that many neighbouring words."""
    return {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}
