"""One provider as the client knows it: its translator, its slots, its breaker, its lessons."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.adapters import (
    NOTHING_KNOWN,
    BaseAdapter,
    HTTPReply,
    HTTPRequest,
    Knowledge,
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

StatusNote = Callable[[int], None]

# Of how many models it is remembered what their server refuses.
MAX_LESSONS = 200
# Of how many models an odd answer is told.
MAX_DOUBTS = 100


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
        self._lessons: dict[str, Knowledge] = {}
        self._doubted: set[str] = set()
        self._probe_ended = probe_ended

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

    def rests_after(self, seconds: float) -> bool:
        """Whether it will have to be left in peace for longer than `seconds` from now."""
        return self.breaker.rests(self._clock.monotonic() + seconds)

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
        self, question: Call[T], deadline: Deadline, status: StatusNote
    ) -> T | errors.LLMError:
        """The answer, or why there is none. It has to be admitted, and to have a slot.

        The breaker learns how it ended, `status` is told the HTTP status of the answer.

        Raises:
            ValidationError: The question can't be put into words; nothing was sent.
        """
        known = self._known(question)
        outgoing = question.build(self.adapter, known)
        ticket = self.breaker.begin()
        try:
            answer = await self._ask(question, known, outgoing, deadline, status)
        except errors.LLMError as exc:
            failure = exc.with_traceback(None)  # kept for long, and would keep the request
            self._learn_from(failure, question, ticket)
            return failure
        except BaseException:
            self.breaker.abandon(ticket)
            raise
        else:
            self._end(ticket, None)
            return answer
        finally:
            if ticket.is_probe:
                self._probe_ended.fire()

    def _learn_from(self, failure: errors.LLMError, question: Call[object], ticket: Ticket) -> None:
        is_missing = isinstance(failure, errors.ModelNotFoundError)
        if is_missing:
            self.models.invalidate()
        says_nothing = is_missing and not question.is_usual(self.adapter)
        self._end(ticket, None if says_nothing else failure)

    def _end(self, ticket: Ticket, failure: errors.LLMError | None) -> None:
        """Tell the breaker, and the log if that opened or closed it."""
        was_tripped, now = self.breaker.is_tripped, self._clock.monotonic()
        self.breaker.end(ticket, failure, now)
        if self.breaker.is_tripped and failure is not None and not was_tripped:
            fields = {"provider": self.name, "error": failure.code, "status": failure.status}
            seconds = round(self.breaker.rest_seconds(now), 3)
            log.warning("llm.provider_rests", extra={**fields, "seconds": seconds})
        elif was_tripped and not self.breaker.is_tripped:
            log.info("llm.provider_back", extra={"provider": self.name})

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

    def warn_if_suspicious(self, question: ChatCall, response: LLMResponse) -> None:
        """Warn of what is odd about an answer, once for each model."""
        doubt = self.adapter.doubt(question.request, response)
        model = question.model(self.adapter)
        if doubt is None or model in self._doubted or len(self._doubted) >= MAX_DOUBTS:
            return
        self._doubted.add(model)
        fields = {"provider": self.name, "model": model, "reason": doubt}
        log.warning("llm.answer_doubtful", extra=fields)

    def _known(self, question: Call[object]) -> Knowledge:
        return self._lessons.get(question.model(self.adapter), NOTHING_KNOWN)

    async def _ask(
        self,
        question: Call[T],
        known: Knowledge,
        outgoing: HTTPRequest,
        deadline: Deadline,
        note: StatusNote,
    ) -> T:
        while True:
            reply = await self._exchange(outgoing, question.timeout_seconds, deadline)
            lesson = question.learn(self.adapter, reply, known)
            if lesson is None:
                note(reply.status)
                return question.read(self.adapter, reply, self._clock.time())
            self._remember(question.model(self.adapter), lesson, known)
            known = self._known(question)
            outgoing = question.build(self.adapter, known)

    def _remember(self, model: str, lesson: Knowledge, known: Knowledge) -> None:
        if len(self._lessons) >= MAX_LESSONS and model not in self._lessons:
            del self._lessons[next(iter(self._lessons))]
        self._lessons[model] = self._lessons.get(model, NOTHING_KNOWN) | lesson
        log.warning(
            "llm.request_adapted",
            extra={
                "provider": self.name,
                "model": model,
                "dropped": sorted(lesson.dropped - known.dropped),
                "swaps_token_cap": lesson.swaps_token_cap,
                "folds_system": lesson.folds_system,
                "folds_repeats": lesson.folds_repeats,
            },
        )

    async def _exchange(
        self, outgoing: HTTPRequest, timeout_seconds: float | None, deadline: Deadline
    ) -> HTTPReply:
        """One HTTP request, bounded as a whole: httpx's own time-outs are per phase."""
        limit = timeout_seconds or self.adapter.config.timeout_seconds
        remaining = deadline.remaining()
        is_cut_by_deadline = remaining is not None and remaining < limit
        bound = limit if remaining is None else min(limit, remaining)
        try:
            return await within(self._clock, bound, self._connection.send(outgoing, self.adapter))
        except TimeoutError as exc:
            if is_cut_by_deadline:
                text = "the deadline cut the request short"
                raise errors.DeadlineExceededError(text, provider=self.name) from exc
            text = f"no whole answer within {limit:g} s"
            raise errors.TimeoutError(text, provider=self.name) from exc

    async def _fetch_models(self) -> Sequence[ModelInfo]:
        reply = await self._exchange(self.adapter.build_models(), None, Deadline(self._clock))
        return tuple(self.adapter.read_models(reply, self._clock.time()))


def unique_names(configs: Sequence[LLMConfig]) -> list[str]:
    """Names for providers, in their order: the type, then `type-2`, `type-3`."""
    seen: Counter[str] = Counter()
    names = []
    for config in configs:
        seen[config.provider] += 1
        number = seen[config.provider]
        names.append(config.provider if number == 1 else f"{config.provider}-{number}")
    return names
