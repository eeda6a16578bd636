"""What connectors publish, as values: subjects, envelopes, every shape of payload. Pure.

What can't be understood is a `Rejected` with a reason, never an exception.
"""

from llm_bot.wire.bounds import (
    MAX_BODY_BYTES,
    MAX_ID_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_RAW_MESSAGE_CHARACTERS,
    MAX_TITLE_CHARACTERS,
)
from llm_bot.wire.correlation import new_correlation_id
from llm_bot.wire.envelope import (
    IGNORED,
    Ignored,
    ParsedEvent,
    Rejected,
    parse_answer,
    parse_event,
)
from llm_bot.wire.payloads import PARSERS, DropReason
from llm_bot.wire.subjects import event_subjects

__all__ = [
    "IGNORED",
    "MAX_BODY_BYTES",
    "MAX_ID_CHARACTERS",
    "MAX_NAME_CHARACTERS",
    "MAX_RAW_MESSAGE_CHARACTERS",
    "MAX_TITLE_CHARACTERS",
    "PARSERS",
    "DropReason",
    "Ignored",
    "ParsedEvent",
    "Rejected",
    "event_subjects",
    "new_correlation_id",
    "parse_answer",
    "parse_event",
]
