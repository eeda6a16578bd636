"""What a subject, a header and a message are, the same for every bus."""

from __future__ import annotations

import re
from collections.abc import Mapping

from llm_bot.errors import BusError
from llm_bot.ports import Body, Event, encode_body

_WHITE_SPACE = re.compile(r"\s")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LINE_BREAKS = str.maketrans({"\r": " ", "\n": " "})


def is_subject(subject: str) -> bool:
    """Whether one can publish on `subject`."""
    return bool(subject) and _WHITE_SPACE.search(subject) is None


def check_subject(subject: str) -> None:
    """Raise `BusError` unless one can publish on `subject`."""
    if not is_subject(subject):
        raise BusError(f"not a subject: {subject!r}")


def check_pattern(pattern: str) -> None:
    """Raise `BusError` unless one can subscribe to `pattern`: no empty token, `*` alone in its
    token, `>` alone in the last."""
    check_subject(pattern)
    tokens = pattern.split(".")
    for token in tokens:
        if not token or (len(token) > 1 and ("*" in token or ">" in token)):
            raise BusError(f"not a subject to subscribe to: {pattern!r}")
    if ">" in tokens[:-1]:
        raise BusError(f"not a subject to subscribe to: {pattern!r}")


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription to `pattern` hears `subject`. Capitals matter, as in NATS."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(given) <= len(wanted):
            return False
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(
        token in ("*", other) for token, other in zip(wanted, given, strict=True)
    )


def is_header_name(name: str) -> bool:
    """Whether a header may have that name."""
    return _HEADER_NAME.fullmatch(name) is not None


def clean_headers(headers: Mapping[str, str] | None) -> dict[str, str] | None:
    """`headers` as they may go out: a value can't end its line and begin another header.

    Raises `BusError` for a name that can't be one.
    """
    if not headers:
        return None
    if odd := [name for name in headers if not is_header_name(name)]:
        raise BusError(f"not a header's name: {odd[0]!r}")
    return {
        name: value.translate(_LINE_BREAKS).strip().encode(errors="replace").decode()
        for name, value in headers.items()
    }


def outgoing(subject: str, body: Body, headers: Mapping[str, str] | None, reply: str = "") -> Event:
    """What is to be published. Raises `BusError` for a subject or a header that can't be one."""
    check_subject(subject)
    return Event(subject, encode_body(body), clean_headers(headers), reply)
