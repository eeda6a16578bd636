"""Make an answer fit and harmless. Pure."""

from llm_bot.response_processor.processor import FilterReason, Processed, ResponseProcessor

__all__ = ["FilterReason", "Processed", "ResponseProcessor"]
