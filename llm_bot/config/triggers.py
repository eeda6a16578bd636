"""The triggers: when the bot speaks."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from llm_bot.config.fields import (
    Fraction,
    Pause,
    Prompt,
    Section,
    Text,
    Timeout,
)

PARTICIPATION_PROMPT = (
    "Look at the latest lines of the chat. Would a friendly regular of this room have something"
    " short and fitting to add right now, without being asked? People who talk to each other are"
    " best left alone. Answer with one word, yes or no."
)

_Limit = Annotated[int, Field(ge=1, le=100_000)]


class TriggerRateLimit(Section):
    """How often one trigger may fire. What is left out isn't limited."""

    max_per_user_per_minute: _Limit | None = Field(
        None, description="Most replies to one user in any 60 seconds."
    )
    max_per_user_per_hour: _Limit | None = Field(
        None, description="Most replies to one user in any 3600 seconds."
    )
    max_per_channel_per_minute: _Limit | None = Field(
        None, description="Most replies in the room in any 60 seconds."
    )
    max_per_channel_per_hour: _Limit | None = Field(
        None, description="Most replies in the room in any 3600 seconds."
    )
    max_per_hour: _Limit | None = Field(
        None, description="Most replies by this trigger in the room in any 3600 seconds."
    )


class _Trigger(Section):
    # True where a second one in a list may fire where the first doesn't.
    may_repeat: ClassVar[bool] = False

    enabled: bool = Field(True, description="false: the trigger never fires.")
    fire_probability: Fraction = Field(
        1.0, description="Chance that it fires when it matches: 1 always, 0 never."
    )
    cooldown_seconds: Pause = Field(
        0.0, description="Pause after it has fired before it may fire again (pm: for each user)."
    )
    rate_limit: TriggerRateLimit | None = Field(
        None, description="Limits of this trigger beside those of the room; null: none."
    )


class MentionTriggerConfig(_Trigger):
    """Fires when a public line names the bot."""

    type: Literal["mention"] = Field(description="A public line names the bot.")


class KeywordTriggerConfig(_Trigger):
    """Fires when a public line holds one of the keywords."""

    may_repeat: ClassVar[bool] = True

    type: Literal["keyword"] = Field(description="A public line holds one of the keywords.")
    keywords: Annotated[tuple[Text, ...], Field(strict=False, min_length=1, max_length=500)] = (
        Field(description="Words or phrases; any one of them is enough.")
    )
    case_sensitive: bool = Field(False, description="true: capitals matter.")
    match: Literal["word", "substring"] = Field(
        "word", description="word: whole words only; substring: within words too."
    )


class ContextualTriggerConfig(_Trigger):
    """Asks the model, now and then, whether the bot should say something unasked."""

    type: Literal["contextual"] = Field(description="A timer asks the model whether to speak up.")
    enabled: bool = Field(
        False, description="true: the bot may speak without being asked. Costs model requests."
    )
    evaluation_interval_seconds: Pause = Field(
        120.0, description="Time between two looks at the room."
    )
    min_messages_since_last_bot_message: Annotated[int, Field(ge=0, le=1000)] = Field(
        5, description="Lines of others that must have come since the bot's last one."
    )
    participation_prompt: Prompt = Field(
        PARTICIPATION_PROMPT,
        description="The question to the model. Only an answer that begins with yes goes on.",
    )
    participation_timeout_seconds: Timeout = Field(
        5.0, description="How long that question may take; past it the answer is no."
    )


class PmTriggerConfig(_Trigger):
    """Fires on every private message to the bot."""

    type: Literal["pm"] = Field(description="A private message to the bot.")


TriggerConfig = Annotated[
    MentionTriggerConfig | KeywordTriggerConfig | ContextualTriggerConfig | PmTriggerConfig,
    Field(discriminator="type"),
]

_MAY_REPEAT: dict[str, bool] = {
    get_args(kind.model_fields["type"].annotation)[0]: kind.may_repeat
    for kind in get_args(get_args(TriggerConfig)[0])
}

TRIGGER_KINDS = tuple(_MAY_REPEAT)
"""In the order in which a line is asked about (TRIG-1), which is that of the union."""

SINGLE_TRIGGERS = frozenset(kind for kind, may_repeat in _MAY_REPEAT.items() if not may_repeat)
"""A second one of these could never fire where the first doesn't, so it is a mistake."""


Triggers = Annotated[tuple[TriggerConfig, ...], Field(strict=False, max_length=50)]


def default_triggers() -> tuple[TriggerConfig, ...]:
    """What a configuration without `triggers` has: it answers mentions and private messages."""
    return (
        MentionTriggerConfig(
            type="mention",
            cooldown_seconds=10.0,
            rate_limit=TriggerRateLimit(max_per_user_per_minute=2, max_per_channel_per_minute=5),
        ),
        PmTriggerConfig(
            type="pm",
            cooldown_seconds=5.0,
            rate_limit=TriggerRateLimit(max_per_user_per_minute=3),
        ),
    )
