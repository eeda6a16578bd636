"""What agents are told and what they answer, checked. Made where something happens now and then;
lines of chat go through the daemon as `msgspec` structs, of which one costs a twentieth."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from llm_bot.insights.topics import InsightKind

MAX_CONTENT_CHARACTERS = 16_384

_Id = Annotated[str, Field(min_length=1, max_length=200)]
_Content = Annotated[str, Field(max_length=MAX_CONTENT_CHARACTERS)]


def _new_id() -> str:
    return uuid.uuid4().hex


def _now() -> datetime:
    return datetime.now(UTC)


class ConversationEvent(BaseModel):
    """Something of a conversation, with an id of its own.

    `message["content"]` reads a field as it does of a dictionary. Fields that it doesn't know are
    ignored, so that a newer sender is understood.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    id: _Id = Field(default_factory=_new_id)
    conversation_id: _Id = Field(
        default_factory=_new_id, description="The room, or whatever else ties messages together."
    )

    def __getitem__(self, key: str) -> Any:
        if key in type(self).model_fields:
            return getattr(self, key)
        raise KeyError(key)


class UserMessage(ConversationEvent):
    """Somebody said something. `timestamp` is a datetime, ISO 8601 text or epoch seconds.

    >>> message = UserMessage(user_id="alice", content="hello", conversation_id="film-night")
    >>> message["role"], message["content"], message["event"]
    ('user', 'hello', 'conversation.message.received')
    """

    event: Literal["conversation.message.received"] = "conversation.message.received"
    role: Literal["user"] = "user"
    user_id: _Id
    content: _Content
    timestamp: datetime = Field(default_factory=_now)


class AgentResponse(ConversationEvent):
    """What an agent has to say to a message.

    >>> AgentResponse(agent_name="chat", content="Hello, alice.")["role"]
    'assistant'
    """

    event: Literal["conversation.response.created"] = "conversation.response.created"
    role: Literal["assistant"] = "assistant"
    agent_name: _Id
    content: _Content
    timestamp: datetime = Field(default_factory=_now)


class Insight(ConversationEvent):
    """An observation about a conversation, which is a room: `channel` is its name.

    `time` is Unix epoch seconds. `sequence` is the number of the line that it is about in the
    room's stream, 0 where there is none, and `correlation_id` that line's. `value` lies in 0..1:
    the relevance of a reply, how different a topic is; None where there is nothing to measure.
    `words` are from the chat, given only where the operator lets chat text be shown. One about a
    private message is `is_private`: it says nothing but a value, and isn't published.
    """

    kind: InsightKind
    time: float
    sequence: int = Field(0, ge=0)
    correlation_id: str = ""
    value: float | None = Field(None, ge=0, le=1)
    words: tuple[str, ...] = ()
    is_private: bool = Field(False, exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def channel(self) -> str:
        return self.conversation_id

    def shown(self) -> dict[str, Any]:
        """What the live page is told of it."""
        return {
            "kind": self.kind.value,
            "time": self.time,
            "about": self.correlation_id,
            "value": self.value,
            "text": ", ".join(self.words),
        }
