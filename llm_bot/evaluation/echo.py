"""How much of a reply was only copied from a line that somebody said."""

from __future__ import annotations

from llm_bot.evaluation.base import Context
from llm_bot.evaluation.lines import last_lines, without_speaker
from llm_bot.evaluation.words import tokens

_RUN = 3


def echo(context: Context, response: str) -> float:
    """The largest share of the reply's runs of three words that one line has too: 0 to 1.

    Shorter replies are compared by runs of their own length; a reply without words has no echo.

    >>> echo(["ann: who let the dogs out"], "Who let the dogs out?")
    1.0
    >>> echo(["ann: who let the dogs out"], "Somebody with a key let the dogs out.")
    0.3333333333333333
    """
    words = tokens(response)
    length = min(_RUN, len(words))
    own = _runs(words, length)
    if not own:
        return 0.0
    said = (_runs(tokens(without_speaker(line)), length) for line in last_lines(context))
    return max((len(own & runs) / len(own) for runs in said), default=0.0)


def _runs(words: list[str], length: int) -> set[tuple[str, ...]]:
    """All runs of that many neighbouring words."""
    if not length:
        return set()
    return {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}


class EchoMetric:
    """Echo in the shape of the other metrics."""

    async def evaluate(self, context: Context, response: str) -> float:
        """See `echo`."""
        return echo(context, response)
