"""Make an answer fit and harmless. Pure."""

from llm_bot.response_processor.processor import Processed, ResponseProcessor, strip_reasoning

__all__ = [
    "Processed",
    "ResponseProcessor",
    "strip_reasoning",
]
