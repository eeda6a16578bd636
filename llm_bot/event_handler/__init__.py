"""One event, to the end of its decision."""

from llm_bot.event_handler.handler import EventHandler

__all__ = [
    "EventHandler",
]
