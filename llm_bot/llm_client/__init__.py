"""A client for servers that speak OpenAI's chat completions; knows nothing of the bot.

    async with LLMClient(LLMConfig(provider=..., base_url=..., model=...)) as client:
        response = await client.generate(LLMRequest([Message("user", "Hello")]))

Retries what may pass, never beyond the deadline; raises one tree of exceptions (`LLMError`).
`ConnectionError` and `TimeoutError` here are members of it, not Python's own.
"""

from llm_bot.llm_client.client import LLMClient
from llm_bot.llm_client.clock import Clock, SystemClock
from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.exceptions import (
    AllProvidersFailedError,
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    DeadlineExceededError,
    GenerationError,
    LLMError,
    ModelNotFoundError,
    RateLimitError,
    TimeoutError,
    ValidationError,
)
from llm_bot.llm_client.models import (
    Attempt,
    AttemptStatus,
    ImagePart,
    LLMRequest,
    LLMResponse,
    Message,
    ModelInfo,
    ProviderHealth,
    ProviderState,
    TextPart,
    Usage,
)

__version__ = "1.0.0"

__all__ = [
    "AllProvidersFailedError",
    "Attempt",
    "AttemptStatus",
    "AuthenticationError",
    "Clock",
    "ConfigurationError",
    "ConnectionError",
    "DeadlineExceededError",
    "GenerationError",
    "ImagePart",
    "LLMClient",
    "LLMConfig",
    "LLMError",
    "LLMRequest",
    "LLMResponse",
    "Message",
    "ModelInfo",
    "ModelNotFoundError",
    "ProviderHealth",
    "ProviderState",
    "RateLimitError",
    "SystemClock",
    "TextPart",
    "TimeoutError",
    "Usage",
    "ValidationError",
]
