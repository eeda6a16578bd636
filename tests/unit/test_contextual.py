"""The contextual trigger: when it looks at a room, what must hold, and what is a yes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_bot.config import ContextualTriggerConfig
from llm_bot.decisions import DecisionRecord, Outcome
from llm_bot.observability.sentences import IDLE_REASONS, sentence
from llm_bot.triggers.contextual import ContextualTrigger, Surveyed, is_yes
from tests.unit.builders import line


def contextual(**settings: Any) -> ContextualTrigger:
    return ContextualTrigger(ContextualTriggerConfig(type="contextual", **settings))


ALIVE = {"lines_since_tick": 1, "lines_since_own": 5, "others_present": 1, "waiting": 0}


@given(
    seconds=st.floats(min_value=0, max_value=86_400),
    chance=st.floats(min_value=0, max_value=1, exclude_max=True),
)
@example(seconds=0.0, chance=0.0)
def test_ticks_come_within_a_fifth_of_the_interval(seconds, chance):
    """An interval below 5 s counts as 5 s; a fifth earlier or later by chance (TICK-1)."""
    interval = contextual(evaluation_interval_seconds=seconds).interval(chance)

    asked = max(5.0, seconds)
    assert asked * 0.8 <= interval <= asked * 1.2


@pytest.mark.parametrize(("chance", "interval"), [(0.0, 80.0), (0.5, 100.0), (0.999999, 120.0)])
def test_chance_spreads_ticks_over_the_whole_jitter(chance, interval):
    """From a fifth earlier to a fifth later, the interval itself in the middle (TICK-1)."""
    found = contextual(evaluation_interval_seconds=100.0).interval(chance)

    assert interval == pytest.approx(found, rel=1e-4)


def test_it_is_never_asked_about_lines():
    """It fires on no line, whatever that says."""
    assert contextual().match(line("MyBot, join in!")) is None


@pytest.mark.parametrize(
    ("seen", "refusing"),
    [
        pytest.param({}, [], id="all-hold"),
        pytest.param({"others_present": None}, [], id="unknown-roster-counts-as-present"),
        pytest.param({"others_present": 40, "lines_since_tick": 99}, [], id="more-than-enough"),
        pytest.param({"lines_since_tick": 0}, ["new_line"], id="no-new-line"),
        pytest.param({"others_present": 0}, ["somebody_present"], id="bot-alone"),
        pytest.param(
            {"lines_since_own": 4}, ["min_messages_since_last_bot_message"], id="too-few-lines"
        ),
        pytest.param({"waiting": 1}, ["nothing_waiting"], id="something-waits"),
        pytest.param(
            {"lines_since_tick": 0, "others_present": 0, "lines_since_own": 0, "waiting": 8},
            list(IDLE_REASONS),
            id="nothing-holds",
        ),
    ],
)
def test_the_gates_of_a_tick(seen, refusing):
    """A new line, somebody there, enough lines of others, nothing waiting: all four (TICK-2)."""
    gates = contextual().gates(Surveyed(**{**ALIVE, **seen}))

    assert refusing == [gate.name for gate in gates if not gate.passed]
    assert list(IDLE_REASONS) == [gate.name for gate in gates]
    assert {gate.trigger for gate in gates} == {"contextual"}


def test_no_lines_are_needed_where_the_minimum_is_zero():
    """`min_messages_since_last_bot_message: 0` lets it speak after a line of its own."""
    trigger = contextual(min_messages_since_last_bot_message=0)

    assert all(gate.passed for gate in trigger.gates(Surveyed(1, 0, 1, 0)))


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (
            {"lines_since_tick": 0},
            "nobody has said anything since its last look (evaluation_interval_seconds)",
        ),
        ({"others_present": 0}, "nobody else is here"),
        (
            {"lines_since_own": 2},
            "lines of others since the bot's own last one: 2, wanted 5"
            " (min_messages_since_last_bot_message)",
        ),
        ({"waiting": 3}, "replies that wait to be said first: 3"),
    ],
)
def test_each_gate_has_words(seen, told):
    """What a tick lacked is told in words, with the setting where there is one."""
    gates = contextual().gates(Surveyed(**{**ALIVE, **seen}))
    record = DecisionRecord("id", "r", "", 0.0, "tick", Outcome.IDLE, gates=tuple(gates))

    assert f"The timer found nothing to join in on: {told}." == sentence(record)


YES = st.sampled_from(["yes", "Yes", "YES", "yEs"])


@given(
    before=st.text("\t\r\n \"'*_`([{.-", max_size=5),
    yes=YES,
    after=st.one_of(
        st.just(""), st.builds(str.__add__, st.sampled_from(" .,!;:*\n-)"), st.text(max_size=20))
    ),
)
def test_a_leading_yes_is_a_yes(before, yes, after):
    """In any case, quoted or marked up, whatever follows the word (TICK-5)."""
    assert is_yes(before + yes + after)


@given(st.text(max_size=30).filter(lambda text: "yes" not in text.lower()))
@example("")
@example("No.")
@example("ye s")
def test_an_answer_without_a_yes_is_a_no(answer):
    """Nothing but the word itself is one (TICK-5)."""
    assert not is_yes(answer)


@given(
    yes=YES,
    more=st.characters(categories=["L", "N"]).filter(str.isalnum),
    rest=st.text(max_size=10),
)
def test_a_longer_word_is_no_yes(yes, more, rest):
    """The word must end there: "yesterday" isn't one (TICK-5)."""
    assert not is_yes(yes + more + rest)


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=10), YES)
def test_a_yes_that_does_not_lead_is_a_no(word, yes):
    """Only how the answer begins counts: "I would say yes" isn't one (TICK-5)."""
    if not word.lower().startswith("yes"):
        assert not is_yes(f"{word} {yes}")
