"""`mlx_lm.server` and `mlx_vlm.server`."""

from __future__ import annotations

import os
import re
from typing import ClassVar

from llm_bot.llm_client.adapters.http import HTTPReply
from llm_bot.llm_client.adapters.openai import OpenAIAdapter
from llm_bot.llm_client.adapters.refusals import said_by_server
from llm_bot.llm_client.adapters.wording import wants_strict_turns
from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.exceptions import LLMError
from llm_bot.llm_client.images import has_images
from llm_bot.llm_client.models import LLMRequest

VISION_MODEL_VARIABLE = "VISION_MODEL"

_ABOUT_MESSAGES = re.compile(r"content type is supported|chat template", re.IGNORECASE)


class MLXAdapter(OpenAIAdapter):
    """MLX's servers on Apple's machines; need no key.

    They keep no cap of their own worth the name, so one is always sent. A request with images goes
    to the vision model: `vision_model`, else the variable VISION_MODEL, else as any other.
    """

    is_local: ClassVar[bool] = True
    default_token_cap: ClassVar[int | None] = 512

    def __init__(self, config: LLMConfig, name: str) -> None:
        super().__init__(config, name)
        self._vision_model = config.vision_model or os.environ.get(VISION_MODEL_VARIABLE)

    def model_for(self, request: LLMRequest) -> str:
        if self._vision_model and has_images(request):
            return self._vision_model
        return super().model_for(request)

    def _refusal(self, reply: HTTPReply, model: str, now: float) -> LLMError:
        """As for any server, but a 404 says little.

        `mlx_lm.server` answers so whatever goes wrong once it has the model. An image that it
        can't read is no reason to believe that the model is gone.
        """
        error = super()._refusal(reply, model, now)
        if reply.status != 404:
            return error
        message = said_by_server(reply.body).message
        if _ABOUT_MESSAGES.search(message) or wants_strict_turns(message):
            return self._invalid(self.fit_to_show(message), status=404)
        return error
