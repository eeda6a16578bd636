"""One provider as the client knows it: its translator, its slots, its breaker, its quirks."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.adapters import (
    NO_QUIRKS,
    HTTPReply,
    HTTPRequest,
    OpenAIAdapter,
    ServerQuirks,
)
from llm_bot.llm_client.breaker import Breaker, Ticket
from llm_bot.llm_client.calls import Call, ChatCall
from llm_bot.llm_client.clock import Clock
from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.connection import Connection
from llm_bot.llm_client.exchange import Exchange
from llm_bot.llm_client.model_list import ModelList
from llm_bot.llm_client.models import LLMResponse, ModelInfo, ProviderHealth, ProviderState

log = logging.getLogger(__name__)

T = TypeVar("T")

# Requests for one answer of one provider: each but the last was refused, and mended.
MAX_MENDED_REQUESTS = 8
# Calls in a row that go to a fallback, after which that is told.
PASSED_OVER_TO_TELL = 3
# Of how many models it is remembered what their server refuses, and that an answer was odd.
MAX_MODELS = 200


class Provider:
    """Everything that requests to one provider share.

    Args:
        on_free: Called when those who wait for it may look again.
    """

    def __init__(
        self,
        adapter: OpenAIAdapter,
        connection: Connection,
        clock: Clock,
        on_free: Callable[[], None],
    ) -> None:
        config = adapter.config
        self.adapter = adapter
        self.name = adapter.name
        self.breaker = Breaker(
            failures=config.breaker_failures,
            cooling_seconds=config.breaker_cooling_seconds,
            rejected_seconds=config.breaker_rejected_seconds,
        )
        self.models = ModelList(
            self._fetch_models, ttl_seconds=config.model_cache_ttl_seconds, clock=clock
        )
        self._slots = asyncio.Semaphore(config.max_concurrent_requests)
        self.quirks: dict[str, ServerQuirks] = {}  # what its server refuses, by model
        self.problem: str | None = None  # why it doesn't work, where that was told
        self._exchange = Exchange(adapter, connection, clock, on_free)
        self._clock = clock
        self._on_free = on_free
        self._warned_of: set[str] = set()
        self._passed_over = 0  # calls in a row that another provider answered

    async def aclose(self) -> None:
        await self._exchange.aclose()

    @property
    def state(self) -> ProviderState:
        """How it stands: it cools while callers are kept from it, not until the next one comes."""
        now = self._clock.monotonic()
        if self.free_at(now) > now:
            return ProviderState.COOLING
        return ProviderState.DOWN if self.breaker.has_failed else ProviderState.UP

    def free_at(self, now: float) -> float:
        """When it may be asked; infinite while that depends on somebody else's request."""
        return math.inf if self._exchange.is_loading else self.breaker.free_at(now)

    def refusal(self) -> errors.LLMError:
        """What to raise for a caller who can't wait until it may be asked."""
        if self._exchange.is_loading:
            text = "the model seems to be loading; preload it, or raise timeout_seconds"
            return errors.GenerationError(text, provider=self.name, code="loading")
        return self.breaker.refusal(self._clock.monotonic())

    async def take_slot(self, seconds: float) -> bool:
        """Wait for a slot; false if there is none within so many seconds, which may be infinite."""
        if seconds <= 0:
            return False
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                return await self._slots.acquire()
        except TimeoutError:
            return False

    def free_slot(self) -> None:
        self._slots.release()

    async def ask(self, call: Call[T], deadline: float) -> tuple[T | errors.LLMError, int | None]:
        """The answer, or why there is none; and the HTTP status of what came, if anything did.

        It has to be free, and to have a slot. The breaker learns how it ended.

        Args:
            deadline: On the clock's `monotonic`.

        Raises:
            ValidationError: The call can't be put into words; nothing was sent.
        """
        outgoing = call.build(self.adapter, self._quirks_of(call))
        asker = call.request.asker
        ticket = self.breaker.begin(object() if asker is None else asker)
        try:
            reply = await self._exchange_mended(call, outgoing, deadline)
            answer = call.read(self.adapter, reply, self._clock.time())
        except errors.LLMError as exc:
            exc.provider = self.name
            # A traceback would be kept for long, and with it the request.
            self._note_failure(exc.with_traceback(None), call, ticket)
            return exc, exc.status
        except BaseException:
            self.breaker.abandon(ticket)
            raise
        else:
            self._note_answer(ticket)
            return answer, reply.status
        finally:
            if ticket.is_probe:
                self._on_free()

    def _quirks_of(self, call: Call[object]) -> ServerQuirks:
        return self.quirks.get(call.model(self.adapter), NO_QUIRKS)

    async def _exchange_mended(
        self, call: Call[object], outgoing: HTTPRequest, deadline: float
    ) -> HTTPReply:
        """What came back in the end: a refusal that a smaller request may mend is asked again."""
        quirks = self._quirks_of(call)
        said: list[str] = []
        while True:
            reply = await self._exchange.send(
                outgoing,
                timeout_seconds=call.request.timeout_seconds,
                remaining=deadline - self._clock.monotonic(),
                asks_model=True,
            )
            mended = call.mend(self.adapter, reply, quirks)
            if mended is None or len(said) + 1 >= MAX_MENDED_REQUESTS:
                break
            quirks, words = mended
            said.append(words)
            outgoing = call.build(self.adapter, quirks)
        # What worked is remembered, and nothing else.
        if said and reply.is_success:
            self._remember(call.model(self.adapter), quirks, said)
        return reply

    def _remember(self, model: str, quirks: ServerQuirks, said: Sequence[str]) -> None:
        if len(self.quirks) >= MAX_MODELS and model not in self.quirks:
            del self.quirks[next(iter(self.quirks))]
        self.quirks[model] = quirks
        fields = {"provider": self.name, "model": model, "said": said, **quirks.shown()}
        log.warning("llm.request_adapted", extra=fields)

    def _note_failure(self, failure: errors.LLMError, call: Call[object], ticket: Ticket) -> None:
        """Tell the breaker, and the log if it rests from now on."""
        says_nothing = False
        if isinstance(failure, errors.ModelNotFoundError):
            self.models.invalidate()
            # Another model than the configured one, or a path that many servers don't have.
            is_usual = call.model(self.adapter) == self.adapter.config.model
            says_nothing = not (is_usual and isinstance(call, ChatCall))
        was_tripped, now = self.breaker.is_tripped, self._clock.monotonic()
        self.breaker.end(ticket, None if says_nothing else failure, now)
        if self.breaker.is_tripped and not was_tripped:
            self._tell_problem(failure, max(0.0, self.breaker.free_at(now) - now))

    def _note_answer(self, ticket: Ticket) -> None:
        """Tell the breaker, and the log if it works again."""
        self._exchange.note_answer()
        self.breaker.end(ticket, None, self._clock.monotonic())
        self._passed_over = 0
        if self.problem is not None and not self.breaker.is_tripped:
            self.problem = None
            log.info("llm.provider_back", extra={"provider": self.name})

    def note_passed_over(self, failure: errors.LLMError | None) -> None:
        """Another provider answered in its place, after `failure` if this one was asked at all."""
        self._passed_over += 1
        if self._passed_over >= PASSED_OVER_TO_TELL and self.problem is None:
            self._tell_problem(failure or self.refusal(), None)

    def _tell_problem(self, failure: errors.LLMError, rest_seconds: float | None) -> None:
        self.problem = str(failure)
        fields = {
            "provider": self.name,
            "error": failure.code,
            "status": failure.status,
            "reason": self.problem,
        }
        if rest_seconds is None:
            log.warning("llm.provider_failing", extra=fields)
        else:
            log.warning("llm.provider_rests", extra={**fields, "seconds": round(rest_seconds, 3)})

    async def list_models(self, *, refresh: bool) -> Sequence[ModelInfo] | errors.LLMError:
        """Its models, or why it doesn't tell."""
        try:
            return await self.models.get(refresh=refresh)
        except errors.LLMError as exc:
            exc.provider = self.name
            return exc

    async def _fetch_models(self) -> Sequence[ModelInfo]:
        reply = await self._exchange.send(self.adapter.build_models())
        return tuple(self.adapter.read_models(reply, self._clock.time()))

    async def check_health(self) -> ProviderHealth:
        """Ask for next to nothing, whatever the breaker thinks, and never fail."""
        started = self._clock.monotonic()
        try:
            reply = await self._exchange.send(self.adapter.build_health())
            self.adapter.read_health(reply, self._clock.time())
        except errors.LLMError as exc:
            exc.provider = self.name
            return ProviderHealth(False, self.state, None, str(exc))
        return ProviderHealth(True, self.state, self._clock.monotonic() - started, None)

    def warn_if_suspicious(self, call: Call[LLMResponse], response: LLMResponse) -> None:
        """Warn of what is odd about an answer, once for each model."""
        reason = self.adapter.doubt(call.request, response)
        model = call.model(self.adapter)
        if reason is None or model in self._warned_of or len(self._warned_of) >= MAX_MODELS:
            return
        self._warned_of.add(model)
        fields = {"provider": self.name, "model": model, "reason": reason}
        log.warning("llm.answer_doubtful", extra=fields)


def unique_names(configs: Sequence[LLMConfig]) -> list[str]:
    """Names for providers, in their order: the type, then `type-2`, `type-3`."""
    seen: Counter[str] = Counter()
    names = []
    for config in configs:
        seen[config.provider] += 1
        number = seen[config.provider]
        names.append(config.provider if number == 1 else f"{config.provider}-{number}")
    return names
