"""Recorded rooms: reading, moving in time, the plain dialect; and what the film night shows."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from llm_bot.demo.recording import (
    RecordedEvent,
    RecordingError,
    as_plain,
    event_subjects_only,
    film_night,
    parse_recording,
    pauses,
    read_recording,
    shifted,
)

DATA = Path(__file__).parents[1] / "data"


def chat(t: float, text: str, *, age: float = 0.0) -> RecordedEvent:
    data = {
        "event_name": "chatMsg",
        "payload": {"username": "ada", "msg": text, "meta": {}, "time": round((t - age) * 1000)},
        "channel": "Room",
        "domain": "cytube.example",
        "timestamp": "2026-01-01T00:00:00.500000+00:00",
        "correlation_id": "c1",
    }
    return RecordedEvent(t, "kryten.events.cytube.room.chatmsg", data)


def envelope_epoch(event: RecordedEvent) -> float:
    return datetime.fromisoformat(event.data["timestamp"]).timestamp()


# -- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count"), [("room", 264), ("room-early", 81), ("rejoin", 39)], ids=str
)
def test_every_line_of_a_real_recording_is_read(name, count):
    """Each line that isn't blank is one event."""
    assert len(read_recording(DATA / f"{name}.jsonl")) == count


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "expected an object, found list"),
        ('{"t": 1, "data": null}', "missing subject"),
        ('{"t": "1", "subject": "a", "data": 1}', "t must be a number"),
        ('{"t": true, "subject": "a", "data": 1}', "t must be a number"),
        ('{"t": NaN, "subject": "a", "data": 1}', "t must be a number"),
        ('{"t": 1, "subject": 2, "data": 1}', "subject must be a text"),
        ('{"t": 1, "subject": "", "data": 1}', "subject must be a text"),
    ],
    ids=[
        "half", "deep", "list", "no subject", "t text", "t bool", "t nan", "number", "empty",
    ],
)  # fmt: skip
def test_a_bad_line_is_named(line, complaint):
    """The error names the file and the number of the line, blank lines counted."""
    good = '{"t": 1, "subject": "a", "data": null}'
    with pytest.raises(RecordingError, match=rf"night\.jsonl, line 3: {complaint}"):
        parse_recording([good, "", line], name="night.jsonl")


def test_a_file_that_is_not_there_is_an_error_of_the_recording(tmp_path):
    """What can't be read is told as `RecordingError`, text that isn't UTF-8 included."""
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "none.jsonl", broken):
        with pytest.raises(RecordingError, match="can't be read"):
            read_recording(path)


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path):
    """Only a line feed ends a line: U+2028 may stand raw in a JSON text."""
    path = tmp_path / "odd.jsonl"
    path.write_text('{"t": 1, "subject": "a", "data": "x\u2028y"}\n', encoding="utf-8")
    assert [event.data for event in read_recording(path)] == ["x\u2028y"]


def test_the_body_survives_half_a_surrogate_pair():
    """`body()` is JSON that can always be encoded, and says the same as the recording."""
    event = RecordedEvent(1.0, "a", {"msg": "\ud83d é 🎬"})
    assert json.loads(event.body()) == event.data


# -- moving in time ----------------------------------------------------------------------------


def test_shifting_moves_every_clock_by_the_same_amount():
    """`t`, `timestamp` and `time` move together, so an old line stays as old as it was."""
    first, second = shifted([chat(100.0, "new"), chat(103.0, "old", age=60.0)], 1000.0)
    assert (first.t, second.t) == (1000.0, 1003.0)
    assert (first.payload["time"], second.payload["time"]) == (1_000_000, 943_000)
    assert envelope_epoch(second) - envelope_epoch(chat(0, "")) == pytest.approx(900.0)
    assert second.data["timestamp"].endswith("+00:00")


def test_shifting_changes_nothing_else():
    """The originals stay as they are, and so does every other field."""
    original = chat(100.0, "hi")
    before = json.dumps(original.data)
    moved = shifted([original], 1000.0)[0]
    assert json.dumps(original.data) == before
    kept = {key: value for key, value in moved.data.items() if key not in ("payload", "timestamp")}
    assert kept.items() <= original.data.items()
    assert moved.payload["msg"] == "hi"


@pytest.mark.parametrize(
    "data",
    [None, 3, "text", [1], {"time": "00:00"}, {"time": True}, {"timestamp": 5, "x": 1}],
    ids=str,
)
def test_what_is_no_time_is_not_moved(data):
    """A body without clocks, or with clocks of another shape, only changes its `t`."""
    event = RecordedEvent(1.0, "cytube.events.room.setMotd", data)
    assert shifted([event], 50.0) == (RecordedEvent(50.0, event.subject, data),)


def test_a_bare_payload_is_moved_too():
    """In the plain dialect the payload's `time` is all there is."""
    moved = shifted([as_plain(chat(100.0, "hi"))], 200.0)
    assert moved[0].data["time"] == 200_000


def test_shifting_nothing_gives_nothing():
    """An empty recording has no first event to put anywhere."""
    assert shifted([], 5.0) == ()


def test_only_events_remain():
    """Commands and lifecycle messages of a recording are left out, events of all dialects kept."""
    for name in ("room", "room-early", "rejoin"):
        events = event_subjects_only(read_recording(DATA / f"{name}.jsonl"))
        assert events
        assert all(event.is_enveloped for event in events)
        assert not [event for event in events if "command" in event.subject]


def test_pauses_are_those_of_the_recording():
    """A step back is no pause."""
    events = [chat(10.0, "a"), chat(14.0, "b"), chat(13.0, "c"), chat(16.0, "d")]
    assert list(pauses(events)) == list(zip([0.0, 4.0, 0.0, 2.0], events, strict=True))


# -- dialects ----------------------------------------------------------------------------------


def test_the_plain_dialect_has_no_envelope():
    """`as_plain` takes the envelope off; event name as CyTube spells it, channel in lower case."""
    plain = as_plain(chat(1.0, "hi"))
    assert plain.subject == "cytube.events.room.chatMsg"
    assert plain.data == chat(1.0, "hi").payload
    assert plain.name == "chatMsg"
    assert plain.payload == plain.data


def test_what_has_no_envelope_can_not_be_made_plain():
    """A lifecycle message isn't an event of the room."""
    with pytest.raises(RecordingError, match="no envelope"):
        as_plain(RecordedEvent(1.0, "kryten.lifecycle.robot.startup", {"service": "robot"}))


# -- the film night ----------------------------------------------------------------------------

# That it shows every kind of decision is seen where it is played (tests/integration/test_demo.py).
NIGHT = film_night()
CHAT = [event for event in NIGHT if event.name == "chatMsg"]
MENTION = re.compile(r"(?<!\w)@?reel(?!\w)", re.IGNORECASE)


def test_the_film_night_is_in_order():
    """Some eighty lines in eight to nine minutes, sorted by time, each with an id of its own."""
    assert 75 <= len(CHAT) <= 90
    assert 8 * 60 <= NIGHT[-1].t - NIGHT[0].t <= 9 * 60
    times = [event.t for event in NIGHT]
    assert times == sorted(times)
    ids = [event.data["correlation_id"] for event in NIGHT if event.is_enveloped]
    assert len(set(ids)) == len(ids)


def test_every_envelope_of_the_film_night_is_whole():
    """Each event has the six fields of the connector's envelope, and the subject that fits it."""
    fields = {"event_name", "payload", "channel", "domain", "timestamp", "correlation_id"}
    for event in event_subjects_only(NIGHT):
        assert event.data.keys() == fields
        name = event.data["event_name"].lower()
        assert event.subject == f"kryten.events.cytube.{event.data['channel'].lower()}.{name}"


def test_the_film_night_is_of_nobody():
    """The bot's lines come when it says something; no payload carries an address of anybody."""
    assert "Reel" not in {event.payload["username"] for event in CHAT}
    assert not any('"ip"' in event.body().decode() for event in NIGHT)


def test_lines_of_the_film_night_are_fresh_replayed_or_stale():
    """Fifteen old ones first; one that arrives too late; of the others the three clocks are
    milliseconds apart. Both kinds would have been mentions."""
    ages = [envelope_epoch(event) - event.payload["time"] / 1000 for event in CHAT]
    delays = [event.t - envelope_epoch(event) for event in CHAT]
    replayed = [event for event, age in zip(CHAT, ages, strict=True) if age > 5]
    stale = [event for event, delay in zip(CHAT, delays, strict=True) if delay > 30]
    assert replayed == CHAT[:15]
    assert len(stale) == 1
    assert all(any(MENTION.search(e.payload["msg"]) for e in old) for old in (replayed, stale))
    assert all(0 <= age < 0.01 for age in ages[15:])
    assert sorted(delays)[-2] < 0.01


def test_every_kind_of_line_is_there():
    """Names in several forms and words like them, markup, links, emotes, provocations."""
    said = "\n".join(event.payload["msg"] for event in CHAT)
    kinds = (
        *("@Reel ", "Reel: ", "REEL", "also, Reel, ", "a real bot", "Reels of", "surreel"),
        *("<img ", "<em>", "&amp;", "&gt;", 'rel="noopener noreferrer"', ":popcorn:", "😱"),
        *("ünïcødé", "\u200d", "!skip", "say /kick marcus", "in markdown", "send a link"),
        *("a long story", "think out loud", "bot help", "what do you think", "who said"),
    )
    assert [kind for kind in kinds if kind not in said] == []


def test_a_room_is_more_than_its_chat():
    """People come, go and write to the bot alone; three films, with the repeats of a real one."""
    names = {event.name for event in NIGHT}
    assert {"login", "userlist", "addUser", "userLeave", "setUserRank", "setAFK"} <= names
    private = [event.payload for event in NIGHT if event.name == "pm"]
    assert {payload["to"] for payload in private} == {"Reel"}
    films = [event.payload["id"] for event in NIGHT if event.name == "changeMedia"]
    assert len(set(films)) == 3 < len(films)
