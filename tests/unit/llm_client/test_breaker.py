"""Rules of the breaker: pure, with the time as an argument."""

from __future__ import annotations

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


def ask(asked: Breaker, error: LLMError | None, now: float) -> None:
    assert asked.admits(now)
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
    assert (made.admits(2), made.has_failed, made.is_tripped) == (True, True, False)
    ask(made, ConnectionError("c"), 3)
    assert (made.admits(3), made.is_tripped, made.rest_seconds(3)) == (False, True, COOLING)
    assert not made.admits(32.9)
    assert made.admits(33)


def test_one_person_s_line_opens_nothing():
    """What one request can provoke counts only when three people's lines in a row met it."""
    made = breaker(failures=5)
    for now in range(20):
        made.end(made.begin(("alice", "bob")[now % 2]), GenerationError("failed", status=500), now)
    assert made.admits(20)
    made.end(made.begin("carol"), GenerationError("failed", status=500), 21)
    assert not made.admits(21)


def test_one_call_s_retries_open_nothing():
    """A connection that fails concerns all, but not within a single call."""
    made = breaker(failures=2)
    for now in range(5):
        made.end(made.begin("alice"), ConnectionError("refused"), now)
    assert made.admits(5)
    made.end(made.begin("bob"), ConnectionError("refused"), 6)
    assert not made.admits(6)


def test_a_refusal_opens_it_at_once():
    """After a refusal the longer rest begins with the first request."""
    made = breaker()
    ask(made, AuthenticationError("key", status=401), 10)
    assert made.rest_seconds(10) == REJECTED


def test_one_probe_at_a_time():
    """When the rest is over one request goes out, and the others wait for its end."""
    made = breaker(failures=1)
    ask(made, TimeoutError("slow"), 0)
    probe = begin(made)
    assert probe.is_probe
    assert not made.admits(30)
    made.abandon(probe)
    assert made.admits(30)
    made.end(begin(made), None, 31)
    assert (made.admits(31), made.is_tripped, made.has_failed) == (True, False, False)
    assert not begin(made).is_probe


@pytest.mark.parametrize(
    ("error", "rest"),
    [
        (TimeoutError("slow"), COOLING),
        (AuthenticationError("key"), REJECTED),
        (RateLimitError("slow down", retry_after=100.0), 100.0),
        (DeadlineExceededError("cut"), 0.0),
        (ValidationError("can't be sent"), 0.0),
    ],
)
def test_a_probe_that_fails(error, rest):
    """A failed probe begins the rest anew; one that says nothing lets another try at once."""
    made = breaker(failures=1)
    ask(made, TimeoutError("slow"), 0)
    ask(made, error, 40)
    assert (made.is_tripped, made.rest_seconds(40)) == (True, rest)
    assert made.admits(40 + rest)


def test_a_longer_rest_is_never_made_shorter():
    """A later but shorter reason to rest changes nothing, whichever kind it is (LLM-11)."""
    made = breaker(failures=2)
    first, second, third = begin(made), begin(made), begin(made)
    made.end(first, AuthenticationError("key"), 0)
    made.end(second, RateLimitError("slow down", retry_after=5.0), 1)
    made.end(third, TimeoutError("slow"), 2)
    assert made.rest_seconds(2) == 298
    assert isinstance(made.refusal(2), AuthenticationError)


def test_a_pause_asked_for_ends_by_itself():
    """After a `Retry-After` no probe is needed."""
    made = breaker()
    ask(made, RateLimitError("slow down", retry_after=7.0), 0)
    assert (made.admits(6.9), made.admits(7), begin(made).is_probe) == (False, True, False)


@pytest.mark.parametrize("asked", [LONGEST_REST_SECONDS + 1, 1e12])
def test_a_pause_over_an_hour_is_one_of_an_hour(asked):
    """A server that asks for days is asked again after an hour (LLM-10)."""
    made = breaker()
    ask(made, RateLimitError("slow down", retry_after=asked), 0)
    assert made.rest_seconds(0) == LONGEST_REST_SECONDS


def test_late_failures_say_nothing_new():
    """What was sent before a trip and fails after it doesn't lengthen it, nor opens it again."""
    made = breaker(failures=1)
    late = [begin(made) for _ in range(4)]
    made.end(begin(made), TimeoutError("slow"), 0)
    made.end(late[0], TimeoutError("slow"), 20)
    assert made.rest_seconds(20) == 10
    probe = begin(made)
    made.end(late[1], TimeoutError("slow"), 30)
    made.end(probe, None, 31)
    assert made.admits(31)
    made.end(late[2], TimeoutError("slow"), 32)
    made.end(late[3], AuthenticationError("key"), 33)
    assert made.admits(33)


def test_a_late_refusal_lengthens_the_rest():
    """While it is open, a refusal says more than the failures did; a success after it even more."""
    made = breaker(failures=1)
    late = begin(made)
    made.end(begin(made), TimeoutError("slow"), 0)
    made.end(late, AuthenticationError("key"), 10)
    assert made.rest_seconds(10) == REJECTED


def test_a_success_of_the_probe_says_more_than_a_late_refusal():
    """The refused request was sent long before the one that was answered."""
    made = breaker(failures=1)
    late = begin(made)
    made.end(begin(made), TimeoutError("slow"), 0)
    probe = begin(made)
    made.end(late, AuthenticationError("key"), 31)
    assert made.rest_seconds(31) == REJECTED
    made.end(probe, None, 32)
    assert made.admits(32)


def test_a_late_success_does_not_close_it():
    """Only a probe closes it: an answer to what was asked before the trip is no recovery."""
    made = breaker(failures=1)
    late = begin(made)
    made.end(begin(made), TimeoutError("slow"), 0)
    made.end(late, None, 10)
    assert (made.is_tripped, made.rest_seconds(10)) == (True, 20)


def test_a_late_request_to_pause_counts():
    """A `Retry-After` holds whenever it comes, also beyond the probe's success."""
    made = breaker(failures=1)
    late = begin(made)
    made.end(begin(made), TimeoutError("slow"), 0)
    probe = begin(made)
    made.end(late, RateLimitError("slow down", retry_after=10.0), 31)
    made.end(probe, None, 32)
    assert (made.is_tripped, made.rest_seconds(32)) == (False, 9)


def test_no_cooling_at_all():
    """With a cooling of 0 it is only the probe that goes alone."""
    made = Breaker(failures=1, cooling_seconds=0, rejected_seconds=0)
    ask(made, TimeoutError("slow"), 5)
    assert made.admits(5)
    begin(made)
    assert not made.admits(5)


def test_a_refusal_says_why_and_for_how_long():
    """Who can't wait is told what began the rest, in the class of its cause, and gets his own."""
    made = breaker(failures=1)
    cause = RateLimitError("slow down", provider="openai", status=429, retry_after=25.0)
    ask(made, cause, 0)
    refusal = made.refusal(5.5)
    assert type(refusal) is RateLimitError
    assert str(refusal) == "openai: slow down (HTTP 429); not asked again for 25 s"
    assert (refusal.provider, refusal.status, refusal.code) == ("openai", 429, "rate_limited")
    assert (refusal.retryable, refusal.retry_after, refusal.attempts) == (True, 24.5, 0)
    assert made.refusal(5.5) is not refusal
    assert str(cause) == "openai: slow down (HTTP 429)"
    begin(made)
    probing = made.refusal(40)
    assert str(probing).endswith("; another request is finding out whether that is over")
    assert probing.retry_after is None


def test_what_began_the_rest_is_kept_without_its_traceback():
    """A traceback holds the frames, and those the conversation."""
    made = breaker(failures=1)
    try:
        raise ConnectionError("refused") from OSError("no")
    except ConnectionError as exc:
        made.end(begin(made), exc, 0)
    refusal = made.refusal(0)
    assert (refusal.__traceback__, refusal.__cause__, refusal.__context__) == (None, None, None)


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
        self.failures = failures
        self.now = 0.0
        self.open: list[tuple[Ticket, bool]] = []
        self.asked_until = 0.0
        self.run_length = 0

    @property
    def rests_until(self) -> float:
        return self.now + self.made.rest_seconds(self.now)

    @rule(seconds=st.sampled_from([0.0, 0.5, 7.0, 30.0, 299.0, 3600.0]))
    def pass_time(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.made.admits(self.now))
    @rule()
    def begin(self):
        ticket = begin(self.made)
        assert ticket.is_probe == self.made.is_tripped
        self.open.append((ticket, self.made.is_tripped))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), error=ENDS)
    def end(self, data, error):
        ticket, _ = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        before, was_tripped = self.rests_until, self.made.is_tripped
        self.made.end(ticket, error, self.now)
        asked = min(error.retry_after or 0.0, LONGEST_REST_SECONDS) if error else 0.0
        self.asked_until = max(self.asked_until, self.now + asked if asked else 0.0)
        verdict = verdict_of(error)
        if ticket.is_probe and verdict is Verdict.ALIVE:
            assert not self.made.is_tripped
            assert self.rests_until == max(self.now, self.asked_until)
        else:
            assert self.rests_until >= before
            assert self.made.is_tripped >= was_tripped
        if ticket.is_probe and verdict in self.trip_seconds:
            assert self.made.is_tripped
            assert self.rests_until >= self.now + self.trip_seconds[verdict]
        if verdict is Verdict.UNKNOWN:
            assert (self.made.is_tripped, self.rests_until) == (was_tripped, before)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def abandon(self, data):
        ticket, _ = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        before = self.rests_until
        self.made.abandon(ticket)
        assert self.rests_until == before

    @precondition(lambda self: not self.made.is_tripped and self.made.admits(self.now))
    @rule()
    def fail_until_it_opens(self):
        for _ in range(self.failures):
            if not self.made.is_tripped:
                self.made.end(begin(self.made), TimeoutError("slow"), self.now)
        assert self.made.is_tripped

    @invariant()
    def one_probe_at_most(self):
        probes = [ticket for ticket, _ in self.open if ticket.is_probe]
        assert len(probes) <= 1
        assert not (probes and self.made.admits(self.now))

    @invariant()
    def never_before_the_rest_is_over(self):
        if self.now < self.asked_until or self.made.rest_seconds(self.now):
            assert not self.made.admits(self.now)

    @invariant()
    def never_shut_for_good(self):
        if not any(ticket.is_probe for ticket, _ in self.open):
            assert self.made.admits(self.rests_until)
            assert self.made.rest_seconds(self.now) <= LONGEST_REST_SECONDS

    @invariant()
    def always_an_explanation(self):
        refusal = self.made.refusal(self.now)
        assert (refusal.retry_after or 0.0) == self.made.rest_seconds(self.now)


BreakerMachine.TestCase.settings = settings(max_examples=60, deadline=None)
TestBreakerAgainstItsRules = BreakerMachine.TestCase
