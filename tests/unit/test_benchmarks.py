"""The benchmarks' own arithmetic, their page, and what their publisher sends."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks import events, flood
from benchmarks.figures import Spread, beyond, per_round, percentile, quotient
from benchmarks.flood import BARE, FASTSTREAM, WHOLE, Run
from benchmarks.imports import LIBRARIES
from benchmarks.page import page
from benchmarks.report import Section, Table, Target, targets
from llm_bot.demo.recording import read_recording
from llm_bot.models import ChatLine, Dialect, Person
from llm_bot.ports import Event
from llm_bot.wire import ParsedEvent, parse_event
from tests.distributions import distributions

ROOT = Path(__file__).parents[2]
NOW = 1_795_219_265.25
PUBLICATION = re.compile(rb"PUB (\S+) (\d+)\r\n")


def publications(data: bytes) -> list[tuple[str, bytes]]:
    """Subjects and bodies, read as a NATS server reads them."""
    found = []
    while data:
        head = PUBLICATION.match(data)
        assert head, data[:80]
        end = head.end() + int(head[2])
        found.append((head[1].decode(), data[head.end() : end]))
        assert data[end : end + 2] == b"\r\n"
        data = data[end + 2 :]
    return found


def heard(subject: str, body: bytes) -> Any:
    """What the bot makes of it."""
    understood = parse_event(Event(subject, body), Dialect.KRYTEN, heard_at=NOW, arrived=0.0)
    assert isinstance(understood, ParsedEvent), understood
    return understood.event


# --- figures ---


def test_a_spread_is_the_median_between_the_extremes():
    assert Spread.of([3, 1, 2, 10]) == Spread(2.5, 1, 10)


def test_a_spread_is_shown_with_its_extremes_in_the_unit_that_is_wanted():
    assert Spread(1234.56, 1000, 2000).shown(1) == "1,234.6 (1,000.0-2,000.0)"
    assert Spread(0.5, 0.25, 1).shown(0, 1000) == "500 (250-1,000)"


def test_ratios_are_those_of_the_same_round():
    assert per_round(quotient, [2, 30], [1, 10]) == Spread(2.5, 2, 3)
    assert per_round(beyond, [2, 30], [1, 10]) == Spread(1.5, 1, 2)
    with pytest.raises(ValueError, match="longer"):
        per_round(quotient, [1], [1, 2])


@pytest.mark.parametrize(("part", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_occurred(part, value):
    assert percentile(list(range(100, 0, -1)), part) == value
    assert percentile([7], part) == 7


# --- what is published ---


def test_a_published_line_has_the_form_of_a_recorded_one():
    recorded = next(
        event
        for event in read_recording(ROOT / "tests" / "data" / "room.jsonl")
        if event.subject.endswith(".chatmsg") and event.payload["username"] == "alice"
    )
    [(subject, body)] = publications(b"".join(events.lines(["RigRoom"], 1, NOW)))
    line = json.loads(body)
    assert subject == recorded.subject
    assert _shape(line) == _shape(recorded.data)
    assert len(line["timestamp"]) == len(recorded.data["timestamp"])
    assert len(line["correlation_id"]) == len(recorded.data["correlation_id"])


def _shape(value):
    if isinstance(value, dict):
        return {name: _shape(part) for name, part in value.items()}
    return type(value)


def test_flooding_and_paced_lines_are_alike():
    [(subject, flooding)] = publications(b"".join(events.lines(["a"], 1, NOW)))
    paced = events.body("a", events.USERS[0], f"{events.TEXTS[0]} 0", NOW, 0)
    assert json.loads(flooding) == json.loads(paced)
    assert flooding == paced
    assert subject == events.subject("a").decode()


def test_lines_go_to_all_rooms_in_turn_and_no_two_are_the_same():
    found = publications(b"".join(events.lines(["One", "two"], 700, NOW, first=5)))
    lines = [heard(*each) for each in found]
    assert all(isinstance(line, ChatLine) for line in lines)
    assert [subject.split(".")[3] for subject, _ in found[:3]] == ["two", "one", "two"]
    assert len({(line.user, line.text) for line in lines}) == 700
    assert {line.correlation_id for line in lines} == {f"{n:036}" for n in range(5, 705)}


def test_the_moment_of_sending_can_be_read_from_a_line():
    assert (
        events.sent_at(events.body("a", "bob", "hi", NOW, 8_123_456_789_012)) == 8_123_456_789_012
    )


def test_who_asks_for_a_room_gets_its_lines():
    assert events.pattern("RigRoom") == "kryten.events.cytube.rigroom.*"
    assert events.subject("RigRoom") == b"kryten.events.cytube.rigroom.chatmsg"


def test_newcomers_join_and_speak():
    found = publications(b"".join(events.newcomers(["a", "b"], 3, NOW)))
    understood = [heard(*each) for each in found]
    joined, spoken = understood[::2], understood[1::2]
    assert [each.name for each in joined if isinstance(each, Person)] == [
        f"guest{number:06}" for number in range(3)
    ]
    assert [each.user for each in spoken if isinstance(each, ChatLine)] == [
        f"guest{number:06}" for number in range(3)
    ]


# --- what is compared with ---


def test_the_yardstick_imports_every_library_that_the_daemon_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[<>=]", each)[0] for each in project["dependencies"]}
    assert distributions(each.partition(".")[0] for each in LIBRARIES) == declared


# --- the page ---


def test_a_table_is_markdown():
    table = Table(("room", "ms"), [("one", "12"), ("a longer name", "3")])
    assert table.lines() == [
        "| room          |  ms |",
        "| ------------- | --: |",
        "| one           |  12 |",
        "| a longer name |   3 |",
    ]


def test_the_median_decides_about_a_target():
    assert Target.most("it", Spread(1.2, 1, 3), 1.2, "bare").is_met
    assert not Target.most("it", Spread(1.21, 1, 3), 1.2, "bare").is_met
    assert Target.least("it", Spread(0.45, 0, 1), 0.45, "bare").is_met
    assert not Target.least("it", Spread(0.44, 0, 1), 0.45, "bare").is_met


def runs(rate: float, cpu_us: float) -> list[Run]:
    return [Run(rate, cpu_us)] * 5


def test_the_targets_of_an_idle_line():
    met = flood.targets(1, {BARE: runs(200, 4), WHOLE: runs(90, 8.75), FASTSTREAM: runs(18, 70)})
    assert [each.is_met for each in met] == [True, True]
    missed = flood.targets(10, {BARE: runs(200, 4), WHOLE: runs(75, 8.9), FASTSTREAM: runs(18, 70)})
    assert [each.is_met for each in missed] == [False, False]


def test_without_faststream_its_row_and_its_target_are_left_out_and_the_page_says_so():
    alone = {BARE: runs(200, 4), WHOLE: runs(90, 8.8)}
    assert len(flood.targets(1, alone)) == 1
    assert len(flood.table(1, alone).rows) == 2
    assert "could not be installed" in " ".join(flood.notes(alone))


def test_the_page_has_targets_sections_and_the_machine():
    section = Section(
        "Speed",
        "How it was done.",
        [Table(("who", "s"), [("us", "1")])],
        ["A note."],
        [Target("speed", "<= 1", "2", is_met=False)],
    )
    text = page([section], [("Python", "3.11")], date="2026-11-21", rounds=5, seconds=600)
    assert text.startswith("# Performance\n")
    assert "Measured on 2026-11-21, 5 rounds unless it says otherwise, in 10 min." in text
    assert re.search(r"\| speed +\| +<= 1 \| +2 \| \*\*missed\*\* \|", text)
    for line in ("## Speed", "How it was done.", "| us  |   1 |", "A note."):
        assert f"\n{line}\n" in text
    assert re.search(r"\| Python +\| +3\.11 \|", text)
    assert text.endswith("|\n")
    assert "\n\n\n" not in text


def test_no_targets_make_no_table():
    assert targets([Section("a", "b")]) == []
