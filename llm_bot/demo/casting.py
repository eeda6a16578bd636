"""A recording as a play: who is in it, what is on, the same with another bot elsewhere. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from llm_bot.demo.recording import RecordedEvent
from llm_bot.demo.stand_ins.cytube import SERVER

RECORDED_BOT = "Reel"
"""Of the film night, and of recordings that don't say."""

_PLAIN_EVENTS = "cytube.events."
_SAID = frozenset({"chatmsg", "pm"})


def bot_of(events: Iterable[RecordedEvent]) -> str:
    """The bot's name: whom the connector logged in as."""
    for event in events:
        match event.name.lower(), event.payload:
            case "login", {"name": str(name)} if name:
                return name
    return RECORDED_BOT


def without_lines_of(events: Iterable[RecordedEvent], bot_name: str) -> tuple[RecordedEvent, ...]:
    """`events` without what the bot said at that time: it speaks for itself now."""
    own = bot_name.lower()
    return tuple(
        event
        for event in events
        if event.name.lower() not in _SAID or _text(event.payload, "username").lower() != own
    )


def people_of(events: Iterable[RecordedEvent], bot_name: str) -> tuple[str, ...]:
    """Everybody who says something, in the order of their first lines."""
    found: dict[str, str] = {}
    for event in events:
        name = _text(event.payload, "username") if event.name.lower() in _SAID else ""
        if name and name != SERVER and name.lower() != bot_name.lower():
            found.setdefault(name.lower(), name)
    return tuple(found.values())


def titles_of(events: Iterable[RecordedEvent]) -> tuple[str, ...]:
    """What is on, in the order of the evening."""
    titles = (
        _text(event.payload, "title") for event in events if event.name.lower() == "changemedia"
    )
    return tuple(dict.fromkeys(filter(None, titles)))


def recast(
    events: Iterable[RecordedEvent],
    *,
    channel: str,
    domain: str,
    bot_name: str,
    recorded_bot: str = RECORDED_BOT,
) -> tuple[RecordedEvent, ...]:
    """The same evening in another room with another bot."""
    names = re.compile(rf"(?<!\w){re.escape(recorded_bot)}(?!\w)", re.IGNORECASE)

    def renamed(data: Any) -> Any:
        match data:
            case str():
                return data if bot_name == recorded_bot else names.sub(lambda _: bot_name, data)
            case list():
                return [renamed(item) for item in data]
            case dict():
                return {key: renamed(value) for key, value in data.items()}
            case _:
                return data

    def elsewhere() -> Iterator[RecordedEvent]:
        for event in events:
            *head, _, name = event.subject.split(".")
            subject, data = event.subject, renamed(event.data)
            if event.is_enveloped or subject.startswith(_PLAIN_EVENTS):
                subject = ".".join((*head, channel.lower(), name))
            if event.is_enveloped:
                data = {**data, "channel": channel, "domain": domain}
            yield replace(event, subject=subject, data=data)

    return tuple(elsewhere())


def _text(payload: Any, key: str) -> str:
    value = payload.get(key) if isinstance(payload, dict) else None
    return value if isinstance(value, str) else ""
