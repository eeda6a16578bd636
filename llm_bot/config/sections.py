"""The smaller sections: bot, limits, replies, filters, window, health, logging."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

import regex
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from llm_bot.config.fields import (
    DAY,
    HOST,
    HOUR,
    Fraction,
    HeaderSecret,
    Name,
    Pause,
    Section,
    Text,
    mismatch,
)
from llm_bot.config.secret_files import HeaderSecretFile, SectionWithFiles

_PerMinute = Annotated[int, Field(ge=1, le=100_000)]
_Texts = Annotated[tuple[Text, ...], Field(strict=False, max_length=1000)]
_Names = Annotated[tuple[Name, ...], Field(strict=False, max_length=1000)]


class BotConfig(Section):
    """Who the bot is and whom it leaves alone."""

    username: Name = Field(description="The bot's name in the room, as its login has it.")
    aliases: _Names = Field((), description="Further names that it answers to.")
    ignored_users: _Names = Field(
        (), description="Users who are neither answered nor remembered, such as other bots."
    )
    ignored_prefixes: Annotated[
        tuple[Annotated[Text, Field(max_length=20)], ...], Field(strict=False, max_length=100)
    ] = Field(("!",), description="Lines that begin so are for other bots and never answered.")
    max_event_age_seconds: Annotated[float, Field(ge=1, le=DAY)] = Field(
        30.0, description="Lines older than this when they arrive are never answered."
    )
    max_unanswered_own_lines: Annotated[int, Field(ge=1, le=1000)] = Field(
        3, description="After so many own lines without a human's it says nothing unasked."
    )


class RateLimitsConfig(Section):
    """How much the bot says at most, whatever triggers it."""

    max_per_channel_per_minute: _PerMinute = Field(
        5, description="Most lines in a room in any 60 seconds."
    )
    max_per_channel_per_hour: _PerMinute = Field(
        30, description="Most lines in a room in any 3600 seconds."
    )
    max_per_user_per_minute: _PerMinute = Field(
        3, description="Most replies to one user in any 60 seconds, over all rooms."
    )
    max_per_user_per_hour: _PerMinute = Field(
        10, description="Most replies to one user in any 3600 seconds, over all rooms."
    )
    global_cooldown_seconds: Pause = Field(
        5.0, description="Pause after a line of its own before the next, in a room."
    )
    media_change_cooldown_seconds: Pause = Field(
        30.0, description="Silence after another video has begun."
    )


class RepliesConfig(Section):
    """From an admitted line to a line said."""

    deadline_seconds: Annotated[float, Field(ge=0.01, le=HOUR)] = Field(
        45.0, description="A reply later than this after the line isn't sent any more."
    )
    queue_size: Annotated[int, Field(ge=1, le=1000)] = Field(
        4, description="Replies that may wait in a lane (public, private) of a room."
    )
    min_interval_seconds: Pause = Field(1.0, description="Least time between two sends to a room.")
    confirm_seconds: Annotated[float, Field(ge=0, le=HOUR)] = Field(
        5.0, description="How long to wait for the own line to come back; 0: don't."
    )


def _compiles(pattern: str) -> str:
    try:
        regex.compile(pattern, regex.IGNORECASE)
    except (regex.error, OverflowError, RecursionError, ValueError) as exc:
        raise mismatch(
            "must be a regular expression that compiles",
            "quote it with ' in YAML, so that backslashes stay",
            detail=str(exc)[:100],
        ) from exc
    return pattern


class ContentFilterConfig(Section):
    """What the bot doesn't say."""

    enabled: bool = Field(True, description="false: no filter but the guard, which always holds.")
    block_patterns: Annotated[
        tuple[Annotated[Text, AfterValidator(_compiles)], ...],
        Field(strict=False, max_length=200),
    ] = Field(
        ("https?://",), description="Regular expressions, in any case; a hit drops the reply."
    )
    block_keywords: _Texts = Field((), description="Words that drop the reply, in any case.")
    require_keywords: _Texts = Field(
        (), description="If there are any: one of them must be in the reply."
    )
    allow_links: bool = Field(
        False, description="false: whatever the chat would turn into a link is broken up."
    )
    min_word_count: Annotated[int, Field(ge=0, le=10_000)] = Field(
        1, description="Replies of fewer words are dropped."
    )
    max_word_count: Annotated[int, Field(ge=1, le=10_000)] = Field(
        60, validate_default=True, description="Replies of more words are dropped."
    )

    @field_validator("max_word_count")
    @classmethod
    def _in_order(cls, most: int, info: ValidationInfo) -> int:
        least = info.data.get("min_word_count")
        if least is not None and least > most:
            raise mismatch("{found} must be at most max_word_count", field="min_word_count")
        return most


class ResponseProcessingConfig(Section):
    """What happens to an answer before it is said."""

    max_response_length: Annotated[int, Field(ge=1, le=10_000)] = Field(
        200, description="Longest reply in characters (UTF-16 units, as the chat counts)."
    )
    server_max_length: Annotated[int, Field(ge=1, le=10_000)] = Field(
        320,
        validate_default=True,
        description="Longest line that the chat server takes; more is cut off there.",
    )
    truncation_strategy: Literal["hard", "sentence"] = Field(
        "sentence", description="hard: cut anywhere; sentence: at the end of a sentence or word."
    )
    strip_markdown: bool = Field(True, description="Take markup such as **bold** away.")
    collapse_newlines: bool = Field(True, description="Turn line breaks into single spaces.")
    content_filter: ContentFilterConfig = Field(
        default_factory=ContentFilterConfig, description="What the bot doesn't say."
    )
    quality_checks_enabled: bool = Field(
        True, description="Drop empty answers, echoes, repetitions and a bare ok."
    )
    deduplicate_window: Annotated[int, Field(ge=0, le=1000)] = Field(
        10, description="Own lines looked back at for repetitions; 0: none."
    )
    min_relevance: Fraction = Field(
        0.0, description="Replies rated lower are dropped; 0: measured only."
    )
    fallback_responses_enabled: bool = Field(
        False, description="Say one of fallback_responses when every provider has failed."
    )
    fallback_responses: Annotated[tuple[Text, ...], Field(strict=False, max_length=100)] = Field(
        (), description="Lines for that; at most one a room and minute."
    )

    @field_validator("server_max_length")
    @classmethod
    def _fits(cls, server: int, info: ValidationInfo) -> int:
        own = info.data.get("max_response_length")
        if own is not None and own > server:
            raise mismatch(
                "{found} must be at most server_max_length",
                "raise server_max_length only if the chat server allows longer lines",
                field="max_response_length",
            )
        return server


class ContextWindowConfig(Section):
    """How much of a conversation the bot remembers."""

    size: Annotated[int, Field(ge=1, le=1000)] = Field(50, description="Lines kept for each room.")
    max_age_seconds: Annotated[float, Field(ge=1, le=7 * DAY)] = Field(
        3600.0, description="Lines older than this are forgotten."
    )
    include_usernames: bool = Field(True, description="false: the model doesn't see who spoke.")
    include_timestamps: bool = Field(False, description="true: the model sees when, too.")


class InsightsConfig(Section):
    """Observations about the conversation, kept beside it."""

    enabled: bool = Field(True, description="false: none are made.")
    size: Annotated[int, Field(ge=1, le=10_000)] = Field(
        200, description="Entries kept for each room and track."
    )
    publish: bool = Field(False, description="true: also sent to llm_bot.insights.{channel}.")
    topic_interval_messages: Annotated[int, Field(ge=0, le=10_000)] = Field(
        20, description="Lines between two looks for a change of topic; 0: never looked for."
    )


def is_loopback(host: str) -> bool:
    """True if only programs on this machine can reach `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class HealthConfig(SectionWithFiles):
    """The HTTP server for health, metrics and decisions."""

    enabled: bool = Field(True, description="false: no HTTP server at all.")
    host: Annotated[str, Field(max_length=253, pattern=HOST)] = Field(
        "127.0.0.1", description="Address to listen on; other than loopback needs a token."
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8080, description="Port to listen on; 0: any free one, named in the log."
    )
    dashboard: bool = Field(False, description="true: the live page at /.")
    token: HeaderSecret | None = Field(
        None, description="Asked for by /decisions and / where host isn't loopback."
    )
    token_file: HeaderSecretFile | None = Field(
        None,
        validate_default=True,
        description="File that holds the token, instead of token.",
    )

    @field_validator("token_file")
    @classmethod
    def _guarded(cls, file: str | None, info: ValidationInfo) -> str | None:
        has_none = file is None and info.data.get("token", "") is None
        is_open = info.data.get("enabled") and not is_loopback(info.data.get("host", "localhost"))
        if not (has_none and is_open):
            return file
        raise mismatch(
            "missing required key, as host isn't loopback",
            "set token or token_file, or host: 127.0.0.1",
            field="token",
        )


class LoggingConfig(Section):
    """How the log looks and what may stand in it."""

    format: Literal["json", "text"] | None = Field(
        None, description="null: text when standard error is a terminal, else json."
    )
    content: Literal["redacted", "full"] = Field(
        "redacted", description="full: chat text may appear in logs, /decisions and why."
    )
