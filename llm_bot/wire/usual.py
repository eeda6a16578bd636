"""The quick way for nearly all that is ever heard: a public line from today's connector.

Decoded by its types, with the bounds checked on the way, a line costs half of what it takes to look
every field up in dictionaries. Whatever isn't quite so goes through `parse_event`, so nothing
here decides anything: both must say the same, which a test sees to. Of what nobody reads only the
form is looked at: bytes that aren't UTF-8 and numbers beyond all bounds are `bad_json` there alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from llm_bot.models import ChatLine, Dialect, LineKind, Origin
from llm_bot.ports import Event
from llm_bot.text.cleaning import clean_html
from llm_bot.wire.bounds import (
    MAX_BODY_BYTES,
    MAX_EPOCH_SECONDS,
    MAX_ID_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_RAW_MESSAGE_CHARACTERS,
)
from llm_bot.wire.correlation import correlation_id


class _UsualMeta(msgspec.Struct, gc=False):
    shadow: bool = False


class _UsualPayload(msgspec.Struct, gc=False):
    username: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
    msg: Annotated[str, msgspec.Meta(max_length=MAX_RAW_MESSAGE_CHARACTERS)]
    time: Annotated[int, msgspec.Meta(gt=0, lt=int(MAX_EPOCH_SECONDS * 1000))]
    meta: _UsualMeta


class _UsualLine(msgspec.Struct, gc=False):
    event_name: Literal["chatMsg"]
    payload: _UsualPayload
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    channel: str = ""
    domain: str = ""
    correlation_id: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARACTERS)] = ""


_KRYTEN = Dialect.KRYTEN  # in Python 3.11 looking up a member of an enum takes as long as a call
_CHAT = LineKind.CHAT
_decode_usual = msgspec.json.Decoder(_UsualLine).decode


def parse_usual(
    event: Event, heard_at: float, arrived: float, domain: str | None
) -> ChatLine | None:
    """The line that `parse_event` would find in `event`, heard in the dialect of today; None if it
    holds anything but a usual one. The arguments are those of `parse_event`."""
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
    sent_at = body.timestamp.timestamp()
    if (
        not user.isprintable()
        or user.isspace()
        or not 0 < sent_at < MAX_EPOCH_SECONDS
        or (domain is not None and place and place.lower() != domain.lower())
    ):
        return None
    identity = body.correlation_id
    if (
        not identity
        or event.headers
        or not (identity.isascii() and identity.isprintable())
        or " " in identity
    ):
        identity = correlation_id(event.headers, identity)
    return ChatLine(
        _CHAT,
        user,
        clean_html(said.msg),
        identity,
        Origin(_KRYTEN, event.subject, body.channel, place),
        heard_at,
        arrived,
        said.time / 1000,
        sent_at,
        "",
        said.meta.shadow,
    )
