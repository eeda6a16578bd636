"""Whether a reply says the same again and again, as small models do when they are stuck."""

from __future__ import annotations

from itertools import pairwise

from llm_bot.evaluation.base import Context
from llm_bot.evaluation.words import tokens


def repetition(response: str) -> float:
    """The share of neighbouring pairs of words that the reply had before: 0 none, near 1 all.

    >>> repetition("I like it a lot"), repetition("so good so good so good")
    (0.0, 0.6)
    """
    words = tokens(response)
    pairs = list(pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


class RepetitionMetric:
    """Repetition in the shape of the other metrics; what was said before plays no part."""

    async def evaluate(self, context: Context, response: str) -> float:
        """See `repetition`."""
        del context
        return repetition(response)
