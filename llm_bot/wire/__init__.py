"""The connector's language: subjects, events as values, commands. Pure.

What can't be understood is a `Rejected` with a reason, never an exception.
"""

from llm_bot.wire.correlation import new_correlation_id
from llm_bot.wire.events import (
    EVENT_TYPES,
    DropReason,
    Ignored,
    ParsedEvent,
    Rejected,
    parse_answer,
    parse_event,
)
from llm_bot.wire.subjects import event_subjects

__all__ = [
    "EVENT_TYPES",
    "DropReason",
    "Ignored",
    "ParsedEvent",
    "Rejected",
    "event_subjects",
    "new_correlation_id",
    "parse_answer",
    "parse_event",
]
