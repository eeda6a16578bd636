"""The course of one question: from provider to provider, again where it may help, in time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
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


class Attempts(Generic[T]):
    """One question under way.

    A provider that has given up for good isn't asked again; one that rests is passed over, and
    waited for only when no other is left to ask.
    """

    def __init__(
        self,
        question: Call[T],
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
        self._question = question
        self._providers = providers
        self._clock = clock
        self._probe_ended = probe_ended
        self._rng = rng
        self._on_attempt = on_attempt
        self._deadline = deadline
        self._tries = dict.fromkeys((provider.name for provider in providers), 0)
        self._failures: dict[str, errors.LLMError] = {}

    @property
    def retries(self) -> int:
        """Repeats with the same provider, so far."""
        return sum(attempt.is_retry for attempt in self.attempts)

    async def answer(self) -> tuple[T, Provider]:
        """The answer, and whose it is.

        Raises:
            LLMError: Nobody is left to ask in time, or nothing can be sent; knows what was tried.
        """
        left = list(self._providers)
        try:
            answered = await self._first_answer(left)
            if answered is None:
                raise self._failure(left)
        except errors.LLMError as exc:
            exc.attempts = len(self.attempts)
            exc.attempt_log = tuple(self.attempts)
            raise
        else:
            return answered

    async def _first_answer(self, left: list[Provider]) -> tuple[T, Provider] | None:
        """None if there is no use in going on; those that gave up aren't among `left` any more."""
        while left:
            for provider in tuple(left):
                if not provider.admits:
                    continue
                try:
                    outcome = await self._ask(provider)
                except _RestsError:
                    continue
                if not isinstance(outcome, errors.LLMError):
                    return outcome, provider
                left.remove(provider)
            if left and not await self._wait_for_any(left):
                break
        return None

    async def _ask(self, provider: Provider) -> T | errors.LLMError:
        """Ask `provider` until it answers or there is no use; `_RestsError` if it is to be left."""
        while True:
            outcome = await self._attempt(provider)
            if not isinstance(outcome, errors.LLMError):
                return outcome
            self._failures[provider.name] = outcome
            tries = self._tries[provider.name]
            wait = next_wait(
                outcome,
                tries,
                policy=provider.policy,
                remaining_seconds=self._deadline.remaining(),
                chance=self._rng(),
            )
            if wait is None:
                return outcome
            if provider.rests_after(wait):
                raise _RestsError
            log.info("llm.retry", extra=_retry_fields(outcome, tries, wait))
            await self._clock.sleep(wait)
            if not provider.admits:
                raise _RestsError

    async def _attempt(self, provider: Provider) -> T | errors.LLMError:
        """Send once, and note how it ended."""
        if not await provider.take_slot(self._deadline):
            return self._failures.get(provider.name) or _too_late(provider)
        try:
            if not provider.admits:
                raise _RestsError
            return await self._send(provider)
        finally:
            provider.free_slot()

    async def _send(self, provider: Provider) -> T | errors.LLMError:
        is_first = provider is self._providers[0]
        question = self._question if is_first else self._question.for_fallback()
        statuses: list[int] = []
        started = self._clock.monotonic()
        answer = await provider.ask(question, self._deadline, statuses.append)
        error = answer if isinstance(answer, errors.LLMError) else None
        attempt = Attempt(
            provider.name,
            question.model(provider.adapter),
            statuses[-1] if statuses else None,
            error.code if error else None,
            self._clock.monotonic() - started,
            error.outcome if error else AttemptStatus.SUCCESS,
            is_retry=self._tries[provider.name] > 0,
            is_fallback=not is_first and self._tries[provider.name] == 0,
        )
        self._tries[provider.name] += 1
        self.attempts.append(attempt)
        if self._on_attempt is not None:
            self._on_attempt(attempt)
        return answer

    async def _wait_for_any(self, resting: Sequence[Provider]) -> bool:
        """Wait until one of `resting` may be asked; false if the deadline passes before."""
        # One may have come free while another was asked: then its probe fires no more.
        if any(provider.admits for provider in resting):
            return True
        remaining = self._deadline.remaining()
        if remaining is None:
            return False
        now = self._clock.monotonic()
        rests = [provider.breaker.rest_seconds(now) for provider in resting]
        # One that doesn't rest is being probed; how long that takes, nobody knows.
        patience = min((rest for rest in rests if rest), default=remaining)
        if patience >= remaining and all(rests):
            return False
        with contextlib.suppress(TimeoutError):
            await within(self._clock, min(patience, remaining), self._probe_ended.wait())
        return (self._deadline.remaining() or 0) > 0

    def _failure(self, left: Sequence[Provider]) -> errors.LLMError:
        """The error of a course that ends without an answer, while `left` rest."""
        for provider in left:
            if provider.name not in self._failures:
                unasked = _too_late(provider) if provider.admits else provider.refusal()
                self._failures[provider.name] = unasked
        failures = [self._failures[provider.name] for provider in self._providers]
        self._failures.clear()  # the traceback to come leads here: no circle of references
        if all(isinstance(each, errors.DeadlineExceededError) for each in failures):
            return failures[0]
        return errors.failure_of_all(failures)


class _RestsError(Exception):
    """The provider has to be left in peace for now, by this caller as well."""


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
