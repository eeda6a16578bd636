"""The models that a provider has, asked for once in a while however many want to know."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence

from llm_bot.llm_client.clock import Clock
from llm_bot.llm_client.exceptions import LLMError
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
        self._believed_until = float("-inf")
        self._failure: LLMError | None = None  # of the last request; for those who waited for it
        self._ended = 0  # requests
        self._invalidations = 0
        self._asked_after = 0  # how many invalidations the last request came after

    def invalidate(self) -> None:
        """Believe nothing that was asked for before now."""
        self._believed_until = float("-inf")
        self._invalidations += 1

    async def get(self, *, refresh: bool = False) -> Sequence[ModelInfo]:
        """The models, asked for anew if `refresh` or if the list is too old.

        Raises:
            LLMError: The provider didn't give its list. Isn't remembered, but those who waited
                for the same request get the same error.
        """
        if not refresh and self._clock.monotonic() < self._believed_until:
            return self._models
        ended = self._ended
        async with self._turn:
            if self._ended == ended or self._asked_after != self._invalidations:
                await self._ask()
            if self._failure is not None:
                raise copy.copy(self._failure)  # a traceback of its own for each caller
            return self._models

    async def _ask(self) -> None:
        self._asked_after = self._invalidations
        try:
            self._models, self._failure = await self._fetch(), None
        except LLMError as exc:
            self._failure = copy.copy(exc)
        self._ended += 1
        if self._failure is None and self._asked_after == self._invalidations:
            self._believed_until = self._clock.monotonic() + self._ttl
