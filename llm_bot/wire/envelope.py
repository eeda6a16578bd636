"""An event as a whole: in the connector's envelope, or bare.

A body that is an object with `event_name` and `payload` is the connector's envelope; anything else
is the bare payload.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from llm_bot.models import ChatLine, Dialect, LineKind, Origin, RoomEvent
from llm_bot.ports import Event
from llm_bot.text.cleaning import clean_html
from llm_bot.wire.bounds import (
    MAX_BODY_BYTES,
    MAX_EPOCH_SECONDS,
    MAX_NAME_CHARACTERS,
    MAX_RAW_MESSAGE_CHARACTERS,
)
from llm_bot.wire.correlation import correlation_id
from llm_bot.wire.payloads import (
    PARSERS,
    DropReason,
    NotUnderstoodError,
    is_readable,
    read_line,
    text_in,
)


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """Not understood. `event_type` is the event's name in lower case, as far as it is known."""

    event_type: str
    reason: DropReason


class Ignored(msgspec.Struct, frozen=True, gc=False):
    """Understood, and of no use to the bot."""


IGNORED = Ignored()


class ParsedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that was understood: its type (a key of `PARSERS`) and what it says."""

    event_type: str
    event: RoomEvent
    origin: Origin


class _Meta(msgspec.Struct):
    shadow: bool = False


class _Line(msgspec.Struct):
    username: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
    msg: Annotated[str, msgspec.Meta(max_length=MAX_RAW_MESSAGE_CHARACTERS)]
    time: Annotated[int, msgspec.Meta(gt=0, lt=int(MAX_EPOCH_SECONDS * 1000))]
    meta: _Meta


class _LineEnvelope(msgspec.Struct):
    """A public line as the connector of today publishes it: nearly all that is ever heard."""

    event_name: Literal["chatMsg"]
    payload: _Line
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    channel: str = ""
    domain: str = ""
    correlation_id: str = ""


decode_line = msgspec.json.Decoder(_LineEnvelope).decode


def parse_event(
    event: Event,
    dialect: Dialect,
    *,
    heard_at: float,
    arrived: float,
    domain: str | None = None,
) -> ParsedEvent | Rejected | Ignored:
    """What `event` says.

    A line in its usual form is decoded by its types; whatever doesn't fit is read field by field,
    and with more patience, by `read_any`.

    Args:
        event: As it came from the bus.
        dialect: Whose subjects it was heard under.
        heard_at: Epoch seconds of its arrival.
        arrived: The same on the monotonic clock.
        domain: The configured host: an envelope from another one is dropped.
    """
    if len(event.data) <= MAX_BODY_BYTES:
        try:
            body = decode_line(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            sent_at = body.timestamp.timestamp()
            if is_readable(body.payload.username) and 0 < sent_at < MAX_EPOCH_SECONDS:
                return _line_of(body, event, dialect, sent_at, heard_at, arrived, domain)
    return read_any(event, dialect, heard_at=heard_at, arrived=arrived, domain=domain)


def _line_of(
    body: _LineEnvelope,
    event: Event,
    dialect: Dialect,
    sent_at: float,
    heard_at: float,
    arrived: float,
    domain: str | None,
) -> ParsedEvent | Rejected:
    if domain is not None and body.domain and body.domain.lower() != domain.lower():
        return Rejected("chatmsg", DropReason.OTHER_DOMAIN)
    said = body.payload
    origin = Origin(dialect, event.subject, body.channel, body.domain)
    line = ChatLine(
        kind=LineKind.CHAT,
        user=said.username,
        text=clean_html(said.msg),
        correlation_id=correlation_id(event.headers, body.correlation_id),
        origin=origin,
        heard_at=heard_at,
        arrived=arrived,
        said_at=said.time / 1000,
        forwarded_at=sent_at,
        is_shadowed=said.meta.shadow,
    )
    return ParsedEvent("chatmsg", line, origin)


def read_any(
    event: Event, dialect: Dialect, *, heard_at: float, arrived: float, domain: str | None
) -> ParsedEvent | Rejected | Ignored:
    data = event.data
    subject_type = event.subject.rpartition(".")[2].lower()
    if len(data) > MAX_BODY_BYTES:
        return Rejected(subject_type, DropReason.TOO_LARGE) if subject_type in PARSERS else IGNORED
    try:
        body = _decode_body(data)
    except NotUnderstoodError as exc:
        return Rejected(subject_type, exc.reason) if subject_type in PARSERS else IGNORED
    envelope: Mapping[str, Any] = {}
    payload = body
    event_type = subject_type
    if type(body) is dict and "payload" in body and type(body.get("event_name")) is str:
        envelope = body
        payload = body["payload"]
        event_type = body["event_name"].lower()
    parse = PARSERS.get(event_type)
    if parse is None:
        return IGNORED
    place = text_in(envelope, "domain")
    if domain is not None and place and place.lower() != domain.lower():
        return Rejected(event_type, DropReason.OTHER_DOMAIN)
    origin = Origin(dialect, event.subject, text_in(envelope, "channel"), place)
    try:
        if parse is read_line:
            understood: RoomEvent = read_line(
                payload, event_type, event, envelope, origin, heard_at, arrived
            )
        else:
            understood = parse(payload, event_type)
    except NotUnderstoodError as exc:
        return Rejected(event_type, exc.reason)
    return ParsedEvent(event_type, understood, origin)


def parse_answer(event_type: str, data: bytes) -> RoomEvent | Rejected:
    """What was asked for and not heard, in the form of the payload of an event (no line)."""
    if len(data) > MAX_BODY_BYTES:
        return Rejected(event_type, DropReason.TOO_LARGE)
    try:
        return PARSERS[event_type](_decode_body(data), event_type)
    except NotUnderstoodError as exc:
        return Rejected(event_type, exc.reason)


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
            raise NotUnderstoodError(DropReason.BAD_JSON) from None
