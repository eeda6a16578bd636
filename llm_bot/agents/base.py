"""What every agent has, a name and a way to be told of a message; and a registry of agents."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator

from llm_bot.agents.schemas import AgentResponse, UserMessage

log = logging.getLogger(__name__)


class BaseAgent(ABC):
    """Takes messages of conversations, and may answer.

    `name` tells agents apart, in a registry and in what they say.

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


class AgentRegistry:
    """Agents by name, in the order in which they were registered."""

    def __init__(self, *agents: BaseAgent) -> None:
        self._agents: dict[str, BaseAgent] = {}
        for agent in agents:
            self.register(agent)

    def __len__(self) -> int:
        return len(self._agents)

    def __iter__(self) -> Iterator[BaseAgent]:
        return iter(tuple(self._agents.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._agents

    def register(self, agent: BaseAgent) -> None:
        """Raises `ValueError` if another agent has that name."""
        if self._agents.setdefault(agent.name, agent) is not agent:
            raise ValueError(f"there is an agent called {agent.name!r} already")

    def unregister(self, name: str) -> None:
        """Let it be told of nothing more; one that isn't there is no error."""
        self._agents.pop(name, None)

    def get(self, name: str) -> BaseAgent | None:
        """The agent of that name, if there is one."""
        return self._agents.get(name)

    async def process_message(self, message: UserMessage) -> list[AgentResponse]:
        """Tell all agents at once; what those have to say that have something, in their order.

        An agent that fails is logged and keeps no other from answering.
        """
        agents = tuple(self)
        asked = (agent.process_message(message) for agent in agents)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for agent, answer in zip(agents, answers, strict=True):
            if isinstance(answer, Exception):
                names = {"agent": agent.name, "conversation_id": message.conversation_id}
                log.error("agent.failed", exc_info=answer, extra=names)
        return [answer for answer in answers if isinstance(answer, AgentResponse)]
