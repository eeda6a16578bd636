"""The models that a provider has, asked for once in a while however many want to know."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence

from llm_bot.llm_client.clock import Clock
from llm_bot.llm_client.models import ModelInfo


class ModelList:
    """Believes an answer for `ttl_seconds`; callers that come together share one request."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Sequence[ModelInfo]]],
        *,
        ttl_seconds: float,
        clock: Clock,
    ) -> None:
        self._fetch = fetch
        self._ttl = ttl_seconds
        self._clock = clock
        self._turn = asyncio.Lock()
        self._models: Sequence[ModelInfo] = ()
        self._believed_until = -math.inf
        self._invalidations = 0

    def invalidate(self) -> None:
        """Believe nothing that was asked for before now."""
        self._believed_until = -math.inf
        self._invalidations += 1

    async def get(self, *, refresh: bool = False) -> Sequence[ModelInfo]:
        """The models, asked for anew if `refresh` or if the list is too old.

        Raises:
            LLMError: The provider didn't give its list. Isn't remembered.
        """
        async with self._turn:
            if refresh or self._clock.monotonic() >= self._believed_until:
                invalidations = self._invalidations
                self._models = await self._fetch()
                if invalidations == self._invalidations:
                    self._believed_until = self._clock.monotonic() + self._ttl
            return self._models
