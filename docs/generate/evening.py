"""What was seen of the bot of `live_bot`, without what is another at each run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Made anew at each run, at whatever depth it stands, or other on another machine.
_OTHERS = {
    "request_id": "5f1d7a52-9d0f-4c9b-8f4e-0c6d0f0c3a11",
    "hostname": "bot-host",
    "pid": 4242,
    "port": 8080,
    "python": "3.12.1",
}
_HEX_ID = "0b7c3c1be0f84f0f9f2f6f0d2b8a4f55"


@dataclass(frozen=True, slots=True)
class Sent:
    """Something that the bot put on the bus."""

    subject: str
    body: dict[str, Any]
    headers: Mapping[str, str]


@dataclass(slots=True)
class Evening:
    """What was seen from outside."""

    pages: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """Status and body of each of `live_bot.PATHS`: JSON, or text."""
    answers: dict[str, Any] = field(default_factory=dict)
    """What was answered to each command on the bus."""
    sent: list[Sent] = field(default_factory=list)
    heard: tuple[str, ...] = ()
    """The subjects that it subscribed to."""
    envelopes: list[dict[str, Any]] = field(default_factory=list)
    """The lines as the connector published them."""
    live: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The first of each kind of the page's events."""
    metrics: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Type and help of each family, by its name as samples have it."""
    log: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The first line of each event."""


def steady(value: Any, name: str = "") -> Any:
    """`value` with what is made anew at each run replaced by what could have been made."""
    match value:
        case dict():
            return {key: steady(each, key) for key, each in value.items()}
        case list():
            return [steady(each, name) for each in value]
        case _ if name in _OTHERS:
            return _OTHERS[name]
        case str() if name == "id" and len(value) == len(_HEX_ID):
            return _HEX_ID
        case float():
            return round(value, 3)
        case _:
            return value
