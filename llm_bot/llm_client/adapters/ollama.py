"""Ollama."""

from __future__ import annotations

from typing import ClassVar

from llm_bot.llm_client.adapters.http import HTTPRequest
from llm_bot.llm_client.adapters.openai import OpenAIAdapter
from llm_bot.llm_client.models import LLMRequest, LLMResponse, characters_of

# No tokenizer makes tokens this long of ordinary text; English has 4 characters, code 3.
_MOST_CHARACTERS_PER_TOKEN = 8
_FEWEST_CHARACTERS_TO_JUDGE = 2000


class OllamaAdapter(OpenAIAdapter):
    """Ollama's OpenAI-compatible interface; needs no key.

    Ollama cuts a prompt that doesn't fit its context (`num_ctx`) without a word, from the start,
    where the system prompt is.
    """

    is_local: ClassVar[bool] = True

    def build_health(self) -> HTTPRequest:
        return HTTPRequest("GET", self._addresses.under_root("/api/tags"), self._headers)

    def doubt(self, request: LLMRequest, response: LLMResponse) -> str | None:
        counted = response.usage.prompt_tokens
        sent = characters_of(request.messages)
        # Older versions count 0 for a prompt that they have in their cache.
        if not counted or sent < _FEWEST_CHARACTERS_TO_JUDGE:
            return None
        if sent <= counted * _MOST_CHARACTERS_PER_TOKEN:
            return None
        return (
            f"the server counted {counted} tokens in a prompt of {sent} characters: it was "
            "probably cut; raise num_ctx of the model, or send less context"
        )
