"""What connectors publish, and what is understood of it (behaviour, section 1)."""

from __future__ import annotations

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
    MediaChanged,
    Origin,
    Person,
    PersonChanged,
    PersonJoined,
    PersonLeft,
    RoomEvent,
    RosterHeard,
    SendRefused,
)
from llm_bot.ports import Event
from llm_bot.wire import (
    IGNORED,
    MAX_BODY_BYTES,
    MAX_ID_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_RAW_MESSAGE_CHARACTERS,
    MAX_TITLE_CHARACTERS,
    PARSERS,
    DropReason,
    Ignored,
    ParsedEvent,
    Rejected,
    event_subjects,
    new_correlation_id,
    parse_event,
)
from llm_bot.wire.envelope import decode_line, read_any

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

FROM_ALICE: dict[str, Any] = {
    "username": "alice",
    "msg": "hi",
    "meta": {},
    "time": round(SAID_AT * 1000),
}
ANY_TEXT = st.text(st.characters(codec=None))
EVENT_NAMES = st.sampled_from([*PARSERS, "chatMsg", "setAFK", "userCount", "", "rank", "*"])
DIALECTS = st.sampled_from(list(Dialect))
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
PAYLOAD_KEYS = [
    "username",
    "user",
    "from",
    "name",
    "msg",
    "meta",
    "time",
    "to",
    "rank",
    "afk",
    "id",
    "title",
    "type",
    "currentTime",
    "success",
    "reason",
]
PAYLOADS = st.one_of(
    VALUES,
    st.dictionaries(st.sampled_from(PAYLOAD_KEYS), VALUES),
    st.fixed_dictionaries({"username": VALUES, "msg": ANY_TEXT, "meta": VALUES, "time": VALUES}),
    st.lists(st.dictionaries(st.sampled_from(PAYLOAD_KEYS), VALUES), max_size=4),
)
ENVELOPES = st.fixed_dictionaries(
    {"event_name": st.one_of(EVENT_NAMES, VALUES), "payload": PAYLOADS},
    optional={
        "channel": VALUES,
        "domain": VALUES,
        "timestamp": VALUES,
        "correlation_id": VALUES,
    },
)


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


def heard(body: Any, name: str = "chatmsg", **how: Any) -> RoomEvent:
    """What the event says; it must be understood."""
    result = hear(body, name, **how)
    assert isinstance(result, ParsedEvent), result
    return result.event


def line(body: Any = None, name: str = "chatmsg", *, headers: Any = None, **payload: Any) -> Any:
    """The line that a payload like alice's says, with `payload` laid over it."""
    said = heard({**FROM_ALICE, **payload} if body is None else body, name, headers=headers)
    assert isinstance(said, ChatLine)
    return said


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


def reason(body: Any, name: str = "chatmsg", **how: Any) -> DropReason:
    """Why the event was dropped; it must be."""
    result = hear(body, name, **how)
    assert isinstance(result, Rejected), result
    assert result.event_type == name.lower()
    return result.reason


class TestSubjects:
    """One wildcard subscription for each room and dialect; subjects mind case."""

    @pytest.mark.parametrize(
        ("dialect", "channel", "domain", "subjects"),
        [
            pytest.param(
                Dialect.KRYTEN, "lounge", None, ("kryten.events.cytube.lounge.*",), id="kryten"
            ),
            pytest.param(
                Dialect.KRYTEN,
                "420Grindhouse",
                "cytu.be",
                ("kryten.events.cytube.420grindhouse.*",),
                id="kryten-is-always-lower-case-and-names-no-domain",
            ),
            pytest.param(Dialect.PLAIN, "lounge", None, ("cytube.events.lounge.*",), id="plain"),
            pytest.param(
                Dialect.PLAIN,
                "Lounge",
                "cytu.be",
                ("cytube.events.lounge.*", "cytube.events.Lounge.*"),
                id="plain-as-configured-and-in-lower-case",
            ),
            pytest.param(
                Dialect.EARLY,
                "lounge",
                "cytu.be",
                ("cytube.events.cytu.be.lounge.*",),
                id="early-keeps-the-dots",
            ),
            pytest.param(
                Dialect.EARLY,
                "Lounge",
                " CyTu.be ",
                ("cytube.events.cytu.be.lounge.*", "cytube.events.cytu.be.Lounge.*"),
                id="early-strips-and-lowers-the-domain",
            ),
            pytest.param(
                Dialect.EARLY,
                "rigroom",
                "localhost:18443",
                ("cytube.events.localhost:18443.rigroom.*",),
                id="early-with-a-port",
            ),
            pytest.param(
                Dialect.EARLY,
                "Lounge",
                None,
                (
                    "cytube.events.*.lounge.*",
                    "cytube.events.*.Lounge.*",
                    "cytube.events.*.*.lounge.*",
                    "cytube.events.*.*.Lounge.*",
                    "cytube.events.*.*.*.lounge.*",
                    "cytube.events.*.*.*.Lounge.*",
                    "cytube.events.*.*.*.*.lounge.*",
                    "cytube.events.*.*.*.*.Lounge.*",
                ),
                id="early-of-any-domain",
            ),
        ],
    )
    def test_each_dialect(
        self, dialect: Dialect, channel: str, domain: str | None, subjects: tuple[str, ...]
    ) -> None:
        """What is subscribed follows from the dialect, the channel's case and the domain."""
        # HEAR-3, HEAR-4
        assert event_subjects(dialect, channel, domain) == subjects


class TestEnvelope:
    """An object with `event_name` and `payload` is an envelope; all else is the bare payload."""

    # HEAR-6

    # HEAR-6

    @pytest.mark.parametrize("dialect", Dialect, ids=str)
    def test_enveloped_line(self, dialect: Dialect) -> None:
        """An envelope gives the channel and domain as it spells them, its time and its id."""
        # HEAR-7
        assert heard(envelope(), dialect=dialect) == ChatLine(
            LineKind.CHAT,
            "alice",
            "hi",
            "from-envelope",
            Origin(dialect, f"{SUBJECTS[dialect]}.chatmsg", "Lounge", "cytu.be"),
            HEARD_AT,
            ARRIVED,
            SAID_AT,
            SAID_AT + 0.5,
        )

    @pytest.mark.parametrize("dialect", Dialect, ids=str)
    def test_bare_line(self, dialect: Dialect) -> None:
        """A bare payload is understood as well; what only an envelope tells stays unknown."""
        said = heard(FROM_ALICE, "chatMsg", dialect=dialect)
        assert isinstance(said, ChatLine)
        assert (said.user, said.text, said.said_at) == ("alice", "hi", SAID_AT)
        assert said.forwarded_at is None
        assert said.origin == Origin(dialect, f"{SUBJECTS[dialect]}.chatMsg")

    @pytest.mark.parametrize("name", ["chatmsg", "chatMsg", "CHATMSG"])
    def test_any_case_of_the_name(self, name: str) -> None:
        """Event names match in any case, in the subject and in the envelope."""
        assert line(name=name).text == "hi"
        assert isinstance(heard(envelope(name=name), name), ChatLine)

    @pytest.mark.parametrize(
        ("subject", "name", "kind"),
        [
            pytest.param("pm", "chatMsg", LineKind.CHAT, id="a-line-on-the-subject-of-pm"),
            pytest.param("chatmsg", "pm", LineKind.PM, id="a-pm-on-the-subject-of-lines"),
            pytest.param("usercount", "chatMsg", LineKind.CHAT, id="an-unused-subject"),
        ],
    )
    def test_envelope_before_subject(self, subject: str, name: str, kind: LineKind) -> None:
        """Where the envelope names another event than the subject, the envelope is believed."""
        result = hear(envelope(name=name), subject)
        assert isinstance(result, ParsedEvent)
        assert result.event_type == name.lower()
        assert isinstance(result.event, ChatLine)
        assert result.event.kind is kind

    def test_an_unused_event_on_a_used_subject(self) -> None:
        """An envelope of an event that the bot doesn't use is unused, whatever the subject."""
        assert hear(envelope(5, "usercount"), "chatmsg") is IGNORED

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param({"event_name": "chatMsg"}, id="no-payload"),
            pytest.param({"payload": FROM_ALICE}, id="no-name"),
            pytest.param({"event_name": 5, "payload": FROM_ALICE}, id="name-of-a-wrong-type"),
            pytest.param({"event_name": None, "payload": FROM_ALICE}, id="name-null"),
            pytest.param({"event_name": "chatMsg", "payload": None}, id="payload-null"),
            pytest.param({"event_name": "chatMsg", "payload": [FROM_ALICE]}, id="payload-list"),
            pytest.param(envelope(envelope()), id="envelope-in-an-envelope"),
        ],
    )
    def test_half_an_envelope(self, body: Any) -> None:
        """Half an envelope is a bare payload without a message: dropped."""
        assert reason(body) is DropReason.BAD_PAYLOAD

    def test_fields_of_an_envelope_in_a_bare_payload(self) -> None:
        """A bare payload can't borrow what only an envelope tells."""
        said = line(timestamp="2026-01-01T00:00:00Z", channel="x", correlation_id="y")
        assert said.forwarded_at is None
        assert said.origin.channel == ""
        assert said.correlation_id != "y"

    @pytest.mark.parametrize(
        ("configured", "sent", "is_heard"),
        [
            pytest.param(None, "other.tv", True, id="none-configured"),
            pytest.param("cytu.be", "cytu.be", True, id="the-same"),
            pytest.param("CyTu.be", "cytu.BE", True, id="another-case"),
            pytest.param("cytu.be", "other.tv", False, id="another"),
            pytest.param("cytu.be", "", True, id="empty"),
            pytest.param("cytu.be", 5, True, id="wrong-type"),
        ],
    )
    def test_domain(self, configured: str | None, sent: Any, is_heard: bool) -> None:
        """Two servers may have a room of one name: an envelope of the other is dropped (HEAR-8)."""
        result = hear(envelope(domain=sent), domain=configured)
        assert isinstance(result, ParsedEvent) is is_heard
        if not is_heard:
            assert result == Rejected("chatmsg", DropReason.OTHER_DOMAIN)

    @pytest.mark.parametrize("field", ["channel", "domain", "timestamp", "correlation_id"])
    @pytest.mark.parametrize("value", [None, 5, True, [], {}, ["x"], 1e300], ids=repr)
    def test_odd_fields(self, field: str, value: Any) -> None:
        """A field of the envelope that is of a wrong type counts as absent; the line is heard."""
        said = heard(envelope(**{field: value}))
        assert isinstance(said, ChatLine)
        assert said.text == "hi"
        assert value not in (said.origin.channel, said.origin.domain, said.correlation_id)


class TestTimes:
    """CyTube's time is in milliseconds, the connector's an ISO text."""

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            pytest.param(1_700_000_000_123, 1_700_000_000.123, id="milliseconds"),
            pytest.param(1_700_000_000_123.5, 1_700_000_000.1235, id="float"),
            pytest.param(None, None, id="null"),
            pytest.param("1700000000000", None, id="text"),
            pytest.param("00:00", None, id="time-of-day"),
            pytest.param(True, None, id="bool"),
            pytest.param(0, None, id="zero"),
            pytest.param(-5, None, id="negative"),
            pytest.param([1_700_000_000_000], None, id="list"),
            pytest.param({}, None, id="object"),
            pytest.param(10**15, None, id="after-the-end-of-time"),
            pytest.param(10**400, None, id="no-float-holds-it"),
            pytest.param(1e308, None, id="huge-float"),
        ],
    )
    def test_time_of_a_line(self, value: Any, seconds: float | None) -> None:
        """A `time` that is no sensible number of milliseconds is unknown; the line is heard."""
        assert line(time=value).said_at == (None if seconds is None else pytest.approx(seconds))

    def test_no_time(self) -> None:
        """A line without a `time` was said when it was heard, as far as is known."""
        said = line({"username": "alice", "msg": "hi"})
        assert (said.said_at, said.time) == (None, HEARD_AT)

    @pytest.mark.parametrize(
        ("said_at", "when"),
        [
            pytest.param(HEARD_AT - 7, HEARD_AT - 7, id="before"),
            pytest.param(HEARD_AT + 7, HEARD_AT, id="a-clock-ahead"),
            pytest.param(9e10, HEARD_AT, id="in-the-year-4821"),
        ],
    )
    def test_nothing_was_said_in_the_future(self, said_at: float, when: float) -> None:
        """A line that claims to come from the future was said when it was heard (HEAR-16)."""
        assert line(time=said_at * 1000).time == when

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            pytest.param("2023-11-14T22:13:20.500000+00:00", SAID_AT + 0.5, id="connector"),
            pytest.param("2023-11-14T22:13:20Z", SAID_AT, id="zulu"),
            pytest.param("2023-11-15T00:13:20+02:00", SAID_AT, id="zone"),
            pytest.param("2023-11-14T22:13:20", SAID_AT, id="no-zone-is-utc"),
            pytest.param(SAID_AT, SAID_AT, id="epoch"),
            pytest.param(round(SAID_AT * 1000), None, id="milliseconds"),
            pytest.param("yesterday", None, id="no-time"),
            pytest.param("", None, id="empty"),
            pytest.param("\ud800", None, id="surrogate"),
            pytest.param("0001-01-01T00:00:00+23:59", None, id="before-the-first-year"),
            pytest.param("9999-12-31T23:59:59-23:59", None, id="after-the-last-year"),
            pytest.param("1" * 100_000, None, id="long"),
            pytest.param(None, None, id="null"),
            pytest.param(True, None, id="bool"),
            pytest.param([], None, id="list"),
        ],
    )
    def test_time_of_an_envelope(self, value: Any, seconds: float | None) -> None:
        """A `timestamp` that is no time is unknown; the line is heard."""
        said = heard(envelope(timestamp=value))
        assert isinstance(said, ChatLine)
        assert said.forwarded_at == seconds


class TestNames:
    """User names come as `username`, `user.name`, `from`, `from.name`, and are bounded."""

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"username": "alice"}, id="username"),
            pytest.param({"username": {"name": "alice"}}, id="username.name"),
            pytest.param({"user": {"name": "alice", "rank": 2}}, id="user.name"),
            pytest.param({"user": "alice"}, id="user"),
            pytest.param({"from": "alice"}, id="from"),
            pytest.param({"from": {"name": "alice"}}, id="from.name"),
            pytest.param({"username": None, "from": "alice"}, id="null-before-it"),
            pytest.param({"username": 5, "user": {"name": "alice"}}, id="a-number-before-it"),
            pytest.param({"username": {}, "user": "alice"}, id="an-empty-object-before-it"),
            pytest.param({"username": "alice", "user": {"name": "bob"}}, id="the-first-wins"),
        ],
    )
    def test_every_shape(self, fields: dict[str, Any]) -> None:
        """Every shape that connectors have had is accepted."""
        assert line({"msg": "hi", **fields}).user == "alice"

    @pytest.mark.parametrize(
        "name",
        [
            pytest.param("alice", id="plain"),
            pytest.param("a", id="short"),
            pytest.param("a" * MAX_NAME_CHARACTERS, id="longest"),
            pytest.param("Zoë-2_x", id="accents"),
            pytest.param("[server]", id="server"),
            pytest.param("two words", id="space-within"),
        ],
    )
    def test_good(self, name: str) -> None:
        """A name is kept as it is spelled."""
        assert line(username=name).user == name

    @pytest.mark.parametrize(
        "name",
        [
            pytest.param("", id="empty"),
            pytest.param(" ", id="blank"),
            pytest.param("\u00a0", id="no-break-space"),
            pytest.param("a" * (MAX_NAME_CHARACTERS + 1), id="too-long"),
            pytest.param("al\nice", id="line-break"),
            pytest.param("al\u2028ice", id="line-separator"),
            pytest.param("al\x00ice", id="nul"),
            pytest.param("al\u200bice", id="zero-width"),
            pytest.param("al\u202eice", id="right-to-left"),
            pytest.param(None, id="null"),
            pytest.param(5, id="number"),
            pytest.param(True, id="bool"),
            pytest.param([], id="list"),
            pytest.param(["alice"], id="list-of-names"),
            pytest.param({}, id="object"),
            pytest.param({"name": ""}, id="object-with-an-empty-name"),
            pytest.param({"name": {"name": "alice"}}, id="object-in-an-object"),
        ],
    )
    @pytest.mark.parametrize("event", ["chatmsg", "pm"])
    def test_bad(self, name: Any, event: str) -> None:
        """A name that is missing, unprintable or too long drops the line."""
        assert reason({**FROM_ALICE, "username": name}, event) is DropReason.BAD_NAME

    def test_an_empty_name_is_not_replaced(self) -> None:
        """An empty `username` is bad; no other field speaks for it."""
        body = {**FROM_ALICE, "username": "", "from": "owner"}
        assert reason(body) is DropReason.BAD_NAME

    @pytest.mark.parametrize(
        ("name", "fields", "to"),
        [
            pytest.param("pm", {"to": "MyBot"}, "MyBot", id="text"),
            pytest.param("pm", {"to": {"name": "MyBot"}}, "MyBot", id="object"),
            pytest.param("pm", {}, "", id="missing"),
            pytest.param("pm", {"to": None}, "", id="null"),
            pytest.param("chatmsg", {"to": "MyBot"}, "", id="public"),
            pytest.param("chatmsg", {"to": 5}, "", id="public-odd"),
        ],
    )
    def test_to(self, name: str, fields: dict[str, Any], to: str) -> None:
        """A private message says whom it is for; a public one doesn't."""
        said = line({**FROM_ALICE, **fields}, name)
        assert said.to == to

    @pytest.mark.parametrize("to", ["", 5, [], {}, "a\nb"], ids=repr)
    def test_bad_to(self, to: Any) -> None:
        """A private message that is for nobody who can be named is dropped."""
        assert reason({**FROM_ALICE, "to": to}, "pm") is DropReason.BAD_NAME


class TestText:
    """`msg` is HTML, bounded, and only ever seen cleaned."""

    @pytest.mark.parametrize(
        ("msg", "text"),
        [
            pytest.param("<b>hi</b> &amp; bye", "hi & bye", id="html"),
            pytest.param("", "", id="empty"),
            pytest.param('<img src="x">', "", id="image-only"),
            pytest.param("a" * MAX_RAW_MESSAGE_CHARACTERS, "a" * 1000, id="largest"),
            pytest.param("one\ntwo\x00three", "one twothree", id="controls"),
        ],
    )
    def test_cleaned(self, msg: str, text: str) -> None:
        """Triggers and prompts see the cleaned text, at most 1,000 characters of it (HEAR-14)."""
        assert line(msg=msg).text == text

    def test_too_large(self) -> None:
        """A raw message above 16 KiB is dropped before anything looks at it (HEAR-9)."""
        body = {**FROM_ALICE, "msg": "a" * (MAX_RAW_MESSAGE_CHARACTERS + 1)}
        assert reason(body) is DropReason.TOO_LARGE

    @pytest.mark.parametrize("msg", [None, 5, True, [], {}, ["hi"], {"text": "hi"}], ids=repr)
    def test_no_text(self, msg: Any) -> None:
        """A line whose `msg` is no text is dropped."""
        assert reason({**FROM_ALICE, "msg": msg}) is DropReason.BAD_PAYLOAD

    @pytest.mark.parametrize(
        ("written", "text"),
        [
            pytest.param(rb"cut \ud83d", "cut", id="first-half-at-the-end"),
            pytest.param(rb"\ude00 cut", "cut", id="second-half-at-the-start"),
            pytest.param(rb"a\ud83db", "ab", id="within-a-word"),
            pytest.param(rb"\ud83d\ud83d\ude00", "😀", id="half-before-a-whole"),
            pytest.param(rb"\uD83D\uDE00\uDE00", "😀", id="half-after-a-whole"),
            pytest.param(rb"\ud83d\u0041", "A", id="half-before-an-escaped-letter"),
            pytest.param(rb"\\ud83d \ud83d", r"\ud83d", id="an-escaped-backslash-is-text"),
            pytest.param(rb"\ud83d \"quoted\"", '"quoted"', id="other-escapes-stay"),
        ],
    )
    def test_half_an_emoji(self, written: bytes, text: str) -> None:
        """CyTube cuts long lines in UTF-16 units: half an emoji at the edge costs no line."""
        # HEAR-15
        body = b'{"username":"alice","msg":"%b"}' % written
        found = line(body).text.replace("\ufffd", "").strip()
        assert found == text

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(
                rb'{"event_name":"chatMsg","channel":"\ud800","domain":"\udfff",'
                rb'"correlation_id":"\ud800","payload":{"username":"al\ud800","msg":"\ud800x"}}',
                id="line",
            ),
            pytest.param(
                rb'{"event_name":"changeMedia","channel":"\ud800",'
                rb'"payload":{"id":"\ud800","title":"\ud800","type":"\ud800"}}',
                id="media",
            ),
            pytest.param(rb'{"event_name":"errorMsg","payload":{"msg":"\ud800"}}', id="error"),
            pytest.param(rb'{"event_name":"login","payload":{"name":"\ud800"}}', id="login"),
        ],
    )
    def test_what_is_understood_can_be_encoded(self, body: bytes) -> None:
        """No half surrogate pair comes through: later encoders would fail on it."""
        result = hear(body)
        assert isinstance(result, ParsedEvent | Rejected)
        msgspec.json.encode(result)

    @pytest.mark.parametrize(
        ("meta", "is_shadowed"),
        [
            pytest.param({"shadow": True}, True, id="shadow"),
            pytest.param({"shadow": False}, False, id="not"),
            pytest.param({"shadow": 1}, True, id="any-truth"),
            pytest.param({}, False, id="empty"),
            pytest.param({"modflair": 5, "addClass": "action"}, False, id="others"),
            pytest.param(None, False, id="null"),
            pytest.param([], False, id="list"),
            pytest.param(["shadow"], False, id="list-with-the-word"),
            pytest.param("shadow", False, id="text"),
            pytest.param(5, False, id="number"),
        ],
    )
    def test_shadow(self, meta: Any, is_shadowed: bool) -> None:
        """`meta.shadow` marks the line of a shadow-muted user; an odd `meta` says nothing."""
        assert line(meta=meta).is_shadowed is is_shadowed


class TestCorrelationId:
    """From the header `Correlation-Id`, else the envelope, else new (HEAR-11)."""

    @pytest.mark.parametrize(
        ("headers", "found"),
        [
            pytest.param({"Correlation-Id": "h-1"}, "h-1", id="header"),
            pytest.param({"correlation-ID": "h-1"}, "h-1", id="any-case"),
            pytest.param({"Other": "x", "Correlation-Id": "h-1"}, "h-1", id="among-others"),
            pytest.param({"Correlation-Id": "x" * MAX_ID_CHARACTERS}, "x" * 128, id="longest"),
            pytest.param(None, "from-envelope", id="none"),
            pytest.param({}, "from-envelope", id="no-headers"),
            pytest.param({"Other": "x"}, "from-envelope", id="others-only"),
            pytest.param({"Correlation-Id": ""}, "from-envelope", id="empty"),
            pytest.param({"Correlation-Id": "a b"}, "from-envelope", id="space"),
            pytest.param({"Correlation-Id": "a\r\nX: y"}, "from-envelope", id="line-break"),
            pytest.param({"Correlation-Id": "a\n"}, "from-envelope", id="line-break-at-the-end"),
            pytest.param({"Correlation-Id": "é"}, "from-envelope", id="not-ascii"),
            pytest.param({"Correlation-Id": "x" * 129}, "from-envelope", id="too-long"),
            pytest.param({"Correlation-Id": None}, "from-envelope", id="null"),
            pytest.param({"Correlation-Id": 5}, "from-envelope", id="number"),
            pytest.param({"Correlation-Id": b"h-1"}, "from-envelope", id="bytes"),
            pytest.param({"Correlation-Id": ["h-1"]}, "from-envelope", id="list"),
            pytest.param({None: "x", b"Correlation-Id": "y"}, "from-envelope", id="odd-names"),
        ],
    )
    def test_header_first(self, headers: Any, found: str) -> None:
        """A usable header wins; one that can't be sent on is passed over."""
        assert line(envelope(), headers=headers).correlation_id == found

    @pytest.mark.parametrize("given_id", [None, "", "a b", "a\n", "x" * 129, 5, []], ids=repr)
    def test_new(self, given_id: Any) -> None:
        """Where none can be used there is a new one, each time another."""
        body = envelope(correlation_id=given_id)
        first, second = line(body).correlation_id, line(body).correlation_id
        assert first
        assert first != given_id
        assert first != second

    def test_unique(self) -> None:
        """New ids don't repeat, and can stand in a header."""
        ids = [new_correlation_id() for _ in range(1000)]
        assert len(set(ids)) == 1000
        assert all(one.isascii() and one.isprintable() and len(one) < 40 for one in ids)


LEADER = {"name": "bob", "rank": 1.5, "profile": {"image": "", "text": ""}}


class TestRoster:
    """`userlist`, `addUser`, `userLeave`, `setUserRank`, `setAFK`, `setUserMeta`."""

    @pytest.mark.parametrize(
        ("name", "payload", "said"),
        [
            pytest.param("userlist", [], RosterHeard(()), id="empty-room"),
            pytest.param(
                "userlist",
                [
                    {
                        "name": "alice",
                        "rank": 3,
                        "profile": {"image": "", "text": ""},
                        "meta": {"afk": True, "muted": False, "ip": "1.2.3.4", "aliases": ["x"]},
                    },
                    LEADER,
                ],
                RosterHeard((Person("alice", 3.0, is_afk=True), Person("bob", 1.5))),
                id="userlist",
            ),
            pytest.param(
                "userlist",
                [5, None, {}, {"name": ""}, [], {"name": "bob", "rank": 1}],
                RosterHeard((Person("bob", 1.0),)),
                id="bad-entries-hide-no-good-ones",
            ),
            pytest.param("addUser", LEADER, PersonJoined(Person("bob", 1.5)), id="addUser"),
            pytest.param(
                "addUser",
                {"name": "eve", "rank": 0, "meta": {"muted": False, "smuted": True}},
                PersonJoined(Person("eve", 0.0, is_muted=True)),
                id="shadow-muted",
            ),
            pytest.param(
                "addUser",
                {"name": "eve", "meta": None, "afk": True},
                PersonJoined(Person("eve", None, is_afk=True)),
                id="odd-meta",
            ),
            pytest.param("userLeave", {"name": "bob"}, PersonLeft("bob"), id="userLeave"),
            pytest.param(
                "setUserRank",
                {"name": "bob", "rank": 1.5, "userrank": 2},
                PersonChanged("bob", 1.5),
                id="setUserRank",
            ),
            pytest.param(
                "setUserRank", {"name": "bob", "rank": -1}, PersonChanged("bob", -1.0), id="minus"
            ),
            pytest.param(
                "setUserRank", {"name": "bob", "rank": 255}, PersonChanged("bob", 255.0), id="high"
            ),
            pytest.param(
                "setUserRank", {"name": "bob", "rank": "3"}, PersonChanged("bob"), id="rank-a-text"
            ),
            pytest.param(
                "setUserRank", {"name": "bob", "rank": True}, PersonChanged("bob"), id="rank-a-bool"
            ),
            pytest.param(
                "setUserRank",
                {"name": "bob", "rank": 10**400},
                PersonChanged("bob"),
                id="rank-that-no-float-holds",
            ),
            pytest.param(
                "setAFK", {"name": "bob", "afk": True}, PersonChanged("bob", is_afk=True), id="afk"
            ),
            pytest.param(
                "setAFK", {"name": "bob", "afk": 1}, PersonChanged("bob"), id="afk-a-number"
            ),
            pytest.param(
                "setUserMeta",
                {"name": "bob", "meta": {"afk": False, "muted": True, "ip": "1.2.3.4"}},
                PersonChanged("bob", is_afk=False, is_muted=True),
                id="setUserMeta",
            ),
            pytest.param(
                "setUserMeta", {"name": "bob", "meta": []}, PersonChanged("bob"), id="meta-a-list"
            ),
        ],
    )
    def test_understood(self, name: str, payload: Any, said: RoomEvent) -> None:
        """Who is here, with a rank that is a number or unknown; addresses are left behind."""
        # HEAR-12, HEAR-13
        # HEAR-12
        assert heard(payload, name) == said
        assert heard(envelope(payload, name), name.lower()) == said

    @pytest.mark.parametrize(
        ("name", "payload", "why"),
        [
            pytest.param("userlist", {}, DropReason.BAD_PAYLOAD, id="userlist-an-object"),
            pytest.param("userlist", None, DropReason.BAD_PAYLOAD, id="userlist-null"),
            pytest.param("addUser", [], DropReason.BAD_PAYLOAD, id="addUser-a-list"),
            pytest.param("addUser", {}, DropReason.BAD_NAME, id="addUser-nobody"),
            pytest.param("userLeave", "bob", DropReason.BAD_PAYLOAD, id="userLeave-a-text"),
            pytest.param("userLeave", {"name": 5}, DropReason.BAD_NAME, id="userLeave-a-number"),
            pytest.param("setAFK", {"afk": True}, DropReason.BAD_NAME, id="setAFK-nobody"),
            pytest.param("setUserRank", 3, DropReason.BAD_PAYLOAD, id="setUserRank-a-number"),
        ],
    )
    def test_dropped(self, name: str, payload: Any, why: DropReason) -> None:
        """A change of nobody, or of no shape that is known, is dropped."""
        assert reason(payload, name) is why

    @pytest.mark.parametrize("people", [1_000, 30_000])
    def test_a_big_room(self, people: int) -> None:
        """A list of a big room is understood whole, up to the size of a body."""
        names = [{"name": f"user{number}", "rank": 1} for number in range(people)]
        said = heard(names, "userlist")
        assert isinstance(said, RosterHeard)
        assert len(said.people) == people

    def test_a_room_too_big(self) -> None:
        """A list of 100,000 is above what a body may have, and is dropped unread (HEAR-9)."""
        names = [{"name": f"user{number}"} for number in range(100_000)]
        assert reason(names, "userlist") is DropReason.TOO_LARGE


class TestOtherEvents:
    """`changeMedia`, `login`, `clearchat`, and what says that a line wasn't taken."""

    @pytest.mark.parametrize(
        ("name", "payload", "said"),
        [
            pytest.param(
                "changeMedia",
                {
                    "id": "abc",
                    "title": "A  film\n",
                    "type": "yt",
                    "currentTime": -3,
                    "paused": True,
                },
                MediaChanged(Media("abc", "yt", "A film", -3.0)),
                id="changeMedia",
            ),
            pytest.param(
                "changeMedia",
                {"id": 7, "title": "", "currentTime": "0"},
                MediaChanged(Media("7", "", "", 0.0)),
                id="changeMedia-odd",
            ),
            pytest.param(
                "changeMedia",
                {"id": "a", "title": "t" * 1000, "type": 5},
                MediaChanged(Media("a", "", "t" * MAX_TITLE_CHARACTERS)),
                id="changeMedia-long-title",
            ),
            pytest.param("login", {"success": True, "name": "Bot"}, LoggedIn("Bot"), id="login"),
            pytest.param("login", {"name": "Bot", "guest": True}, LoggedIn("Bot"), id="guest"),
            pytest.param("clearchat", {"clearedBy": "x"}, ChatCleared(), id="clearchat"),
            pytest.param("clearchat", None, ChatCleared(), id="clearchat-null"),
            pytest.param("cooldown", 100, SendRefused("cooldown", "", 0.1), id="cooldown"),
            pytest.param(
                "noflood",
                {"action": "chat", "msg": "You are <b>muted</b>"},
                SendRefused("noflood", "You are muted"),
                id="noflood",
            ),
            pytest.param(
                "errorMsg",
                {"msg": "PM failed: x isn't connected to this channel."},
                SendRefused("errormsg", "PM failed: x isn't connected to this channel."),
                id="errorMsg",
            ),
            pytest.param(
                "spamFiltered",
                {"reason": "NEW_USER_CHAT"},
                SendRefused("spamfiltered", "NEW_USER_CHAT"),
                id="spamFiltered",
            ),
            pytest.param("errorMsg", None, SendRefused("errormsg"), id="errorMsg-null"),
            pytest.param("errorMsg", {"msg": 5}, SendRefused("errormsg"), id="errorMsg-odd"),
        ],
    )
    def test_understood(self, name: str, payload: Any, said: RoomEvent) -> None:
        """Each becomes one value, bare and in an envelope."""
        assert heard(payload, name) == said
        assert heard(envelope(payload, name) | {"payload": payload}, name.lower()) == said

    @pytest.mark.parametrize(
        ("name", "payload"),
        [
            pytest.param("changeMedia", None, id="changeMedia-null"),
            pytest.param("changeMedia", {"title": "x"}, id="changeMedia-without-id"),
            pytest.param("changeMedia", {"id": True, "title": "x"}, id="changeMedia-id-a-bool"),
            pytest.param("changeMedia", {"id": "a"}, id="changeMedia-without-title"),
            pytest.param("login", {"success": False, "error": "no"}, id="login-failed"),
            pytest.param("cooldown", None, id="cooldown-null"),
            pytest.param("cooldown", -1, id="cooldown-negative"),
            pytest.param("cooldown", "100", id="cooldown-a-text"),
            pytest.param("cooldown", True, id="cooldown-a-bool"),
            pytest.param("cooldown", {"ms": 5}, id="cooldown-an-object"),
        ],
    )
    def test_dropped(self, name: str, payload: Any) -> None:
        """What is of no shape that is known is dropped."""
        assert reason(payload, name) is DropReason.BAD_PAYLOAD

    @pytest.mark.parametrize("field", ["id", "title", "type"])
    def test_media_is_bounded(self, field: str) -> None:
        """A film keeps no more of its fields than anybody needs."""
        film = {"id": "a", "title": "t", "type": "yt", field: "x" * 500_000}
        said = heard(film, "changeMedia")
        assert isinstance(said, MediaChanged)
        assert len(msgspec.json.encode(said)) <= MAX_RAW_MESSAGE_CHARACTERS + 200

    @pytest.mark.parametrize("name", ["usercount", "mediaUpdate", "kick", "setMotd", "*", ""])
    def test_unused(self, name: str) -> None:
        """What the bot has no use for is no error, whatever is in it."""
        assert hear({}, name) is IGNORED
        assert hear(b"\xff", name) is IGNORED
        assert hear(b"x" * (MAX_BODY_BYTES + 1), name) is IGNORED
        assert hear(envelope(name=name), name) is IGNORED


ODD_BODIES = [
    pytest.param(b"", DropReason.BAD_JSON, id="empty"),
    pytest.param(b" ", DropReason.BAD_JSON, id="blank"),
    pytest.param(b"hello", DropReason.BAD_JSON, id="text"),
    pytest.param(b'{"username":"alice","msg":"hi"', DropReason.BAD_JSON, id="cut-off"),
    pytest.param(b'{"username":"alice","msg":"hi"}x', DropReason.BAD_JSON, id="too-much"),
    pytest.param(b'{"msg":"\xff\xfe"}', DropReason.BAD_JSON, id="not-utf-8"),
    pytest.param(b'{"msg":"\xed\xa0\x80"}', DropReason.BAD_JSON, id="surrogate-in-utf-8"),
    pytest.param(b"NaN", DropReason.BAD_JSON, id="nan"),
    pytest.param(b'{"time":Infinity}', DropReason.BAD_JSON, id="infinity"),
    pytest.param(b'{"time":1e999}', DropReason.BAD_JSON, id="number-out-of-range"),
    pytest.param(b'{"time":' + b"9" * 5000 + b"}", DropReason.BAD_JSON, id="5000-digits"),
    pytest.param(b"[" * 100_000, DropReason.BAD_JSON, id="deep-and-open"),
    pytest.param(b"[" * 100_000 + b"]" * 100_000, DropReason.BAD_JSON, id="deep"),
    pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, DropReason.BAD_JSON, id="deep-fields"),
    pytest.param(rb'["\ud800",' + b"[" * 100_000, DropReason.BAD_JSON, id="deep-with-half-a-pair"),
    pytest.param(rb'{"msg":"\ud800', DropReason.BAD_JSON, id="half-a-pair-cut-off"),
    pytest.param(rb'{"msg":"\ud8', DropReason.BAD_JSON, id="half-an-escape"),
    pytest.param(b"\\" * 100_000 + rb"\ud800", DropReason.BAD_JSON, id="backslashes"),
    pytest.param(b"null", DropReason.BAD_PAYLOAD, id="null"),
    pytest.param(b"[]", DropReason.BAD_PAYLOAD, id="list"),
    pytest.param(b'"hi"', DropReason.BAD_PAYLOAD, id="string"),
    pytest.param(b"5", DropReason.BAD_PAYLOAD, id="number"),
    pytest.param(b"x" * (MAX_BODY_BYTES + 1), DropReason.TOO_LARGE, id="above-1-mib"),
]


class TestGarbage:
    """What can't be understood is dropped with a reason; nothing ever raises (HEAR-10)."""

    @pytest.mark.parametrize(("body", "why"), ODD_BODIES)
    @pytest.mark.parametrize("name", ["chatmsg", "pm", "chatMsg"])
    def test_odd_bodies(self, body: bytes, why: DropReason, name: str) -> None:
        """Each kind of garbage has its reason, under the event's name in lower case."""
        assert reason(body, name) is why

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b" " * (MAX_BODY_BYTES - 2) + b"{}", id="blanks"),
            pytest.param(b"[" + b"[]," * (MAX_BODY_BYTES // 3 - 2) + b"[]]", id="lists"),
            pytest.param(b'"' + b"\\n" * (MAX_BODY_BYTES // 2 - 1) + b'"', id="escapes"),
            pytest.param(b'"' + rb"\ud800" * (MAX_BODY_BYTES // 6 - 1) + b'"', id="half-pairs"),
            pytest.param(b"\\" * (MAX_BODY_BYTES - 6) + rb"\ud800", id="backslashes"),
            pytest.param(b'{"username":"a","msg":"' + b"<" * 1_000_000 + b'"}', id="huge-text"),
        ],
    )
    def test_the_largest_bodies(self, body: bytes) -> None:
        """A body of 1 MiB is read in a moment, whatever it is made of."""
        assert len(body) <= MAX_BODY_BYTES
        started = time.process_time()
        assert isinstance(hear(body), Rejected)
        assert time.process_time() - started < 2

    def test_repeated_keys(self) -> None:
        """Of a key that stands twice the last one counts, as everywhere in JSON."""
        assert line(b'{"username":"eve","username":"bob","msg":"1","msg":"2"}').user == "bob"

    @given(st.binary(max_size=200), EVENT_NAMES, DIALECTS)
    def test_any_bytes(self, data: bytes, name: str, dialect: Dialect) -> None:
        """No bytes raise, on any subject."""
        assert isinstance(hear(data, name, dialect=dialect), ParsedEvent | Rejected | Ignored)

    @given(
        st.one_of(PAYLOADS, ENVELOPES),
        EVENT_NAMES,
        DIALECTS,
        st.sampled_from([None, "cytu.be", ""]),
        st.booleans(),
    )
    def test_any_json(
        self, body: Any, name: str, dialect: Dialect, domain: str | None, ascii_only: bool
    ) -> None:
        """No JSON raises; what is understood is of the promised types and can be encoded."""
        written = json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        result = hear(written, name, dialect=dialect, domain=domain)
        assert isinstance(result, ParsedEvent | Rejected | Ignored)
        msgspec.json.encode(result)
        if isinstance(result, Rejected):
            assert result.event_type in PARSERS
        if isinstance(result, ParsedEvent):
            assert result.event_type in PARSERS
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
    def test_any_headers(self, headers: Any) -> None:
        """No headers raise."""
        assert isinstance(hear(envelope(), headers=headers), ParsedEvent)


def recorded() -> list[Any]:
    return [
        pytest.param(event, dialect, id=f"{name}-{number}-{event.name}")
        for name, dialect in RECORDINGS.items()
        for number, event in enumerate(event_subjects_only(read_recording(DATA / name)))
    ]


class TestRecordings:
    """What a real room published is understood to the last event."""

    @pytest.mark.parametrize(("event", "dialect"), recorded())
    def test_nothing_is_dropped(self, event: RecordedEvent, dialect: Dialect) -> None:
        """Every recorded event is used or unused, and none dropped; so is its bare payload."""
        for one, spoken in [(event, dialect), (as_plain(event), Dialect.PLAIN)]:
            result = parse_event(
                Event(one.subject, one.body()), spoken, heard_at=event.t, arrived=ARRIVED
            )
            assert isinstance(result, ParsedEvent | Ignored), result
            assert isinstance(result, ParsedEvent) is (event.name.lower() in PARSERS)

    @pytest.mark.parametrize("name", RECORDINGS)
    def test_fields_of_real_lines(self, name: str) -> None:
        """User, text, both times, room and id of every real line are known."""
        lines = 0
        for event in event_subjects_only(read_recording(DATA / name)):
            result = parse_event(
                Event(event.subject, event.body()),
                RECORDINGS[name],
                heard_at=event.t,
                arrived=ARRIVED,
                domain="localhost:18443",
            )
            if not isinstance(result, ParsedEvent) or not isinstance(result.event, ChatLine):
                continue
            said = result.event
            lines += 1
            assert said.user == event.payload["username"]
            assert said.text
            assert said.said_at == event.payload["time"] / 1000
            assert said.forwarded_at is not None
            assert abs(said.forwarded_at - event.t) < 1
            assert said.to == event.payload.get("to", "")
            assert said.correlation_id == event.data["correlation_id"]
            assert (said.origin.channel, said.origin.domain) == ("RigRoom", "localhost:18443")
        assert lines >= 15

    def test_the_film_night(self) -> None:
        """The room that ships with the package is understood as well."""
        for event in film_night():
            result = parse_event(
                Event(event.subject, event.body()),
                Dialect.KRYTEN,
                heard_at=event.t,
                arrived=ARRIVED,
            )
            assert not isinstance(result, Rejected)


NAMES = st.sampled_from(["alice", "", " ", "a" * 50, "a" * 51, "\u200b", "é", "a b"]) | st.text()
IDS = st.sampled_from(["id-1", "", "a b", "é", "\x7f", "x" * 128, "x" * 129]) | st.text(max_size=9)
TIMES = st.sampled_from([0, -1, 1, 10**14 - 1, 10**14, 2**63, 1.5, 1.7e12, True, None, "1"])
STAMPS = st.sampled_from(
    [
        "2026-11-20T23:59:34.267262+00:00",
        "2026-11-20T23:59:34.123456789Z",
        "2026-11-20T23:59:34",
        "2026-11-20 23:59:34Z",
        "2026-11-20T23:59:34+01:30",
        "20261120T235934Z",
        "2026-W47-5",
        "0001-01-01T00:00:00+14:00",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59-14:00",
        "never",
    ]
)
METAS = st.sampled_from([{}, {"shadow": True}, {"shadow": False}, {"shadow": 1}, {"x": [1]}, None])


USUAL: dict[str, Any] = {
    "event_name": "chatMsg",
    "payload": {"username": "alice", "msg": "hi", "meta": {}, "time": 1_700_000_000_000},
    "channel": "Lounge",
    "domain": "cytu.be",
    "timestamp": "2023-11-14T22:13:20.123456+00:00",
    "correlation_id": "5eb796c7-0fb1-480c-b254-0c634036647d",
}
ODD: st.SearchStrategy[Any] = st.sampled_from([None, 1, True, "x", [], {}])
MISSING = object()


def changes(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Other values for at most two of the fields, of their kind or not, or none at all."""
    one = st.sampled_from(sorted(fields)).flatmap(
        lambda name: st.tuples(st.just(name), fields[name] | ODD | st.just(MISSING))
    )
    return st.lists(one, max_size=2).map(dict)


def changed(fields: dict[str, Any], to: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (fields | to).items() if value is not MISSING}


@given(
    envelope=changes(
        event_name=st.sampled_from(["chatmsg", "CHATMSG", "pm", "setAFK"]),
        channel=st.text(),
        domain=st.sampled_from(["", "CYTU.BE", "other.tv"]),
        timestamp=STAMPS,
        correlation_id=IDS,
    ),
    payload=changes(username=NAMES, msg=st.text(), time=TIMES, meta=METAS, to=NAMES),
    headers=st.none() | st.fixed_dictionaries({"Correlation-Id": IDS}),
    domain=st.sampled_from([None, "cytu.be"]),
)
def test_the_usual_line_is_understood_as_every_other(
    envelope: dict[str, Any],
    payload: dict[str, Any],
    headers: dict[str, str] | None,
    domain: str | None,
) -> None:
    """What is decoded by its types says the same as what is looked up field by field."""
    whole = changed({**USUAL, "payload": changed(USUAL["payload"], payload)}, envelope)
    event = Event(f"{SUBJECTS[Dialect.KRYTEN]}.chatmsg", json.dumps(whole).encode(), headers)

    heard: Any = {"heard_at": HEARD_AT, "arrived": ARRIVED, "domain": domain}
    typed = parse_event(event, Dialect.KRYTEN, **heard)
    assert plainly(typed) == plainly(read_any(event, Dialect.KRYTEN, **heard))


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": "1970-01-01T00:00:00Z"},
        {"timestamp": "9999-12-31T23:59:59-14:00"},
        {"timestamp": "2026-11-20T23:59:34"},
        {"timestamp": "2026-11-20t23:59:34z"},
        {"timestamp": "2026-11-20 23:59:34.123456789Z"},
        {"padding": "x" * MAX_BODY_BYTES},
        {"payload": {**FROM_ALICE, "username": " "}},
    ],
    ids=["epoch", "year 10000", "no zone", "small letters", "nanoseconds", "large", "blank name"],
)
def test_the_usual_line_at_the_edges(change: dict[str, Any], monkeypatch) -> None:
    """Which chance meets once in hundreds of examples; and not in Greenwich."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        body = USUAL | change
        event = Event(f"{SUBJECTS[Dialect.KRYTEN]}.chatmsg", json.dumps(body).encode())
        heard: Any = {"heard_at": HEARD_AT, "arrived": ARRIVED, "domain": None}
        assert plainly(hear(body)) == plainly(read_any(event, Dialect.KRYTEN, **heard))
    finally:
        monkeypatch.undo()
        time.tzset()


def plainly(result: ParsedEvent | Rejected | Ignored) -> Any:
    """`result` without what may differ: an id made here, less than a microsecond."""
    if not isinstance(result, ParsedEvent) or not isinstance(result.event, ChatLine):
        return result
    line = msgspec.structs.asdict(result.event)
    if line["correlation_id"].startswith(new_correlation_id().partition("-")[0]):
        line["correlation_id"] = ""
    if line["forwarded_at"] is not None:
        line["forwarded_at"] = round(line["forwarded_at"], 3)
    return result.event_type, result.origin, line


def test_a_usual_line_is_decoded_by_its_types() -> None:
    """Else the speed would be gone, and no other test would tell."""
    assert decode_line(json.dumps(USUAL).encode()).payload.username == "alice"
