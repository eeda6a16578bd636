"""`mlx_lm.server` and `mlx_vlm.server`."""

from __future__ import annotations

import os
from typing import ClassVar

from llm_bot.llm_client.adapters.openai import OpenAIAdapter
from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.images import has_images
from llm_bot.llm_client.models import LLMRequest

VISION_MODEL_VARIABLE = "VISION_MODEL"


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
