"""Which trigger a room gets for a section of its configuration: each kind is registered here."""

from __future__ import annotations

from collections import Counter
from typing import assert_never

from llm_bot.config.triggers import (
    ContextualTriggerConfig,
    KeywordTriggerConfig,
    MentionTriggerConfig,
    PmTriggerConfig,
    TriggerConfig,
)
from llm_bot.triggers.base import Trigger
from llm_bot.triggers.contextual import ContextualTrigger
from llm_bot.triggers.keyword import KeywordTrigger
from llm_bot.triggers.mention import MentionTrigger
from llm_bot.triggers.pm import PmTrigger


def make_trigger(config: TriggerConfig, *, names: tuple[str, ...], taken: Counter[str]) -> Trigger:
    """The trigger that `config` asks for.

    `names` are the bot's. `taken` counts the keys of a room; only kinds that may repeat need it.
    """
    match config:
        case MentionTriggerConfig():
            return MentionTrigger(names)
        case KeywordTriggerConfig():
            return KeywordTrigger(config, _keyword_key(config, taken))
        case ContextualTriggerConfig():
            return ContextualTrigger(config)
        case PmTriggerConfig():
            return PmTrigger()
        case _:
            assert_never(config)


def _keyword_key(config: KeywordTriggerConfig, taken: Counter[str]) -> str:
    """By its keywords and not by its place, which a reload may give to another trigger."""
    key = "keyword " + " ".join(sorted(repr(keyword.lower()) for keyword in config.keywords))
    taken[key] += 1
    return key if taken[key] == 1 else f"{key} {taken[key]}"
