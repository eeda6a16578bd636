"""What connectors publish, as values: subjects, envelopes, every shape of payload. Pure.

Three families of subjects exist (Kryten-Robot 1.12 and its first version, read and observed; the
third is what early papers about this bot name):

    kryten   kryten.events.cytube.{channel}.{event}
    early    cytube.events.{domain}.{channel}.{event}     the dots of the domain kept
    plain    cytube.events.{channel}.{event}

A body that is an object with `event_name` and `payload` is the connector's envelope; anything else
is the bare payload. What can't be understood is a `Drop` with a reason, never an exception.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

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
from llm_bot.text_cleaning import clean_html, collapse_white_space, strip_invisible

MAX_BODY_BYTES = 1024 * 1024
"""A big room's `userlist` needs it, and a NATS server takes no more by default."""

MAX_RAW_MESSAGE_CHARACTERS = 16 * 1024
MAX_NAME_CHARACTERS = 50
MAX_TITLE_CHARACTERS = 200
MAX_ID_CHARACTERS = 128
MAX_DOMAIN_TOKENS = 4
"""`early` subjects hold the domain's dots; where the domain isn't configured, so many labels are
tried (`localhost`, `cytu.be`, `www.cytu.be`, `tv.example.co.uk`)."""

MAX_EPOCH_SECONDS = 1e11
"""Later than any date that `datetime` knows a use for; above it a time is taken for rubbish."""


class DropReason(StrEnum):
    """Why something heard was not understood. Closed: a label of `events_dropped_total`."""

    TOO_LARGE = "too_large"
    BAD_JSON = "bad_json"
    BAD_PAYLOAD = "bad_payload"
    BAD_NAME = "bad_name"
    OTHER_DOMAIN = "other_domain"


class Drop(msgspec.Struct, frozen=True, gc=False):
    """Not understood. `event_type` is the event's name in lower case, as far as it is known."""

    event_type: str
    reason: DropReason


class Unused(msgspec.Struct, frozen=True, gc=False):
    """Understood, and of no use to the bot."""


UNUSED = Unused()


class Heard(msgspec.Struct, frozen=True, gc=False):
    """An event that was understood: its type (a key of `PARSERS`) and what it says."""

    event_type: str
    event: RoomEvent
    origin: Origin


def event_subjects(dialect: Dialect, channel: str, domain: str | None = None) -> tuple[str, ...]:
    """The subjects that carry every event of a channel in a dialect.

    Subjects mind case. Today's connector writes the channel in lower case; for the other two the
    name as configured and in lower case are both heard.
    """
    if dialect is Dialect.KRYTEN:
        return (f"kryten.events.cytube.{channel.lower()}.*",)
    names = dict.fromkeys((channel.lower(), channel))
    if dialect is Dialect.PLAIN:
        return tuple(f"cytube.events.{name}.*" for name in names)
    if domain is not None:
        domains = [domain.strip().lower()]
    else:
        domains = [".".join("*" * labels) for labels in range(1, MAX_DOMAIN_TOKENS + 1)]
    return tuple(f"cytube.events.{place}.{name}.*" for place in domains for name in names)


_NEW_ID_PREFIX = os.urandom(6).hex()
_new_id_number = itertools.count(1)


def new_correlation_id() -> str:
    """Unique to this process and, by its random part, among all. Far cheaper than a UUID."""
    return f"{_NEW_ID_PREFIX}-{next(_new_id_number)}"


def understand(
    event: Event,
    dialect: Dialect,
    *,
    heard_at: float,
    arrived: float,
    domain: str | None = None,
) -> Heard | Drop | Unused:
    """What `event` says.

    `heard_at` is the epoch time of arrival, `arrived` the monotonic one; `domain` the configured
    host: an envelope from another one is dropped.
    """
    if dialect is _KRYTEN and event.subject.endswith(".chatmsg"):
        usual = _understand_usual(event, heard_at, arrived, domain)
        if usual is not None:
            return usual
    data = event.data
    subject_type = event.subject.rpartition(".")[2].lower()
    if len(data) > MAX_BODY_BYTES:
        return Drop(subject_type, DropReason.TOO_LARGE) if subject_type in PARSERS else UNUSED
    try:
        body = _decode_body(data)
    except _NotUnderstoodError as exc:
        return Drop(subject_type, exc.reason) if subject_type in PARSERS else UNUSED
    envelope: Mapping[str, Any] = {}
    payload = body
    event_type = subject_type
    if type(body) is dict and "payload" in body and type(body.get("event_name")) is str:
        envelope = body
        payload = body["payload"]
        event_type = body["event_name"].lower()
    parse = PARSERS.get(event_type)
    if parse is None:
        return UNUSED
    place = _text(envelope, "domain")
    if domain is not None and place and place.lower() != domain.lower():
        return Drop(event_type, DropReason.OTHER_DOMAIN)
    origin = Origin(dialect, event.subject, _text(envelope, "channel"), place)
    try:
        if parse is _line:
            understood: RoomEvent = _line(
                payload, event_type, event, envelope, origin, heard_at, arrived
            )
        else:
            understood = parse(payload, event_type)
    except _NotUnderstoodError as exc:
        return Drop(event_type, exc.reason)
    return Heard(event_type, understood, origin)


class _UsualMeta(msgspec.Struct, gc=False):
    shadow: bool = False


class _UsualPayload(msgspec.Struct, gc=False):
    username: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
    msg: Annotated[str, msgspec.Meta(max_length=MAX_RAW_MESSAGE_CHARACTERS)]
    time: Annotated[int, msgspec.Meta(gt=0, lt=int(MAX_EPOCH_SECONDS * 1000))]
    meta: _UsualMeta


class _UsualLine(msgspec.Struct, gc=False):
    """A public line as today's connector publishes it, which is nearly all that is ever heard.

    Decoded by its types, with the bounds checked on the way, it costs half of what it takes to look
    every field up in dictionaries. Whatever isn't quite like this goes the way of all others, so
    nothing here decides anything: it must only agree with `_line`, which a test sees to.
    """

    event_name: Literal["chatMsg"]
    payload: _UsualPayload
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    channel: str = ""
    domain: str = ""
    correlation_id: str = ""


_KRYTEN = Dialect.KRYTEN  # in Python 3.11 looking up a member of an enum takes as long as a call
_CHAT = LineKind.CHAT
_decode_usual = msgspec.json.Decoder(_UsualLine).decode


def _understand_usual(
    event: Event, heard_at: float, arrived: float, domain: str | None
) -> Heard | None:
    """What `understand` says of a `_UsualLine`; None of anything else."""
    data = event.data
    if len(data) > MAX_BODY_BYTES:
        return None
    try:
        body = _decode_usual(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    said = body.payload
    user = said.username
    place = body.domain
    if not _is_readable(user) or (domain is not None and place and place.lower() != domain.lower()):
        return None
    identity = body.correlation_id
    if event.headers or not _is_good_id(identity):
        identity = _correlation_id(event.headers, identity)
    origin = Origin(_KRYTEN, event.subject, body.channel, place)
    line = ChatLine(
        _CHAT,
        user,
        clean_html(said.msg),
        identity,
        origin,
        heard_at,
        arrived,
        said.time / 1000,
        _epoch(body.timestamp.timestamp()),
        "",
        said.meta.shadow,
    )
    return Heard("chatmsg", line, origin)


def understand_answer(event_type: str, data: bytes) -> RoomEvent | Drop:
    """What was asked for and not heard, in the form of the payload of an event (no line)."""
    if len(data) > MAX_BODY_BYTES:
        return Drop(event_type, DropReason.TOO_LARGE)
    try:
        return PARSERS[event_type](_decode_body(data), event_type)
    except _NotUnderstoodError as exc:
        return Drop(event_type, exc.reason)


_decode = msgspec.json.Decoder().decode

# Escapes one after another, so that a backslash that is itself escaped begins none. Group 1 is half
# a surrogate pair that stands alone.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\.",
    re.DOTALL,
)


def _decode_without_halves(data: bytes) -> Any:
    """`data` with U+FFFD for each half of a surrogate pair, which msgspec refuses.

    CyTube cuts long lines in UTF-16 units, and JavaScript escapes the half of an emoji that stays.
    """
    if rb"\ud" not in data.lower():
        raise msgspec.DecodeError
    return _decode(_ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], data))


def _decode_body(data: bytes) -> Any:
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return _decode_without_halves(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _NotUnderstoodError(DropReason.BAD_JSON) from None


class _NotUnderstoodError(Exception):
    def __init__(self, reason: DropReason = DropReason.BAD_PAYLOAD) -> None:
        self.reason = reason


def _line(
    payload: Any,
    event_type: str,
    event: Event,
    envelope: Mapping[str, Any],
    origin: Origin,
    heard_at: float,
    arrived: float,
) -> ChatLine:
    fields = _object(payload)
    raw = fields.get("msg")
    if type(raw) is not str:
        raise _NotUnderstoodError
    if len(raw) > MAX_RAW_MESSAGE_CHARACTERS:
        raise _NotUnderstoodError(DropReason.TOO_LARGE)
    meta = fields.get("meta")
    said_at = _number(fields.get("time"))
    stamp = envelope.get("timestamp")
    return ChatLine(
        LineKind.CHAT if event_type == "chatmsg" else LineKind.PM,
        _name(fields, "username", "user", "from"),
        clean_html(raw),
        _correlation_id(event.headers, envelope.get("correlation_id")),
        origin,
        heard_at,
        arrived,
        _epoch(None if said_at is None else said_at / 1000),
        None if stamp is None else _iso_epoch(stamp),
        _name(fields, "to") if event_type == "pm" and fields.get("to") is not None else "",
        type(meta) is dict and bool(meta.get("shadow")),
    )


def _correlation_id(headers: Mapping[str, str] | None, given: Any) -> str:
    """The id in the headers, else the one that the envelope gives, else a new one."""
    if headers:
        for name, value in headers.items():
            if type(name) is not str or type(value) is not str:
                continue  # no bus of ours hands over any, and a cheap look is no reason to fail
            if name.lower() == "correlation-id" and _is_good_id(value):
                return value
    return given if type(given) is str and _is_good_id(given) else new_correlation_id()


def _is_good_id(text: str) -> bool:
    """Printable ASCII without spaces, of some length."""
    return (
        0 < len(text) <= MAX_ID_CHARACTERS
        and text.isascii()
        and text.isprintable()
        and " " not in text
    )


def _object(payload: Any) -> dict[str, Any]:
    if type(payload) is not dict:
        raise _NotUnderstoodError
    return payload


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if type(value) is str else ""


def _name(fields: Mapping[str, Any], *keys: str) -> str:
    """The first name under `keys`, as a string or as an object with a `name`."""
    for key in keys:
        value = fields.get(key)
        if type(value) is dict:
            value = value.get("name")
        if type(value) is str:
            if not value or len(value) > MAX_NAME_CHARACTERS:
                raise _NotUnderstoodError(DropReason.BAD_NAME)
            if not _is_readable(value):
                raise _NotUnderstoodError(DropReason.BAD_NAME)
            return value
    raise _NotUnderstoodError(DropReason.BAD_NAME)


def _is_readable(name: str) -> bool:
    return name.isprintable() and not name.isspace()


def _number(value: Any) -> float | None:
    """A finite number, or None. JSON's integers have no bound, so a float may not hold them."""
    if type(value) is int:
        return float(value) if abs(value) < 1 << 62 else None
    if type(value) is float and math.isfinite(value):
        return value
    return None


def _epoch(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 < seconds < MAX_EPOCH_SECONDS else None


def _iso_epoch(text: Any) -> float | None:
    """An ISO 8601 time as epoch seconds; one without a zone is UTC."""
    if type(text) is not str:
        return _epoch(_number(text))
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = datetime.fromisoformat(text + "+00:00")
        return _epoch(moment.timestamp())
    except (ValueError, OverflowError):
        return None


def _flag(fields: Any, key: str) -> bool | None:
    value = fields.get(key) if type(fields) is dict else None
    return value if type(value) is bool else None


def _muted(meta: Any) -> bool | None:
    """Muted or shadow-muted; addresses and aliases beside them are never looked at."""
    muted, shadow_muted = _flag(meta, "muted"), _flag(meta, "smuted")
    return None if muted is None and shadow_muted is None else bool(muted or shadow_muted)


def _person(payload: Any) -> Person:
    fields = _object(payload)
    meta = fields.get("meta")
    afk = _flag(meta, "afk")
    return Person(
        _name(fields, "name", "username", "user"),
        _number(fields.get("rank")),
        bool(_flag(fields, "afk") if afk is None else afk),
        bool(_muted(meta)),
    )


def _userlist(payload: Any, _: str) -> RosterHeard:
    if type(payload) is not list:
        raise _NotUnderstoodError
    people = []
    for entry in payload:
        try:
            people.append(_person(entry))
        except _NotUnderstoodError:  # one bad entry must not hide the others
            continue
    return RosterHeard(tuple(people))


def _add_user(payload: Any, _: str) -> PersonJoined:
    return PersonJoined(_person(payload))


def _user_leave(payload: Any, _: str) -> PersonLeft:
    return PersonLeft(_name(_object(payload), "name", "username", "user"))


def _changed(payload: Any, _: str) -> PersonChanged:
    fields = _object(payload)
    meta = fields.get("meta")
    afk = _flag(fields, "afk")
    return PersonChanged(
        _name(fields, "name", "username", "user"),
        _number(fields.get("rank")),
        _flag(meta, "afk") if afk is None else afk,
        _muted(meta),
    )


def _change_media(payload: Any, _: str) -> MediaChanged:
    fields = _object(payload)
    identity = fields.get("id")
    title = fields.get("title")
    kind = fields.get("type")
    if type(identity) not in (str, int) or type(title) is not str:
        raise _NotUnderstoodError
    return MediaChanged(
        Media(
            str(identity)[:MAX_RAW_MESSAGE_CHARACTERS],
            kind[:MAX_ID_CHARACTERS] if type(kind) is str else "",
            collapse_white_space(strip_invisible(title))[:MAX_TITLE_CHARACTERS],
            _number(fields.get("currentTime")) or 0.0,
        )
    )


def _login(payload: Any, _: str) -> LoggedIn:
    """`login`, and the connector's answer when it is asked for its name."""
    fields = _object(payload)
    if fields.get("success") is False:
        raise _NotUnderstoodError
    return LoggedIn(_name(fields, "name", "username"))


def _clearchat(_: Any, __: str) -> ChatCleared:
    return ChatCleared()


def _refused(payload: Any, event_type: str) -> SendRefused:
    if event_type == "cooldown":
        milliseconds = _number(payload)
        if milliseconds is None or milliseconds < 0:
            raise _NotUnderstoodError
        return SendRefused(event_type, pause_seconds=milliseconds / 1000)
    fields = payload if type(payload) is dict else {}
    text = _text(fields, "msg") or _text(fields, "reason")
    return SendRefused(event_type, clean_html(text[:MAX_RAW_MESSAGE_CHARACTERS]))


PARSERS: dict[str, Callable[..., RoomEvent]] = {
    "chatmsg": _line,
    "pm": _line,
    "changemedia": _change_media,
    "userlist": _userlist,
    "adduser": _add_user,
    "userleave": _user_leave,
    "setuserrank": _changed,
    "setafk": _changed,
    "setusermeta": _changed,
    "login": _login,
    "clearchat": _clearchat,
    "cooldown": _refused,
    "noflood": _refused,
    "errormsg": _refused,
    "spamfiltered": _refused,
}
"""The events that the bot uses, by their name in lower case."""
