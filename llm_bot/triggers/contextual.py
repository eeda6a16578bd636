"""Nobody asked: whether a quiet look at the room is worth a question to the model."""

from __future__ import annotations

import msgspec

from llm_bot.config import ContextualTriggerConfig
from llm_bot.decisions import Gate
from llm_bot.models import ChatLine

JITTER = 0.2
"""Part of the interval by which a tick may come early or late, so that rooms don't tick at once."""

MIN_INTERVAL_SECONDS = 5.0
"""An interval of 0 would ask without a pause."""


class Surveyed(msgspec.Struct, frozen=True):
    """What a tick sees of its room. The lines are those of others."""

    lines_since_tick: int
    lines_since_own: int
    others_present: int | None
    waiting: int


class ContextualTrigger:
    """Fires on a timer, where the room is alive, somebody is there, and nothing else waits."""

    kind = "contextual"
    key = "contextual"

    def __init__(self, config: ContextualTriggerConfig) -> None:
        self.config = config

    def match(self, line: ChatLine) -> str | None:  # noqa: ARG002 - the interface of triggers
        """It is never asked about lines."""
        return None

    def interval(self, chance: float) -> float:
        """Seconds to the next tick; `chance` from 0 to 1 spreads them."""
        asked = max(MIN_INTERVAL_SECONDS, self.config.evaluation_interval_seconds)
        return asked * (1 - JITTER + 2 * JITTER * chance)

    def gates(self, seen: Surveyed) -> list[Gate]:
        """What must hold before anything else is asked. An unknown roster counts as present."""
        least = self.config.min_messages_since_last_bot_message
        present = 1 if seen.others_present is None else seen.others_present
        asked = (
            ("new_line", seen.lines_since_tick >= 1, seen.lines_since_tick, 1),
            ("somebody_present", present >= 1, present, 1),
            (
                "min_messages_since_last_bot_message",
                seen.lines_since_own >= least,
                seen.lines_since_own,
                least,
            ),
            ("nothing_waiting", seen.waiting == 0, seen.waiting, 0),
        )
        return [
            Gate(name, passed, value, threshold, trigger=self.kind)
            for name, passed, value, threshold in asked
        ]


def is_yes(answer: str) -> bool:
    """Whether the model's answer to the question begins with "yes" as a word."""
    word = answer.lstrip(" \t\r\n\"'*_`([{.-").lower()
    return word.startswith("yes") and not word[3:4].isalnum()
