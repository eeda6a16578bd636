"""The feed of the live page: numbers without gaps, bounds, links between lines and replies."""

from __future__ import annotations

import asyncio

import pytest

from llm_bot.decisions import DecisionRecord, Delivery, Outcome, ReplyRecord
from llm_bot.web import feed as feed_module
from llm_bot.web.feed import EndEntry, Feed, InsightEntry, LineEntry
from tests.unit import builders


class Scene:
    """A feed, and a room whose lines it is told of."""

    def __init__(self, **bounds: int) -> None:
        self.feed = Feed(epoch="e", **bounds)
        self.room = builders.room()
        self.room.observers = (self.feed,)

    def note(
        self, text: str = "hello", outcome: Outcome | None = Outcome.NO_MATCH, **changes: str
    ) -> DecisionRecord:
        record = DecisionRecord("id-1", "MyChannel", "alice", 1.0, "chat", outcome, text=text)
        self.feed.on_decision(record, builders.line(text, **changes))
        return record

    @property
    def texts(self) -> list[str]:
        entries = [entry for _, entry in self.feed.after(0, 10_000)]
        return [entry.record.text for entry in entries if isinstance(entry, LineEntry)]


def test_entries_are_numbered_in_order():
    """What is noted is numbered from 1, in its order, and read from any place on."""
    scene = Scene()
    for text in "abc":
        scene.note(text)
    assert [number for number, _ in scene.feed.after(0, 10)] == [1, 2, 3]
    assert [number for number, _ in scene.feed.after(1, 1)] == [2]
    assert scene.feed.after(3, 10) == []


def test_oldest_go_when_there_are_too_many():
    """Beyond the bound of entries the oldest are forgotten; numbers go on."""
    scene = Scene(entries=3)
    for text in "abcde":
        scene.note(text)
    assert scene.texts == ["c", "d", "e"]
    assert (scene.feed.oldest, scene.feed.newest) == (3, 5)


def test_end_of_a_reply_names_its_line():
    """A record that was under way tells its end once, with the number of its line."""
    scene = Scene()
    scene.note()
    record = scene.note(outcome=None)
    scene.room.conclude(record, Outcome.LLM_FAILED)
    scene.room.conclude(record, Outcome.ERROR)
    ends = [entry for _, entry in scene.feed.after(0, 10) if isinstance(entry, EndEntry)]
    assert [(end.line, end.record) for end in ends] == [(2, record)]


def test_record_decided_at_once_has_no_end_of_its_own():
    """A line that wasn't under way is one entry: its outcome came with it."""
    scene = Scene()
    record = scene.note(outcome=Outcome.NO_MATCH)
    scene.feed.on_concluded(record)
    assert scene.feed.newest == 1


def test_own_line_knows_what_it_answers():
    """The echo that concludes a record is the answer to its line; the next own line isn't."""
    scene = Scene()
    record = scene.note(outcome=None)
    record.reply = ReplyRecord(delivery=Delivery.ECHOED)
    scene.room.conclude(record, Outcome.REPLIED)
    scene.note("said", Outcome.OWN_LINE)
    scene.note("said by hand", Outcome.OWN_LINE)
    lines = [entry for _, entry in scene.feed.after(0, 10) if isinstance(entry, LineEntry)]
    assert [line.answers for line in lines] == [0, 1, 0]


def test_reply_without_an_echo_belongs_to_no_own_line():
    """A reply that was given up on as unconfirmed says nothing about the own lines that follow."""
    scene = Scene()
    record = scene.note(outcome=None)
    record.reply = ReplyRecord(delivery=Delivery.UNCONFIRMED)
    scene.room.conclude(record, Outcome.REPLIED)
    scene.note("said", Outcome.OWN_LINE)
    newest = scene.feed.after(2, 1)[0][1]
    assert isinstance(newest, LineEntry)
    assert newest.answers == 0


def test_idle_ticks_are_left_out():
    """A timer that found nothing to do isn't worth a line."""
    scene = Scene()
    scene.note(outcome=Outcome.IDLE)
    assert scene.feed.newest == 0


def test_lines_that_never_end_are_bounded(monkeypatch: pytest.MonkeyPatch):
    """So many lines may be under way; of the oldest beyond that the end isn't told."""
    monkeypatch.setattr(feed_module, "MAX_UNDER_WAY", 2)
    scene = Scene()
    records = [scene.note(outcome=None) for _ in range(3)]
    for record in records:
        scene.room.conclude(record, Outcome.SHUTDOWN)
    ends = [entry for _, entry in scene.feed.after(0, 10) if isinstance(entry, EndEntry)]
    assert [end.line for end in ends] == [2, 3]


def test_insight_is_kept_as_it_was():
    """An insight is copied: what its maker does with it later changes nothing."""
    scene = Scene()
    insight = {"kind": "topic", "text": "trains"}
    scene.feed.on_insight("MyChannel", insight)
    insight["text"] = "planes"
    (_, entry), *_ = scene.feed.after(0, 1)
    assert entry == InsightEntry("MyChannel", {"kind": "topic", "text": "trains"})


def test_readers_are_woken():
    """A bell rings with each entry, and at the end."""
    scene = Scene()
    bell = asyncio.Event()
    scene.feed.bells.add(bell)
    for happen in (scene.note, scene.feed.close):
        bell.clear()
        happen()
        assert bell.is_set()
    assert scene.feed.is_closed


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("e-2", 2),
        ("e-0", 0),
        ("e-3", None),
        ("x-1", None),
        ("", None),
        ("e-", None),
        ("e--1", None),
        ("e-١", None),
        (f"e-{'9' * 5000}", None),
    ],
)
def test_place_is_found_only_where_it_was_given(place: str, number: int | None):
    """Places of this feed are numbers again; of another process, or made up, they are none."""
    scene = Scene()
    scene.note()
    scene.note()
    assert scene.feed.find(place) == number
    assert scene.feed.place(2) == "e-2"
