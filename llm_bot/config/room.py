"""What a room inherits: its own values where it has any, else the global ones.

Sections go to the room whole, so that a new setting in one of them is there without further ado.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from llm_bot.config.llm import LLMApiConfig
from llm_bot.config.model import ChannelConfig, Config
from llm_bot.config.sections import (
    BotConfig,
    ContextWindowConfig,
    InsightsConfig,
    LoggingConfig,
    RateLimitsConfig,
    RepliesConfig,
    ResponseProcessingConfig,
)
from llm_bot.config.triggers import TriggerConfig

_T = TypeVar("_T")


@dataclass(frozen=True)
class RoomConfig:
    """What one room gets to see; its own prompt and model stand beside those of `llm_api`."""

    name: str
    enabled: bool
    silenced: bool
    domain: str | None
    system_prompt: str
    llm_model: str | None
    triggers: tuple[TriggerConfig, ...]
    rate_limits: RateLimitsConfig
    response_processing: ResponseProcessingConfig
    bot: BotConfig
    replies: RepliesConfig
    context_window: ContextWindowConfig
    insights: InsightsConfig
    llm_api: LLMApiConfig
    logging: LoggingConfig
    dry_run: bool


def resolve_room(config: Config, channel: ChannelConfig) -> RoomConfig:
    """The configuration of one room. `llm_model` is None where the provider's own is meant."""
    return RoomConfig(
        name=channel.name,
        enabled=channel.enabled,
        silenced=channel.silenced,
        domain=channel.domain,
        system_prompt=_first(channel.system_prompt, config.llm_api.system_prompt),
        llm_model=channel.llm_model,
        triggers=_first(channel.triggers, config.triggers),
        rate_limits=_first(channel.rate_limits, config.rate_limits),
        response_processing=_first(channel.response_processing, config.response_processing),
        bot=config.bot,
        replies=config.replies,
        context_window=config.context_window,
        insights=config.insights,
        llm_api=config.llm_api,
        logging=config.logging,
        dry_run=config.dry_run,
    )


def _first(override: _T | None, default: _T) -> _T:
    return default if override is None else override
