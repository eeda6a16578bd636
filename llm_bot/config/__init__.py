"""What can be set: the sections of config.yaml, and how a file becomes a checked configuration."""

from llm_bot.config.bus import NatsConfig
from llm_bot.config.diff import NEEDS_RESTART, FieldChange, differences
from llm_bot.config.llm import PROMPT_FIELDS, PROMPT_TOKEN, LLMApiConfig, LLMProviderConfig
from llm_bot.config.loader import ConfigFileError, LoadedConfig, load_config, load_health
from llm_bot.config.model import ChannelConfig, Config
from llm_bot.config.room import RoomConfig, resolve_room
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
    "NEEDS_RESTART",
    "PROMPT_FIELDS",
    "PROMPT_TOKEN",
    "ChannelConfig",
    "Config",
    "ConfigFileError",
    "ContextualTriggerConfig",
    "FieldChange",
    "HealthConfig",
    "KeywordTriggerConfig",
    "LLMApiConfig",
    "LLMProviderConfig",
    "LoadedConfig",
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
    "differences",
    "is_loopback",
    "load_config",
    "load_health",
    "resolve_room",
]
