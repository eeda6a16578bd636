"""Loops: the bot with itself, the bot with another bot."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.decisions import Outcome
from llm_bot.room.loops import MAX_USERS, QUICK_ANSWERS, LoopDetector
from tests.unit.stage import Stage


def exchange(detector: LoopDetector, user: str, *, start: float, every: float, times: int) -> int:
    """`user` writes `times` times, `every` seconds apart, and is answered 0.5 s later unless it
    is a loop. Returns how often he was answered."""
    answered = 0
    for number in range(times):
        now = start + number * every
        if detector.is_loop(user, now):
            continue
        detector.note_answered(user, now)
        detector.note_own(now + 0.5)
        answered += 1
    return answered


def test_a_bot_that_answers_at_once_is_left_alone() -> None:
    """After five quick answers within a minute the user is taken for a bot."""
    detector = LoopDetector()
    detector.note_own(-1.0)

    assert exchange(detector, "otherbot", start=0.0, every=2.0, times=20) == QUICK_ANSWERS


def test_a_person_who_takes_his_time_is_not_a_loop() -> None:
    """Lines that come more than 3 s after the bot's own last one never make a loop."""
    assert exchange(LoopDetector(), "bob", start=0.0, every=3.6, times=50) == 50


def test_a_pause_ends_the_loop() -> None:
    """A user taken for a bot is answered again after a pause of more than 3 s."""
    detector = LoopDetector()
    detector.note_own(-1.0)
    exchange(detector, "otherbot", start=0.0, every=1.0, times=10)

    assert detector.is_loop("otherbot", 12.0)
    assert not detector.is_loop("otherbot", 15.1)


def test_others_in_between_change_nothing() -> None:
    """Lines of other people don't hide a loop, nor are they drawn into it."""
    detector = LoopDetector()
    detector.note_own(-1.0)
    for number in range(QUICK_ANSWERS):
        assert not detector.is_loop("otherbot", number * 2.0)
        detector.note_answered("otherbot", number * 2.0)
        detector.note_own(number * 2.0 + 0.5)
        detector.note_other()

    assert detector.is_loop("otherbot", 10.0)
    assert not detector.is_loop("alice", 10.0)


def test_answers_spread_over_more_than_a_minute_are_no_loop() -> None:
    """Only five within one minute count."""
    detector = LoopDetector()
    for number in range(20):
        now = number * 16.0
        detector.note_own(now - 1.0)
        assert not detector.is_loop("bob", now)
        detector.note_answered("bob", now)


def test_own_lines_are_counted_until_somebody_else_speaks() -> None:
    """The count of unanswered own lines starts anew with anybody else's line."""
    detector = LoopDetector()
    detector.note_own(0.0)
    detector.note_own(1.0)

    assert detector.unanswered_own_lines == 2

    detector.note_other()

    assert detector.unanswered_own_lines == 0


@given(st.lists(st.integers(0, 5000), max_size=3000))
def test_a_million_names_do_not_grow_it(users: list[int]) -> None:
    """The number of users remembered is bounded."""
    detector = LoopDetector()
    detector.note_own(0.0)
    for user in users:
        detector.note_answered(f"user{user}", 1.0)

    assert len(detector._exchanges) <= MAX_USERS


# --- through a room ---

QUICK = [f"One more thing, number {number}." for number in range(9)]


async def heard(stage: Stage, user: str, **changes: Any) -> Outcome | None:
    """`user` addresses the bot, and a second goes by; what became of it."""
    record = stage.say(f"MyBot, {stage.clock.now}?", user=user, **changes)
    await stage.work()
    stage.clock.advance(1)
    return record.outcome


@pytest.mark.parametrize("to", [None, "MyBot"], ids=["public", "private"])
async def test_a_bot_that_answers_within_a_second_gets_five_quick_answers(to) -> None:
    """Then it is `loop`, until a pause of more than 3 s after its last line (WHO-9)."""
    async with Stage(*QUICK) as stage:
        outcomes = [await heard(stage, "otherbot", to=to) for _ in range(9)]
        stage.clock.advance(2)
        outcomes.append(await heard(stage, "otherbot", to=to))
        stage.clock.advance(2.1)
        outcomes.append(await heard(stage, "otherbot", to=to))

    # The first line came before the bot had said anything, so it was no quick answer.
    assert outcomes[:6] == [Outcome.REPLIED] * 6
    assert outcomes[6:10] == [Outcome.LOOP] * 4
    assert outcomes[10] is not Outcome.LOOP
    assert stage.held == 0


async def test_whoever_speaks_in_between_changes_nothing() -> None:
    """Neither is the loop hidden by others, nor are they taken for bots (WHO-9)."""
    async with Stage(*QUICK) as stage:
        outcomes = []
        for _ in range(7):
            stage.say(f"haha {stage.clock.now}", user="alice")
            outcomes.append(await heard(stage, "otherbot"))
        other = await heard(stage, "alice")

    assert outcomes == [Outcome.REPLIED] * 6 + [Outcome.LOOP]
    assert other is Outcome.REPLIED


async def test_a_loop_in_private_is_none_in_the_room() -> None:
    """Each private conversation is watched apart from the room's (WHO-9)."""
    async with Stage(*QUICK) as stage:
        for _ in range(7):
            last = await heard(stage, "otherbot", to="MyBot")
        in_public = await heard(stage, "otherbot")
        of_alice = await heard(stage, "alice", to="MyBot")

    assert (last, in_public, of_alice) == (Outcome.LOOP, Outcome.REPLIED, Outcome.REPLIED)
