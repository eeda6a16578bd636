"""What connectors publish, as values: subjects, envelopes, every shape of payload. Pure.

What can't be understood is a `Drop` with a reason, never an exception.
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
    UNUSED,
    Drop,
    Heard,
    Unused,
    understand,
    understand_answer,
)
from llm_bot.wire.payloads import PARSERS, DropReason
from llm_bot.wire.subjects import event_subjects
from llm_bot.wire.usual import understand_usual

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_ID_CHARACTERS",
    "MAX_NAME_CHARACTERS",
    "MAX_RAW_MESSAGE_CHARACTERS",
    "MAX_TITLE_CHARACTERS",
    "PARSERS",
    "UNUSED",
    "Drop",
    "DropReason",
    "Heard",
    "Unused",
    "event_subjects",
    "new_correlation_id",
    "understand",
    "understand_answer",
    "understand_usual",
]
