"""The measures of a reply in one shape, for whoever evaluates by several."""

from __future__ import annotations

from typing import Protocol

from llm_bot.evaluation.lines import Context
from llm_bot.evaluation.measures import brevity, echo, repetition
from llm_bot.evaluation.relevance import relevance


class Metric(Protocol):
    """Judges a reply by what was said before it: 0 (not at all) to 1 (entirely).

    Neither empty nor huge nor odd input raises, and nothing is read or changed outside.
    """

    async def evaluate(self, context: Context, response: str) -> float:
        """The measure of `response` as a reply to `context`."""
        ...


class ResponseRelevanceMetric:
    """Relevance in the shape of the other metrics.

    >>> import asyncio
    >>> reply = "Let's explore what you want to accomplish today. What's most important?"
    >>> asyncio.run(
    ...     ResponseRelevanceMetric().evaluate("User wants to set morning goals", reply)
    ... ) > 0.7
    True
    """

    async def evaluate(self, context: Context, response: str) -> float:
        """See `relevance`; it never waits."""
        return relevance(context, response)


class BrevityMetric:
    """Brevity in the shape of the other metrics."""

    async def evaluate(self, context: Context, response: str) -> float:
        """See `brevity`."""
        return brevity(context, response)


class RepetitionMetric:
    """Repetition in the shape of the other metrics; what was said before plays no part."""

    async def evaluate(self, context: Context, response: str) -> float:
        """See `repetition`."""
        del context
        return repetition(response)


class EchoMetric:
    """Echo in the shape of the other metrics."""

    async def evaluate(self, context: Context, response: str) -> float:
        """See `echo`."""
        return echo(context, response)
