"""When to leave a provider in peace. Pure: the time is an argument, in monotonic seconds."""

from __future__ import annotations

import copy
import math
from enum import StrEnum
from typing import NamedTuple

from llm_bot.llm_client import exceptions as errors

# A server may ask for any pause; one request an hour shows when it has changed its mind.
LONGEST_REST_SECONDS = 3600.0
# What one request can provoke says something of the provider when so many people have met it.
ASKERS_TO_BELIEVE = 3
# A single call's retries alone never open it.
CALLS_TO_BELIEVE = 2
_FAILED_STATUSES = frozenset({502, 503, 504})


class Verdict(StrEnum):
    """What the end of a request says about the provider."""

    ALIVE = "alive"
    FAILED = "failed"  # whoever asked
    PROVOKED = "provoked"  # perhaps by what was asked
    REJECTED = "rejected"  # it will refuse the next one as well
    UNKNOWN = "unknown"


def verdict_of(error: errors.LLMError | None) -> Verdict:
    """What `error`, or an answer if it is None, says about the provider it came from.

    >>> verdict_of(errors.AuthenticationError("the key is refused"))
    <Verdict.REJECTED: 'rejected'>
    """
    match error:
        # It answered. Else whoever provokes empty answers keeps everybody from it.
        case None | errors.LLMError(code="moderated" | "length" | "empty" | "loading"):
            return Verdict.ALIVE
        case errors.ModelNotFoundError(
            code="wrong_address"
        ):  # or only what was asked for isn't there
            return Verdict.PROVOKED
        case (
            errors.AuthenticationError()
            | errors.ModelNotFoundError()
            | errors.LLMError(code="quota")
        ):
            return Verdict.REJECTED
        # The caller's impatience may be all that is wrong; or it couldn't be sent.
        case errors.DeadlineExceededError() | errors.ValidationError(status=None):
            return Verdict.UNKNOWN
        case errors.ConnectionError() | errors.ConfigurationError():
            return Verdict.FAILED
        case errors.LLMError(status=status) if status in _FAILED_STATUSES:
            return Verdict.FAILED
        case _:
            return Verdict.PROVOKED


class Ticket(NamedTuple):
    """Of a request that goes out: is it the probe, how many trips were there before, who asks?"""

    is_probe: bool
    trips: int
    asker: object


class Breaker:
    """Keeps callers from a provider that fails, refuses them, or asked for a pause.

    A pause that the provider asked for ends by itself. After failures it takes a single request,
    the probe, to find out whether the others may come again. What went out before a trip and ends
    after it doesn't count: it says nothing that the trip didn't.

    >>> breaker = Breaker(failures=2, cooling_seconds=30, rejected_seconds=300)
    >>> breaker.end(breaker.begin("alice"), errors.ConnectionError("it failed"), now=0)
    >>> breaker.end(breaker.begin("bob"), errors.ConnectionError("it failed"), now=0)
    >>> breaker.free_at(now=29), breaker.free_at(now=31)
    (30, 31)
    >>> probe = breaker.begin("carol")
    >>> breaker.free_at(now=31)
    inf
    >>> breaker.end(probe, None, now=32)
    >>> breaker.free_at(now=32)
    32
    """

    def __init__(self, *, failures: int, cooling_seconds: float, rejected_seconds: float) -> None:
        self._failures = failures
        self._cooling_seconds = cooling_seconds
        self._rejected_seconds = rejected_seconds
        self._run: list[tuple[Verdict, object]] = []  # failures since the last sign of life
        self._has_failed = False
        self._trips = 0
        self._is_tripped = False
        self._is_probing = False
        self._rests_until = -math.inf
        self._cause: errors.LLMError | None = None  # of the rest

    @property
    def is_tripped(self) -> bool:
        """Whether failures or a refusal opened it, and no probe has closed it yet."""
        return self._is_tripped

    @property
    def has_failed(self) -> bool:
        """Whether the last request that said anything was a failure."""
        return self._has_failed or self._is_tripped

    def free_at(self, now: float) -> float:
        """When a request may go out: `now`, at the end of a rest, or infinite during a probe."""
        if now < self._rests_until:
            return self._rests_until
        return math.inf if self._is_probing else now

    def begin(self, asker: object) -> Ticket:
        """A request that was admitted goes out; its ticket is for `end` or `abandon`."""
        self._is_probing = self._is_tripped
        return Ticket(self._is_tripped, self._trips, asker)

    def abandon(self, ticket: Ticket) -> None:
        """It was cancelled, and says nothing."""
        if ticket.is_probe:
            self._is_probing = False

    def end(self, ticket: Ticket, error: errors.LLMError | None, now: float) -> None:
        """It ended, with an answer if `error` is None."""
        self.abandon(ticket)
        if error is not None and error.retry_after:
            self._rest(now + min(error.retry_after, LONGEST_REST_SECONDS), error)
        if ticket.trips != self._trips:
            return
        verdict = verdict_of(error)
        match verdict:
            case Verdict.ALIVE:
                self._run.clear()
                self._has_failed = self._is_tripped = False
            case Verdict.FAILED | Verdict.PROVOKED:
                # A refused request says that somebody was there to refuse it.
                self._has_failed = verdict is Verdict.FAILED or bool(error and error.retryable)
                self._run = [*self._run, (verdict, ticket.asker)][-self._failures :]
                if ticket.is_probe or self._is_convincing():
                    self._trip(now + self._cooling_seconds, error)
            case Verdict.REJECTED:
                self._trip(now + self._rejected_seconds, error)
            case Verdict.UNKNOWN:
                pass

    def refusal(self, now: float) -> errors.LLMError:
        """What a caller gets who can't wait: the error that began the rest, and how long it lasts.

        Its class and code are those of the cause, so that a wrong key stays a wrong key.
        """
        error = copy.copy(self._cause or errors.LLMError("it failed before"))
        seconds = max(0.0, self._rests_until - now)
        ending = (
            f"not asked again for {math.ceil(seconds)} s"
            if seconds
            else "another request is finding out whether that is over"
        )
        error.args = (f"{error.args[0]}; {ending}",)
        error.retry_after = seconds or None
        return error

    def _is_convincing(self) -> bool:
        """Whether the run of failures is long, and not one caller's doing."""
        askers = {asker for _, asker in self._run}
        is_provoked = any(verdict is Verdict.PROVOKED for verdict, _ in self._run)
        needed = ASKERS_TO_BELIEVE if is_provoked else CALLS_TO_BELIEVE
        return len(self._run) >= self._failures and len(askers) >= min(needed, self._failures)

    def _trip(self, until: float, error: errors.LLMError | None) -> None:
        self._is_tripped = True
        self._trips += 1
        self._rest(until, error)

    def _rest(self, until: float, cause: errors.LLMError | None) -> None:
        """A longer rest is never made shorter."""
        if until >= self._rests_until:
            self._rests_until = until
            self._cause = copy.copy(cause)  # without its traceback, which holds the request
