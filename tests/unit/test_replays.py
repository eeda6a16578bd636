"""Which lines are old: replayed, heard before, or too late to answer (behaviour, section 2)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.demo.recording import event_subjects_only, read_recording, shifted
from llm_bot.models import ChatLine, Dialect, LineKind
from llm_bot.ports import Event
from llm_bot.room.replays import SEEN_LINES_KEPT, SKEW_RUN, Freshness, ReplayDetector
from llm_bot.wire import ParsedEvent, parse_event
from tests.unit.builders import HEARD_AT, line

DATA = Path(__file__).parents[1] / "data"
MAX_AGE_SECONDS = 30.0
BURST = 15
"""So many old lines CyTube sends to a connector that joins."""

OLD = {Freshness.REPLAYED, Freshness.DUPLICATE}


def detector() -> ReplayDetector:
    return ReplayDetector(MAX_AGE_SECONDS)


def said(
    text: str = "hello",
    *,
    age: float = 0.004,
    at: float = HEARD_AT,
    delay: float = 0.0,
    user: str = "alice",
    kind: LineKind = LineKind.CHAT,
) -> ChatLine:
    """A line that the connector forwarded at `at`, `age` seconds after CyTube stamped it.

    It was heard `delay` seconds after that.
    """
    return line(text, user=user, kind=kind, said_at=at - age, forwarded_at=at, heard_at=at + delay)


def judge_all(replays: ReplayDetector, lines: list[ChatLine]) -> list[Freshness]:
    return [replays.judge(one) for one in lines]


def burst(start: int = 0, *, first_age: float = 700.0, gap: float = 20.0) -> list[ChatLine]:
    """What CyTube sends on a join: 15 lines at one moment, each younger than the one before."""
    return [
        said(f"old {start + number}", age=first_age - number * gap, user=f"user{number}")
        for number in range(BURST)
    ]


class TestOneLine:
    """The first line that is heard, by its two times and its arrival (WHO-3)."""

    @pytest.mark.parametrize(
        ("one", "freshness"),
        [
            pytest.param(said(), Freshness.FRESH, id="live"),
            pytest.param(said(age=5.0), Freshness.FRESH, id="5-s"),
            pytest.param(said(age=5.01), Freshness.REPLAYED, id="more-than-5-s"),
            pytest.param(said(age=86_400.0), Freshness.REPLAYED, id="a-day"),
            pytest.param(said(age=-60.0), Freshness.FRESH, id="from-a-clock-ahead"),
            pytest.param(said(delay=30.0), Freshness.FRESH, id="late-by-30-s"),
            pytest.param(said(delay=30.1), Freshness.STALE, id="late-by-more"),
            pytest.param(said(age=6, delay=60), Freshness.REPLAYED, id="replayed-before-stale"),
            pytest.param(line(), Freshness.FRESH, id="no-times"),
            pytest.param(line(said_at=HEARD_AT - 30), Freshness.FRESH, id="no-envelope-30-s"),
            pytest.param(line(said_at=HEARD_AT - 31), Freshness.STALE, id="no-envelope-more"),
            pytest.param(line(forwarded_at=HEARD_AT - 31), Freshness.STALE, id="no-time-late"),
            pytest.param(line(forwarded_at=HEARD_AT), Freshness.FRESH, id="no-time"),
        ],
    )
    def test_judged(self, one: ChatLine, freshness: Freshness) -> None:
        """Replayed: more than 5 s from CyTube to the connector; stale: more than 30 s from there
        to here, or from CyTube where there was no envelope."""
        assert detector().judge(one) is freshness


class TestDuplicates:
    """A line that equals one already seen by (user, time, text) is a duplicate (WHO-3)."""

    @pytest.mark.parametrize("age", [0.004, 700.0, -60.0], ids=["live", "replayed", "ahead"])
    def test_second_hearing(self, age: float) -> None:
        """However old it was at first, the second time it is a duplicate, and so ever after."""
        replays = detector()
        replays.judge(said(age=age))
        assert judge_all(replays, [said(age=age)] * 3) == [Freshness.DUPLICATE] * 3

    def test_envelope_changes_nothing(self) -> None:
        """A replay of a line heard live has another envelope time; it is a duplicate all the
        same."""
        replays = detector()
        assert replays.judge(said()) is Freshness.FRESH
        again = line(said_at=said().said_at, forwarded_at=HEARD_AT + 60, heard_at=HEARD_AT + 60)
        assert replays.judge(again) is Freshness.DUPLICATE

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param(said("Hello"), id="text"),
            pytest.param(said(user="bob"), id="user"),
            pytest.param(said(age=0.005), id="time"),
            pytest.param(said(kind=LineKind.PM), id="private"),
        ],
    )
    def test_another_line(self, other: ChatLine) -> None:
        """A line that differs in anything is another line."""
        replays = detector()
        replays.judge(said())
        assert replays.judge(other) is Freshness.FRESH

    def test_case_of_the_user(self) -> None:
        """User names are compared without case."""
        replays = detector()
        replays.judge(said(user="Alice"))
        assert replays.judge(said(user="aLICE")) is Freshness.DUPLICATE

    def test_no_time_no_duplicate(self) -> None:
        """Without a time two equal lines can't be told from one said twice: both are fresh."""
        replays = detector()
        assert judge_all(replays, [line(), line()]) == [Freshness.FRESH] * 2

    def test_memory_is_bounded(self) -> None:
        """Only the latest lines are remembered, many more than CyTube replays."""
        replays = detector()
        lines = [said(f"line {number}") for number in range(SEEN_LINES_KEPT + 1)]
        judge_all(replays, lines)
        assert len(replays._seen) == SEEN_LINES_KEPT
        assert replays.judge(lines[1]) is Freshness.DUPLICATE
        assert replays.judge(lines[-1]) is Freshness.DUPLICATE
        assert replays.judge(lines[0]) is Freshness.FRESH  # forgotten
        assert len(replays._seen) == SEEN_LINES_KEPT

    def test_two_connectors(self) -> None:
        """Where two connectors are in one room each line is heard twice, and answered once."""
        replays = detector()
        heard = [
            replays.judge(said(f"line {number}", at=HEARD_AT + number, delay=delay))
            for number in range(50)
            for delay in (0.0, 0.002)
        ]
        assert heard == [Freshness.FRESH, Freshness.DUPLICATE] * 50
        assert not replays.is_skewed


class TestSkew:
    """Twenty fresh-looking lines in a row judged old is clock skew (WHO-6)."""

    def test_learned_after_twenty(self) -> None:
        """A connector whose clock is an hour ahead is understood from the twenty-first line on."""
        replays = detector()
        lines = [said(f"line {number}", age=3600.0) for number in range(SKEW_RUN)]
        for one in lines[:-1]:
            assert replays.judge(one) is Freshness.REPLAYED
            assert not replays.is_skewed
        assert replays.judge(lines[-1]) is Freshness.REPLAYED
        assert replays.is_skewed
        assert replays.skew_seconds == pytest.approx(3600)
        assert replays.judge(said("after", age=3600.0)) is Freshness.FRESH
        assert replays.judge(said("older", age=3606.0)) is Freshness.REPLAYED

    def test_usual_delay_is_taken_off(self) -> None:
        """The median offset of the recent fresh lines is subtracted before a line is judged."""
        replays = detector()
        judge_all(replays, [said(f"line {number}", age=-20.0) for number in range(8)])
        assert replays.skew_seconds == pytest.approx(-20)
        assert replays.judge(said("replayed", age=-10.0)) is Freshness.REPLAYED
        assert replays.judge(said("live", age=-19.0)) is Freshness.FRESH

    def test_one_odd_line_moves_nothing(self) -> None:
        """A single line with a time from far away changes nothing for the others."""
        replays = detector()
        replays.judge(said("odd", age=-9e9))
        lines = [said(f"line {number}") for number in range(20)]
        assert set(judge_all(replays, lines)) == {Freshness.FRESH}

    def test_a_burst_twice(self) -> None:
        """A burst of replays that comes twice in a row is no skew: the second is known."""
        replays = detector()
        assert judge_all(replays, burst()) == [Freshness.REPLAYED] * BURST
        assert judge_all(replays, burst()) == [Freshness.DUPLICATE] * BURST
        assert judge_all(replays, burst()) == [Freshness.DUPLICATE] * BURST
        assert not replays.is_skewed
        assert replays.skew_seconds == 0

    @pytest.mark.parametrize("gap", [0.5, 2.0, 4.0, 20.0])
    def test_two_bursts_of_different_lines(self, gap: float) -> None:
        """Two bursts of lines that were never heard are no skew either."""
        replays = detector()
        first = burst(first_age=700, gap=gap)
        second = burst(100, first_age=900, gap=gap)
        assert set(judge_all(replays, first + second)) == {Freshness.REPLAYED}
        assert not replays.is_skewed

    def test_a_backlog_that_drains(self) -> None:
        """Lines that waited in a connector are late by ever less: that is no skew, and none of
        them is answered."""
        replays = detector()
        lines = [said(f"line {number}", age=120.0 - number) for number in range(110)]
        assert set(judge_all(replays, lines)) == {Freshness.REPLAYED}
        assert not replays.is_skewed
        assert replays.judge(said("live")) is Freshness.FRESH

    def test_a_fresh_line_ends_the_run(self) -> None:
        """Old lines between fresh ones are replays, however many they are."""
        replays = detector()
        for number in range(SKEW_RUN * 2):
            replays.judge(said(f"old {number}", age=700))
            if number % 10 == 9:
                assert replays.judge(said(f"live {number}")) is Freshness.FRESH
        assert not replays.is_skewed

    def test_back_to_a_right_clock(self) -> None:
        """When the clock is set right again its lines are fresh, and the skew is unlearned."""
        replays = detector()
        judge_all(replays, [said(f"ahead {number}", age=3600) for number in range(SKEW_RUN)])
        lines = [said(f"right {number}") for number in range(30)]
        assert set(judge_all(replays, lines)) == {Freshness.FRESH}
        assert replays.skew_seconds == pytest.approx(0.004, abs=1e-6)
        assert replays.judge(said("replayed", age=700)) is Freshness.REPLAYED


class TestAnyLines:
    """Invariants, whatever the times are."""

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b"]),
                st.one_of(st.none(), st.floats(1, 1e11)),
                st.one_of(st.none(), st.floats(1, 1e11)),
            ),
            max_size=60,
        )
    )
    def test_second_hearing(self, lines: list[tuple[str, float | None, float | None]]) -> None:
        """Nothing raises, and what has a time and was heard before is a duplicate."""
        replays = detector()
        for text, said_at, forwarded_at in lines:
            one = line(text, said_at=said_at, forwarded_at=forwarded_at)
            assert isinstance(replays.judge(one), Freshness)
            again = replays.judge(one)
            assert (again is Freshness.DUPLICATE) is (said_at is not None)


def lines_of(name: str, dialect: Dialect) -> tuple[list[ChatLine], list[ChatLine]]:
    """The lines of a recording before the connector's login (replayed) and after it (live).

    They are moved to the present, the first event at `HEARD_AT`.
    """
    replayed: list[ChatLine] = []
    live: list[ChatLine] = []
    has_joined = False
    for event in shifted(event_subjects_only(read_recording(DATA / name)), HEARD_AT):
        has_joined = has_joined or event.name == "login"
        heard = parse_event(
            Event(event.subject, event.body()), dialect, heard_at=event.t, arrived=event.t
        )
        if isinstance(heard, ParsedEvent) and isinstance(heard.event, ChatLine):
            (live if has_joined else replayed).append(heard.event)
    return replayed, live


@pytest.mark.parametrize(
    ("name", "dialect", "replayed_lines", "live_lines"),
    [
        pytest.param("rejoin.jsonl", Dialect.KRYTEN, 15, 0, id="rejoin"),
        pytest.param("room.jsonl", Dialect.KRYTEN, 1, 75, id="room"),
        pytest.param("room-early.jsonl", Dialect.EARLY, 15, 18, id="room-early"),
    ],
)
class TestRecordings:
    """A real connector joins: what CyTube sends first is old, what comes then is live."""

    def test_replayed_and_live(
        self, name: str, dialect: Dialect, replayed_lines: int, live_lines: int
    ) -> None:
        """Every replayed line is judged old and every live one fresh."""
        replayed, live = lines_of(name, dialect)
        assert (len(replayed), len(live)) == (replayed_lines, live_lines)
        replays = detector()
        assert judge_all(replays, replayed) == [Freshness.REPLAYED] * replayed_lines
        assert judge_all(replays, live) == [Freshness.FRESH] * live_lines
        assert not replays.is_skewed

    def test_heard_a_second_time(
        self, name: str, dialect: Dialect, replayed_lines: int, live_lines: int
    ) -> None:
        """The whole recording once more: all of it is known."""
        replayed, live = lines_of(name, dialect)
        replays = detector()
        judge_all(replays, replayed + live)
        again = judge_all(replays, replayed + live)
        assert again == [Freshness.DUPLICATE] * (replayed_lines + live_lines)
        assert not replays.is_skewed
