"""Recorded rooms: reading, moving in time, the plain dialect; and what the film night shows."""

from __future__ import annotations

import json
import re
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from llm_bot.demo.recording import (
    RecordedEvent,
    RecordingError,
    as_plain,
    at_speed,
    event_subjects_only,
    film_night,
    parse_recording,
    read_recording,
    shifted,
)

DATA = Path(__file__).parents[1] / "data"
BOT = "Reel"
MENTION = re.compile(r"(?<!\w)@?reel(?!\w)", re.IGNORECASE)
REPLAY_SECONDS = 5.0
MAX_AGE_SECONDS = 30.0


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


def test_a_recording_is_read_by_its_name_too():
    """A text is taken for a path."""
    assert read_recording(str(DATA / "rejoin.jsonl")) == read_recording(DATA / "rejoin.jsonl")


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
    """At speed 1 each pause is the recorded one, at 2 half of it; a step back is no pause."""
    events = [chat(10.0, "a"), chat(14.0, "b"), chat(13.0, "c"), chat(16.0, "d")]
    assert [pause for pause, _ in at_speed(events)] == [0.0, 4.0, 0.0, 2.0]
    assert [pause for pause, _ in at_speed(events, 2)] == [0.0, 2.0, 0.0, 1.0]
    assert [pause for pause, _ in at_speed(events, longest_pause=1.5)] == [0.0, 1.5, 0.0, 1.5]
    assert [event for _, event in at_speed(events)] == events


@pytest.mark.parametrize("speed", [0, -1])
def test_time_does_not_stand_still(speed):
    """A speed that isn't above 0 is refused."""
    with pytest.raises(ValueError, match="above 0"):
        list(at_speed([chat(1.0, "a")], speed))


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

NIGHT = film_night()
CHAT = [event for event in NIGHT if event.name == "chatMsg"]
REPLAYED = [e for e in CHAT if envelope_epoch(e) - e.payload["time"] / 1000 > REPLAY_SECONDS]
STALE = [e for e in CHAT if e not in REPLAYED and e.t - envelope_epoch(e) > MAX_AGE_SECONDS]
LIVE = [event for event in CHAT if event not in REPLAYED and event not in STALE]


def said(text: str) -> list[RecordedEvent]:
    return [event for event in LIVE if text in event.payload["msg"]]


def mentions() -> list[RecordedEvent]:
    return [
        event
        for event in LIVE
        if MENTION.search(event.payload["msg"])
        and event.payload["username"] != "PollBot"
        and not event.payload["meta"].get("shadow")
    ]


def test_the_film_night_has_the_right_length():
    """Some eighty lines in eight to nine minutes."""
    assert 75 <= len(CHAT) <= 90
    assert 8 * 60 <= NIGHT[-1].t - NIGHT[0].t <= 9 * 60


def test_the_film_night_is_in_order():
    """Events are sorted by time, and no two share a correlation id."""
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


def test_live_lines_of_the_film_night_are_fresh():
    """The three clocks of a live line, and of a private message, are milliseconds apart."""
    for event in LIVE + [event for event in NIGHT if event.name == "pm"]:
        assert 0 <= event.t - envelope_epoch(event) < 0.01
        assert 0 <= envelope_epoch(event) - event.payload["time"] / 1000 < 0.01


def test_the_film_night_has_no_line_of_the_bot():
    """The own lines come from the connector, when the bot has said something."""
    assert BOT not in {event.payload["username"] for event in CHAT}


def test_the_film_night_holds_no_addresses():
    """No payload carries an address of anybody, not even a made-up one."""
    assert not any('"ip"' in event.body().decode() for event in NIGHT)


def test_old_lines_are_replayed_at_the_start():
    """Fifteen of them, before any live line, one a mention that must not be answered."""
    assert len(REPLAYED) == 15
    assert max(event.t for event in REPLAYED) < min(event.t for event in LIVE)
    assert any(MENTION.search(event.payload["msg"]) for event in REPLAYED)


def test_a_stale_mention_is_there():
    """One line arrives too late, and it would have been a mention."""
    assert [bool(MENTION.search(event.payload["msg"])) for event in STALE] == [True]


@pytest.mark.parametrize(
    "text",
    ["@Reel ", "Reel: ", "hey reel, ", "REEL", "@reel: ", "also, Reel, ", "gently, @Reel?"],
)
def test_mentions_come_in_several_forms(text):
    """With and without a sign, at the start, in the middle and at the end, in any case."""
    assert [event for event in said(text) if event in mentions()]


@pytest.mark.parametrize("text", ["a real bot", "Reels of", "real estate", "surreel"])
def test_false_mentions_are_there(text):
    """Words that only look like the name."""
    assert said(text)
    assert not [event for event in said(text) if MENTION.search(event.payload["msg"])]


@pytest.mark.parametrize(
    "text",
    [
        "!skip",
        "<img ",
        "<em>",
        "<strong>",
        "&amp;",
        'rel="noopener noreferrer"',
        ":popcorn:",
        "😱",
        "ünïcødé",
        "\u200d",
        "say /kick marcus",
        "in markdown",
        "send a link",
        "a long story",
        "think out loud",
        "bot help",
        "what do you think",
        "what's playing",
        "who said",
        "recommend",
        "joke",
        "thanks",
        "goodnight",
    ],
)
def test_every_kind_of_line_is_there(text):
    """What the demo promises to show is in the recording."""
    assert said(text)


def test_those_who_are_ignored_speak_up():
    """`[server]`, another bot with the name in its line, and a shadow-muted user with it."""
    users = {event.payload["username"] for event in LIVE}
    assert {"[server]", "PollBot"} <= users
    assert any(MENTION.search(e.payload["msg"]) for e in LIVE if e.payload["username"] == "PollBot")
    shadowed = [event for event in LIVE if event.payload["meta"].get("shadow")]
    assert shadowed
    assert all(MENTION.search(event.payload["msg"]) for event in shadowed)


def test_greentext_is_marked():
    """Its class is in `meta`, its sign is escaped."""
    green = [event for event in LIVE if event.payload["meta"].get("addClass") == "greentext"]
    assert green
    assert all(event.payload["msg"].startswith("&gt;") for event in green)


def test_private_messages_are_to_the_bot():
    """Several people write to it alone; nobody else's messages and no echo are there."""
    private = [event.payload for event in NIGHT if event.name == "pm"]
    assert len({payload["username"] for payload in private}) >= 3
    assert {payload["to"] for payload in private} == {BOT}


def test_the_film_changes_and_repeats():
    """Three films, two changes with the lead-in of a real one, and repeats in between."""
    films = [event.payload for event in NIGHT if event.name == "changeMedia"]
    order = [film["id"] for film in films]
    assert len(set(order)) == 3
    assert order != list(dict.fromkeys(order))
    assert [film["currentTime"] == -3 for film in films].count(True) == 2
    assert films[0]["currentTime"] > 5


def test_a_mention_follows_a_change_of_film_at_once():
    """Within the media cooldown (30 s) somebody asks, and after it somebody is answered."""
    change = next(e.t for e in NIGHT if e.name == "changeMedia" and e.payload["currentTime"] == -3)
    asked = [event.t - change for event in mentions() if event.t > change]
    assert asked[0] < 30 < asked[1]


@pytest.mark.parametrize(
    "name",
    ["login", "userlist", "addUser", "userLeave", "setUserRank", "setAFK", "setUserMeta", "rank",
     "setCurrent", "mediaUpdate", "usercount", "setMotd"],
)  # fmt: skip
def test_the_events_around_are_there(name):
    """A room is more than its chat."""
    assert [event for event in NIGHT if event.name == name]


def test_the_limits_are_met_now_and_then():
    """By the defaults: a cooldown, a burst of one user, six in a minute; most mentions are free."""
    times = [event.t for event in mentions()]
    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert 0 < len([pause for pause in pauses if pause < 10]) <= 2
    assert any(later - sooner < 60 for sooner, later in zip(times, times[5:], strict=False))
    users = [event.payload["username"] for event in mentions()]
    by_user = {
        user: [t for t, who in zip(times, users, strict=True) if who == user] for user in users
    }
    assert any(
        later - sooner < 60
        for own in by_user.values()
        for sooner, later in zip(own, own[2:], strict=False)
    )
