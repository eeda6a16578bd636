"""Adapters by the name of their provider.

An adapter is a pure translator between the client's words and one kind of server. To add one: a
subclass of `OpenAIAdapter`, and a line in `ADAPTER_REGISTRY`.
"""

from __future__ import annotations

from llm_bot.llm_client.adapters.http import HTTPReply, HTTPRequest
from llm_bot.llm_client.adapters.lmstudio import LMStudioAdapter
from llm_bot.llm_client.adapters.mlx import MLXAdapter
from llm_bot.llm_client.adapters.ollama import OllamaAdapter
from llm_bot.llm_client.adapters.openai import OpenAIAdapter
from llm_bot.llm_client.adapters.refusal_grammar import NO_QUIRKS, ServerQuirks
from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.exceptions import ConfigurationError

__all__ = [
    "ADAPTER_REGISTRY",
    "NO_QUIRKS",
    "HTTPReply",
    "HTTPRequest",
    "LMStudioAdapter",
    "MLXAdapter",
    "OllamaAdapter",
    "OpenAIAdapter",
    "ServerQuirks",
    "get_adapter",
]

ADAPTER_REGISTRY: dict[str, type[OpenAIAdapter]] = {
    "openai": OpenAIAdapter,
    "ollama": OllamaAdapter,
    "lmstudio": LMStudioAdapter,
    "mlx": MLXAdapter,
}


def get_adapter(config: LLMConfig, name: str | None = None) -> OpenAIAdapter:
    """The adapter for `config`, to be known as `name` (by default, as the provider).

    Raises:
        ConfigurationError: No such provider, or it needs a key and has none.

    >>> get_adapter(LLMConfig(provider="mlx", base_url="http://127.0.0.1:8080", model="m")).name
    'mlx'
    """
    make = ADAPTER_REGISTRY.get(config.provider)
    if make is None:
        known = ", ".join(sorted(ADAPTER_REGISTRY))
        raise ConfigurationError(
            f"{config.provider!r} isn't known; known are {known}", field="provider"
        )
    return make(config, name or config.provider)
