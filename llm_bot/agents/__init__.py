"""Who acts on what was decided, and the shapes of what they are told.

The daemon itself uses `ChatAgent.reply`, `ChatAgent.wants_to_take_part` and `InsightAgent`. The
rest is library surface, for programs that put agents together themselves: `AgentRegistry`, every
`process_message`, and the messages and responses that it takes and gives.
"""

from llm_bot.agents.base import AgentRegistry, BaseAgent
from llm_bot.agents.chat import ChatAgent
from llm_bot.agents.insight import InsightAgent, InsightSettings
from llm_bot.agents.publishing import insights_subject, publish_insights
from llm_bot.agents.schemas import AgentResponse, ConversationEvent, Insight, UserMessage

__all__ = [
    "AgentRegistry",
    "AgentResponse",
    "BaseAgent",
    "ChatAgent",
    "ConversationEvent",
    "Insight",
    "InsightAgent",
    "InsightSettings",
    "UserMessage",
    "insights_subject",
    "publish_insights",
]
