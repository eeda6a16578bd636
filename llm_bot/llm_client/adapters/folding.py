"""Conversations for servers whose chat templates want strict turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llm_bot.llm_client.models import Content, Message, TextPart

# Says nothing, and takes the place of what the assistant had answered.
_OPENING = Message("user", "...")
_SYSTEM_ROLES = frozenset({"system", "developer"})


def without_system(messages: Sequence[Message]) -> list[Message]:
    """`messages` with the system's words at the start of the first user message.

    >>> without_system([Message("system", "Be kind."), Message("user", "Hello")])
    [Message(role='user', content='Be kind.\\n\\nHello')]
    """
    system = [message.content for message in messages if message.role in _SYSTEM_ROLES]
    others = [message for message in messages if message.role not in _SYSTEM_ROLES]
    if not system:
        return others
    if not others or others[0].role != "user":
        return [Message("user", _joined(system)), *others]
    return [replace(others[0], content=_joined([*system, others[0].content])), *others[1:]]


def without_repeats(messages: Sequence[Message]) -> list[Message]:
    """`messages` with those of one role in a row made one.

    >>> without_repeats([Message("user", "Hello"), Message("user", "Anyone?")])
    [Message(role='user', content='Hello\\n\\nAnyone?')]
    """
    folded: list[Message] = []
    for message in messages:
        if folded and folded[-1].role == message.role:
            content = _joined([folded[-1].content, message.content])
            folded[-1] = replace(message, content=content)
        else:
            folded.append(message)
    return folded


def opened_by_user(messages: Sequence[Message]) -> Sequence[Message]:
    """`messages` with a user's before an assistant's at the start, where no template expects one.

    >>> [message.role for message in opened_by_user([Message("assistant", "Hello")])]
    ['user', 'assistant']
    """
    if messages and messages[0].role == "assistant":
        return [_OPENING, *messages]
    return messages


def _joined(contents: Sequence[Content]) -> Content:
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return "\n\n".join(texts)
    return [
        part
        for content in contents
        for part in ([TextPart(content)] if isinstance(content, str) else content)
    ]
