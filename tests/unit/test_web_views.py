"""What the live page shows of lines, decisions and insights, with chat text and without."""

from __future__ import annotations

import json

import pytest

from llm_bot.decisions import DecisionRecord, Gate, Outcome, ReplyRecord
from llm_bot.models import LineKind
from llm_bot.observability.record_view import record_view
from llm_bot.web import views
from llm_bot.web.feed import EndEntry, Entry, InsightEntry, LineEntry
from llm_bot.web.stream import encoded

SECRET = "the murderer is the gardener"


def record(**changes: object) -> DecisionRecord:
    """A line that was answered."""
    fields = {
        "correlation_id": "id-1",
        "channel": "MyChannel",
        "user": "alice",
        "time": 12.5,
        "event": LineKind.CHAT,
        "outcome": Outcome.REPLIED,
        "trigger": "mention",
        "gates": (
            Gate("max_per_user_per_minute", True, 1, 3, 60.0),
            Gate("cooldown_seconds", False, 1, 1, 10.0, 4.0, "mention"),
        ),
        "text": SECRET,
        "reply": ReplyRecord(provider="openai", model="m", attempts=2, total_seconds=0.5),
        **changes,
    }
    return DecisionRecord(**fields)  # type: ignore[arg-type]


def test_every_outcome_has_a_tone():
    """The table of tones is complete, a reply under way included."""
    assert set(views.TONES) == {*Outcome, None}


def test_line_is_its_record_and_how_it_is_shown():
    """A line: what /decisions says of it, its number, its tone, and which line it answers."""
    name, view = views.entry_view(7, LineEntry(record(), "bob", 3), shows_text=True)
    assert name == "line"
    assert view == {
        "id": 7,
        "tone": "answered",
        "is_own": False,
        "to": "bob",
        "answers": 3,
        **record_view(record(), shows_text=True),
    }
    own = LineEntry(record(outcome=Outcome.OWN_LINE, reply=None))
    assert views.entry_view(1, own, shows_text=True)[1]["is_own"] is True


@pytest.mark.parametrize(
    "entry",
    [
        LineEntry(record()),
        EndEntry(record(outcome=Outcome.LLM_FAILED, detail=f"can't answer {SECRET}"), 1),
        InsightEntry("MyChannel", {"kind": "topic", "text": SECRET, "words": [SECRET]}),
    ],
)
def test_chat_text_is_shown_only_where_it_may(entry: Entry):
    """Without leave no event holds a word of the line: its length, who said it, and why."""
    name, view = views.entry_view(1, entry, shows_text=False)
    assert SECRET not in encoded(name, view).decode()


def test_insight_without_text_keeps_kind_time_and_numbers():
    """What isn't chat stays when chat text may not be shown; who it belongs to always does."""
    insight = {"kind": "mood", "text": SECRET, "value": 0.5, "about": "id-1", "time": 3.0}
    entry = InsightEntry("MyChannel", insight)
    assert views.entry_view(1, entry, shows_text=False) == (
        "insight",
        {"kind": "mood", "value": 0.5, "about": "id-1", "time": 3.0, "channel": "MyChannel"},
    )
    assert views.entry_view(1, entry, shows_text=True)[1] == {**insight, "channel": "MyChannel"}


def test_end_names_its_line():
    """The end of a reply is told by the number of the line that it is about."""
    name, view = views.entry_view(9, EndEntry(record(), 7), shows_text=False)
    assert (name, view["id"], view["outcome"]) == ("decision", 7, "replied")


@pytest.mark.parametrize("text", ["a\nb\r\n\ndata: x", "\u2028\u2029\x85", "\ud800 half", "né 🎬"])
def test_no_character_ends_an_event_early(text: str):
    """Whatever stands in a line, an event is a head, one line of ASCII, and an empty line."""
    event = encoded("line", {"text": text}, "e-1").decode("ascii")
    *head, data, empty, end = event.split("\n")
    assert (head, empty, end) == (["id: e-1", "event: line"], "", "")
    assert json.loads(data.removeprefix("data: "))["text"] == text
