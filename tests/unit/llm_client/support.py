"""What the tests of the client have in common: builders."""

from __future__ import annotations

from typing import Any

from llm_bot.llm_client import LLMClient, LLMConfig, LLMRequest, Message

KEY = "sk-very-secret-0123456789"


def warm(client: LLMClient) -> LLMClient:
    """`client`, whose providers have just answered: none may have to load its model."""
    for provider in client._providers:
        provider._exchange.note_answer()
    return client


def config(**changes: Any) -> LLMConfig:
    """A provider that needs no more than what a test says about it."""
    return LLMConfig(
        **{
            "provider": "openai",
            "base_url": "http://127.0.0.1:9/v1",
            "api_key": KEY,
            "model": "asked-model",
            **changes,
        }
    )


def request(text: str = "Which film is this?", **changes: Any) -> LLMRequest:
    return LLMRequest([Message("user", text)], **changes)
