"""How headers travel on a bus that has none. Pure.

A message without headers is its body, as it stands. One with headers is framed as NATS frames
them (its ADR-4), so that who bridges the two can pass it on unread:

    NATS/1.0 CR LF
    Name: value CR LF     (once for each header; UTF-8)
    CR LF
    body

A body that itself begins with `NATS/1.0` CR LF goes out behind an empty block of headers, so any
bytes arrive as they were sent. No JSON text begins so; whatever begins so and isn't a block of
headers is a body that somebody else published.
"""

from __future__ import annotations

from collections.abc import Mapping

from llm_bot.bus.subjects import is_header_name
from llm_bot.ports import Event

_START = b"NATS/1.0\r\n"
_LINE_END = b"\r\n"


def pack(data: bytes, headers: Mapping[str, str] | None) -> bytes:
    """A body and its headers as one message. The headers are clean (`clean_headers`)."""
    if not headers and not data.startswith(_START):
        return data
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return b"".join((_START, lines.encode(), _LINE_END, data))


def unpack(subject: str, message: bytes) -> Event:
    """What was published on `subject`, by us or by anybody."""
    if not message.startswith(_START):
        return Event(subject, message)
    rest = message[len(_START) :]
    if rest.startswith(_LINE_END):
        return Event(subject, rest[len(_LINE_END) :])
    block, end, data = rest.partition(_LINE_END * 2)
    headers = _read(block) if end else None
    return Event(subject, message) if headers is None else Event(subject, data, headers)


def _read(block: bytes) -> dict[str, str] | None:
    """The headers of a block, None if it isn't one."""
    try:
        lines = block.decode().split("\r\n")
    except UnicodeDecodeError:
        return None
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not is_header_name(name):
            return None
        headers[name] = value.strip()
    return headers
