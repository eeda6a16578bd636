"""One call under way: from provider to provider, again where it may help, in time."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.calls import Call
from llm_bot.llm_client.clock import Clock
from llm_bot.llm_client.models import Attempt, AttemptStatus
from llm_bot.llm_client.provider import Provider
from llm_bot.llm_client.retry import next_wait

log = logging.getLogger(__name__)

T = TypeVar("T")

OnAttempt = Callable[[Attempt], None]

# The next provider is asked too once those before it have failed so often.
FAILURES_BEFORE_A_FALLBACK = 2


class Signal:
    """Wakes those who wait for it now, each time it fires."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def fire(self) -> None:
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Whether it fired within so many seconds, which may be infinite."""
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                return await self._next.wait()
        except TimeoutError:
            return False


@dataclass(slots=True)
class Candidate(Generic[T]):
    """A provider, what to ask it, and how it has done in this call."""

    provider: Provider
    call: Call[T]
    tries: int = 0
    ready_at: float = -math.inf
    has_given_up: bool = False
    failure: errors.LLMError | None = None

    def free_at(self, now: float) -> float:
        """When it may be asked; infinite where that depends on somebody else's request."""
        return max(self.ready_at, self.provider.free_at(now))

    def leaves_room(self, now: float) -> bool:
        """Whether those after it may be asked."""
        if self.has_given_up or self.tries >= FAILURES_BEFORE_A_FALLBACK:
            return True
        return self.provider.free_at(now) > now


@dataclass
class Attempts(Generic[T]):
    """Asks one provider after the other until one answers, or no time or hope is left.

    Attributes:
        candidates: In their order.
        deadline: On the clock's `monotonic`; may be infinite.
        came_free: Fires when a provider may be asked again sooner than it said.
        tried: Where each request is noted.
    """

    candidates: Sequence[Candidate[T]]
    deadline: float
    clock: Clock
    came_free: Signal
    rng: Callable[[], float]
    on_attempt: OnAttempt | None
    tried: list[Attempt]

    async def answer(self) -> tuple[T, Candidate[T]]:
        """The answer, and whose it is.

        Raises:
            LLMError: Nobody is left to ask in time, or nothing can be sent; knows what was tried.
        """
        try:
            answered = await self._first_answer()
            if answered is None:
                raise self._failure()
        except errors.LLMError as exc:
            exc.attempts = len(self.tried)
            exc.attempt_log = tuple(self.tried)
            raise
        return answered

    async def _first_answer(self) -> tuple[T, Candidate[T]] | None:
        while (candidate := await self._next()) is not None:
            answer = await self._ask(candidate)
            if isinstance(answer, errors.LLMError):
                self._note_failure(candidate, answer)
            elif answer is not None:
                self._note_passed_over(candidate)
                return answer, candidate
        return None

    async def _next(self) -> Candidate[T] | None:
        """Who is to be asked now, after waiting for it; None if there is no use in going on."""
        while (candidate := self._chosen(now := self.clock.monotonic())) is not None:
            free_at = candidate.free_at(now)
            if free_at <= now:
                return candidate
            left = self.deadline - now
            rests = candidate.provider.free_at(now) > max(now, candidate.ready_at)
            if left == math.inf and rests:
                return None  # for others' sake, who knows for how long
            if free_at < math.inf:
                if free_at >= self.deadline:
                    return None
                await self.clock.sleep(free_at - now)
            elif left <= 0 or not await self.came_free.wait(left):
                return None
        return None

    def _chosen(self, now: float) -> Candidate[T] | None:
        """Of those that may be asked the one that is free first."""
        best: Candidate[T] | None = None
        for candidate in self.candidates:
            if not candidate.has_given_up and (
                best is None or candidate.free_at(now) < best.free_at(now)
            ):
                best = candidate
            if not candidate.leaves_room(now):
                break
        return best

    async def _ask(self, candidate: Candidate[T]) -> T | errors.LLMError | None:
        """Send once, and note it; None if the provider isn't free any more once there is a slot."""
        provider = candidate.provider
        if not await provider.take_slot(self.deadline - self.clock.monotonic()):
            candidate.has_given_up = True
            return candidate.failure or _too_late(provider)
        try:
            started = self.clock.monotonic()
            if provider.free_at(started) > started:
                return None
            answer, status = await provider.ask(candidate.call, self.deadline)
        finally:
            provider.free_slot()
        self._note(candidate, answer, status, self.clock.monotonic() - started)
        return answer

    def _note(
        self, candidate: Candidate[T], answer: object, status: int | None, seconds: float
    ) -> None:
        error = answer if isinstance(answer, errors.LLMError) else None
        attempt = Attempt(
            candidate.provider.name,
            candidate.call.model(candidate.provider.adapter),
            status,
            error.code if error else None,
            seconds,
            error.outcome if error else AttemptStatus.SUCCESS,
            is_retry=candidate.tries > 0,
            is_fallback=candidate is not self.candidates[0] and candidate.tries == 0,
        )
        candidate.tries += 1
        self.tried.append(attempt)
        if self.on_attempt is not None:
            self.on_attempt(attempt)

    def _note_failure(self, candidate: Candidate[T], failure: errors.LLMError) -> None:
        candidate.failure = failure
        now = self.clock.monotonic()
        wait = next_wait(
            failure,
            candidate.tries,
            candidate.provider.adapter.config,
            remaining=self.deadline - now,
            chance=self.rng(),
        )
        if wait is None:
            candidate.has_given_up = True
            return
        candidate.ready_at = now + wait
        fields = {
            "provider": failure.provider,
            "error": failure.code,
            "status": failure.status,
            "attempt": candidate.tries,
            "wait_seconds": round(wait, 3),
        }
        log.info("llm.retry", extra=fields)

    def _note_passed_over(self, answered: Candidate[T]) -> None:
        for each in self.candidates:
            if each is answered:
                break
            each.provider.note_passed_over(each.failure)

    def _failure(self) -> errors.LLMError:
        """The error of a call that ends without an answer."""
        now = self.clock.monotonic()
        failures = []
        for each in self.candidates:
            rests = each.provider.free_at(now) > now
            failures.append(
                each.failure or (each.provider.refusal() if rests else _too_late(each.provider))
            )
        self.candidates = ()  # the traceback to come leads here: no circle of references
        if all(isinstance(each, errors.DeadlineExceededError) for each in failures):
            return failures[0]
        return errors.failure_of_all(failures)


def _too_late(provider: Provider) -> errors.DeadlineExceededError:
    text = "the deadline passed before anything was sent"
    return errors.DeadlineExceededError(text, provider=provider.name)
