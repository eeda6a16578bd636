"""LM Studio."""

from __future__ import annotations

from typing import ClassVar

from llm_bot.llm_client.adapters.openai import OpenAIAdapter


class LMStudioAdapter(OpenAIAdapter):
    """LM Studio's server; a key is optional.

    Its models' chat templates refuse what they weren't made for, as a 400 with the template's own
    words ("System role not supported"): the conversation is then folded to fit.
    """

    is_local: ClassVar[bool] = True
