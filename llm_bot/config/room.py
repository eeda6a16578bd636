"""What a room inherits: its own values where it has any, else the global ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

from llm_bot.config.model import ChannelConfig, Config
from llm_bot.config.sections import (
    BotConfig,
    ContextWindowConfig,
    InsightsConfig,
    RateLimitsConfig,
    RepliesConfig,
    ResponseProcessingConfig,
)
from llm_bot.config.triggers import TriggerConfig

_T = TypeVar("_T")


@dataclass(frozen=True)
class RoomConfig:
    """What one room gets to see."""

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
    user_prompt_template: str
    include_context_in_prompt: bool
    max_context_messages: int
    logging_content: Literal["redacted", "full"]
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
        user_prompt_template=config.llm_api.user_prompt_template,
        include_context_in_prompt=config.llm_api.include_context_in_prompt,
        max_context_messages=config.llm_api.max_context_messages,
        logging_content=config.logging.content,
        dry_run=config.dry_run,
    )


def _first(override: _T | None, default: _T) -> _T:
    return default if override is None else override
