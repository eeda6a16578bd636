"""Replies that wait (behaviour, section 5)."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.decisions import DecisionRecord
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room.lane import Job, Lane
from tests.unit.builders import ARRIVED, HEARD_AT, line


def job(user: str = "alice") -> Job:
    """An admitted line of `user`."""
    permit = RateLimiter().admit([], ARRIVED)
    record = DecisionRecord("id-1", "MyChannel", user, HEARD_AT, "chat", None)
    return Job(line(user=user), permit, record, ARRIVED + 45)  # type: ignore[arg-type]


class TestLane:
    """One short queue: first in, first out, one job a user."""

    def test_first_in_first_out(self) -> None:
        """Jobs come out in the order in which they were put, then nothing (LANE-1)."""
        lane, jobs = Lane(4), [job("a"), job("b"), job("c")]
        for one in jobs:
            lane.put(one)
        assert [lane.take() for _ in range(4)] == [*jobs, None]

    def test_room(self) -> None:
        """It says how many more it takes."""
        lane = Lane(2)
        assert lane.room == 2
        lane.put(job("a"))
        lane.put(job("b"))
        assert (lane.room, len(lane)) == (0, 2)
        lane.take()
        assert (lane.room, len(lane)) == (1, 1)

    @pytest.mark.parametrize("name", ["Alice", "alice", "ALICE"])
    def test_waiting(self, name: str) -> None:
        """The job of a user is found whatever the case of the name, while it waits."""
        lane, one = Lane(4), job(name)
        lane.put(job("bob"))
        lane.put(one)
        assert lane.waiting("alice") is one
        assert lane.waiting("carol") is None
        lane.take()
        lane.take()
        assert lane.waiting("alice") is None

    def test_replace_keeps_the_place(self) -> None:
        """A newer line takes the place of the older one, not one at the end."""
        lane, older, newer, other = Lane(2), job("a"), job("a"), job("b")
        lane.put(older)
        lane.put(other)
        lane.replace(older, newer)
        assert lane.waiting("a") is newer
        assert lane.room == 0
        assert [lane.take(), lane.take()] == [newer, other]

    def test_replace_by_identity(self) -> None:
        """Of two jobs that look alike the one that is meant is replaced."""
        lane, first, second, newer = Lane(4), job("a"), job("a"), job("a")
        lane.put(first)
        lane.put(second)
        lane.replace(second, newer)
        assert [lane.take(), lane.take()] == [first, newer]

    @given(st.lists(st.sampled_from(["put", "take", "replace"])))
    def test_any_mix(self, steps: list[str]) -> None:
        """After any mix it holds what a plain queue would hold (REQ-7)."""
        lane, model = Lane(4), deque[Job]()
        for step in steps:
            if step == "put" and lane.room:
                model.append(job())
                lane.put(model[-1])
            elif step == "take":
                assert lane.take() is (model.popleft() if model else None)
            elif step == "replace" and model:
                newer = job()
                lane.replace(model[-1], newer)
                model[-1] = newer
            assert len(lane) == len(model)
            assert 0 <= lane.room <= lane.size
