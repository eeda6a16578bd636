"""A recording as a play: who is in it, what is on, the same with another bot elsewhere. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from llm_bot.demo.recording import RecordedEvent
from llm_bot.demo.stand_ins.cytube import SERVER

RECORDED_BOT = "Reel"
"""Of recordings that don't say."""


def bot_of(events: Iterable[RecordedEvent]) -> str:
    """The bot's name: whom the connector logged in as."""
    for event in events:
        if event.name.lower() == "login" and (name := _text(event.payload, "name")):
            return name
    return RECORDED_BOT


def people_of(events: Iterable[RecordedEvent]) -> tuple[str, ...]:
    """Everybody who says something, in the order of their first lines."""
    found = {name.lower(): name for event in events if (name := _speaker(event))}
    return tuple(name for key, name in found.items() if key != SERVER)


def titles_of(events: Iterable[RecordedEvent]) -> tuple[str, ...]:
    """What is on, in the order of the evening."""
    films = (event.payload for event in events if event.name.lower() == "changemedia")
    return tuple(dict.fromkeys(title for film in films if (title := _text(film, "title"))))


def recast(
    events: Iterable[RecordedEvent], *, channel: str, domain: str, bot_name: str
) -> tuple[RecordedEvent, ...]:
    """The same evening in another room with another bot, without what the old one said."""
    events = tuple(events)
    recorded_bot = bot_of(events)
    others = (event for event in events if _speaker(event).lower() != recorded_bot.lower())
    names = re.compile(rf"(?<!\w){re.escape(recorded_bot)}(?!\w)", re.IGNORECASE)

    def renamed(data: Any) -> Any:
        match data:
            case str() if bot_name != recorded_bot:
                return names.sub(lambda _: bot_name, data)
            case list():
                return [renamed(item) for item in data]
            case dict():
                return {key: renamed(value) for key, value in data.items()}
        return data

    def elsewhere() -> Iterator[RecordedEvent]:
        for event in others:
            *head, _, name = event.subject.split(".")
            data = renamed(event.data)
            if event.is_enveloped:
                data = {**data, "channel": channel, "domain": domain}
            yield replace(event, subject=".".join((*head, channel.lower(), name)), data=data)

    return tuple(elsewhere())


def _speaker(event: RecordedEvent) -> str:
    """Who says something with it; empty if nobody does."""
    return _text(event.payload, "username") if event.name.lower() in ("chatmsg", "pm") else ""


def _text(payload: Any, key: str) -> str:
    value = payload.get(key) if isinstance(payload, dict) else None
    return value if isinstance(value, str) else ""
