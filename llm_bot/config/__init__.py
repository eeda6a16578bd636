"""What can be set: the sections of config.yaml, and how a file becomes a checked configuration."""

from llm_bot.config.bus import NatsConfig
from llm_bot.config.llm import PROMPT_FIELDS, PROMPT_TOKEN, LLMApiConfig, LLMProviderConfig
from llm_bot.config.model import ChannelConfig, Config, RoomConfig, resolve_room
from llm_bot.config.sections import (
    HealthConfig,
    LoggingConfig,
    RateLimitsConfig,
    ResponseProcessingConfig,
    is_loopback,
)
from llm_bot.config.triggers import (
    ContextualTriggerConfig,
    KeywordTriggerConfig,
    MentionTriggerConfig,
    PmTriggerConfig,
    TriggerConfig,
    TriggerRateLimit,
    default_triggers,
)

__all__ = [
    "PROMPT_FIELDS",
    "PROMPT_TOKEN",
    "ChannelConfig",
    "Config",
    "ContextualTriggerConfig",
    "HealthConfig",
    "KeywordTriggerConfig",
    "LLMApiConfig",
    "LLMProviderConfig",
    "LoggingConfig",
    "MentionTriggerConfig",
    "NatsConfig",
    "PmTriggerConfig",
    "RateLimitsConfig",
    "ResponseProcessingConfig",
    "RoomConfig",
    "TriggerConfig",
    "TriggerRateLimit",
    "default_triggers",
    "is_loopback",
    "resolve_room",
]
