"""The configuration: what can be set, and what a room gets to see of it.

`Config` is the whole file, frozen and checked; `resolve_room` makes from it the part that belongs
to one room, overrides applied. The sections live in modules beside this one and are imported from
here. Attributes are named as the keys of the file are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeVar
from urllib.parse import unquote

import msgspec
from pydantic import AfterValidator, Field, field_validator

from llm_bot.config.bus import BusConfig, NatsConfig, TlsConfig
from llm_bot.config.fields import (
    CHANNEL_NAME,
    DOMAIN,
    HOUR,
    INSTANCE_NAME,
    MIN_SECRET_CHARACTERS,
    Prompt,
    Section,
    Text,
    mismatch,
    repeated,
    split_url,
)
from llm_bot.config.llm import (
    KEYED_PROVIDERS,
    PROMPT_FIELDS,
    PROMPT_TOKEN,
    BreakerConfig,
    LLMApiConfig,
    LLMParameters,
    LLMProviderConfig,
)
from llm_bot.config.sections import (
    BotConfig,
    ContentFilterConfig,
    ContextWindowConfig,
    HealthConfig,
    InsightsConfig,
    LoggingConfig,
    RateLimitsConfig,
    RepliesConfig,
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
    Triggers,
    default_triggers,
)

__all__ = [
    "KEYED_PROVIDERS",
    "PROMPT_FIELDS",
    "PROMPT_TOKEN",
    "BotConfig",
    "BreakerConfig",
    "BusConfig",
    "ChannelConfig",
    "Config",
    "ContentFilterConfig",
    "ContextWindowConfig",
    "ContextualTriggerConfig",
    "HealthConfig",
    "InsightsConfig",
    "KeywordTriggerConfig",
    "LLMApiConfig",
    "LLMParameters",
    "LLMProviderConfig",
    "LoggingConfig",
    "MentionTriggerConfig",
    "NatsConfig",
    "PmTriggerConfig",
    "RateLimitsConfig",
    "RepliesConfig",
    "ResponseProcessingConfig",
    "RoomConfig",
    "TlsConfig",
    "TriggerConfig",
    "TriggerRateLimit",
    "default_triggers",
    "is_loopback",
    "resolve_room",
]

REPEATED_CHANNEL = ("a name that another channel has", "names that differ, in any case")

_T = TypeVar("_T")

# Parts of a header's name that say that its value gives access to something.
_TELLTALE = ("auth", "key", "token", "secret", "cookie", "password")


class ChannelConfig(Section):
    """One room, and what is different there. An override replaces the global value whole."""

    name: Annotated[str, Field(pattern=CHANNEL_NAME)] = Field(
        description="Name of the channel, as in its address; capitals don't matter."
    )
    enabled: bool = Field(True, description="false: not listened to at all.")
    silenced: bool = Field(False, description="true: hears and remembers, says nothing.")
    domain: Annotated[str, Field(max_length=253, pattern=DOMAIN)] | None = Field(
        None,
        description="Host of the chat server; needed only where two of them share one NATS.",
    )
    system_prompt: Prompt | None = Field(None, description="Instead of llm_api.system_prompt.")
    llm_model: Text | None = Field(None, description="Instead of llm_api.model.")
    triggers: Triggers | None = Field(None, description="Instead of the global triggers.")
    rate_limits: RateLimitsConfig | None = Field(
        None, description="Instead of the global rate_limits."
    )
    response_processing: ResponseProcessingConfig | None = Field(
        None, description="Instead of the global response_processing."
    )


def _no_repetition(channels: tuple[ChannelConfig, ...]) -> tuple[ChannelConfig, ...]:
    if repeated([channel.name.lower() for channel in channels]):
        raise mismatch(*REPEATED_CHANNEL)
    return channels


class Config(Section):
    """The whole configuration file."""

    nats: NatsConfig = Field(description="Where the events come from.")
    bus: BusConfig = Field(
        default_factory=BusConfig, description="What carries events and replies."
    )
    instance: Annotated[str, Field(pattern=INSTANCE_NAME)] = Field(
        "llm_bot", description="Name of this process in subjects, headers and heartbeats."
    )
    channels: Annotated[
        tuple[ChannelConfig, ...],
        Field(strict=False, min_length=1, max_length=500),
        AfterValidator(_no_repetition),
    ] = Field(description="The rooms.")
    bot: BotConfig = Field(description="Who the bot is.")
    llm_api: LLMApiConfig = Field(description="Where answers come from.")
    triggers: Triggers = Field(
        default_factory=default_triggers,
        description="When the bot speaks; default: when named, and to private messages.",
    )
    rate_limits: RateLimitsConfig = Field(
        default_factory=RateLimitsConfig, description="How much it says at most."
    )
    replies: RepliesConfig = Field(
        default_factory=RepliesConfig, description="From an admitted line to a line said."
    )
    response_processing: ResponseProcessingConfig = Field(
        default_factory=ResponseProcessingConfig,
        description="What happens to an answer before it is said.",
    )
    context_window: ContextWindowConfig = Field(
        default_factory=ContextWindowConfig, description="How much it remembers."
    )
    insights: InsightsConfig = Field(
        default_factory=InsightsConfig, description="Observations about the conversation."
    )
    health: HealthConfig = Field(
        default_factory=HealthConfig, description="HTTP server for health and metrics."
    )
    logging: LoggingConfig = Field(default_factory=LoggingConfig, description="The log.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "INFO", description="Least important messages that are logged."
    )
    shutdown_grace_seconds: Annotated[float, Field(ge=0, le=HOUR)] = Field(
        30.0, description="How long replies under way may take when the process is told to stop."
    )
    dry_run: bool = Field(
        False, description="true: everything, model requests too, but nothing is said."
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    def secrets(self) -> tuple[str, ...]:
        """Every secret of at least 6 characters, longest first, to black out or to refuse."""
        found = {secret for secret in self._all_secrets() if len(secret) >= MIN_SECRET_CHARACTERS}
        return tuple(sorted(found, key=lambda secret: (-len(secret), secret)))

    def _all_secrets(self) -> Iterator[str]:
        fields = [self.nats.password, self.nats.token, self.bus.password, self.health.token]
        for provider in (self.llm_api, *self.llm_api.fallbacks):
            fields.append(provider.api_key)
            yield from _header_secrets(provider.extra_headers)
        yield from (field.get_secret_value() for field in fields if field is not None)
        yield from self.nats.key_material
        for server in self.nats.servers:
            yield from _url_secrets(server)


def _header_secrets(headers: dict[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        if any(part in name.lower() for part in _TELLTALE):
            yield value
            yield value.rpartition(" ")[2]  # what follows "Bearer"


def _url_secrets(url: str) -> Iterator[str]:
    parts = split_url(url)
    if parts is None or parts.username is None:
        return
    # nats://user:password@host, or nats://token@host
    secret = parts.username if parts.password is None else parts.password
    yield from {secret, unquote(secret)}


class RoomConfig(msgspec.Struct, frozen=True):
    """What one room gets to see: its own values where it has any, else the global ones."""

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
