"""Measures of a reply, each from 0 to 1: about the talk, short, repeating itself, copying others.

    await ResponseRelevanceMetric().evaluate(["ann: what year is this?"], "1986, I think")

Each metric has a plain function beside it (`relevance`, `brevity`, `repetition`, `echo`) for
callers that can't wait. High is good for relevance and brevity, bad for repetition and echo.
"""

from llm_bot.evaluation.embeddings import Embed, EmbeddingRelevanceMetric
from llm_bot.evaluation.lines import Context
from llm_bot.evaluation.measures import brevity, echo, repetition
from llm_bot.evaluation.metrics import (
    BrevityMetric,
    EchoMetric,
    Metric,
    RepetitionMetric,
    ResponseRelevanceMetric,
)
from llm_bot.evaluation.relevance import relevance

__all__ = [
    "BrevityMetric",
    "Context",
    "EchoMetric",
    "Embed",
    "EmbeddingRelevanceMetric",
    "Metric",
    "RepetitionMetric",
    "ResponseRelevanceMetric",
    "brevity",
    "echo",
    "relevance",
    "repetition",
]
