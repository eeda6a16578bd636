"""Adapters by the name of their provider.

Today all four speak the same OpenAI-compatible dialect; the local ones need no key and take an
address with or without `/v1`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from llm_bot.llm_client.adapters.base import BaseAdapter, HTTPReply, HTTPRequest
from llm_bot.llm_client.adapters.openai import OpenAIAdapter
from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.exceptions import ConfigurationError

__all__ = [
    "ADAPTER_REGISTRY",
    "BaseAdapter",
    "HTTPReply",
    "HTTPRequest",
    "OpenAIAdapter",
    "get_adapter",
]

ADAPTER_REGISTRY: dict[str, Callable[[LLMConfig, str], BaseAdapter]] = {
    "openai": OpenAIAdapter,
    "ollama": partial(OpenAIAdapter, is_local=True),
    "lmstudio": partial(OpenAIAdapter, is_local=True),
    "mlx": partial(OpenAIAdapter, is_local=True),
}


def get_adapter(config: LLMConfig, name: str | None = None) -> BaseAdapter:
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
