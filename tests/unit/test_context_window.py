"""The latest lines of a conversation (behaviour, section 3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.context_window import ContextWindow, WindowLine

MAX_AGE_SECONDS = 100.0


def at(time: float, text: str = "") -> WindowLine:
    return WindowLine("alice", text or f"{time:g}", time)


def window(*times: float, size: int = 3) -> ContextWindow:
    found = ContextWindow(size, MAX_AGE_SECONDS)
    for time in times:
        found.add(at(time))
    return found


def times(found: ContextWindow) -> list[float]:
    return [line.time for line in found]


class TestAdd:
    """A line that was said just now comes last; the window keeps its bounds."""

    @pytest.mark.parametrize(
        ("added", "kept"),
        [
            pytest.param([], [], id="empty"),
            pytest.param([1], [1], id="one"),
            pytest.param([1, 2, 3], [1, 2, 3], id="full"),
            pytest.param([1, 2, 3, 4], [2, 3, 4], id="one-too-many"),
            pytest.param([1, 50, 101], [1, 50, 101], id="as-old-as-may-be"),
            pytest.param([1, 50, 102], [50, 102], id="one-too-old"),
            pytest.param([1, 2, 500], [500], id="all-too-old"),
            pytest.param([5, 5, 5], [5, 5, 5], id="at-one-moment"),
        ],
    )
    def test_bounds(self, added: list[float], kept: list[float]) -> None:
        """At most `size` lines, none older than `max_age_seconds` (CTX-1)."""
        assert times(window(*added)) == kept
        assert len(window(*added)) == len(kept)

    def test_order_of_arrival(self) -> None:
        """Live lines stand as they arrived: one with an earlier time takes that of the last."""
        found = window(10, size=5)
        found.add(at(7, "second"))
        found.add(at(12, "third"))
        assert [(line.text, line.time) for line in found] == [
            ("10", 10),
            ("second", 10),
            ("third", 12),
        ]


class TestInsert:
    """An old line enters only in its place in time."""

    @pytest.mark.parametrize(
        ("there", "line", "kept"),
        [
            pytest.param([], 5, [5], id="into-nothing"),
            pytest.param([10, 20], 5, [5, 10, 20], id="first"),
            pytest.param([10, 20], 15, [10, 15, 20], id="between"),
            pytest.param([10, 20], 25, [10, 20, 25], id="last"),
            pytest.param([10, 20, 30], 25, [20, 25, 30], id="full-between"),
            pytest.param([10, 20, 30], 35, [20, 30, 35], id="full-last"),
            pytest.param([10, 20, 30], 5, [10, 20, 30], id="full-of-younger-ones"),
            pytest.param([110, 120], 19, [110, 120], id="too-old"),
            pytest.param([110, 120], 20, [20, 110, 120], id="as-old-as-may-be"),
            pytest.param([10, 20], 115, [20, 115], id="makes-others-too-old"),
        ],
    )
    def test_place(self, there: list[float], line: float, kept: list[float]) -> None:
        """Bounds and order hold, and what is too old or has no room doesn't enter."""
        found = window(*there)
        found.insert(at(line))
        assert times(found) == kept

    def test_after_its_equals(self) -> None:
        """Of lines with the same time the one that was heard first stands first."""
        found = window(10, 20)
        found.insert(at(10, "second"))
        assert [line.text for line in found] == ["10", "second", "20"]

    def test_a_replayed_burst(self) -> None:
        """Fifteen replayed lines before a live one stand in the order in which they were said."""
        found = ContextWindow(50, 3600)
        for number in range(15):
            found.insert(at(100 + number))
        found.add(at(200))
        assert times(found) == [*range(100, 115), 200]

    def test_size_one(self) -> None:
        """A window of one line keeps the youngest."""
        found = window(10, size=1)
        found.insert(at(5))
        assert times(found) == [10]
        found.insert(at(15))
        assert times(found) == [15]


class TestLatest:
    """What a prompt gets: the newest lines that aren't too old by now, oldest first."""

    @pytest.mark.parametrize(
        ("limit", "now", "found"),
        [
            pytest.param(10, 30, [10, 20, 30], id="all"),
            pytest.param(2, 30, [20, 30], id="the-newest"),
            pytest.param(0, 30, [], id="none"),
            pytest.param(10, 110, [10, 20, 30], id="as-old-as-may-be"),
            pytest.param(10, 111, [20, 30], id="one-too-old"),
            pytest.param(10, 1000, [], id="all-too-old"),
        ],
    )
    def test_latest(self, limit: int, now: float, found: list[float]) -> None:
        """Age is measured when it is asked for, not when a line came."""
        assert [line.time for line in window(10, 20, 30).latest(limit, now)] == found

    def test_clear(self) -> None:
        """A cleared window is empty and goes on."""
        found = window(10, 20)
        found.clear()
        assert times(found) == []
        found.add(at(5))
        assert times(found) == [5]


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "insert", "clear"]), st.floats(0, 1000)), max_size=60
)


class TestInvariants:
    """After any mix of live and replayed lines (REQ-7)."""

    @given(STEPS, st.integers(1, 8), st.floats(0, 1000), st.integers(0, 10))
    def test_bounds_and_order(
        self, steps: list[tuple[str, float]], size: int, now: float, limit: int
    ) -> None:
        """Never more than size, never older than max age, and in the order of time."""
        found = ContextWindow(size, MAX_AGE_SECONDS)
        for step, time in steps:
            if step == "add":
                found.add(at(time))
                assert list(found)[-1].text == f"{time:g}"
            elif step == "insert":
                found.insert(at(time))
            else:
                found.clear()
            kept = times(found)
            assert len(kept) <= size
            assert kept == sorted(kept)
            assert not kept or kept[-1] - kept[0] <= MAX_AGE_SECONDS
        latest = found.latest(limit, now)
        assert len(latest) <= limit
        assert all(line.time >= now - MAX_AGE_SECONDS for line in latest)


def test_resize() -> None:
    """The newest lines that fit stay, and the new bounds hold from then on."""
    window = ContextWindow(5, 100)
    for moment in range(5):
        window.add(at(moment))
    window.resize(2, 1)
    assert times(window) == [3, 4]
    window.add(at(6))
    assert times(window) == [6]
