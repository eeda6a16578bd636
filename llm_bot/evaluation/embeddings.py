"""Relevance by the vectors of a provider's model, for those who have one; a request per reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from math import hypot, isfinite

from llm_bot.evaluation.lines import Context, last_lines
from llm_bot.evaluation.words import MAX_CHARACTERS

Embed = Callable[[Sequence[str]], Awaitable[list[list[float]]]]
"""Vectors for texts, in their order; `LLMClient.embed` is one."""

_LINES_TOGETHER = 5


class EmbeddingRelevanceMetric:
    """The cosine of the reply with the last line or the last five together, whichever is nearer."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed

    async def evaluate(self, context: Context, response: str) -> float:
        """0 (unrelated or opposite) to 1 (the same); what `embed` raises comes through.

        One call with three texts. Nothing is asked, and 0 given, where either side is blank.
        """
        lines = [line[:MAX_CHARACTERS] for line in last_lines(context) if line.strip()]
        if not lines or not response.strip():
            return 0.0
        together = "\n".join(lines[-_LINES_TOGETHER:])
        vectors = await self._embed([lines[-1], together, response[:MAX_CHARACTERS]])
        return max((cosine(vector, vectors[-1]) for vector in vectors[:-1]), default=0.0)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors, 0 where it is negative or there is none.

    >>> cosine([1, 0], [2, 0]), cosine([1, 0], [0, 3]), cosine([1, 0], [-1, 0])
    (1.0, 0.0, 0.0)
    >>> cosine([0, 0], [1, 1]), cosine([1, 2], [1, 2, 3]), cosine([float("nan")], [1])
    (0.0, 0.0, 0.0)
    """
    length = hypot(*one) * hypot(*other)
    if len(one) != len(other) or not length or not isfinite(length):
        return 0.0
    found = sum(a * b for a, b in zip(one, other, strict=True)) / length
    return min(1.0, max(0.0, found))
