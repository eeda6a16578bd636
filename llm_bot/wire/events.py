"""What an event of a room says: read from the connector's envelope, or from a bare payload.

A body that is an object with a text `event_name` and a `payload` is the connector's envelope;
anything else is the bare payload. The types below say what is read of either. A field of another
type counts as absent, and only an event that says nothing without it is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import msgspec

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
    RoomEvent,
    RosterHeard,
    SendRefused,
)
from llm_bot.ports import Event
from llm_bot.text.cleaning import clean_html, collapse_white_space, strip_invisible
from llm_bot.wire.correlation import MAX_ID_CHARACTERS, correlation_id

MAX_BODY_BYTES = 1024 * 1024
"""A big room's `userlist` needs it, and a NATS server takes no more by default."""

MAX_MESSAGE_CHARACTERS = 16 * 1024
"""Of a message as it is sent; what is left after cleaning is cut far earlier."""

MAX_NAME_CHARACTERS = 50
MAX_TITLE_CHARACTERS = 200

MAX_EPOCH_SECONDS = 1e11
"""Later than any date that `datetime` knows a use for; above it a time is taken for rubbish."""


class DropReason(StrEnum):
    """Why something heard was not understood. Closed: a label of `events_dropped_total`."""

    TOO_LARGE = "too_large"
    BAD_JSON = "bad_json"
    BAD_PAYLOAD = "bad_payload"
    BAD_NAME = "bad_name"
    OTHER_DOMAIN = "other_domain"


class Rejected(msgspec.Struct, frozen=True):
    """Not understood. `event_type` is the event's name in lower case, as far as it is known."""

    event_type: str
    reason: DropReason


class Ignored(msgspec.Struct, frozen=True):
    """Of no use to the bot, whatever stands in it."""


class ParsedEvent(msgspec.Struct, frozen=True):
    """An event that was understood: its type (one of `EVENT_TYPES`) and what it says."""

    event_type: str
    event: RoomEvent
    origin: Origin


class _RejectedError(Exception):
    """What the readers below raise."""

    def __init__(self, reason: DropReason = DropReason.BAD_PAYLOAD) -> None:
        self.reason = reason


# --- what is read ---


class _Named(msgspec.Struct):
    name: str | None = None


class _Meta(msgspec.Struct, frozen=True):
    """Addresses and aliases beside these are never looked at."""

    shadow: Any = False
    afk: bool | None = None
    muted: bool | None = None
    smuted: bool | None = None


class _Fields(msgspec.Struct):
    """The fields of all payloads that are objects, by the names that CyTube gives them."""

    username: str | _Named | None = None
    user: str | _Named | None = None
    from_: str | _Named | None = msgspec.field(name="from", default=None)
    name: str | _Named | None = None
    to: str | _Named | None = None
    msg: str | None = None
    reason: str | None = None
    time: float | None = None
    meta: _Meta = _Meta()
    rank: float | None = None
    afk: bool | None = None
    id: str | int | None = None
    type: str = ""
    title: str | None = None
    currentTime: float = 0.0  # noqa: N815 - CyTube's name
    success: Any = None


_Payload = _Fields | list[_Fields] | float | str | bool | None


class _Envelope(msgspec.Struct):
    event_name: str
    payload: _Payload
    channel: str = ""
    domain: str = ""
    timestamp: datetime | float | None = None
    correlation_id: str = ""


def parse_event(
    event: Event, dialect: Dialect, *, heard_at: float, arrived: float, domain: str | None = None
) -> ParsedEvent | Rejected | Ignored:
    """What `event` says; nothing in it makes this raise.

    Args:
        event: As the bus delivered it.
        dialect: That of its subject.
        heard_at: Its arrival in Unix epoch seconds.
        arrived: Its arrival on the monotonic clock.
        domain: The configured chat server; an envelope from another one is rejected.
    """
    event_type = event.subject.rpartition(".")[2].lower()
    try:
        envelope = _read(event.data, event_type)
        event_type = envelope.event_name.lower()
        if event_type not in EVENT_TYPES:
            return Ignored()
        place = envelope.domain
        if domain is not None and place and place.lower() != domain.lower():
            return Rejected(event_type, DropReason.OTHER_DOMAIN)
        origin = Origin(
            dialect=dialect, subject=event.subject, channel=envelope.channel, domain=place
        )
        said: RoomEvent
        if event_type in _LINE_KINDS:
            said = _line(envelope, event, origin, heard_at=heard_at, arrived=arrived)
        else:
            said = _PARSERS[event_type](envelope.payload)
    except _RejectedError as exc:
        return Rejected(event_type, exc.reason) if event_type in EVENT_TYPES else Ignored()
    return ParsedEvent(event_type, said, origin)


def parse_answer(event_type: str, data: bytes) -> RoomEvent | Rejected:
    """What was asked for and not heard, in the form of the payload of an event (no line)."""
    try:
        return _PARSERS[event_type](_read(data, event_type).payload)
    except _RejectedError as exc:
        return Rejected(event_type, exc.reason)


# --- from bytes to fields ---

_envelopes = msgspec.json.Decoder(_Envelope)

# Escapes one after another, so that a backslash that is itself escaped begins none. Group 1 is half
# a surrogate pair that stands alone.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\.",
    re.DOTALL,
)


def _read(data: bytes, event_type: str) -> _Envelope:
    """The envelope in `data`; for a bare payload, one that says `event_type` and nothing else."""
    if len(data) > MAX_BODY_BYTES:
        raise _RejectedError(DropReason.TOO_LARGE)
    if b"\\" in data and rb"\ud" in data.lower():
        # CyTube cuts long lines in UTF-16 units, and JavaScript escapes the half of an emoji that
        # stays, which is no JSON: it becomes U+FFFD.
        data = _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], data)
    try:
        try:
            return _envelopes.decode(data)
        except msgspec.ValidationError:
            return _read_tolerantly(msgspec.json.decode(data), event_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _RejectedError(DropReason.BAD_JSON) from None


def _read_tolerantly(body: Any, event_type: str) -> _Envelope:
    """A bare payload, or an envelope in which something is of a wrong type."""
    is_envelope = isinstance(body, dict) and isinstance(body.get("event_name"), str)
    if not is_envelope or "payload" not in body:
        return _Envelope(event_name=event_type, payload=_fit_payload(body))
    return _fit(body, _Envelope, payload=_fit_payload(body["payload"]))


def _fit_payload(value: Any) -> _Payload:
    """`value` without the fields in it that are of a wrong type; None if it is of none of ours."""
    try:
        return msgspec.convert(value, _Payload)  # type: ignore[no-any-return]
    except msgspec.ValidationError:
        if isinstance(value, dict):
            return _fit(value, _Fields)
        if isinstance(value, list):  # one bad entry must not hide the others
            return [_fit(entry, _Fields) for entry in value if isinstance(entry, dict)]
        return None


_Read = TypeVar("_Read", _Envelope, _Fields, _Meta)
_FIELDS = {kind: msgspec.structs.fields(kind) for kind in (_Envelope, _Fields, _Meta)}


def _fit(found: dict[str, Any], kind: type[_Read], **fitting: Any) -> _Read:
    """`found` without what is of a wrong type in it, but for what is known to be `fitting`."""
    for field in _FIELDS[kind]:
        value = found.get(field.encode_name)
        if value is None or field.name in fitting:
            continue
        try:
            fitting[field.name] = msgspec.convert(value, field.type)
        except msgspec.ValidationError:
            if field.type is _Meta and isinstance(value, dict):
                fitting[field.name] = _fit(value, _Meta)
    return kind(**fitting)


# --- from fields to what they say ---


def _object(payload: _Payload) -> _Fields:
    if not isinstance(payload, _Fields):
        raise _RejectedError
    return payload


def _name(*candidates: str | _Named | None) -> str:
    """The first of them that is a name at all, as a text or as an object with a `name`."""
    for candidate in candidates:
        name = candidate.name if isinstance(candidate, _Named) else candidate
        if name is not None:
            is_readable = name.isprintable() and not name.isspace()
            if is_readable and 0 < len(name) <= MAX_NAME_CHARACTERS:
                return name
            break
    raise _RejectedError(DropReason.BAD_NAME)


def _epoch(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 < seconds < MAX_EPOCH_SECONDS else None


def _line(
    envelope: _Envelope, event: Event, origin: Origin, *, heard_at: float, arrived: float
) -> ChatLine:
    fields = _object(envelope.payload)
    if fields.msg is None:
        raise _RejectedError
    if len(fields.msg) > MAX_MESSAGE_CHARACTERS:
        raise _RejectedError(DropReason.TOO_LARGE)
    kind = _LINE_KINDS[envelope.event_name.lower()]
    forwarded_at = envelope.timestamp
    if isinstance(forwarded_at, datetime):
        if forwarded_at.tzinfo is None:
            forwarded_at = forwarded_at.replace(tzinfo=UTC)
        forwarded_at = forwarded_at.timestamp()
    return ChatLine(
        kind=kind,
        user=_name(fields.username, fields.user, fields.from_),
        text=clean_html(fields.msg),
        correlation_id=correlation_id(event.headers, envelope.correlation_id),
        origin=origin,
        heard_at=heard_at,
        arrived=arrived,
        said_at=_epoch(None if fields.time is None else fields.time / 1000),
        forwarded_at=_epoch(forwarded_at),
        to=_name(fields.to) if kind is LineKind.PM and fields.to is not None else "",
        is_shadowed=bool(fields.meta.shadow),
    )


def _changed(payload: _Payload) -> PersonChanged:
    fields = _object(payload)
    meta = fields.meta
    muted = [flag for flag in (meta.muted, meta.smuted) if flag is not None]
    return PersonChanged(
        name=_name(fields.name, fields.username, fields.user),
        rank=fields.rank,
        is_afk=meta.afk if fields.afk is None else fields.afk,
        is_muted=any(muted) if muted else None,
    )


def _person(payload: _Payload) -> Person:
    told = _changed(payload)
    return Person(
        name=told.name, rank=told.rank, is_afk=bool(told.is_afk), is_muted=bool(told.is_muted)
    )


def _roster(payload: _Payload) -> RosterHeard:
    if not isinstance(payload, list):
        raise _RejectedError
    people = []
    for entry in payload:
        try:
            people.append(_person(entry))
        except _RejectedError:  # nobody who can be named
            continue
    return RosterHeard(tuple(people))


def _left(payload: _Payload) -> PersonLeft:
    fields = _object(payload)
    return PersonLeft(_name(fields.name, fields.username, fields.user))


def _media(payload: _Payload) -> Media:
    fields = _object(payload)
    if fields.id is None or fields.title is None:
        raise _RejectedError
    return Media(
        media_id=str(fields.id)[:MAX_MESSAGE_CHARACTERS],
        media_type=fields.type[:MAX_ID_CHARACTERS],
        title=collapse_white_space(strip_invisible(fields.title))[:MAX_TITLE_CHARACTERS],
        position_seconds=fields.currentTime,
    )


def _login(payload: _Payload) -> LoggedIn:
    """`login`, and the connector's answer when it is asked for its name."""
    fields = _object(payload)
    if fields.success is False:
        raise _RejectedError
    return LoggedIn(_name(fields.name, fields.username))


def _cleared(_: _Payload) -> ChatCleared:
    return ChatCleared()


def _cooldown(payload: _Payload) -> SendRefused:
    if not isinstance(payload, float) or payload < 0:
        raise _RejectedError
    return SendRefused("cooldown", pause_seconds=payload / 1000)


def _refused(event: str, payload: _Payload) -> SendRefused:
    said = (payload.msg or payload.reason or "") if isinstance(payload, _Fields) else ""
    return SendRefused(event, clean_html(said[:MAX_MESSAGE_CHARACTERS]))


_LINE_KINDS = {"chatmsg": LineKind.CHAT, "pm": LineKind.PM}

_PARSERS: dict[str, Callable[[_Payload], RoomEvent]] = {
    "changemedia": _media,
    "userlist": _roster,
    "adduser": _person,
    "userleave": _left,
    "setuserrank": _changed,
    "setafk": _changed,
    "setusermeta": _changed,
    "login": _login,
    "clearchat": _cleared,
    "cooldown": _cooldown,
    **{name: partial(_refused, name) for name in ("noflood", "errormsg", "spamfiltered")},
}
"""What reads the payload of each event that is no line, by its name in lower case."""

EVENT_TYPES = frozenset({*_LINE_KINDS, *_PARSERS})
"""The events that the bot uses, by their name in lower case."""
