"""The whole configuration file as it is validated; attributes are named as its keys are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field, SecretStr, field_validator

from llm_bot.config.bus import BusConfig, NatsConfig
from llm_bot.config.fields import (
    CHANNEL_NAME,
    DOMAIN,
    HOUR,
    INSTANCE_NAME,
    MIN_SECRET_CHARACTERS,
    Prompt,
    Section,
    Text,
    leaves,
    split_url,
)
from llm_bot.config.llm import LLMApiConfig
from llm_bot.config.sections import (
    BotConfig,
    ContextWindowConfig,
    HealthConfig,
    InsightsConfig,
    LoggingConfig,
    RateLimitsConfig,
    RepliesConfig,
    ResponseProcessingConfig,
)
from llm_bot.config.triggers import Triggers, default_triggers

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
        tuple[ChannelConfig, ...], Field(strict=False, min_length=1, max_length=500)
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
        values = [*leaves(self), *leaves(self.nats.key_material, ("nats",))]
        for path, value in values:
            if isinstance(value, SecretStr):
                yield value.get_secret_value()
            elif isinstance(value, dict) and path[-1] == "extra_headers":
                yield from _named_secrets(value)
            elif path[-1] == "base_url":
                yield from _named_secrets(dict(parse_qsl(urlsplit(str(value)).query)))
            elif isinstance(value, str) and path[:2] == ("nats", "servers"):
                yield from _url_secrets(value)


def _named_secrets(named: dict[str, str]) -> Iterator[str]:
    for name, value in named.items():
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
