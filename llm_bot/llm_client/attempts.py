"""One call under way: from provider to provider, again where it may help, in time."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.calls import Call
from llm_bot.llm_client.clock import Clock, Deadline, Signal, within
from llm_bot.llm_client.models import Attempt, AttemptStatus
from llm_bot.llm_client.provider import Provider
from llm_bot.llm_client.retry import next_wait

log = logging.getLogger(__name__)

T = TypeVar("T")

OnAttempt = Callable[[Attempt], None]

# The next provider is asked too once those before it have failed so often.
FAILURES_BEFORE_A_FALLBACK = 2


@dataclass(slots=True)
class _Candidate:
    """A provider, and how it has done in this call."""

    provider: Provider
    is_first: bool
    tries: int = 0
    ready_at: float = -math.inf
    has_given_up: bool = False
    failure: errors.LLMError | None = None

    def free_at(self, now: float) -> float:
        """When it may be asked; infinite where that depends on another's probe."""
        return max(self.ready_at, self.provider.free_at(now))

    def leaves_room(self, now: float) -> bool:
        """Whether those after it may be asked."""
        if self.has_given_up or self.tries >= FAILURES_BEFORE_A_FALLBACK:
            return True
        return self.provider.free_at(now) > now


class Attempts(Generic[T]):
    """Asks one provider after the other until one answers, or no time or hope is left."""

    def __init__(
        self,
        call: Call[T],
        providers: Sequence[Provider],
        *,
        clock: Clock,
        probe_ended: Signal,
        rng: Callable[[], float],
        on_attempt: OnAttempt | None,
        deadline: Deadline,
        attempts: Sequence[Attempt] = (),
    ) -> None:
        self.attempts = list(attempts)
        self._call = call
        self._clock = clock
        self._probe_ended = probe_ended
        self._rng = rng
        self._on_attempt = on_attempt
        self._deadline = deadline
        self._candidates = [
            _Candidate(provider, is_first=provider is providers[0]) for provider in providers
        ]

    @property
    def retries(self) -> int:
        """Repeats with the same provider, so far."""
        return sum(attempt.is_retry for attempt in self.attempts)

    def failure_of(self, provider: Provider) -> errors.LLMError | None:
        """How `provider` failed in this call, None if it didn't or wasn't asked."""
        found = (each.failure for each in self._candidates if each.provider is provider)
        return next(found, None)

    async def answer(self) -> tuple[T, Provider]:
        """The answer, and whose it is.

        Raises:
            LLMError: Nobody is left to ask in time, or nothing can be sent; knows what was tried.
        """
        try:
            answered = await self._first_answer()
            if answered is None:
                raise self._failure()
        except errors.LLMError as exc:
            exc.attempts = len(self.attempts)
            exc.attempt_log = tuple(self.attempts)
            raise
        return answered

    async def _first_answer(self) -> tuple[T, Provider] | None:
        while (candidate := await self._next()) is not None:
            outcome = await self._attempt(candidate)
            if isinstance(outcome, errors.LLMError):
                self._note_failure(candidate, outcome)
            elif outcome is not None:
                return outcome, candidate.provider
        return None

    async def _next(self) -> _Candidate | None:
        """Who is to be asked now, after waiting for it; None if there is no use in going on."""
        while True:
            now = self._clock.monotonic()
            candidate = self._chosen(now)
            if candidate is None:
                return None
            free_at = candidate.free_at(now)
            if free_at <= now:
                return candidate
            left = self._deadline.remaining()
            if left is None and candidate.provider.free_at(now) > max(now, candidate.ready_at):
                return None  # it rests for others' sake, who knows for how long
            if left is not None and (left <= 0 or now + left <= free_at < math.inf):
                return None
            patience = free_at - now if left is None else min(free_at - now, left)
            with contextlib.suppress(TimeoutError):
                await within(self._clock, patience, self._probe_ended.wait())

    def _chosen(self, now: float) -> _Candidate | None:
        """Of those that may be asked the one that is free first."""
        best: _Candidate | None = None
        for candidate in self._candidates:
            if not candidate.has_given_up and (
                best is None or candidate.free_at(now) < best.free_at(now)
            ):
                best = candidate
            if not candidate.leaves_room(now):
                break
        return best

    async def _attempt(self, candidate: _Candidate) -> T | errors.LLMError | None:
        """Send once, and note how it ended; None if the provider isn't to be asked after all."""
        provider = candidate.provider
        if not await provider.take_slot(self._deadline):
            candidate.has_given_up = True
            return candidate.failure or _too_late(provider)
        try:
            if provider.free_at(self._clock.monotonic()) > self._clock.monotonic():
                return None
            return await self._send(candidate)
        finally:
            provider.free_slot()

    async def _send(self, candidate: _Candidate) -> T | errors.LLMError:
        provider = candidate.provider
        call = self._call if candidate.is_first else self._call.for_fallback()
        started = self._clock.monotonic()
        answer, status = await provider.ask(call, self._deadline)
        error = answer if isinstance(answer, errors.LLMError) else None
        attempt = Attempt(
            provider.name,
            call.model(provider.adapter),
            status,
            error.code if error else None,
            self._clock.monotonic() - started,
            error.outcome if error else AttemptStatus.SUCCESS,
            is_retry=candidate.tries > 0,
            is_fallback=not candidate.is_first and candidate.tries == 0,
        )
        candidate.tries += 1
        self.attempts.append(attempt)
        if self._on_attempt is not None:
            self._on_attempt(attempt)
        return answer

    def _note_failure(self, candidate: _Candidate, failure: errors.LLMError) -> None:
        candidate.failure = failure
        wait = next_wait(
            failure,
            candidate.tries,
            policy=candidate.provider.policy,
            remaining_seconds=self._deadline.remaining(),
            chance=self._rng(),
        )
        if wait is None:
            candidate.has_given_up = True
            return
        candidate.ready_at = self._clock.monotonic() + wait
        log.info("llm.retry", extra=_retry_fields(failure, candidate.tries, wait))

    def _failure(self) -> errors.LLMError:
        """The error of a call that ends without an answer."""
        now = self._clock.monotonic()
        failures = []
        for candidate in self._candidates:
            failure = candidate.failure
            if failure is None:
                is_resting = candidate.provider.free_at(now) > now
                failure = (
                    candidate.provider.refusal() if is_resting else _too_late(candidate.provider)
                )
            failures.append(failure)
        self._candidates.clear()  # the traceback to come leads here: no circle of references
        if all(isinstance(each, errors.DeadlineExceededError) for each in failures):
            return failures[0]
        return errors.failure_of_all(failures)


def _too_late(provider: Provider) -> errors.DeadlineExceededError:
    text = "the deadline passed before anything was sent"
    return errors.DeadlineExceededError(text, provider=provider.name)


def _retry_fields(failure: errors.LLMError, attempt: int, wait: float) -> dict[str, object]:
    return {
        "provider": failure.provider,
        "error": failure.code,
        "status": failure.status,
        "attempt": attempt,
        "wait_seconds": round(wait, 3),
    }
