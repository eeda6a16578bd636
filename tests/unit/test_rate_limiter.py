"""Behaviour 4, "Limits": sliding windows, taken all at once or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from llm_bot.rate_limiter import (
    IDLE_SECONDS,
    SWEEP_SECONDS,
    Demand,
    Limit,
    Permit,
    RateLimiter,
    Refusal,
    Scope,
)

TWO_A_MINUTE = Limit("max_per_channel_per_minute", 2, 60.0)
COOLDOWN = Limit("cooldown_seconds", 1, 10.0)


def room(*limits: Limit, key: str = "room") -> Demand:
    return Demand(Scope.ROOM, ("room", key), limits)


def user(*limits: Limit, key: str = "alice") -> Demand:
    return Demand(Scope.USER, ("user", key), limits)


def trigger(*limits: Limit, key: str = "mention") -> Demand:
    return Demand(Scope.TRIGGER, ("trigger", key), limits)


def admitted(limiter: RateLimiter, *demands: Demand, now: float) -> Permit:
    permit = limiter.admit(demands, now)
    assert isinstance(permit, Permit)
    return permit


def said(limiter: RateLimiter, *demands: Demand, now: float) -> None:
    """A reply that was admitted, asked for and sent in one moment."""
    permit = admitted(limiter, *demands, now=now)
    permit.spend(now)
    permit.send(now)


def refused(limiter: RateLimiter, *demands: Demand, now: float) -> Refusal:
    refusal = limiter.admit(demands, now)
    assert isinstance(refusal, Refusal)
    return refusal


class TestWindows:
    """What happened at t counts in a window of w seconds until t + w, no longer at t + w."""

    # REQ-2, LIMIT-1

    # REQ-2, LIMIT-1

    @pytest.mark.parametrize(
        ("at", "window", "now", "used"),
        [
            pytest.param(0.0, 60.0, 0.0, 1, id="at-once"),
            pytest.param(0.0, 60.0, 59.999, 1, id="just-before"),
            pytest.param(0.0, 60.0, 60.0, 0, id="at-the-edge"),
            pytest.param(0.0, 60.0, 60.001, 0, id="after"),
            pytest.param(0.1, 0.2, 0.3, 1, id="awkward-0.1+0.2-is-above-0.3"),
            pytest.param(0.1, 0.2, 0.1 + 0.2, 0, id="awkward-edge"),
            pytest.param(0.7, 0.1, 0.8, 0, id="awkward-0.7+0.1-is-below-0.8"),
            pytest.param(0.5, 0.1, 0.6, 0, id="awkward-0.6-0.5-is-below-0.1"),
        ],
    )
    def test_edges(self, at, window, now, used):
        limiter, demand = RateLimiter(), room(Limit("limit", 5, window))
        said(limiter, demand, now=at)
        assert limiter.usage([demand], now) == [(Scope.ROOM, demand.limits[0], used)]

    @pytest.mark.parametrize(
        ("now", "is_admitted"),
        [(0.0, False), (9.999, False), (10.0, True)],
        ids=["at-once", "just-before", "at-the-edge"],
    )
    def test_a_cooldown_is_a_window_of_one(self, now, is_admitted):
        limiter = RateLimiter()
        said(limiter, trigger(COOLDOWN), now=0.0)
        assert isinstance(limiter.admit([trigger(COOLDOWN)], now), Permit) is is_admitted

    def test_a_window_slides(self):
        limiter = RateLimiter()
        for now in (0.0, 30.0, 60.0, 90.0):
            said(limiter, room(TWO_A_MINUTE), now=now)
            assert limiter.remaining(room(TWO_A_MINUTE), now) == (1 if now == 0.0 else 0)

    def test_a_short_window_does_not_shorten_the_memory_of_a_long_one(self):
        limiter, minute, hour = RateLimiter(), Limit("m", 9, 60.0), Limit("h", 2, 3600.0)
        said(limiter, room(minute, hour), now=0.0)
        said(limiter, room(minute), now=1000.0)
        assert limiter.remaining(room(hour), 3599.0) == 0
        assert limiter.remaining(room(hour), 3600.0) == 1

    # LIMIT-6
    def test_what_is_held_counts_however_long_it_takes(self):
        limiter = RateLimiter()
        admitted(limiter, room(COOLDOWN), now=0.0)
        assert refused(limiter, room(COOLDOWN), now=50_000.0).used == 1

    # LIMIT-6
    def test_the_room_counts_from_the_send_on_not_from_the_admission(self):
        limiter = RateLimiter()
        permit = admitted(limiter, room(COOLDOWN), now=0.0)
        permit.send(40.0)
        assert refused(limiter, room(COOLDOWN), now=49.9).used == 1
        admitted(limiter, room(COOLDOWN), now=50.0)


class TestPermits:
    """Every window has room and a permit is taken in all, or none is touched."""

    # LIMIT-2
    @pytest.mark.parametrize("full", [0, 1, 2], ids=["room", "user", "trigger"])
    def test_a_refusal_touches_nothing(self, full):
        limiter, demands = RateLimiter(), (room(COOLDOWN), user(COOLDOWN), trigger(COOLDOWN))
        said(limiter, demands[full], now=0.0)
        refusal = refused(limiter, *demands, now=1.0)
        assert refusal.scope is demands[full].scope
        used = [used for *_, used in limiter.usage(demands, 1.0)]
        assert used == [int(at == full) for at in range(3)]
        assert len(limiter) == 1

    def test_an_admission_takes_a_permit_in_all(self):
        limiter, demands = RateLimiter(), (room(COOLDOWN), user(COOLDOWN), trigger(COOLDOWN))
        admitted(limiter, *demands, now=0.0)
        assert [used for *_, used in limiter.usage(demands, 0.0)] == [1, 1, 1]

    def test_the_first_that_refuses_is_named(self):
        limiter, demands = RateLimiter(), (room(COOLDOWN), user(COOLDOWN), trigger(COOLDOWN))
        said(limiter, *demands, now=0.0)
        assert refused(limiter, *demands, now=1.0).scope is Scope.ROOM
        assert refused(limiter, *demands[1:], now=1.0).scope is Scope.USER

    def test_a_demand_without_limits_is_not_remembered(self):
        limiter = RateLimiter()
        said(limiter, trigger(), now=0.0)
        assert len(limiter) == 0

    @pytest.mark.parametrize(
        ("act", "used"),
        [
            pytest.param(lambda permit: None, (1, 1, 1), id="held"),
            pytest.param(lambda permit: permit.send(0.0), (0, 1, 1), id="sent"),
            pytest.param(lambda permit: permit.spend(0.0), (1, 0, 0), id="spent"),
            pytest.param(lambda permit: permit.give_back(), (0, 0, 0), id="given-back"),
        ],
    )
    def test_the_send_stamps_the_room_and_the_request_the_others(self, act, used):
        """A minute later, only what is still held counts."""
        limiter, demands = RateLimiter(), (room(COOLDOWN), user(COOLDOWN), trigger(COOLDOWN))
        act(admitted(limiter, *demands, now=0.0))
        assert tuple(used for *_, used in limiter.usage(demands, 60.0)) == used

    # LIMIT-7
    def test_a_reply_that_is_filtered_away_costs_the_user_but_not_the_room(self):
        limiter, demands = RateLimiter(), (room(COOLDOWN), user(COOLDOWN))
        permit = admitted(limiter, *demands, now=0.0)
        permit.spend(1.0)
        permit.give_back()
        assert [used for *_, used in limiter.usage(demands, 2.0)] == [0, 1]

    # LIMIT-8
    @pytest.mark.parametrize("repeated", ["send", "spend", "give_back"])
    def test_each_is_done_once(self, repeated):
        limiter, demands = RateLimiter(), (room(TWO_A_MINUTE), user(TWO_A_MINUTE))
        permit = admitted(limiter, *demands, now=0.0)
        actions = {
            "send": lambda now: permit.send(now),
            "spend": lambda now: permit.spend(now),
            "give_back": lambda now: permit.give_back(),
        }
        actions[repeated](0.0)
        once = limiter.usage(demands, 0.0)
        actions[repeated](0.0)
        assert limiter.usage(demands, 0.0) == once

    def test_nothing_is_given_back_after_it_was_used(self):
        limiter, demands = RateLimiter(), (room(TWO_A_MINUTE), user(TWO_A_MINUTE))
        permit = admitted(limiter, *demands, now=0.0)
        permit.spend(0.0)
        permit.send(0.0)
        permit.give_back()
        assert [used for *_, used in limiter.usage(demands, 0.0)] == [1, 1]

    def test_nothing_is_used_after_it_was_given_back(self):
        limiter, demands = RateLimiter(), (room(TWO_A_MINUTE), user(TWO_A_MINUTE))
        permit = admitted(limiter, *demands, now=0.0)
        permit.give_back()
        permit.spend(0.0)
        permit.send(0.0)
        assert [used for *_, used in limiter.usage(demands, 0.0)] == [0, 0]


class TestRefusals:
    """The decision says which refused first, how full it was, and when it frees up."""

    # LIMIT-2
    def test_it_says_everything(self):
        limiter = RateLimiter()
        said(limiter, user(TWO_A_MINUTE), now=0.0)
        said(limiter, user(TWO_A_MINUTE), now=20.0)
        expected = Refusal(Scope.USER, TWO_A_MINUTE, used=2, frees_in_seconds=35.0)
        assert limiter.admit([room(COOLDOWN), user(TWO_A_MINUTE)], 25.0) == expected

    def test_asking_alone_says_the_same_and_takes_nothing(self):
        limiter = RateLimiter()
        assert limiter.refusal([user(COOLDOWN)], 0.0) is None
        assert limiter.admit([user(COOLDOWN)], 0.0) is not None
        assert limiter.refusal([user(COOLDOWN)], 0.0) == limiter.admit([user(COOLDOWN)], 0.0)

    def test_the_limits_of_a_demand_are_asked_in_their_order(self):
        limiter = RateLimiter()
        said(limiter, room(COOLDOWN), now=0.0)
        wide = Limit("wide", 1, 3600.0)
        assert refused(limiter, room(wide, COOLDOWN), now=1.0).limit is wide
        assert refused(limiter, room(COOLDOWN, wide), now=1.0).limit is COOLDOWN

    def test_held_and_said_frees_when_the_oldest_that_is_one_too_many_leaves(self):
        limiter, limit = RateLimiter(), Limit("limit", 3, 60.0)
        for now in (0.0, 10.0):
            said(limiter, room(limit), now=now)
        admitted(limiter, room(limit), now=20.0)
        assert refused(limiter, room(limit), now=30.0).frees_in_seconds == 30.0

    def test_more_was_said_than_a_smaller_limit_allows(self):
        """A room with a smaller limit judges the same history of a user."""
        limiter, wide, narrow = RateLimiter(), Limit("l", 4, 60.0), Limit("l", 1, 60.0)
        for now in (0.0, 10.0, 20.0):
            said(limiter, user(wide), now=now)
        expected = Refusal(Scope.USER, narrow, used=3, frees_in_seconds=50.0)
        assert limiter.admit([user(narrow)], 30.0) == expected

    def test_where_what_is_held_fills_it_nobody_knows_when(self):
        limiter = RateLimiter()
        admitted(limiter, room(COOLDOWN), now=0.0)
        assert refused(limiter, room(COOLDOWN), now=1.0).frees_in_seconds is None

    def test_what_is_held_may_alone_exceed_a_smaller_limit(self):
        limiter = RateLimiter()
        for _ in range(2):
            admitted(limiter, user(TWO_A_MINUTE), now=0.0)
        assert refused(limiter, user(COOLDOWN), now=1.0) == Refusal(Scope.USER, COOLDOWN, 2, None)

    def test_remaining_is_what_the_tightest_limit_leaves(self):
        limiter, demand = RateLimiter(), room(TWO_A_MINUTE, Limit("hour", 3, 3600.0))
        left = []
        for now in (0.0, 0.0, 60.0, 60.0):
            left.append(limiter.remaining(demand, now))
            limiter.admit([demand], now)
        assert left == [2, 1, 0, 0]
        assert limiter.remaining(room(), 0.0) == 0

    def test_remaining_is_never_below_zero(self):
        limiter = RateLimiter()
        for _ in range(2):
            admitted(limiter, user(TWO_A_MINUTE), now=0.0)
        assert limiter.remaining(user(COOLDOWN), 0.0) == 0


class TestHistories:
    """One history a user over all rooms; state of users idle for over an hour is dropped."""

    # LIMIT-4
    def test_a_user_over_two_rooms_is_limited_once(self):
        limiter = RateLimiter()
        said(limiter, room(TWO_A_MINUTE, key="a"), user(TWO_A_MINUTE), now=0.0)
        said(limiter, room(TWO_A_MINUTE, key="b"), user(TWO_A_MINUTE), now=1.0)
        for key in "ab":
            demands = room(TWO_A_MINUTE, key=key), user(TWO_A_MINUTE)
            assert refused(limiter, *demands, now=2.0).scope is Scope.USER
        admitted(limiter, room(TWO_A_MINUTE, key="a"), user(TWO_A_MINUTE, key="bob"), now=2.0)

    def test_rooms_do_not_limit_each_other(self):
        limiter = RateLimiter()
        said(limiter, room(COOLDOWN, key="a"), now=0.0)
        admitted(limiter, room(COOLDOWN, key="b"), now=0.0)

    # LIMIT-9
    @pytest.mark.parametrize(
        ("idle_seconds", "left"),
        [(IDLE_SECONDS, 2), (IDLE_SECONDS + 1, 1)],
        ids=["an-hour", "over-an-hour"],
    )
    def test_an_idle_history_is_dropped(self, idle_seconds, left):
        limiter = RateLimiter()
        said(limiter, user(COOLDOWN), now=0.0)
        said(limiter, user(COOLDOWN, key="bob"), now=idle_seconds)
        assert len(limiter) == left

    def test_one_that_is_held_is_kept(self):
        limiter = RateLimiter()
        permit = admitted(limiter, user(COOLDOWN), now=0.0)
        said(limiter, user(COOLDOWN, key="bob"), now=9000.0)
        permit.spend(9001.0)
        assert refused(limiter, user(COOLDOWN), now=9002.0).used == 1

    def test_one_that_a_longer_window_needs_is_kept(self):
        limiter, daily = RateLimiter(), Limit("cooldown_seconds", 1, 86_400.0)
        said(limiter, trigger(daily), now=0.0)
        said(limiter, user(COOLDOWN), now=80_000.0)
        assert refused(limiter, trigger(daily), now=80_001.0).used == 1

    # LIMIT-9
    def test_idle_ones_are_looked_for_now_and_then(self):
        limiter = RateLimiter()
        said(limiter, user(COOLDOWN), now=1.0)
        said(limiter, user(COOLDOWN, key="b"), now=IDLE_SECONDS)
        said(limiter, user(COOLDOWN, key="c"), now=IDLE_SECONDS + SWEEP_SECONDS - 1)
        assert len(limiter) == 3
        said(limiter, user(COOLDOWN, key="d"), now=IDLE_SECONDS + SWEEP_SECONDS)
        assert len(limiter) == 3

    def test_a_hundred_thousand_names_do_not_grow_it(self):
        limiter = RateLimiter()
        for number in range(100_000):
            said(limiter, user(COOLDOWN, key=str(number)), now=float(number))
        assert len(limiter) <= IDLE_SECONDS + SWEEP_SECONDS + 2

    def test_refusals_leave_nothing_behind(self):
        limiter = RateLimiter()
        said(limiter, room(COOLDOWN), now=0.0)
        for number in range(100):
            refused(limiter, room(COOLDOWN), user(COOLDOWN, key=str(number)), now=1.0)
        assert len(limiter) == 1


@dataclass
class Facts:
    """Everything that ever happened to one history, and what is under way: the brute force."""

    happened: list[float] = field(default_factory=list)
    held: int = 0

    def used(self, limit: Limit, now: float) -> int:
        return self.held + sum(1 for t in self.happened if now < t + limit.window_seconds)

    def frees_in(self, limit: Limit, now: float) -> float | None:
        """The first edge of the window at which there is room, if nothing else happens."""
        edges = (t + limit.window_seconds for t in self.happened)
        free = [t for t in edges if t > now and self.used(limit, t) < limit.count]
        return min(free) - now if free else None


@dataclass
class Reply:
    """A permit, and the histories in which it is still held."""

    permit: Permit
    in_room: list[Facts]
    in_others: list[Facts]


ROOM_LIMITS = {
    "a": (Limit("minute", 2, 1.0), Limit("hour", 3, 5.0), Limit("global", 1, 0.3)),
    "b": (Limit("minute", 2, 0.7), Limit("hour", 4, 5000.0)),
    "c": (Limit("minute", 3, 0.1),),
}
USER_LIMITS = {
    "a": (Limit("minute", 2, 1.0), Limit("hour", 3, 60.0)),
    "b": (Limit("minute", 1, 1.0), Limit("hour", 5, 60.0)),
    "c": (Limit("minute", 3, 1.0), Limit("hour", 3, 60.0)),
}
"""The windows are the same everywhere, the counts are those of the room that asks."""

TRIGGER_LIMITS = {"mention": (Limit("cooldown", 1, 0.2),), "keyword": (), "pm": (COOLDOWN,)}

STEPS = st.sampled_from([0.1, 0.1, 0.2, 0.3, 0.7, 1.0, 1 / 3, 4.9, 59.9, 60.0, 4000.0, 9000.0])


class LimiterMachine(RuleBasedStateMachine):
    """Any interleaving of admissions, sends, spends, give-backs and time, against `Facts`."""

    def __init__(self) -> None:
        super().__init__()
        self.limiter = RateLimiter()
        self.facts: dict[Any, Facts] = {}
        self.replies: list[Reply] = []
        self.now = 0.0

    @initialize(start=st.sampled_from([0.0, 0.1, 12345.678, 1e6 + 0.3]))
    def begin(self, start: float) -> None:
        self.now = start

    @rule(step=STEPS)
    def wait(self, step: float) -> None:
        self.now += step

    @rule(place=st.sampled_from("abc"), name=st.sampled_from("xyz"), kind=st.sampled_from("mkp"))
    def ask(self, place: str, name: str, kind: str) -> None:
        demands = self._demands(place, name, kind)
        expected = self._expected(demands)
        result = self.limiter.admit(demands, self.now)
        if expected is not None:
            assert result == expected
            return
        assert isinstance(result, Permit)
        reply = Reply(result, [], [])
        for demand in demands:
            if demand.limits:
                known = self.facts.setdefault(demand.key, Facts())
                known.held += 1
                own = reply.in_room if demand.scope is Scope.ROOM else reply.in_others
                own.append(known)
        self.replies.append(reply)

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), times=st.integers(1, 2))
    def send(self, data: st.DataObject, times: int) -> None:
        reply = data.draw(st.sampled_from(self.replies))
        for _ in range(times):
            reply.permit.send(self.now)
        self._settle(reply.in_room)

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), times=st.integers(1, 2))
    def spend(self, data: st.DataObject, times: int) -> None:
        reply = data.draw(st.sampled_from(self.replies))
        for _ in range(times):
            reply.permit.spend(self.now)
        self._settle(reply.in_others)

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), times=st.integers(1, 2))
    def give_back(self, data: st.DataObject, times: int) -> None:
        reply = data.draw(st.sampled_from(self.replies))
        for _ in range(times):
            reply.permit.give_back()
        for known in (*reply.in_room, *reply.in_others):
            known.held -= 1
        reply.in_room.clear()
        reply.in_others.clear()

    @invariant()
    def no_window_of_lines_said_is_exceeded(self) -> None:
        for place, limits in ROOM_LIMITS.items():
            self._check_windows(("room", place), limits)
        for name in "xyz":
            widest = (Limit("minute", 3, 1.0), Limit("hour", 5, 60.0))
            self._check_windows(("user", name), widest)

    @invariant()
    def no_slot_is_lost(self) -> None:
        for place, limits in ROOM_LIMITS.items():
            demand = Demand(Scope.ROOM, ("room", place), limits)
            known = self.facts.get(demand.key, Facts())
            left = min(limit.count - known.used(limit, self.now) for limit in limits)
            assert self.limiter.remaining(demand, self.now) == max(0, left)

    @invariant()
    def no_history_outgrows_its_bound(self) -> None:
        for key, history in self.limiter._histories.items():
            assert 0 <= history.held <= 5
            assert len(history) + history.held <= 5, key

    def teardown(self) -> None:
        """Once everything has ended and an hour has passed, every slot is there again."""
        for reply in self.replies:
            reply.permit.give_back()
        self.now += 10_000.0
        for demand in (d for place in "abc" for d in self._demands(place, "x", "m")):
            if demand.limits:
                fewest = min(limit.count for limit in demand.limits)
                assert self.limiter.remaining(demand, self.now) == fewest
        admitted(self.limiter, user(COOLDOWN, key="somebody new"), now=self.now)
        assert len(self.limiter) == 1

    def _demands(self, place: str, name: str, kind: str) -> list[Demand]:
        of_user = Demand(Scope.USER, ("user", name), USER_LIMITS[place])
        if kind == "p":
            key = ("trigger", place, "pm", name)
            return [of_user, Demand(Scope.TRIGGER, key, TRIGGER_LIMITS["pm"])]
        kinds = {"m": "mention", "k": "keyword"}
        key = ("trigger", place, kinds[kind], "")
        of_trigger = Demand(Scope.TRIGGER, key, TRIGGER_LIMITS[kinds[kind]])
        return [Demand(Scope.ROOM, ("room", place), ROOM_LIMITS[place]), of_user, of_trigger]

    def _expected(self, demands: list[Demand]) -> Refusal | None:
        for demand in demands:
            known = self.facts.get(demand.key, Facts())
            for limit in demand.limits:
                used = known.used(limit, self.now)
                if used >= limit.count:
                    frees_in = known.frees_in(limit, self.now)
                    return Refusal(demand.scope, limit, used, frees_in)
        return None

    def _settle(self, held: list[Facts]) -> None:
        for known in held:
            known.held -= 1
            known.happened.append(self.now)
        held.clear()

    def _check_windows(self, key: Any, limits: tuple[Limit, ...]) -> None:
        """From the first of any `count + 1` lines in a row, its window has passed at the last."""
        happened = self.facts.get(key, Facts()).happened
        for limit in limits:
            for first, last in zip(happened, happened[limit.count :], strict=False):
                assert first + limit.window_seconds <= last


TestLimiterMachine = LimiterMachine.TestCase
TestLimiterMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


class TestSurvivorsOfMutation:
    """What a run of mutation tests found unguarded."""

    def test_a_history_forgets_what_no_window_reaches(self):
        """However long a user goes on, his history holds no more than one window's worth."""
        limiter = RateLimiter()
        demand = Demand(Scope.USER, ("user", "bob"), (Limit("most", 3, 10.0),))
        for number in range(500):
            permit = limiter.admit([demand], number * 4.0)
            assert isinstance(permit, Permit)
            permit.spend(number * 4.0)

        (history,) = limiter._histories.values()
        assert len(history) <= 3

    def test_an_unknown_history_hides_no_other(self):
        """A history that is still empty doesn't keep the ones after it from being asked."""
        limiter = RateLimiter()
        room = Demand(Scope.ROOM, ("room", "a"), (Limit("room", 1, 10.0),))
        user = Demand(Scope.USER, ("user", "bob"), (Limit("user", 1, 10.0),))
        first = limiter.admit([user], 0.0)
        assert isinstance(first, Permit)
        first.spend(0.0)

        refusal = limiter.refusal([room, user], 1.0)

        assert refusal is not None
        assert refusal.scope is Scope.USER

    def test_a_demand_without_limits_hides_no_other(self):
        """A demand that asks for nothing doesn't keep the ones after it from being taken."""
        limiter = RateLimiter()
        nothing = Demand(Scope.TRIGGER, ("trigger", "a"), ())
        user = Demand(Scope.USER, ("user", "bob"), (Limit("user", 1, 10.0),))
        assert isinstance(limiter.admit([nothing, user], 0.0), Permit)

        assert isinstance(limiter.admit([nothing, user], 0.0), Refusal)
