"""The log: JSON lines, redacted."""

from llm_bot.logging_config.setup import SECRET, configure_logging

__all__ = [
    "SECRET",
    "configure_logging",
]
