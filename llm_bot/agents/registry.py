"""Which agents there are. To add one is one line where the program is put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from llm_bot.agents.base import BaseAgent
from llm_bot.agents.schemas import AgentResponse, UserMessage

log = logging.getLogger(__name__)


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
        return self._agents.get(name)

    async def process_message(self, message: UserMessage) -> list[AgentResponse]:
        """Tell all agents at once; what those have to say that have something, in their order.

        An agent that fails is logged and keeps no other from answering.
        """
        answers = await asyncio.gather(*(_told(agent, message) for agent in self))
        return [answer for answer in answers if answer is not None]


async def _told(agent: BaseAgent, message: UserMessage) -> AgentResponse | None:
    try:
        return await agent.process_message(message)
    except Exception:
        log.exception(
            "agent.failed", extra={"agent": agent.name, "conversation_id": message.conversation_id}
        )
        return None
