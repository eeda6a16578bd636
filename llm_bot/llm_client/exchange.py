"""One HTTP request, bounded as a whole; on this machine it may have to wait for a model to load."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.adapters import HTTPReply, HTTPRequest, OpenAIAdapter
from llm_bot.llm_client.clock import Clock
from llm_bot.llm_client.connection import Connection

log = logging.getLogger(__name__)

# A server on this machine may have put its model away by then, and takes so long to load it.
QUIET_SECONDS = 600.0
LOADING_SECONDS = 600.0


class Exchange:
    """Sends requests to one provider and bounds them: httpx's own time-outs are per phase.

    A request that is cut short after a quiet time is left on the wire where the server may be
    loading its model, since the next one would only begin that anew; its answer is thrown away.

    Args:
        on_loaded: Called when such a request has ended.
    """

    def __init__(
        self,
        adapter: OpenAIAdapter,
        connection: Connection,
        clock: Clock,
        on_loaded: Callable[[], None],
    ) -> None:
        self._adapter = adapter
        self._connection = connection
        self._clock = clock
        self._on_loaded = on_loaded
        self._loading: asyncio.Task[HTTPReply] | None = None
        self._answered_at = -math.inf

    @property
    def is_loading(self) -> bool:
        """Whether a request was left on the wire, and is still there."""
        return self._loading is not None

    async def aclose(self) -> None:
        """Close the connections, and wait for no model to load any more."""
        loading = [] if self._loading is None else [self._loading]
        await self._connection.aclose()
        for task in loading:
            task.cancel()
            await asyncio.wait([task])

    def note_answer(self) -> None:
        """The model has just answered: it is loaded."""
        self._answered_at = self._clock.monotonic()

    async def send(
        self,
        outgoing: HTTPRequest,
        *,
        timeout_seconds: float | None = None,
        remaining: float = math.inf,
        asks_model: bool = False,
    ) -> HTTPReply:
        """What comes back within `timeout_seconds` (by default the provider's) and `remaining`.

        Args:
            asks_model: Whether the server needs its model for the answer.

        Raises:
            DeadlineExceededError: `remaining` was less than the time-out, and is over.
            LLMError: Any other reason why nothing came.
        """
        limit = timeout_seconds or self._adapter.config.timeout_seconds
        left_behind: asyncio.Task[HTTPReply] | None = None
        try:
            async with asyncio.timeout(min(limit, remaining)):
                if not (asks_model and self._may_have_to_load()):
                    return await self._connection.send(outgoing)
                left_behind = asyncio.create_task(self._connection.send(outgoing))
                return await asyncio.shield(left_behind)
        except TimeoutError as exc:
            if left_behind is not None:
                self._leave(left_behind)
            if remaining < limit:
                raise errors.DeadlineExceededError("the deadline cut the request short") from exc
            raise errors.TimeoutError(f"no whole answer within {limit:g} s") from exc
        except asyncio.CancelledError:
            if left_behind is not None:
                left_behind.cancel()
            raise

    def _may_have_to_load(self) -> bool:
        quiet = self._clock.monotonic() - self._answered_at
        return self._adapter.may_have_to_load and quiet > QUIET_SECONDS

    def _leave(self, task: asyncio.Task[HTTPReply]) -> None:
        self._loading = task
        task.add_done_callback(self._note_loaded)
        asyncio.get_running_loop().call_later(LOADING_SECONDS, task.cancel)
        log.warning("llm.model_loading", extra={"provider": self._adapter.name})

    def _note_loaded(self, task: asyncio.Task[HTTPReply]) -> None:
        self._loading = None
        if not task.cancelled() and task.exception() is None:
            self.note_answer()
        self._on_loaded()
