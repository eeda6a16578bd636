"""Whether a reply is as short as the room it is said in."""

from __future__ import annotations

from llm_bot.evaluation.base import Context
from llm_bot.evaluation.lines import last_lines

SHORT_CHARACTERS = 140
"""What is short in any room: about two lines on the screen."""

_TIMES_THE_ROOM = 2
_MOST_OF_A_LINE = 500


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


class BrevityMetric:
    """Brevity in the shape of the other metrics."""

    async def evaluate(self, context: Context, response: str) -> float:
        """See `brevity`."""
        return brevity(context, response)
