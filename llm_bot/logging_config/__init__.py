"""The log: JSON lines, redacted."""

from llm_bot.logging_config.handler import LogHandler
from llm_bot.logging_config.redaction import SECRET
from llm_bot.logging_config.setup import configure_logging

__all__ = [
    "SECRET",
    "LogHandler",
    "configure_logging",
]
