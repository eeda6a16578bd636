"""One provider as the client knows it: its translator, its slots, its breaker, its lessons."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.adapters import (
    NO_QUIRKS,
    BaseAdapter,
    HTTPReply,
    HTTPRequest,
    ServerQuirks,
)
from llm_bot.llm_client.breaker import Breaker, Ticket
from llm_bot.llm_client.calls import Call, ChatCall
from llm_bot.llm_client.clock import Clock, Deadline, Signal, within
from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.connection import Connection
from llm_bot.llm_client.model_list import ModelList
from llm_bot.llm_client.models import LLMResponse, ModelInfo, ProviderHealth, ProviderState
from llm_bot.llm_client.retry import RetryPolicy

log = logging.getLogger(__name__)

T = TypeVar("T")

# Requests for one answer of one provider: each but the last was refused, and mended.
MAX_MENDED_REQUESTS = 8
# Calls in a row that go to a fallback, after which that is told.
PASSED_OVER_TO_TELL = 3
# A server on this machine may have put its model away by then, and takes so long to load it.
QUIET_SECONDS = 600.0
LOADING_SECONDS = 600.0
# Of how many models it is remembered what their server refuses, and that an answer was odd.
MAX_MODELS = 200


class Provider:
    """Everything that requests to one provider share."""

    def __init__(
        self, adapter: BaseAdapter, connection: Connection, clock: Clock, probe_ended: Signal
    ) -> None:
        config = adapter.config
        self.adapter = adapter
        self.name = adapter.name
        self.policy = RetryPolicy(
            config.max_attempts, config.retry_delay_seconds, config.max_retry_delay_seconds
        )
        self.breaker = Breaker(
            failures=config.breaker_failures,
            cooling_seconds=config.breaker_cooling_seconds,
            rejected_seconds=config.breaker_rejected_seconds,
        )
        self.models = ModelList(
            self._fetch_models, ttl_seconds=config.model_cache_ttl_seconds, clock=clock
        )
        self._slots = asyncio.Semaphore(config.max_concurrent_requests)
        self._connection = connection
        self._clock = clock
        self._quirks: dict[str, ServerQuirks] = {}
        self._warned_of: set[str] = set()
        self._probe_ended = probe_ended
        self._answered_at = -math.inf
        self._loading: asyncio.Task[HTTPReply] | None = None
        self._passed_over = 0  # calls in a row that another provider answered
        self._problem: str | None = None

    @property
    def state(self) -> ProviderState:
        """How it stands: it cools while callers are kept from it, not until the next one comes."""
        if not self.admits:
            return ProviderState.COOLING
        return ProviderState.DOWN if self.breaker.has_failed else ProviderState.UP

    @property
    def admits(self) -> bool:
        """Whether it may be asked now."""
        return self.breaker.admits(self._clock.monotonic())

    @property
    def quirks(self) -> dict[str, ServerQuirks]:
        """What its server is known to refuse, by model."""
        return dict(self._quirks)

    @property
    def problem(self) -> str | None:
        """Why it doesn't work, where that was told; None while it does."""
        return self._problem

    def note_passed_over(self, failure: errors.LLMError | None) -> None:
        """Another provider answered in its place."""
        self._passed_over += 1
        if self._passed_over >= PASSED_OVER_TO_TELL:
            self._tell_problem(failure, None)

    def _tell_problem(self, failure: errors.LLMError | None, seconds: float | None) -> None:
        """Once, at the change: it rests, or others answer in its place."""
        if self._problem is not None:
            return
        self._problem = str(failure or "it rests")
        fields: dict[str, object] = {"provider": self.name, "reason": self._problem}
        if failure is not None:
            fields |= {"error": failure.code, "status": failure.status}
        if seconds is not None:
            fields["seconds"] = round(seconds, 3)
        log.warning("llm.provider_rests" if seconds else "llm.provider_failing", extra=fields)

    def free_at(self, now: float) -> float:
        """When it may be asked; infinite where a probe of another's is under way."""
        if self.breaker.admits(now):
            return now
        return now + self.breaker.rest_seconds(now) if self.breaker.rests(now) else math.inf

    def refusal(self) -> errors.LLMError:
        """What to raise for a caller who can't wait until it may be asked."""
        return self.breaker.refusal(self._clock.monotonic())

    async def take_slot(self, deadline: Deadline) -> bool:
        """Wait for a slot; false if the deadline passes before there is one."""
        remaining = deadline.remaining()
        if remaining is not None and remaining <= 0:
            return False
        if remaining is None or not self._slots.locked():
            return await self._slots.acquire()
        try:
            return await within(self._clock, remaining, self._slots.acquire())
        except TimeoutError:
            return False

    def free_slot(self) -> None:
        self._slots.release()

    async def ask(
        self, call: Call[T], deadline: Deadline
    ) -> tuple[T | errors.LLMError, int | None]:
        """The answer, or why there is none; and the HTTP status of what came, if anything did.

        It has to be admitted, and to have a slot. The breaker learns how it ended.

        Raises:
            ValidationError: The call can't be put into words; nothing was sent.
        """
        outgoing = call.build(self.adapter, self._quirks_of(call))
        ticket = self.breaker.begin(call.asker if call.asker is not None else object())
        try:
            reply = await self._exchange_mended(call, outgoing, deadline)
            answer = call.read(self.adapter, reply, self._clock.time())
        except errors.LLMError as exc:
            failure = exc.with_traceback(None)  # kept for long, and would keep the request
            self._learn_from(failure, call, ticket)
            return failure, failure.status
        except BaseException:
            self.breaker.abandon(ticket)
            raise
        else:
            self._end(ticket, None)
            return answer, reply.status
        finally:
            if ticket.is_probe:
                self._probe_ended.fire()

    def _learn_from(self, failure: errors.LLMError, call: Call[object], ticket: Ticket) -> None:
        is_missing = isinstance(failure, errors.ModelNotFoundError)
        if is_missing:
            self.models.invalidate()
        says_nothing = is_missing and not call.is_usual(self.adapter)
        self._end(ticket, None if says_nothing else failure)

    def _end(self, ticket: Ticket, failure: errors.LLMError | None) -> None:
        """Tell the breaker, and the log if that changed how it stands."""
        was_tripped, now = self.breaker.is_tripped, self._clock.monotonic()
        self.breaker.end(ticket, failure, now)
        if failure is None:
            self._passed_over = 0
            self._answered_at = now
            if self._problem is not None and not self.breaker.is_tripped:
                self._problem = None
                log.info("llm.provider_back", extra={"provider": self.name})
        elif self.breaker.is_tripped and not was_tripped:
            self._problem = None  # that it rests is told in any case
            self._tell_problem(failure, self.breaker.rest_seconds(now))

    async def list_models(self, *, refresh: bool) -> Sequence[ModelInfo] | errors.LLMError:
        """Its models, or why it doesn't tell."""
        try:
            return await self.models.get(refresh=refresh)
        except errors.LLMError as exc:
            return exc

    async def check_health(self) -> ProviderHealth:
        """Ask for next to nothing, whatever the breaker thinks, and never fail."""
        started = self._clock.monotonic()
        try:
            reply = await self._exchange(self.adapter.build_health(), None, Deadline(self._clock))
            self.adapter.read_health(reply, self._clock.time())
        except errors.LLMError as exc:
            return ProviderHealth(False, self.state, None, str(exc))
        return ProviderHealth(True, self.state, self._clock.monotonic() - started, None)

    def warn_if_suspicious(self, call: ChatCall, response: LLMResponse) -> None:
        """Warn of what is odd about an answer, once for each model."""
        reason = self.adapter.doubt(call.request, response)
        model = call.model(self.adapter)
        if reason is None or model in self._warned_of or len(self._warned_of) >= MAX_MODELS:
            return
        self._warned_of.add(model)
        fields = {"provider": self.name, "model": model, "reason": reason}
        log.warning("llm.answer_doubtful", extra=fields)

    def _quirks_of(self, call: Call[object]) -> ServerQuirks:
        return self._quirks.get(call.model(self.adapter), NO_QUIRKS)

    async def _exchange_mended(
        self, call: Call[object], outgoing: HTTPRequest, deadline: Deadline
    ) -> HTTPReply:
        """What came back in the end: a refusal that a smaller request may mend is asked again."""
        quirks = self._quirks_of(call)
        said: list[str] = []
        while True:
            reply = await self._exchange(outgoing, call.timeout_seconds, deadline, may_load=True)
            mended = call.mend(self.adapter, reply, quirks)
            if mended is None or len(said) + 1 >= MAX_MENDED_REQUESTS:
                break
            quirks, words = mended
            said.append(words)
            outgoing = call.build(self.adapter, quirks)
        # What worked is remembered, and nothing else.
        if said and 200 <= reply.status < 300:
            self._remember(call.model(self.adapter), quirks, said)
        return reply

    def _remember(self, model: str, quirks: ServerQuirks, said: Sequence[str]) -> None:
        if len(self._quirks) >= MAX_MODELS and model not in self._quirks:
            del self._quirks[next(iter(self._quirks))]
        self._quirks[model] = quirks
        fields = {"provider": self.name, "model": model, "said": said, **quirks.shown()}
        log.warning("llm.request_adapted", extra=fields)

    async def _exchange(
        self,
        outgoing: HTTPRequest,
        timeout_seconds: float | None,
        deadline: Deadline,
        *,
        may_load: bool = False,
    ) -> HTTPReply:
        """One HTTP request, bounded as a whole: httpx's own time-outs are per phase.

        With `may_load`, one that is cut short is left on the wire where the server may be loading
        its model: the next would only begin that anew.
        """
        if self._loading is not None and not self._loading.done():
            text = "the model seems to be loading; preload it, or raise timeout_seconds"
            raise errors.GenerationError(text, provider=self.name, code="loading", retryable=False)
        limit = timeout_seconds or self.adapter.config.timeout_seconds
        remaining = deadline.remaining()
        is_cut_by_deadline = remaining is not None and remaining < limit
        bound = limit if remaining is None else min(limit, remaining)
        work = self._connection.send(outgoing, self.adapter)
        is_cold = self._clock.monotonic() - self._answered_at > QUIET_SECONDS
        loading: asyncio.Task[HTTPReply] | None = None
        if may_load and is_cold and self.adapter.may_have_to_load:
            loading = asyncio.create_task(within(self._clock, LOADING_SECONDS, work))
            work = _shielded(loading)
        try:
            return await within(self._clock, bound, work)
        except TimeoutError as exc:
            if loading is not None:
                self._leave_on_the_wire(loading)
            if is_cut_by_deadline:
                text = "the deadline cut the request short"
                raise errors.DeadlineExceededError(text, provider=self.name) from exc
            text = f"no whole answer within {limit:g} s"
            raise errors.TimeoutError(text, provider=self.name) from exc
        except asyncio.CancelledError:
            if loading is not None:
                loading.cancel()
            raise

    def _leave_on_the_wire(self, task: asyncio.Task[HTTPReply]) -> None:
        self._loading = task
        task.add_done_callback(self._note_loaded)
        log.warning("llm.model_loading", extra={"provider": self.name})

    def _note_loaded(self, task: asyncio.Task[HTTPReply]) -> None:
        self._loading = None
        if not task.cancelled() and task.exception() is None:
            self._answered_at = self._clock.monotonic()

    async def aclose(self) -> None:
        """Wait for no model to load any more."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)

    async def _fetch_models(self) -> Sequence[ModelInfo]:
        reply = await self._exchange(self.adapter.build_models(), None, Deadline(self._clock))
        return tuple(self.adapter.read_models(reply, self._clock.time()))


async def _shielded(task: asyncio.Task[HTTPReply]) -> HTTPReply:
    return await asyncio.shield(task)


def unique_names(configs: Sequence[LLMConfig]) -> list[str]:
    """Names for providers, in their order: the type, then `type-2`, `type-3`."""
    seen: Counter[str] = Counter()
    names = []
    for config in configs:
        seen[config.provider] += 1
        number = seen[config.provider]
        names.append(config.provider if number == 1 else f"{config.provider}-{number}")
    return names
