"""What every agent has: a name, and a way to be told of a message."""

from __future__ import annotations

from abc import ABC, abstractmethod

from llm_bot.agents.schemas import AgentResponse, UserMessage


class BaseAgent(ABC):
    """Takes messages of conversations, and may answer.

    `name` tells agents apart, in a registry and in what they say.

    >>> import asyncio
    >>> class Echo(BaseAgent):
    ...     async def process_message(self, message):
    ...         return self.answer(message, message.content)
    >>> message = UserMessage(user_id="alice", content="hello", conversation_id="film-night")
    >>> response = asyncio.run(Echo("echo").process_message(message))
    >>> response.agent_name, response.content, response.conversation_id
    ('echo', 'hello', 'film-night')
    """

    def __init__(self, name: str) -> None:
        if not name:
            raise ValueError("an agent needs a name")
        self.name = name

    @abstractmethod
    async def process_message(self, message: UserMessage) -> AgentResponse | None:
        """Take `message`; None means that there is nothing to say."""

    def answer(self, message: UserMessage, content: str) -> AgentResponse:
        """A response in the conversation of `message`."""
        return AgentResponse(
            agent_name=self.name, content=content, conversation_id=message.conversation_id
        )
