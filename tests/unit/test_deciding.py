"""Behaviour 4, "Deciding": the gates of each trigger in order, and what a refusal leads to."""

from __future__ import annotations

from typing import Any

import pytest

from llm_bot.config import RateLimitsConfig
from llm_bot.decisions import Gate, Outcome
from llm_bot.models import ChatLine
from llm_bot.rate_limiter import Permit, RateLimiter, Scope
from llm_bot.room import configure_triggers
from llm_bot.triggers.configured import first_match, room_demand, user_demand
from llm_bot.triggers.decide import Admit, Decision, Replace, Silent, decide
from llm_bot.triggers.gates import RoomFacts
from tests.unit.builders import line, pm, room_config

NOW = 1000.0
LIMITS = {
    "max_per_channel_per_minute": 5,
    "max_per_channel_per_hour": 30,
    "max_per_user_per_minute": 3,
    "max_per_user_per_hour": 10,
    "global_cooldown_seconds": 0.0,
    "media_change_cooldown_seconds": 30.0,
}
MENTION: dict[str, Any] = {"type": "mention"}
KEYWORD: dict[str, Any] = {"type": "keyword", "keywords": ["film"]}
PM: dict[str, Any] = {"type": "pm"}


class Bench:
    """A room's triggers and limits, and what there is to know when a line comes."""

    def __init__(self, *triggers: dict[str, Any], **limits: Any) -> None:
        config = room_config(triggers=list(triggers or (MENTION, KEYWORD, PM)))
        armed = configure_triggers(config.triggers, room="mychannel", names=("MyBot",))
        self.public = tuple(one for one in armed if one.kind != "pm")
        self.private = tuple(one for one in armed if one.kind == "pm")
        self.limits = RateLimitsConfig.model_validate({**LIMITS, **limits})
        self.limiter = RateLimiter()
        self.drawn = 0

    def hear(
        self, said: ChatLine | str, *, now: float = NOW, rng: float = 0.5, **known: Any
    ) -> Decision:
        heard = line(said) if isinstance(said, str) else said
        triggers = self.private if heard.kind == "pm" else self.public
        first = first_match(heard, triggers)
        if first is None:
            return Silent(Outcome.NO_MATCH)

        def draw() -> float:
            self.drawn += 1
            return rng

        circumstances = RoomFacts(
            **{
                "now": now,
                "is_silenced": False,
                "is_loop": False,
                "media_frees_in": 0.0,
                "media_cooldown": 30.0,
                "has_waiting": False,
                "queue_room": 4,
                **known,
            }
        )
        return decide(
            heard,
            triggers,
            first,
            limits=self.limits,
            limiter=self.limiter,
            circumstances=circumstances,
            rng=draw,
        )

    def admitted(self, said: ChatLine | str, **known: Any) -> Admit:
        decision = self.hear(said, **known)
        assert isinstance(decision, Admit)
        return decision

    def silent(self, said: ChatLine | str, **known: Any) -> Silent:
        decision = self.hear(said, **known)
        assert isinstance(decision, Silent)
        return decision

    def answered(self, said: ChatLine | str, *, now: float = NOW) -> None:
        """A line that was answered in the moment it came."""
        permit = self.admitted(said, now=now).permit
        permit.spend(now)
        permit.send(now)

    def used(self, user: str = "alice") -> tuple[int, int]:
        """What counts in the hour of the room and of a user."""
        demands = room_demand("mychannel", self.limits), user_demand(user, self.limits)
        counts = self.limiter.usage(demands, NOW)
        hours = [used for _, limit, used in counts if limit.name.endswith("hour")]
        return hours[0], hours[1]


class TestOutcomes:
    """The smallest situation for each outcome that deciding can give, and what it touches."""

    def test_nothing_matches(self):
        assert Bench().hear("hello") == Silent(Outcome.NO_MATCH)

    def test_a_mention_is_answered(self):
        decision = Bench().admitted("MyBot, hello")
        assert (decision.trigger.kind, decision.matched) == ("mention", "mybot")

    def test_a_keyword_is_answered(self):
        decision = Bench().admitted("which film?")
        assert (decision.trigger.kind, decision.matched) == ("keyword", "film")

    def test_a_private_message_is_answered(self):
        assert Bench().admitted(pm("hello")).trigger.kind == "pm"

    @pytest.mark.parametrize(
        ("triggers", "limits", "before", "known", "outcome"),
        [
            pytest.param([MENTION], {}, [], {"is_silenced": True}, Outcome.SILENCED, id="silenced"),
            pytest.param([MENTION], {}, [], {"is_loop": True}, Outcome.LOOP, id="loop"),
            pytest.param(
                [MENTION], {}, [], {"media_frees_in": 0.1}, Outcome.MEDIA_COOLDOWN, id="media"
            ),
            pytest.param(
                [{**MENTION, "cooldown_seconds": 10.0}],
                {},
                [("bob", 990.1)],
                {},
                Outcome.TRIGGER_COOLDOWN,
                id="trigger-cooldown",
            ),
            pytest.param(
                [MENTION],
                {"global_cooldown_seconds": 5.0},
                [("bob", 995.1)],
                {},
                Outcome.CHANNEL_COOLDOWN,
                id="channel-cooldown",
            ),
            pytest.param(
                [{**MENTION, "fire_probability": 0.5}],
                {},
                [],
                {"rng": 0.5},
                Outcome.PROBABILITY,
                id="probability",
            ),
            pytest.param(
                [{**MENTION, "fire_probability": 0.0}],
                {},
                [],
                {"rng": 0.0},
                Outcome.PROBABILITY,
                id="never",
            ),
            pytest.param(
                [MENTION],
                {"max_per_user_per_minute": 1},
                [("ALICE", 940.1)],
                {},
                Outcome.USER_LIMIT,
                id="user-minute",
            ),
            pytest.param(
                [MENTION],
                {"max_per_user_per_hour": 1},
                [("alice", -2599.9)],
                {},
                Outcome.USER_LIMIT,
                id="user-hour",
            ),
            pytest.param(
                [MENTION],
                {"max_per_channel_per_minute": 1},
                [("bob", 940.1)],
                {},
                Outcome.CHANNEL_LIMIT,
                id="channel-minute",
            ),
            pytest.param(
                [MENTION],
                {"max_per_channel_per_hour": 1},
                [("bob", -2599.9)],
                {},
                Outcome.CHANNEL_LIMIT,
                id="channel-hour",
            ),
            *(
                pytest.param(
                    [{**MENTION, "rate_limit": {name: 1}}],
                    {},
                    [("alice", now)],
                    {},
                    Outcome.TRIGGER_LIMIT,
                    id=f"trigger-{name}",
                )
                for name, now in (
                    ("max_per_user_per_minute", 940.1),
                    ("max_per_user_per_hour", -2599.9),
                    ("max_per_channel_per_minute", 940.1),
                    ("max_per_channel_per_hour", -2599.9),
                    ("max_per_hour", -2599.9),
                )
            ),
            pytest.param([MENTION], {}, [], {"queue_room": 0}, Outcome.QUEUE_FULL, id="queue"),
        ],
    )
    def test_silence(self, triggers, limits, before, known, outcome):
        bench = Bench(*triggers, **limits)
        for user, now in before:
            rng = {"rng": 0.0} if "rng" in known else {}
            permit = bench.admitted(line("MyBot!", user=user), now=now, **rng).permit
            permit.spend(now)
            permit.send(now)
        used = bench.used()
        decision = bench.silent("MyBot?", **known)
        assert (decision.outcome, decision.trigger) == (outcome, "mention")
        assert bench.used() == used  # a refusal takes nothing
        # At the edge of the window it has room again: all that was said lies 0.1 s within.
        if before:
            bench.admitted("MyBot?", now=NOW + 0.2)

    def test_other_users_have_limits_of_their_own(self):
        bench = Bench({**MENTION, "rate_limit": {"max_per_user_per_minute": 1}})
        bench.answered(line("MyBot!", user="bob"))
        bench.admitted(line("MyBot!", user="alice"))

    def test_a_cooldown_of_zero_is_none(self):
        bench = Bench(MENTION)
        bench.answered("MyBot!")
        bench.admitted("MyBot!")

    # LIMIT-5
    def test_a_public_cooldown_is_the_rooms_and_a_private_one_the_users(self):
        bench = Bench({**MENTION, "cooldown_seconds": 10.0}, {**PM, "cooldown_seconds": 5.0})
        bench.answered(line("MyBot!", user="bob"))
        assert bench.silent("MyBot!").outcome is Outcome.TRIGGER_COOLDOWN
        bench.answered(pm(user="Bob"))
        assert bench.silent(pm(user="BOB")).outcome is Outcome.TRIGGER_COOLDOWN
        bench.admitted(pm(user="alice"))


class TestPrivate:
    """Private messages count per user and in the pm trigger's own limits, not in the room's."""

    def test_a_change_of_media_silences_only_the_public_triggers(self):
        bench = Bench()
        bench.admitted(pm(), media_frees_in=20.0)
        assert bench.silent("MyBot!", media_frees_in=20.0).outcome is Outcome.MEDIA_COOLDOWN

    # LIMIT-3
    def test_the_rooms_limits_neither_refuse_nor_count_them(self):
        bench = Bench(max_per_channel_per_minute=1, global_cooldown_seconds=100.0)
        bench.answered(line("MyBot!", user="bob"))
        bench.admitted(pm())
        assert bench.used() == (1, 1)

    # LIMIT-4
    def test_they_count_for_the_user(self):
        bench = Bench(max_per_user_per_minute=1)
        bench.answered(pm())
        assert bench.silent("MyBot!").outcome is Outcome.USER_LIMIT
        assert bench.silent(pm()).outcome is Outcome.USER_LIMIT

    # TRIG-1
    def test_a_name_in_them_is_no_mention(self):
        assert Bench().admitted(pm("MyBot")).trigger.kind == "pm"

    def test_silenced_means_private_ones_too(self):
        assert Bench().silent(pm(), is_silenced=True) == Silent(
            Outcome.SILENCED, "pm", detail="alice"
        )


def names(decision: Admit | Silent) -> list[tuple[str, str, bool]]:
    return [(gate.trigger, gate.name, gate.passed) for gate in decision.gates]


BOTH = "MyBot, which film?"
"""A line that both public triggers match."""


class TestOrder:
    """Cooldown, then chance, then limits; mention before keyword (TRIG-5)."""

    # TRIG-1
    def test_mention_comes_before_keyword_however_they_are_listed(self):
        assert Bench(KEYWORD, MENTION).admitted(BOTH).trigger.kind == "mention"

    def test_a_trigger_that_is_not_enabled_is_not_asked(self):
        bench = Bench({**MENTION, "enabled": False}, KEYWORD)
        assert bench.admitted(BOTH).trigger.kind == "keyword"
        assert bench.hear("MyBot!") == Silent(Outcome.NO_MATCH)

    def test_a_cooldown_comes_before_chance(self):
        bench = Bench({**MENTION, "cooldown_seconds": 10.0, "fire_probability": 0.9})
        bench.answered("MyBot!")
        assert bench.silent("MyBot!", rng=0.95).outcome is Outcome.TRIGGER_COOLDOWN
        assert bench.drawn == 1

    def test_chance_comes_before_limits(self):
        bench = Bench({**MENTION, "fire_probability": 0.9}, max_per_user_per_minute=1)
        bench.answered("MyBot!")
        assert bench.silent("MyBot!", rng=0.95).outcome is Outcome.PROBABILITY
        assert bench.silent("MyBot!", rng=0.1).outcome is Outcome.USER_LIMIT

    def test_room_comes_before_user_before_trigger(self):
        full = {**MENTION, "rate_limit": {"max_per_hour": 1}}
        outcomes = []
        for channel, user in ((1, 1), (5, 1), (5, 3)):
            bench = Bench(full, max_per_channel_per_minute=channel, max_per_user_per_minute=user)
            bench.answered("MyBot!")
            outcomes.append(bench.silent("MyBot!").outcome)
        assert outcomes == [Outcome.CHANNEL_LIMIT, Outcome.USER_LIMIT, Outcome.TRIGGER_LIMIT]

    def test_a_full_lane_comes_before_limits(self):
        bench = Bench(max_per_user_per_minute=1)
        bench.answered("MyBot!")
        assert bench.silent("MyBot!", queue_room=0).outcome is Outcome.QUEUE_FULL

    # TRIG-3
    def test_silenced_comes_before_all(self):
        bench = Bench({**MENTION, "fire_probability": 0.5})
        decision = bench.silent("MyBot!", is_silenced=True, queue_room=0, media_frees_in=1.0)
        assert decision == Silent(Outcome.SILENCED, "mention", detail="mybot")
        assert bench.drawn == 0


class TestAfterARefusal:
    """The trigger's own refusal: the next one is tried. The user's or the room's: that ends it."""

    # TRIG-6

    # TRIG-6

    @pytest.mark.parametrize(
        ("first", "known"),
        [
            pytest.param({"cooldown_seconds": 60.0}, {}, id="own-cooldown"),
            pytest.param({"fire_probability": 0.4}, {"rng": 0.4}, id="probability"),
            pytest.param({"rate_limit": {"max_per_hour": 1}}, {}, id="own-limit"),
            pytest.param({"rate_limit": {"max_per_user_per_minute": 1}}, {}, id="own-user-limit"),
        ],
    )
    def test_the_next_trigger_is_tried(self, first, known):
        bench = Bench({**MENTION, **first}, KEYWORD)
        if not known:
            bench.answered("MyBot!")
        decision = bench.admitted(BOTH, **known)
        assert (decision.trigger.kind, decision.matched) == ("keyword", "film")
        assert [passed for kind, _, passed in names(decision) if kind == "mention"][-1] is False

    @pytest.mark.parametrize(
        ("limits", "known", "outcome"),
        [
            pytest.param({"max_per_user_per_minute": 1}, {}, Outcome.USER_LIMIT, id="user"),
            pytest.param({"max_per_channel_per_minute": 1}, {}, Outcome.CHANNEL_LIMIT, id="room"),
            pytest.param(
                {"global_cooldown_seconds": 9.0}, {}, Outcome.CHANNEL_COOLDOWN, id="cooldown"
            ),
            pytest.param({}, {"media_frees_in": 1.0}, Outcome.MEDIA_COOLDOWN, id="media"),
            pytest.param({}, {"queue_room": 0}, Outcome.QUEUE_FULL, id="queue"),
        ],
    )
    def test_no_other_is_tried(self, limits, known, outcome):
        bench = Bench(**limits)
        bench.answered("MyBot!")
        decision = bench.silent(BOTH, **known)
        assert (decision.outcome, decision.trigger) == (outcome, "mention")
        assert not [gate for gate in decision.gates if gate.trigger == "keyword"]

    # TRIG-7
    def test_the_outcome_is_the_refusal_of_the_first_that_matched(self):
        bench = Bench({**MENTION, "fire_probability": 0.5}, KEYWORD, max_per_user_per_minute=1)
        bench.answered("a film!")
        decision = bench.silent(BOTH, rng=0.5)
        assert (decision.outcome, decision.trigger) == (Outcome.PROBABILITY, "mention")
        assert names(decision)[0] == ("mention", "fire_probability", False)
        assert names(decision)[-1] == ("", "max_per_user_per_minute", False)

    def test_all_triggers_are_tried_in_turn(self):
        never = {"fire_probability": 0.0}
        more = [{"type": "keyword", "keywords": ["nothing"]}, KEYWORD, KEYWORD]
        bench = Bench({**MENTION, **never}, more[0], {**more[1], **never}, {**more[2], **never})
        decision = bench.silent(BOTH)
        assert decision.outcome is Outcome.PROBABILITY
        assert [kind for kind, *_ in names(decision)] == ["mention", "keyword", "keyword"]

    def test_two_keyword_triggers_have_cooldowns_of_their_own(self):
        bench = Bench(*[{**KEYWORD, "cooldown_seconds": 60.0}] * 2)
        bench.answered("film")
        bench.answered("film")
        assert bench.silent("film").outcome is Outcome.TRIGGER_COOLDOWN


class TestGates:
    """The gates of every trigger that matched are recorded with their values (OBS-9, TRIG-7)."""

    def test_those_of_an_admitted_line(self):
        bench = Bench(
            {
                **MENTION,
                "cooldown_seconds": 10.0,
                "fire_probability": 0.75,
                "rate_limit": {"max_per_user_per_minute": 2, "max_per_hour": 9},
            },
            global_cooldown_seconds=5.0,
        )
        bench.answered(line("MyBot!", user="bob"), now=980.0)
        assert bench.admitted("MyBot!", rng=0.25).gates == (
            Gate("cooldown_seconds", True, 0, 1, 10.0, trigger="mention"),
            Gate("fire_probability", True, 0.25, 0.75, trigger="mention"),
            Gate("max_per_channel_per_minute", True, 1, 5, 60.0),
            Gate("max_per_channel_per_hour", True, 1, 30, 3600.0),
            Gate("global_cooldown_seconds", True, 0, 1, 5.0),
            Gate("max_per_user_per_minute", True, 0, 3, 60.0),
            Gate("max_per_user_per_hour", True, 0, 10, 3600.0),
            Gate("max_per_hour", True, 1, 9, 3600.0, trigger="mention"),
            Gate("max_per_user_per_minute", True, 0, 2, 60.0, trigger="mention"),
        )

    def test_what_is_under_way_is_counted(self):
        """A first line still held: the second one's gates say so."""
        bench = Bench()
        bench.admitted(line("MyBot!", user="bob"))
        gates = bench.admitted("MyBot!").gates
        assert [gate.value for gate in gates if gate.name.startswith("max_per_channel")] == [1, 1]

    def test_a_limit_that_refuses_says_how_full_and_when_it_frees_up(self):
        bench = Bench(max_per_user_per_minute=1)
        bench.answered("MyBot!", now=970.0)
        assert bench.silent("MyBot!").gates[-1] == Gate(
            "max_per_user_per_minute", False, 1, 1, 60.0, frees_in_seconds=30.0
        )

    def test_nothing_is_noted_beyond_the_limit_that_refused(self):
        bench = Bench(max_per_channel_per_hour=1)
        bench.answered("MyBot!")
        assert names(bench.silent("MyBot!")) == [
            ("", "max_per_channel_per_minute", True),
            ("", "max_per_channel_per_hour", False),
        ]

    def test_a_cooldown_that_refuses(self):
        bench = Bench({**MENTION, "cooldown_seconds": 10.0})
        bench.answered("MyBot!", now=996.0)
        assert bench.silent("MyBot!").gates == (
            Gate("cooldown_seconds", False, 1, 1, 10.0, frees_in_seconds=6.0, trigger="mention"),
        )

    def test_a_limit_of_its_own_that_refuses_names_the_trigger(self):
        bench = Bench({**MENTION, "rate_limit": {"max_per_hour": 1}})
        bench.answered("MyBot!")
        assert names(bench.silent("MyBot!"))[-1] == ("mention", "max_per_hour", False)

    def test_limits_of_the_same_name_are_told_apart_by_their_owner(self):
        bench = Bench({**MENTION, "rate_limit": {"max_per_user_per_minute": 1}})
        bench.answered("MyBot!")
        assert names(bench.silent("MyBot!"))[2:] == [
            ("", "max_per_user_per_minute", True),
            ("", "max_per_user_per_hour", True),
            ("mention", "max_per_user_per_minute", False),
        ]

    def test_what_is_held_frees_up_nobody_knows_when(self):
        bench = Bench({**MENTION, "cooldown_seconds": 10.0})
        bench.admitted("MyBot!")
        assert bench.silent("MyBot!").gates[0].frees_in_seconds is None

    def test_a_change_of_media(self):
        gates = Bench().silent("MyBot!", media_frees_in=20.0).gates
        assert gates == (Gate("media_change_cooldown_seconds", False, 10.0, 30.0, 30.0, 20.0),)

    def test_a_full_lane(self):
        assert Bench().silent("MyBot!", queue_room=0).gates == (
            Gate("queue_size", False, 0, 1, trigger="mention"),
        )


class TestChance:
    """Chance is an argument; 1 always fires, 0 never, and neither needs a draw of 1."""

    @pytest.mark.parametrize(
        ("probability", "drawn", "fires"),
        [(0.3, 0.299, True), (0.3, 0.3, False), (0.0, 0.0, False), (0.999, 0.998, True)],
    )
    def test_it_fires_below_the_probability(self, probability, drawn, fires):
        bench = Bench({**MENTION, "fire_probability": probability})
        assert isinstance(bench.hear("MyBot!", rng=drawn), Admit) is fires

    def test_certainty_draws_nothing(self):
        bench = Bench()
        bench.admitted("MyBot!", rng=1.0)
        assert bench.drawn == 0


class TestPermits:
    """An admitted line holds a permit everywhere; a refused one nowhere."""

    def test_the_permit_is_held_in_all(self):
        bench = Bench({**MENTION, "cooldown_seconds": 10.0, "rate_limit": {"max_per_hour": 1}})
        permit = bench.admitted("MyBot!").permit
        assert isinstance(permit, Permit)
        assert bench.used() == (1, 1)
        permit.give_back()
        assert bench.used() == (0, 0)
        bench.admitted("MyBot!")

    def test_a_trigger_that_refuses_holds_nothing_while_the_next_fires(self):
        bench = Bench({**MENTION, "rate_limit": {"max_per_user_per_minute": 1}}, KEYWORD)
        bench.answered("MyBot!", now=990.0)
        bench.admitted(BOTH)
        assert bench.used() == (2, 2)

    def test_the_room_is_counted_whatever_the_spelling_of_the_user(self):
        bench = Bench(max_per_user_per_minute=1)
        bench.answered(line("MyBot!", user="Alice"))
        decision = bench.silent(line("MyBot!", user="aLICE"))
        assert decision.outcome is Outcome.USER_LIMIT

    def test_scopes_of_the_demands(self):
        bench = Bench()
        assert room_demand("r", bench.limits).scope is Scope.ROOM
        assert user_demand("u", bench.limits).scope is Scope.USER


class TestReplacing:
    """A newer line of a user whose job waits replaces it before limits are looked at (TRIG-4)."""

    def test_it_takes_the_place_whatever_the_limits_say(self):
        bench = Bench(max_per_user_per_minute=1, max_per_channel_per_minute=1)
        bench.admitted("MyBot, an earlier one")
        used = bench.used()
        decision = bench.hear("the film", has_waiting=True, queue_room=0)
        assert isinstance(decision, Replace)
        assert (decision.trigger.kind, decision.matched) == ("keyword", "film")
        assert bench.used() == used

    def test_a_line_that_matches_nothing_replaces_nothing(self):
        bench = Bench()
        assert bench.hear("never mind", has_waiting=True) == Silent(Outcome.NO_MATCH)

    @pytest.mark.parametrize(
        ("known", "outcome"),
        [
            ({"is_silenced": True}, Outcome.SILENCED),
            ({"is_loop": True}, Outcome.LOOP),
            ({"media_frees_in": 1.0}, Outcome.MEDIA_COOLDOWN),
            ({"rng": 0.9}, Outcome.PROBABILITY),
        ],
    )
    def test_what_would_silence_it_anyway_replaces_nothing(self, known, outcome):
        """The job that waits stays, with its permit (TRIG-4)."""
        bench = Bench({**MENTION, "fire_probability": 0.9})
        bench.admitted("MyBot, an earlier one")
        used = bench.used()
        assert bench.silent("MyBot!", has_waiting=True, **known).outcome is outcome
        assert bench.used() == used

    def test_cooldown_limits_and_queue_are_not_asked(self):
        """The permit that it takes over fills them already (TRIG-4)."""
        full = {"cooldown_seconds": 60.0, "rate_limit": {"max_per_hour": 1}}
        bench = Bench({**MENTION, **full}, max_per_user_per_hour=1, global_cooldown_seconds=9.0)
        decision = bench.hear("MyBot!", has_waiting=True, queue_room=0)
        assert isinstance(decision, Replace)
        assert decision.gates == ()

    def test_the_next_trigger_that_passes_replaces_it(self):
        """Where chance is against the first, the second may take the place (TRIG-4, TRIG-6)."""
        bench = Bench({**MENTION, "fire_probability": 0.9}, KEYWORD)
        decision = bench.hear(BOTH, has_waiting=True, rng=0.9)
        assert isinstance(decision, Replace)
        assert decision.trigger.kind == "keyword"
