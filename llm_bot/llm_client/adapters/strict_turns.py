"""Conversations for servers whose chat templates want strict turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llm_bot.llm_client.models import SYSTEM_ROLES, Content, Message, TextPart

# Says nothing, and takes the place of what the assistant had answered.
_OPENING = Message("user", "...")


def with_strict_turns(messages: Sequence[Message]) -> list[Message]:
    """`messages` without a system's, and with a user's and an assistant's by turns.

    The system's words stand at the start of the first user message; messages of one role in a row
    become one; an assistant's at the start gets a user's before it.

    >>> with_strict_turns([Message("system", "Be kind."), Message("user", "Hello")])
    [Message(role='user', content='Be kind.\\n\\nHello')]
    >>> [message.role for message in with_strict_turns([Message("assistant", "Hello")])]
    ['user', 'assistant']
    """
    folded = [
        replace(message, role="user") if message.role in SYSTEM_ROLES else message
        for message in (
            *(message for message in messages if message.role in SYSTEM_ROLES),
            *(message for message in messages if message.role not in SYSTEM_ROLES),
        )
    ]
    turns: list[Message] = []
    for message in folded:
        if turns and turns[-1].role == message.role:
            content = _joined([turns[-1].content, message.content])
            turns[-1] = replace(message, content=content)
        else:
            turns.append(message)
    if turns and turns[0].role == "assistant":
        turns.insert(0, _OPENING)
    return turns


def _joined(contents: Sequence[Content]) -> Content:
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return "\n\n".join(texts)
    return [
        part
        for content in contents
        for part in ([TextPart(content)] if isinstance(content, str) else content)
    ]
