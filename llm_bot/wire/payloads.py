"""The payloads of events, each of which has a parser in `PARSERS`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from llm_bot.models import (
    ChatCleared,
    ChatLine,
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
from llm_bot.text.cleaning import clean_html, collapse_white_space, strip_invisible
from llm_bot.wire.bounds import (
    MAX_EPOCH_SECONDS,
    MAX_ID_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_RAW_MESSAGE_CHARACTERS,
    MAX_TITLE_CHARACTERS,
)
from llm_bot.wire.correlation import correlation_id


class DropReason(StrEnum):
    """Why something heard was not understood. Closed: a label of `events_dropped_total`."""

    TOO_LARGE = "too_large"
    BAD_JSON = "bad_json"
    BAD_PAYLOAD = "bad_payload"
    BAD_NAME = "bad_name"
    OTHER_DOMAIN = "other_domain"


class NotUnderstoodError(Exception):
    """What a parser raises."""

    def __init__(self, reason: DropReason = DropReason.BAD_PAYLOAD) -> None:
        self.reason = reason


def read_line(
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
        raise NotUnderstoodError
    if len(raw) > MAX_RAW_MESSAGE_CHARACTERS:
        raise NotUnderstoodError(DropReason.TOO_LARGE)
    meta = fields.get("meta")
    said_at = _number(fields.get("time"))
    stamp = envelope.get("timestamp")
    is_private = event_type == "pm"
    return ChatLine(
        kind=LineKind.PM if is_private else LineKind.CHAT,
        user=_name(fields, "username", "user", "from"),
        text=clean_html(raw),
        correlation_id=correlation_id(event.headers, envelope.get("correlation_id")),
        origin=origin,
        heard_at=heard_at,
        arrived=arrived,
        said_at=_epoch(None if said_at is None else said_at / 1000),
        forwarded_at=None if stamp is None else _iso_epoch(stamp),
        to=_name(fields, "to") if is_private and fields.get("to") is not None else "",
        is_shadowed=type(meta) is dict and bool(meta.get("shadow")),
    )


def _object(payload: Any) -> dict[str, Any]:
    if type(payload) is not dict:
        raise NotUnderstoodError
    return payload


def text_in(fields: Mapping[str, Any], key: str) -> str:
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
                raise NotUnderstoodError(DropReason.BAD_NAME)
            if not is_readable(value):
                raise NotUnderstoodError(DropReason.BAD_NAME)
            return value
    raise NotUnderstoodError(DropReason.BAD_NAME)


def is_readable(name: str) -> bool:
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
    text = text.upper()  # RFC 3339 lets `t` and `z` be small, Python doesn't
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
        raise NotUnderstoodError
    people = []
    for entry in payload:
        try:
            people.append(_person(entry))
        except NotUnderstoodError:  # one bad entry must not hide the others
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
        raise NotUnderstoodError
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
        raise NotUnderstoodError
    return LoggedIn(_name(fields, "name", "username"))


def _clearchat(_: Any, __: str) -> ChatCleared:
    return ChatCleared()


def _refused(payload: Any, event_type: str) -> SendRefused:
    if event_type == "cooldown":
        milliseconds = _number(payload)
        if milliseconds is None or milliseconds < 0:
            raise NotUnderstoodError
        return SendRefused(event_type, pause_seconds=milliseconds / 1000)
    fields = payload if type(payload) is dict else {}
    text = text_in(fields, "msg") or text_in(fields, "reason")
    return SendRefused(event_type, clean_html(text[:MAX_RAW_MESSAGE_CHARACTERS]))


PARSERS: dict[str, Callable[..., RoomEvent]] = {
    "chatmsg": read_line,
    "pm": read_line,
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
