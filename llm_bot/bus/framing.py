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

import contextlib
from collections.abc import Mapping

from llm_bot.bus.subjects import is_header_name
from llm_bot.ports import Event

_START = b"NATS/1.0\r\n"


def pack(data: bytes, headers: Mapping[str, str] | None) -> bytes:
    """A body and its headers as one message. The headers are clean (`clean_headers`)."""
    if not headers and not data.startswith(_START):
        return data
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return b"".join((_START, lines.encode(), b"\r\n", data))


def unpack(subject: str, message: bytes) -> Event:
    """What was published on `subject`, by us or by anybody."""
    if message.startswith(_START):
        block, end, data = message.partition(b"\r\n\r\n")
        if end:
            with contextlib.suppress(ValueError):
                return Event(subject, data, _read(block[len(_START) :]) or None)
    return Event(subject, message)


def _read(block: bytes) -> dict[str, str]:
    """The headers of a block. Raises `ValueError` if it isn't one."""
    headers = {}
    for line in block.decode().split("\r\n") if block else ():
        name, colon, value = line.partition(":")
        if not colon or not is_header_name(name):
            raise ValueError(line)
        headers[name] = value.strip()
    return headers
