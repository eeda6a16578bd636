"""What connectors publish, and what is understood of it (behaviour, section 1)."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.demo.recording import (
    RecordedEvent,
    as_plain,
    event_subjects_only,
    film_night,
    read_recording,
)
from llm_bot.models import (
    ChatCleared,
    ChatLine,
    Dialect,
    LineKind,
    LoggedIn,
    Media,
    Origin,
    Person,
    PersonChanged,
    PersonLeft,
    RosterHeard,
    SendRefused,
)
from llm_bot.ports import Event
from llm_bot.wire import (
    EVENT_TYPES,
    DropReason,
    Ignored,
    ParsedEvent,
    Rejected,
    event_subjects,
    new_correlation_id,
    parse_answer,
    parse_event,
)
from llm_bot.wire.correlation import MAX_ID_CHARACTERS
from llm_bot.wire.events import (
    MAX_BODY_BYTES,
    MAX_MESSAGE_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_TITLE_CHARACTERS,
)

DATA = Path(__file__).parents[1] / "data"
RECORDINGS = {
    "room.jsonl": Dialect.KRYTEN,
    "rejoin.jsonl": Dialect.KRYTEN,
    "room-early.jsonl": Dialect.EARLY,
}
SUBJECTS = {
    Dialect.KRYTEN: "kryten.events.cytube.lounge",
    Dialect.EARLY: "cytube.events.cytu.be.lounge",
    Dialect.PLAIN: "cytube.events.lounge",
}
HEARD_AT = 1_700_000_010.0
ARRIVED = 5_000.0
SAID_AT = 1_700_000_000.0
FROM_ALICE = {"username": "alice", "msg": "hi", "meta": {}, "time": round(SAID_AT * 1000)}

TOO_LARGE, BAD_JSON, BAD_PAYLOAD, BAD_NAME, OTHER_DOMAIN = DropReason


def hear(
    body: Any,
    name: str = "chatmsg",
    *,
    dialect: Dialect = Dialect.KRYTEN,
    domain: str | None = None,
    headers: Any = None,
) -> ParsedEvent | Rejected | Ignored:
    """What is understood of `body`: bytes as they are, all else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    event = Event(f"{SUBJECTS[dialect]}.{name}", data, headers)
    return parse_event(event, dialect, heard_at=HEARD_AT, arrived=ARRIVED, domain=domain)


def line(body: Any, name: str = "chatmsg", **how: Any) -> ChatLine:
    """The line that `body` says; it must be one."""
    result = hear(body, name, **how)
    assert isinstance(result, ParsedEvent), result
    assert isinstance(result.event, ChatLine)
    return result.event


def envelope(payload: Any = None, name: str = "chatMsg", **fields: Any) -> dict[str, Any]:
    """The connector's envelope, its `timestamp` half a second after alice spoke."""
    return {
        "event_name": name,
        "payload": FROM_ALICE if payload is None else payload,
        "channel": "Lounge",
        "domain": "cytu.be",
        "timestamp": "2023-11-14T22:13:20.500000+00:00",
        "correlation_id": "from-envelope",
        **fields,
    }


BOB = {"name": "bob", "rank": 1.5, "profile": {"image": "", "text": ""}}
ALICE = {"name": "alice", "rank": 3, "meta": {"afk": True, "muted": False, "ip": "1.2.3.4"}}
FILM = {"id": "abc", "title": "A  film\n", "type": "yt", "currentTime": -3, "paused": True}

UNUSED_PAYLOADS: list[Any] = [{"username": []}, [[5]], "text"]
EVENTS: dict[str, tuple[str, Any, Any]] = {
    "empty room": ("userlist", [], RosterHeard(())),
    "userlist": (
        "userlist",
        [{**ALICE, "aliases": ["x"]}, BOB],
        RosterHeard((Person("alice", 3.0, is_afk=True), Person("bob", 1.5))),
    ),
    "bad entries hide no good ones": (
        "userlist",
        [5, None, {}, {"name": ""}, [], {"name": "bob", "rank": 1}, {"name": "eve", "rank": "x"}],
        RosterHeard((Person("bob", 1.0), Person("eve"))),
    ),
    "userlist an object": ("userlist", {}, BAD_PAYLOAD),
    "userlist null": ("userlist", None, BAD_PAYLOAD),
    "a room of 30,000": (
        "userlist",
        [{"name": f"u{number}", "rank": 1} for number in range(30_000)],
        RosterHeard(tuple(Person(f"u{number}", 1.0) for number in range(30_000))),
    ),
    "a room too big": ("userlist", [{"name": f"user{n}"} for n in range(100_000)], TOO_LARGE),
    "addUser": ("addUser", BOB, Person("bob", 1.5)),
    "shadow-muted": (
        "addUser",
        {"name": "eve", "rank": 0, "meta": {"muted": False, "smuted": True}},
        Person("eve", 0.0, is_muted=True),
    ),
    "odd meta": ("addUser", {"name": "e", "meta": None, "afk": True}, Person("e", is_afk=True)),
    "half of meta odd": (
        "addUser",
        {"name": "e", "meta": {"afk": 1, "muted": True}},
        Person("e", is_muted=True),
    ),
    "addUser a list": ("addUser", [], BAD_PAYLOAD),
    "addUser nobody": ("addUser", {}, BAD_NAME),
    "userLeave": ("userLeave", {"name": "bob"}, PersonLeft("bob")),
    "userLeave a text": ("userLeave", "bob", BAD_PAYLOAD),
    "userLeave a number": ("userLeave", {"name": 5}, BAD_NAME),
    "setUserRank": (
        "setUserRank",
        {"name": "bob", "rank": 1.5, "userrank": 2},
        PersonChanged("bob", 1.5),
    ),
    "minus": ("setUserRank", {"name": "bob", "rank": -1}, PersonChanged("bob", -1.0)),
    "high": ("setUserRank", {"name": "bob", "rank": 255}, PersonChanged("bob", 255.0)),
    "rank a text": ("setUserRank", {"name": "bob", "rank": "3"}, PersonChanged("bob")),
    "rank a bool": ("setUserRank", {"name": "bob", "rank": True}, PersonChanged("bob")),
    "no float holds it": ("setUserRank", {"name": "b", "rank": 10**400}, PersonChanged("b")),
    "setUserRank a number": ("setUserRank", 3, BAD_PAYLOAD),
    "setAFK": ("setAFK", {"name": "bob", "afk": True}, PersonChanged("bob", is_afk=True)),
    "afk a number": ("setAFK", {"name": "bob", "afk": 1}, PersonChanged("bob")),
    "setAFK nobody": ("setAFK", {"afk": True}, BAD_NAME),
    "setUserMeta": (
        "setUserMeta",
        {"name": "bob", "meta": {"afk": False, "muted": True, "ip": "1.2.3.4"}},
        PersonChanged("bob", is_afk=False, is_muted=True),
    ),
    "meta a list": ("setUserMeta", {"name": "bob", "meta": []}, PersonChanged("bob")),
    "changeMedia": ("changeMedia", FILM, Media("abc", "yt", "A film", -3.0)),
    "changeMedia odd": (
        "changeMedia",
        {"id": 7, "title": "", "currentTime": "0"},
        Media("7", "", ""),
    ),
    "changeMedia bounded": (
        "changeMedia",
        {"id": "x" * 99_999, "title": "t" * 1000, "type": "y" * 1000},
        Media("x" * MAX_MESSAGE_CHARACTERS, "y" * 128, "t" * MAX_TITLE_CHARACTERS),
    ),
    "type a number": ("changeMedia", {"id": "a", "title": "t", "type": 5}, Media("a", "", "t")),
    "changeMedia null": ("changeMedia", None, BAD_PAYLOAD),
    "changeMedia without id": ("changeMedia", {"title": "x"}, BAD_PAYLOAD),
    "changeMedia id a bool": ("changeMedia", {"id": True, "title": "x"}, BAD_PAYLOAD),
    "changeMedia without title": ("changeMedia", {"id": "a"}, BAD_PAYLOAD),
    "login": ("login", {"success": True, "name": "Bot"}, LoggedIn("Bot")),
    "guest": ("login", {"name": "Bot", "guest": True}, LoggedIn("Bot")),
    "login failed": ("login", {"success": False, "error": "no"}, BAD_PAYLOAD),
    "clearchat": ("clearchat", {"clearedBy": "x"}, ChatCleared()),
    "clearchat null": ("clearchat", None, ChatCleared()),
    "cooldown": ("cooldown", 100, SendRefused("cooldown", "", 0.1)),
    "cooldown null": ("cooldown", None, BAD_PAYLOAD),
    "cooldown negative": ("cooldown", -1, BAD_PAYLOAD),
    "cooldown a text": ("cooldown", "100", BAD_PAYLOAD),
    "cooldown a bool": ("cooldown", True, BAD_PAYLOAD),
    "cooldown an object": ("cooldown", {"ms": 5}, BAD_PAYLOAD),
    "noflood": (
        "noflood",
        {"action": "chat", "msg": "You are <b>muted</b>"},
        SendRefused("noflood", "You are muted"),
    ),
    "errorMsg": ("errorMsg", {"msg": "PM failed: x"}, SendRefused("errormsg", "PM failed: x")),
    "errorMsg null": ("errorMsg", None, SendRefused("errormsg")),
    "errorMsg odd": ("errorMsg", {"msg": 5}, SendRefused("errormsg")),
    "spamFiltered": ("spamFiltered", {"reason": "NEW"}, SendRefused("spamfiltered", "NEW")),
    **{
        f"unused {name!r} {payload!r}": (name, payload, Ignored())
        for name in ("usercount", "mediaUpdate", "kick", "setMotd", "playlist", "*", "")
        for payload in UNUSED_PAYLOADS
    },
    "chatMsg a list": ("chatMsg", [FROM_ALICE], BAD_PAYLOAD),
    "chatMsg null": ("chatMsg", None, BAD_PAYLOAD),
    "an envelope in an envelope": ("chatMsg", envelope(), BAD_PAYLOAD),
}


@pytest.mark.parametrize(("name", "payload", "said"), EVENTS.values(), ids=EVENTS)
def test_an_event_bare_and_in_an_envelope(name: str, payload: Any, said: Any) -> None:
    """Each event becomes one value, or is dropped with a reason; what an envelope names counts
    more than the subject (HEAR-6, HEAR-9, HEAR-12, HEAR-13)."""
    in_envelope = {**envelope(name=name), "payload": payload}
    for body, heard_as in ((payload, name), (in_envelope, name.lower()), (in_envelope, "kick")):
        if isinstance(payload, dict) and "payload" in payload and body is payload:
            continue  # an envelope, in which the line is
        result = hear(body, heard_as)
        if isinstance(said, DropReason):
            is_too_large = said is TOO_LARGE and heard_as == "kick"
            assert result == (Ignored() if is_too_large else Rejected(name.lower(), said))
        elif isinstance(said, Ignored):
            assert result == said
        else:
            assert isinstance(result, ParsedEvent)
            assert (result.event_type, result.event) == (name.lower(), said)


ODD_TIMES: list[Any] = [
    *(None, "1700000000000", "00:00", True, 0, -5, [1], {}, 10**15, 10**400, 1e308),
]
BAD_NAMES: list[Any] = [
    *("", " ", "\u00a0", "a" * (MAX_NAME_CHARACTERS + 1), "al\nice", "al\u2028ice", "al\x00ice"),
    *("al\u200bice", "al\u202eice", None, 5, True, [], ["alice"], {}),
    *({"name": ""}, {"name": {"name": "alice"}}),
]
NO_TEXTS: list[Any] = [None, 5, True, [], {}, ["hi"], {"text": "hi"}]
NO_SHADOWS: list[Any] = [{"shadow": False}, {"addClass": "x"}, None, [], ["shadow"], "shadow", 5]

LINES: dict[str, tuple[dict[str, Any], dict[str, Any] | DropReason]] = {
    "as it is": ({}, {}),
    # Times are in milliseconds.
    "time a fraction": ({"time": 1_700_000_000_123.5}, {"said_at": 1_700_000_000.1235}),
    "time in the future": ({"time": 9e13}, {"said_at": 9e10}),
    **{f"time {value!r:.20}": ({"time": value}, {"said_at": None}) for value in ODD_TIMES},
    # Every shape that names have had, and what is no name.
    "username.name": ({"username": {"name": "alice"}}, {}),
    "user.name": ({"username": None, "user": {"name": "alice", "rank": 2}}, {}),
    "user": ({"username": 5, "user": "alice"}, {}),
    "from": ({"username": {}, "from": "alice"}, {}),
    "from.name": ({"username": [], "user": None, "from": {"name": "alice"}}, {}),
    "the first wins": ({"user": {"name": "bob"}}, {}),
    **{
        f"name {name!r:.20}": ({"username": name}, {"user": name})
        for name in ("a", "a" * MAX_NAME_CHARACTERS, "Zoë-2_x", "[server]", "two words")
    },
    **{f"bad name {name!r:.30}": ({"username": name}, BAD_NAME) for name in BAD_NAMES},
    "an empty name isn't replaced": ({"username": "", "from": "owner"}, BAD_NAME),
    # Text is only ever seen cleaned (HEAR-14).
    "html": ({"msg": "<b>hi</b> &amp; bye"}, {"text": "hi & bye"}),
    "empty": ({"msg": ""}, {"text": ""}),
    "image only": ({"msg": '<img src="x">'}, {"text": ""}),
    "controls": ({"msg": "one\ntwo\x00three"}, {"text": "one twothree"}),
    "largest": ({"msg": "a" * MAX_MESSAGE_CHARACTERS}, {"text": "a" * 1000}),
    "too large": ({"msg": "a" * (MAX_MESSAGE_CHARACTERS + 1)}, TOO_LARGE),
    **{f"msg {msg!r}": ({"msg": msg}, BAD_PAYLOAD) for msg in NO_TEXTS},
    # A shadow-muted user's line; an odd `meta` says nothing.
    "shadow": ({"meta": {"shadow": True}}, {"is_shadowed": True}),
    "any truth": ({"meta": {"shadow": 1, "afk": 1}}, {"is_shadowed": True}),
    **{f"meta {meta!r}": ({"meta": meta}, {}) for meta in NO_SHADOWS},
    # A bare payload can't borrow what only an envelope tells.
    "an envelope's": ({"timestamp": "2026-01-01T00:00:00Z", "channel": "x", "domain": 5}, {}),
}
TARGETS: dict[str, tuple[dict[str, Any], dict[str, Any] | DropReason]] = {
    "to": ({"to": "MyBot"}, {"to": "MyBot"}),
    "to.name": ({"to": {"name": "MyBot"}}, {"to": "MyBot"}),
    "to null": ({"to": None}, {}),
    "to a number": ({"to": 5}, {}),
    "to empty": ({"to": ""}, BAD_NAME),
    "to nobody": ({"to": {}}, BAD_NAME),
    "to a line break": ({"to": "a\nb"}, BAD_NAME),
}


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        *(pytest.param(LineKind.CHAT, *row, id=f"chat {name}") for name, row in LINES.items()),
        *(pytest.param(LineKind.PM, *row, id=f"pm {name}") for name, row in LINES.items()),
        *(pytest.param(LineKind.PM, *row, id=f"pm {name}") for name, row in TARGETS.items()),
        *(
            pytest.param(LineKind.CHAT, row[0], {}, id=f"chat {name}")
            for name, row in TARGETS.items()
        ),
    ],
)
def test_a_line_bare_and_in_an_envelope(kind: LineKind, fields: dict[str, Any], said: Any) -> None:
    """What can't be used of a line is unknown; without name or text it is dropped (HEAR-7)."""
    name = "chatMsg" if kind is LineKind.CHAT else "pm"
    payload = {**FROM_ALICE, **fields}
    for dialect, is_bare in itertools.product(Dialect, (True, False)):
        result = hear(payload if is_bare else envelope(payload, name), name, dialect=dialect)
        if isinstance(said, DropReason):
            assert result == Rejected(name.lower(), said)
            continue
        assert isinstance(result, ParsedEvent)
        place = () if is_bare else ("Lounge", "cytu.be")
        assert result.origin == Origin(dialect, f"{SUBJECTS[dialect]}.{name}", *place)
        found = msgspec.structs.asdict(result.event)
        assert found.pop("correlation_id")
        assert found == {
            "kind": kind,
            "user": "alice",
            "text": "hi",
            "origin": result.origin,
            "heard_at": HEARD_AT,
            "arrived": ARRIVED,
            "said_at": SAID_AT,
            "forwarded_at": None if is_bare else SAID_AT + 0.5,
            "to": "",
            "is_shadowed": False,
            **said,
        }


@pytest.mark.parametrize(
    ("said_at", "when"),
    [(None, HEARD_AT), (HEARD_AT - 7, HEARD_AT - 7), (HEARD_AT + 7, HEARD_AT), (9e10, HEARD_AT)],
)
def test_nothing_was_said_in_the_future(said_at: float | None, when: float) -> None:
    """A line of no known time, or of one to come, was said when it was heard (HEAR-16)."""
    told = None if said_at is None else said_at * 1000
    assert line({**FROM_ALICE, "time": told}).time == when


ODD_STAMPS: list[Any] = ["yesterday", "", "\ud800", "1" * 99_999, None, True, [], {}]


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("2023-11-14T22:13:20.500000+00:00", SAID_AT + 0.5),
        ("2023-11-14T22:13:20Z", SAID_AT),
        ("2023-11-14t22:13:20z", SAID_AT),
        ("2023-11-15 00:13:20+02:00", SAID_AT),
        ("2023-11-14T22:13:20", SAID_AT),
        ("2023-11-14T22:13:20.1234567Z", pytest.approx(SAID_AT + 0.123457)),
        (SAID_AT, SAID_AT),
        (round(SAID_AT * 1000), None),
        ("0001-01-01T00:00:00+23:59", None),
        ("1970-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59-23:59", None),
        *((odd, None) for odd in ODD_STAMPS),
    ],
)
def test_the_time_of_an_envelope(stamp: Any, seconds: float | None, monkeypatch) -> None:
    """RFC 3339, without a zone UTC, wherever the bot runs; what is no time is unknown (HEAR-7)."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert line(envelope(timestamp=stamp)).forwarded_at == seconds
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("field", ["channel", "domain", "timestamp", "correlation_id"])
@pytest.mark.parametrize("value", [-5, True, [], {}, ["x"], 1e300], ids=repr)
def test_an_odd_field_of_an_envelope(field: str, value: Any) -> None:
    """It counts as absent; the line is heard, and so is the rest of the envelope (HEAR-7)."""
    said = line(envelope(**{field: value}))
    read = {
        "channel": said.origin.channel,
        "domain": said.origin.domain,
        "timestamp": said.forwarded_at,
        "correlation_id": said.correlation_id,
    }
    assert read.pop(field) not in (value, "Lounge", "cytu.be", SAID_AT + 0.5, "from-envelope")
    usual = {"channel": "Lounge", "domain": "cytu.be", "timestamp": SAID_AT + 0.5}
    assert all(read[name] == found for name, found in usual.items() if name != field)


@pytest.mark.parametrize(
    "body",
    [
        {"event_name": "chatMsg"},
        {"payload": FROM_ALICE},
        {"event_name": 5, "payload": FROM_ALICE},
        {"event_name": None, "payload": FROM_ALICE},
    ],
    ids=repr,
)
def test_half_an_envelope(body: Any) -> None:
    """Half an envelope is a bare payload without a message (HEAR-6)."""
    assert hear(body) == Rejected("chatmsg", BAD_PAYLOAD)


@pytest.mark.parametrize(
    ("configured", "sent", "is_heard"),
    [
        (None, "other.tv", True),
        ("CyTu.be", "cytu.BE", True),
        ("cytu.be", "other.tv", False),
        ("cytu.be", "", True),
        ("cytu.be", 5, True),
    ],
)
def test_domain(configured: str | None, sent: Any, is_heard: bool) -> None:
    """Two servers may have a room of one name: an envelope of the other is dropped (HEAR-8)."""
    result = hear(envelope(domain=sent), domain=configured)
    assert isinstance(result, ParsedEvent) is is_heard
    assert is_heard or result == Rejected("chatmsg", OTHER_DOMAIN)
    unused = hear(envelope(5, "usercount", domain=sent), "chatmsg", domain=configured)
    assert unused == Ignored()


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"Correlation-Id": "h-1"}, "h-1"),
        ({"Other": "x", "correlation-ID": "h-1"}, "h-1"),
        ({"Correlation-Id": "x" * MAX_ID_CHARACTERS}, "x" * 128),
        ({None: "x", b"Correlation-Id": "y"}, "from-envelope"),
        *(
            ({"Correlation-Id": bad}, "from-envelope")
            for bad in ("", "a b", "a\r\nX: y", "a\n", "é", "x" * 129, None, 5, b"h-1", ["h-1"])
        ),
        *((none, "from-envelope") for none in (None, {}, {"Other": "x"})),
    ],
    ids=repr,
)
def test_correlation_id(headers: Any, found: str) -> None:
    """A usable header wins over the envelope; one that can't be sent on is passed over
    (HEAR-11)."""
    assert line(envelope(), headers=headers).correlation_id == found


@pytest.mark.parametrize("given_id", [None, "", "a b", "a\n", "x" * 129, 5, []], ids=repr)
def test_a_new_correlation_id(given_id: Any) -> None:
    """Where none can be used there is a new one, each time another, fit for a header (HEAR-11)."""
    body = envelope(correlation_id=given_id)
    found = {line(body).correlation_id for _ in range(100)}
    assert len(found) == 100
    assert not [one for one in found if one == given_id]
    assert all(one.isascii() and one.isprintable() and 0 < len(one) < 40 for one in found)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        pytest.param(rb"cut \ud83d", "cut \ufffd", id="first-half-at-the-end"),
        pytest.param(rb"\ude00 cut", "\ufffd cut", id="second-half-at-the-start"),
        pytest.param(rb"a\ud83db", "a\ufffdb", id="within-a-word"),
        pytest.param(rb"\ud83d\ud83d\ude00", "\ufffd😀", id="half-before-a-whole"),
        pytest.param(rb"\uD83D\uDE00\uDE00", "😀\ufffd", id="half-after-a-whole"),
        pytest.param(rb"\ud83d\u0041", "\ufffdA", id="half-before-an-escaped-letter"),
        pytest.param(rb"\\ud83d \ud83d", "\\ud83d \ufffd", id="an-escaped-backslash-is-text"),
        pytest.param(rb"\ud83d \"quoted\"", '\ufffd "quoted"', id="other-escapes-stay"),
    ],
)
def test_half_an_emoji(written: bytes, text: str) -> None:
    """CyTube cuts long lines in UTF-16 units: half an emoji at the edge costs no line (HEAR-15)."""
    said = line(b'{"username":"alice","msg":"%b"}' % written)
    assert said.text == text
    film = (
        b'{"event_name":"changeMedia","channel":"\\ud800","payload":{"id":"\\udfff","title":"%b"}}'
    )
    msgspec.json.encode(hear(film % written))  # no half comes through, on which encoders fail


def deep(opened: bytes, closed: bytes = b"") -> bytes:
    return opened * 100_000 + closed * 100_000


BODIES: dict[str, tuple[bytes, DropReason]] = {
    "empty": (b"", BAD_JSON),
    "blank": (b" ", BAD_JSON),
    "text": (b"hello", BAD_JSON),
    "cut off": (b'{"username":"alice","msg":"hi"', BAD_JSON),
    "envelope cut off": (json.dumps(envelope()).encode()[:-1], BAD_JSON),
    "too much": (b'{"username":"alice","msg":"hi"}x', BAD_JSON),
    "not UTF-8": (b'{"msg":"\xff\xfe"}', BAD_JSON),
    "surrogate in UTF-8": (b'{"msg":"\xed\xa0\x80"}', BAD_JSON),
    "NaN": (b"NaN", BAD_JSON),
    "Infinity": (b'{"time":Infinity}', BAD_JSON),
    "out of range": (b'{"time":1e999}', BAD_JSON),
    "5000 digits": (b'{"time":' + b"9" * 5000 + b"}", BAD_JSON),
    "deep and open": (deep(b"["), BAD_JSON),
    "deep": (deep(b"[", b"]"), BAD_JSON),
    "deep fields": (deep(b'{"a":') + b"1" + deep(b"}"), BAD_JSON),
    "deep with half a pair": (rb'["\ud800",' + deep(b"["), BAD_JSON),
    "half a pair cut off": (rb'{"msg":"\ud800', BAD_JSON),
    "half an escape": (rb'{"msg":"\ud8', BAD_JSON),
    "backslashes": (deep(b"\\") + rb"\ud800", BAD_JSON),
    "null": (b"null", BAD_PAYLOAD),
    "list": (b"[]", BAD_PAYLOAD),
    "string": (b'"hi"', BAD_PAYLOAD),
    "number": (b"5", BAD_PAYLOAD),
    # The largest that are read, and one that isn't.
    "1 MiB of blanks": (b" " * (MAX_BODY_BYTES - 2) + b"{}", BAD_PAYLOAD),
    "1 MiB of lists": (b"[" + b"[]," * (MAX_BODY_BYTES // 3 - 2) + b"[]]", BAD_PAYLOAD),
    "1 MiB of objects": (b"[" + b"{}," * (MAX_BODY_BYTES // 3 - 2) + b"{}]", BAD_PAYLOAD),
    "1 MiB of escapes": (b'"' + b"\\n" * (MAX_BODY_BYTES // 2 - 1) + b'"', BAD_PAYLOAD),
    "1 MiB of half pairs": (b'"' + rb"\ud800" * (MAX_BODY_BYTES // 6 - 1) + b'"', BAD_PAYLOAD),
    "1 MiB of backslashes": (b"\\" * (MAX_BODY_BYTES - 6) + rb"\ud800", BAD_JSON),
    "1 MiB of text": (b'{"username":"a","msg":"' + b"<" * 1_000_000 + b'"}', TOO_LARGE),
    "above 1 MiB": (b"x" * (MAX_BODY_BYTES + 1), TOO_LARGE),
}


@pytest.mark.parametrize(("body", "why"), BODIES.values(), ids=BODIES)
def test_garbage(body: bytes, why: DropReason) -> None:
    """Each kind has its reason, under the event's name in lower case; nobody minds it in an event
    of no use (HEAR-9, HEAR-10)."""
    assert hear(body, "chatMsg") == Rejected("chatmsg", why)
    assert hear(body, "usercount") == Ignored()
    assert isinstance(parse_answer("userlist", body), RosterHeard | Rejected)


def test_repeated_keys() -> None:
    """Of a key that stands twice the last one counts, as everywhere in JSON."""
    assert line(b'{"username":"eve","username":"bob","msg":"1","msg":"2"}').user == "bob"


@pytest.mark.parametrize(
    ("dialect", "channel", "domain", "subjects"),
    [
        (Dialect.KRYTEN, "lounge", None, ["kryten.events.cytube.lounge.*"]),
        (Dialect.KRYTEN, "420House", "cytu.be", ["kryten.events.cytube.420house.*"]),
        (Dialect.PLAIN, "lounge", None, ["cytube.events.lounge.*"]),
        (Dialect.PLAIN, "Room", "cytu.be", ["cytube.events.room.*", "cytube.events.Room.*"]),
        (Dialect.EARLY, "lounge", "cytu.be", ["cytube.events.cytu.be.lounge.*"]),
        (
            Dialect.EARLY,
            "Room",
            " LocalHost:18443 ",
            ["cytube.events.localhost:18443.room.*", "cytube.events.localhost:18443.Room.*"],
        ),
        (
            Dialect.EARLY,
            "Room",
            None,
            [
                f"cytube.events.{host}.{name}.*"
                for host in ("*", "*.*", "*.*.*", "*.*.*.*")
                for name in ("room", "Room")
            ],
        ),
    ],
)
def test_subjects(dialect: Dialect, channel: str, domain: str | None, subjects: list[str]) -> None:
    """What is subscribed follows from the dialect, the channel's case and the domain
    (HEAR-3, HEAR-4)."""
    assert event_subjects(dialect, channel, domain) == tuple(subjects)


# --- what real rooms published ---


@pytest.mark.parametrize(
    ("event", "dialect"),
    [
        pytest.param(event, dialect, id=f"{name}-{number}-{event.name}")
        for name, dialect in RECORDINGS.items()
        for number, event in enumerate(event_subjects_only(read_recording(DATA / name)))
    ],
)
def test_nothing_recorded_is_dropped(event: RecordedEvent, dialect: Dialect) -> None:
    """Every recorded event is used or of no use; so is its bare payload. Of lines all is known."""
    for one, spoken in [(event, dialect), (as_plain(event), Dialect.PLAIN)]:
        result = parse_event(
            Event(one.subject, one.body()), spoken, heard_at=event.t, arrived=ARRIVED
        )
        assert isinstance(result, ParsedEvent | Ignored), result
        assert isinstance(result, ParsedEvent) is (event.name.lower() in EVENT_TYPES)
        if isinstance(result, ParsedEvent) and isinstance(result.event, ChatLine):
            said, payload = result.event, event.payload
            assert said.text
            assert (said.user, said.to) == (payload["username"], payload.get("to", ""))
            assert said.said_at == payload["time"] / 1000
            if spoken is not Dialect.PLAIN:
                assert abs((said.forwarded_at or 0) - event.t) < 1
                assert said.correlation_id == event.data["correlation_id"]
                assert (said.origin.channel, said.origin.domain) == ("RigRoom", "localhost:18443")


def test_the_film_night() -> None:
    """The room that ships with the package is understood as well."""
    for event in film_night():
        heard = Event(event.subject, event.body())
        result = parse_event(heard, Dialect.KRYTEN, heard_at=event.t, arrived=ARRIVED)
        assert not isinstance(result, Rejected)


# --- whatever comes ---

ANY_TEXT = st.text(st.characters(codec=None))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1 << 61, 1 << 64, -(10**400), 10**4000]),
    st.floats(),
    ANY_TEXT,
    st.sampled_from(["\ud800", "alice", "", " ", "\u200b", "a" * 60, "2", "2026-01-01T00:00:00Z"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(ANY_TEXT, inner, max_size=4)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        *("username", "user", "from", "name", "to", "msg", "reason", "time", "meta", "rank"),
        *("afk", "id", "title", "type", "currentTime", "success"),
    ]
)
PAYLOADS = st.one_of(
    VALUES,
    st.dictionaries(KEYS, VALUES),
    st.fixed_dictionaries({"username": VALUES, "msg": ANY_TEXT, "meta": VALUES, "time": VALUES}),
    st.lists(st.dictionaries(KEYS, VALUES), max_size=4),
)
NAMES = st.sampled_from([*EVENT_TYPES, "chatMsg", "setAFK", "userCount", "", "rank", "*"])
ENVELOPES = st.fixed_dictionaries(
    {"event_name": st.one_of(NAMES, VALUES), "payload": PAYLOADS},
    optional=dict.fromkeys(("channel", "domain", "timestamp", "correlation_id"), VALUES),
)
DIALECTS = st.sampled_from(list(Dialect))


@given(st.binary(max_size=200), NAMES, DIALECTS)
def test_any_bytes(data: bytes, name: str, dialect: Dialect) -> None:
    """No bytes raise, on any subject (HEAR-10)."""
    assert isinstance(hear(data, name, dialect=dialect), ParsedEvent | Rejected | Ignored)


@given(
    st.one_of(PAYLOADS, ENVELOPES),
    NAMES,
    DIALECTS,
    st.sampled_from([None, "cytu.be", ""]),
    st.booleans(),
)
def test_any_json(
    body: Any, name: str, dialect: Dialect, domain: str | None, ascii_only: bool
) -> None:
    """No JSON raises; what is understood is of the promised types and can be encoded (HEAR-10)."""
    written = json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    result = hear(written, name, dialect=dialect, domain=domain)
    msgspec.json.encode(result)
    if not isinstance(result, Ignored):
        assert result.event_type in EVENT_TYPES
    if isinstance(result, ParsedEvent):
        msgspec.convert(msgspec.to_builtins(result.event), type(result.event))
    if isinstance(result, ParsedEvent) and isinstance(result.event, ChatLine):
        said = result.event
        assert 0 < len(said.user) <= MAX_NAME_CHARACTERS
        assert said.user.isprintable()
        assert len(said.text) <= 1000
        assert said.text.splitlines() in ([], [said.text])
        assert 0 < said.time <= HEARD_AT
        assert 0 < len(said.correlation_id) <= MAX_ID_CHARACTERS


@given(
    st.dictionaries(
        st.one_of(VALUES.filter(lambda key: key.__hash__ is not None), st.binary()),
        st.one_of(VALUES, st.binary()),
    )
)
def test_any_headers(headers: Any) -> None:
    """No headers raise (HEAR-10)."""
    assert isinstance(hear(envelope(), headers=headers), ParsedEvent)


@given(
    fields=st.dictionaries(KEYS, VALUES, max_size=3),
    around=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("channel", "domain", "timestamp", "correlation_id"), VALUES)
    ),
    name=st.sampled_from(sorted(EVENT_TYPES)),
)
def test_one_odd_field_changes_nothing_else(
    fields: dict[str, Any], around: dict[str, Any], name: str
) -> None:
    """What fits is read the same whether all of it fits or not (HEAR-7)."""
    payload = {**FROM_ALICE, **BOB, **FILM, **fields}
    # Nothing that a line needs, then nothing that the others need.
    odd = {"currentTime": "x"} if name in ("chatmsg", "pm") else {"time": "x"}
    whole, other = (hear(envelope({**payload, **more}, name, **around)) for more in ({}, odd))
    assert _without_new_id(whole) == _without_new_id(other)


def _without_new_id(result: ParsedEvent | Rejected | Ignored) -> Any:
    if not isinstance(result, ParsedEvent) or not isinstance(result.event, ChatLine):
        return result
    said = msgspec.structs.asdict(result.event)
    if said["correlation_id"].startswith(new_correlation_id().partition("-")[0]):
        del said["correlation_id"]
    return result.event_type, result.origin, said
