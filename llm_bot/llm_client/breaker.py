"""When to leave a provider in peace. Pure: the time is an argument, in monotonic seconds."""

from __future__ import annotations

import copy
import math
from enum import StrEnum
from typing import NamedTuple

from llm_bot.llm_client.exceptions import (
    AuthenticationError,
    ConnectionError,
    DeadlineExceededError,
    LLMError,
    ModelNotFoundError,
    ValidationError,
)

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


def verdict_of(error: LLMError | None) -> Verdict:
    """What `error`, or an answer if it is None, says about the provider it came from.

    >>> verdict_of(AuthenticationError("the key is refused"))
    <Verdict.REJECTED: 'rejected'>
    """
    match error:
        case None:
            return Verdict.ALIVE
        case ModelNotFoundError(code="wrong_address"):  # or only what was asked for isn't there
            return Verdict.PROVOKED
        case AuthenticationError() | ModelNotFoundError() | LLMError(code="quota"):
            return Verdict.REJECTED
        # It answered. Else whoever provokes empty answers keeps everybody from it.
        case LLMError(code="moderated" | "length" | "empty" | "loading"):
            return Verdict.ALIVE
        # The caller's impatience may be all that is wrong; or it couldn't be sent.
        case DeadlineExceededError() | ValidationError(status=None):
            return Verdict.UNKNOWN
        case ConnectionError():
            return Verdict.FAILED
        case LLMError(status=status) if status in _FAILED_STATUSES:
            return Verdict.FAILED
        case LLMError(code="redirect" | "configuration"):
            return Verdict.FAILED
        case _:
            return Verdict.PROVOKED


class Ticket(NamedTuple):
    """Of a request that goes out: is it the probe, how many trips were there before, who asks?"""

    is_probe: bool
    trips: int
    asker: object


class _Rest:
    """How long to leave the provider in peace, and why; a longer one is never made shorter."""

    def __init__(self) -> None:
        self.until = -math.inf
        self.cause: LLMError | None = None

    def extend(self, until: float, cause: LLMError | None) -> None:
        if until >= self.until:
            self.until = until
            self.cause = copy.copy(cause)  # without its traceback, which holds the request


class Breaker:
    """Keeps callers from a provider that fails, refuses them, or asked for a pause.

    A pause that the provider asked for ends by itself. After failures it takes a single request,
    the probe, to find out whether the others may come again. Requests that went out before a trip
    and fail after it don't count: they say nothing that the trip didn't.

    >>> breaker = Breaker(failures=2, cooling_seconds=30, rejected_seconds=300)
    >>> breaker.end(breaker.begin("alice"), ConnectionError("it failed"), now=0)
    >>> breaker.end(breaker.begin("bob"), ConnectionError("it failed"), now=0)
    >>> breaker.admits(now=29), breaker.admits(now=30)
    (False, True)
    >>> probe = breaker.begin("carol")
    >>> breaker.admits(now=31)
    False
    >>> breaker.end(probe, None, now=32)
    >>> breaker.admits(now=32)
    True
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
        self._cooling = _Rest()  # after trips; over when a probe succeeds
        self._asked = _Rest()  # by the provider; nothing but time ends it

    @property
    def is_tripped(self) -> bool:
        """Whether failures or a refusal opened it, and no probe has closed it yet."""
        return self._is_tripped

    @property
    def has_failed(self) -> bool:
        """Whether the last request that said anything was a failure."""
        return self._has_failed or self._is_tripped

    def rest_seconds(self, now: float) -> float:
        """How long it has to be left in peace yet, as far as is known; 0 if not at all."""
        return max(0.0, self._longer.until - now)

    def rests(self, moment: float) -> bool:
        """Whether it has still to be left in peace at `moment`, as far as is known."""
        return moment < self._longer.until

    def admits(self, now: float) -> bool:
        """Whether a request may go out now."""
        return not self.rests(now) and not self._is_probing

    def begin(self, asker: object) -> Ticket:
        """A request that was admitted goes out; its ticket is for `end` or `abandon`."""
        self._is_probing = self._is_tripped
        return Ticket(self._is_tripped, self._trips, asker)

    def end(self, ticket: Ticket, error: LLMError | None, now: float) -> None:
        """It ended, with an answer if `error` is None."""
        self.abandon(ticket)
        if error is not None and error.retry_after:
            self._asked.extend(now + min(error.retry_after, LONGEST_REST_SECONDS), error)
        verdict = verdict_of(error)
        is_late = ticket.trips != self._trips and not ticket.is_probe
        match verdict:
            case Verdict.ALIVE:
                self._run.clear()
                self._has_failed = False
                if ticket.is_probe:
                    self._is_tripped = False
                    self._cooling = _Rest()
            case Verdict.FAILED | Verdict.PROVOKED if not is_late:
                # A refused request says that somebody was there to refuse it.
                self._has_failed = verdict is Verdict.FAILED or bool(error and error.retryable)
                self._run = [*self._run[1 - self._failures :], (verdict, ticket.asker)]
                if ticket.is_probe or self._is_convincing():
                    self._trip(self._cooling_seconds, now, error)
            # A refusal says more than failures do; but a probe that was answered since says more.
            case Verdict.REJECTED if self._is_tripped or not is_late:
                self._trip(self._rejected_seconds, now, error)
            case _:
                pass

    def _is_convincing(self) -> bool:
        """Whether the run of failures is long, and not one caller's doing."""
        askers = {asker for _, asker in self._run}
        is_provoked = any(verdict is Verdict.PROVOKED for verdict, _ in self._run)
        needed = ASKERS_TO_BELIEVE if is_provoked else CALLS_TO_BELIEVE
        return len(self._run) >= self._failures and len(askers) >= min(needed, self._failures)

    def abandon(self, ticket: Ticket) -> None:
        """It was cancelled, and says nothing."""
        if ticket.is_probe:
            self._is_probing = False

    def refusal(self, now: float) -> LLMError:
        """What a caller gets who can't wait: the error that began the rest, and how long it lasts.

        Its class and code are those of the cause, so that a wrong key stays a wrong key.
        """
        seconds = self.rest_seconds(now)
        error = copy.copy(self._longer.cause or LLMError("it failed before"))
        error.args = (
            f"{error}; not asked again for {math.ceil(seconds)} s"
            if seconds
            else f"{error}; another request is finding out whether that is over",
        )
        error.retry_after = seconds or None
        return error

    @property
    def _longer(self) -> _Rest:
        return max(self._cooling, self._asked, key=lambda rest: rest.until)

    def _trip(self, seconds: float, now: float, error: LLMError | None) -> None:
        self._is_tripped = True
        self._trips += 1
        self._cooling.extend(now + seconds, error)
