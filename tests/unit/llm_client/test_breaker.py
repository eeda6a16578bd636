"""Rules of the breaker: pure, with the time as an argument."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llm_bot.llm_client import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    DeadlineExceededError,
    GenerationError,
    LLMError,
    ModelNotFoundError,
    RateLimitError,
    TimeoutError,
    ValidationError,
)
from llm_bot.llm_client.breaker import LONGEST_REST_SECONDS, Breaker, Ticket, Verdict, verdict_of

COOLING, REJECTED = 30.0, 300.0


def breaker(failures: int = 2) -> Breaker:
    return Breaker(failures=failures, cooling_seconds=COOLING, rejected_seconds=REJECTED)


def begin(made: Breaker) -> Ticket:
    """A request of somebody else each time."""
    return made.begin(object())


def rest(made: Breaker, now: float) -> float:
    return made.free_at(now) - now


def ask(asked: Breaker, error: LLMError | None, now: float) -> None:
    assert rest(asked, now) == 0
    asked.end(begin(asked), error, now)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (None, Verdict.ALIVE),
        (ValidationError("refused", status=400), Verdict.PROVOKED),
        (ValidationError("flagged", status=403, code="moderated"), Verdict.ALIVE),
        (GenerationError("loading", status=503, code="loading"), Verdict.ALIVE),
        (ValidationError("can't be sent"), Verdict.UNKNOWN),
        (GenerationError("cap", code="length"), Verdict.ALIVE),
        (GenerationError("empty", code="empty"), Verdict.ALIVE),
        (GenerationError("broken", code="bad_json"), Verdict.PROVOKED),
        (GenerationError("broken", code="bad_shape"), Verdict.PROVOKED),
        (GenerationError("failed", status=500), Verdict.PROVOKED),
        (GenerationError("failed", status=503), Verdict.FAILED),
        (ConnectionError("refused"), Verdict.FAILED),
        (TimeoutError("slow"), Verdict.PROVOKED),
        (RateLimitError("too many", status=429), Verdict.PROVOKED),
        (ConfigurationError("redirects", status=301), Verdict.FAILED),
        (RateLimitError("spent", retryable=False, code="quota"), Verdict.REJECTED),
        (AuthenticationError("key", status=401), Verdict.REJECTED),
        (ModelNotFoundError("model", status=404), Verdict.REJECTED),
        (DeadlineExceededError("cut"), Verdict.UNKNOWN),
    ],
)
def test_what_an_end_says(error, verdict):
    """Each end of a request says one of four things about the provider (LLM-12)."""
    assert verdict_of(error) is verdict


def test_a_run_of_failures_opens_it():
    """As many failures in a row as configured, not fewer, not with a success between."""
    made = breaker(failures=2)
    ask(made, ConnectionError("a"), 0)
    ask(made, None, 1)
    ask(made, ConnectionError("b"), 2)
    assert (rest(made, 2), made.has_failed, made.is_tripped) == (0, True, False)
    ask(made, ConnectionError("c"), 3)
    assert (rest(made, 3), made.is_tripped) == (COOLING, True)
    assert rest(made, 33) == 0


@pytest.mark.parametrize(
    ("error", "askers"),
    [
        (GenerationError("failed", status=500), ("alice", "bob")),
        (ConnectionError("refused"), ("alice",)),
    ],
)
def test_one_person_s_line_opens_nothing(error, askers):
    """What one request can provoke counts when three people's lines in a row met it; what concerns
    all, when it was more than one call.
    """
    made = breaker(failures=5)
    for now in range(20):
        made.end(made.begin(askers[now % len(askers)]), error, now)
    assert rest(made, 20) == 0
    made.end(made.begin("carol"), error, 21)
    assert rest(made, 21) == COOLING


def test_a_refusal_opens_it_at_once():
    """After a refusal the longer rest begins with the first request."""
    made = breaker()
    ask(made, AuthenticationError("key", status=401), 10)
    assert rest(made, 10) == REJECTED


def test_one_probe_at_a_time():
    """When the rest is over one request goes out, and the others wait for its end."""
    made = breaker(failures=1)
    ask(made, TimeoutError("slow"), 0)
    probe = begin(made)
    assert probe.is_probe
    assert made.free_at(30) == math.inf
    made.abandon(probe)
    assert made.free_at(30) == 30
    made.end(begin(made), None, 31)
    assert (rest(made, 31), made.is_tripped, made.has_failed) == (0, False, False)
    assert not begin(made).is_probe


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (TimeoutError("slow"), COOLING),
        (AuthenticationError("key"), REJECTED),
        (RateLimitError("slow down", retry_after=100.0), 100.0),
        (DeadlineExceededError("cut"), 0.0),
        (ValidationError("can't be sent"), 0.0),
    ],
)
def test_a_probe_that_fails(error, seconds):
    """A failed probe begins the rest anew; one that says nothing lets another try at once."""
    made = breaker(failures=1)
    ask(made, TimeoutError("slow"), 0)
    ask(made, error, 40)
    assert (made.is_tripped, rest(made, 40)) == (True, seconds)


def test_a_longer_rest_is_never_made_shorter():
    """A later but shorter reason to rest changes nothing, whichever kind it is (LLM-11)."""
    made = breaker(failures=2)
    first, second, third = begin(made), begin(made), begin(made)
    made.end(first, AuthenticationError("key"), 0)
    made.end(second, RateLimitError("slow down", retry_after=5.0), 1)
    made.end(third, TimeoutError("slow"), 2)
    assert rest(made, 2) == 298
    assert isinstance(made.refusal(2), AuthenticationError)


@pytest.mark.parametrize(
    ("asked", "seconds"), [(7.0, 7.0), (LONGEST_REST_SECONDS + 1, 3600.0), (1e12, 3600.0)]
)
def test_a_pause_asked_for_ends_by_itself(asked, seconds):
    """After a `Retry-After` no probe is needed; one of days is an hour (LLM-10)."""
    made = breaker()
    ask(made, RateLimitError("slow down", retry_after=asked), 0)
    assert (rest(made, 0), begin(made).is_probe) == (seconds, False)


@pytest.mark.parametrize("error", [TimeoutError("slow"), AuthenticationError("key"), None])
def test_what_was_sent_before_a_trip(error):
    """Its end says nothing new: it neither closes the breaker, nor lengthens its rest, nor opens
    it again.
    """
    made = breaker(failures=1)
    late = [begin(made) for _ in range(3)]
    made.end(begin(made), TimeoutError("slow"), 0)
    made.end(late[0], error, 20)
    assert (made.is_tripped, rest(made, 20)) == (True, 10)
    probe = begin(made)
    made.end(late[1], error, 30)
    made.end(probe, None, 31)
    made.end(late[2], error, 32)
    assert (made.is_tripped, rest(made, 32)) == (False, 0)


def test_a_late_request_to_pause_counts():
    """A `Retry-After` holds whenever it comes, also beyond the probe's success."""
    made = breaker(failures=1)
    late = begin(made)
    made.end(begin(made), TimeoutError("slow"), 0)
    probe = begin(made)
    made.end(late, RateLimitError("slow down", retry_after=10.0), 31)
    made.end(probe, None, 32)
    assert (made.is_tripped, rest(made, 32)) == (False, 9)


def test_no_cooling_at_all():
    """With a cooling of 0 it is only the probe that goes alone."""
    made = Breaker(failures=1, cooling_seconds=0, rejected_seconds=0)
    ask(made, TimeoutError("slow"), 5)
    assert rest(made, 5) == 0
    begin(made)
    assert rest(made, 5) == math.inf


def test_a_refusal_says_why_and_for_how_long():
    """Who can't wait is told what began the rest, in the class of its cause, and gets his own,
    without the traceback, whose frames hold the conversation.
    """
    made = breaker(failures=1)
    cause = RateLimitError("slow down", provider="openai", status=429, retry_after=25.0)
    try:
        raise cause from OSError("no")
    except RateLimitError:
        ask(made, cause, 0)
    refusal = made.refusal(5.5)
    assert type(refusal) is RateLimitError
    assert str(refusal) == "openai: slow down; not asked again for 25 s (HTTP 429)"
    assert (refusal.provider, refusal.status, refusal.code) == ("openai", 429, "rate_limited")
    assert (refusal.retryable, refusal.retry_after, refusal.attempts) == (True, 24.5, 0)
    assert (refusal.__traceback__, refusal.__cause__, refusal.__context__) == (None, None, None)
    assert made.refusal(5.5) is not refusal
    assert str(cause) == "openai: slow down (HTTP 429)"
    begin(made)
    probing = made.refusal(40)
    assert "another request is finding out whether that is over" in str(probing)
    assert probing.retry_after is None


def test_a_refusal_without_a_cause():
    """Asked out of turn, it still says something."""
    assert "failed before" in str(breaker().refusal(0))


ENDS = st.sampled_from(
    [
        None,
        ValidationError("refused", status=400, code="moderated"),
        TimeoutError("slow"),
        AuthenticationError("key"),
        DeadlineExceededError("cut"),
        RateLimitError("slow down", retry_after=7.0),
        RateLimitError("slow down", retry_after=70.0),
        RateLimitError("slow down", retry_after=7000.0),
        GenerationError("retry", status=503, retry_after=0.0),
    ]
)


class BreakerMachine(RuleBasedStateMachine):
    """Any order of requests, ends, cancellations and pauses, against what must always hold."""

    @initialize(
        failures=st.integers(1, 3),
        cooling=st.sampled_from([0.0, 1.0, 30.0]),
        rejected=st.sampled_from([0.0, 300.0]),
    )
    def make(self, failures, cooling, rejected):
        self.made = Breaker(failures=failures, cooling_seconds=cooling, rejected_seconds=rejected)
        self.trip_seconds = {
            Verdict.FAILED: cooling,
            Verdict.PROVOKED: cooling,
            Verdict.REJECTED: rejected,
        }
        self.now = 0.0
        self.open: list[Ticket] = []
        self.asked_until = 0.0

    @property
    def rests_until(self) -> float:
        return max(self.now, self.made._rests_until)

    @property
    def is_free(self) -> bool:
        return self.made.free_at(self.now) == self.now

    @rule(seconds=st.sampled_from([0.0, 0.5, 7.0, 30.0, 299.0, 3600.0]))
    def pass_time(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.is_free)
    @rule()
    def begin(self):
        ticket = begin(self.made)
        assert ticket.is_probe == self.made.is_tripped
        self.open.append(ticket)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), error=ENDS)
    def end(self, data, error):
        ticket = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        before, was_tripped = self.rests_until, self.made.is_tripped
        self.made.end(ticket, error, self.now)
        asked = min(error.retry_after or 0.0, LONGEST_REST_SECONDS) if error else 0.0
        self.asked_until = max(self.asked_until, self.now + asked if asked else 0.0)
        verdict = verdict_of(error)
        assert self.rests_until >= before
        assert self.made.is_tripped >= (was_tripped and verdict is not Verdict.ALIVE)
        if ticket.is_probe and verdict is Verdict.ALIVE:
            assert not self.made.is_tripped
            assert self.rests_until == max(self.now, self.asked_until)
        if ticket.is_probe and verdict in self.trip_seconds:
            assert self.made.is_tripped
            assert self.rests_until >= self.now + self.trip_seconds[verdict]
        if verdict is Verdict.UNKNOWN:
            assert (self.made.is_tripped, self.rests_until) == (was_tripped, before)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def abandon(self, data):
        ticket = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        before = self.rests_until
        self.made.abandon(ticket)
        assert self.rests_until == before

    @invariant()
    def one_probe_at_most(self):
        probes = sum(ticket.is_probe for ticket in self.open)
        assert probes <= 1
        assert not (probes and self.is_free)

    @invariant()
    def never_shut_for_good(self):
        if not any(ticket.is_probe for ticket in self.open):
            assert self.made.free_at(self.rests_until) == self.rests_until
            assert self.rests_until - self.now <= LONGEST_REST_SECONDS

    @invariant()
    def always_an_explanation(self):
        refusal = self.made.refusal(self.now)
        assert (refusal.retry_after or 0.0) == self.rests_until - self.now


BreakerMachine.TestCase.settings = settings(max_examples=60, deadline=None)
TestBreakerAgainstItsRules = BreakerMachine.TestCase
