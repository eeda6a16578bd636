"""Lines, events and rooms that need no more than what a test says about them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from llm_bot.agents.chat import ChatAgent
from llm_bot.bus import EventBus
from llm_bot.config import Config, RoomConfig, resolve_room
from llm_bot.decisions import DecisionRecord
from llm_bot.models import ChatLine, Dialect, LineKind, Origin
from llm_bot.ports import Bus, Clock, Event, Model
from llm_bot.rate_limiter import Permit, RateLimiter
from llm_bot.replies.services import OutboundBuffer, SharedServices
from llm_bot.room import Room
from llm_bot.room.lane import Job
from llm_bot.room.tally import Tally
from tests.fakes import ManualClock, ScriptedLLM

ARRIVED = ManualClock().monotonic()
"""The monotonic time at which a `ManualClock` stands first."""

HEARD_AT = ManualClock().time()
"""The epoch time of the same moment."""

ORIGIN = Origin(Dialect.KRYTEN, "kryten.events.cytube.mychannel.chatmsg", "MyChannel", "cytu.be")


def line(text: str = "hello", *, user: str = "alice", **changes: Any) -> ChatLine:
    """A public line, said and heard at the time at which a `ManualClock` starts."""
    return ChatLine(
        **{
            "kind": LineKind.CHAT,
            "user": user,
            "text": text,
            "correlation_id": "id-1",
            "origin": ORIGIN,
            "heard_at": HEARD_AT,
            "arrived": ARRIVED,
            **changes,
        }
    )


def pm(text: str = "hello", *, user: str = "alice", to: str = "MyBot", **changes: Any) -> ChatLine:
    """A private line to the bot."""
    return line(text, user=user, kind=LineKind.PM, to=to, **changes)


def job(said: ChatLine | None = None, **changes: Any) -> Job:
    """A line that addresses the bot, admitted, with a record and a permit that counts nowhere."""
    said = line("MyBot: hi") if said is None else said
    record = DecisionRecord(
        said.correlation_id, "MyChannel", said.user, said.heard_at, said.kind, None
    )
    return Job(
        **{
            "line": said,
            "permit": Permit([], []),
            "record": record,
            "deadline": said.arrived + 45,
            **changes,
        }
    )


def event(
    text: str = "hello",
    *,
    user: str = "alice",
    to: str | None = None,
    said_at: float | None = HEARD_AT,
    forwarded_at: float | None = None,
    **payload: Any,
) -> Event:
    """A line as today's connector publishes it: public, or private if there is a `to`.

    `said_at` and `forwarded_at` (by default the same) are epoch seconds.
    """
    said: dict[str, Any] = {"username": user, "msg": text, "meta": {}, **payload}
    if said_at is not None:
        said["time"] = round(said_at * 1000)
    if to is not None:
        said["to"] = to
    stamp = said_at if forwarded_at is None else forwarded_at
    return room_event("chatMsg" if to is None else "pm", said, forwarded_at=stamp)


def room_event(name: str, payload: Any = None, *, forwarded_at: float | None = HEARD_AT) -> Event:
    """Any event of a room in today's connector's envelope."""
    body = {"event_name": name, "payload": payload, "channel": "MyChannel", "domain": "cytu.be"}
    if forwarded_at is not None:
        body["timestamp"] = datetime.fromtimestamp(forwarded_at, UTC).isoformat()
    return Event(f"kryten.events.cytube.mychannel.{name.lower()}", json.dumps(body).encode())


def config(*rooms: str | dict[str, Any], **sections: Any) -> Config:
    """A bot called MyBot in rooms by name, or by all that is different in them.

    `sections` are those of the configuration file. What is said of one counts beside what is here:
    it is neither paused nor served over HTTP, and its model is nowhere.
    """
    whole: dict[str, Any] = {
        "nats": {"servers": ["nats://127.0.0.1:9"]},
        "bus": {"type": "memory"},
        "channels": [{"name": room} if isinstance(room, str) else room for room in rooms],
        "bot": {"username": "MyBot"},
        "llm_api": {"provider": "ollama", "base_url": "http://127.0.0.1:9/v1", "model": "m"},
        "triggers": [{"type": "mention", "cooldown_seconds": 0}, {"type": "pm"}],
        "rate_limits": {"global_cooldown_seconds": 0},
        "replies": {"min_interval_seconds": 0, "confirm_seconds": 1},
        "health": {"enabled": False},
    }
    for name, section in sections.items():
        is_partial = isinstance(section, dict)
        whole[name] = {**whole.get(name, {}), **section} if is_partial else section
    return Config.model_validate(whole)


def room_config(**sections: Any) -> RoomConfig:
    """The configuration of the room `MyChannel` with its defaults, where the bot is called MyBot.

    `sections` are those of the configuration file; `channel` is what is different in this room.
    """
    channel = {"name": "MyChannel", **sections.pop("channel", {})}
    bot = {"username": "MyBot", **sections.pop("bot", {})}
    llm = {"provider": "ollama", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    whole = Config.model_validate(
        {
            "nats": {"servers": ["nats://127.0.0.1:4222"]},
            "channels": [channel],
            "bot": bot,
            "llm_api": {**llm, **sections.pop("llm_api", {})},
            **sections,
        }
    )
    return resolve_room(whole, whole.channels[0])


def shared(
    bus: Bus | None = None,
    *,
    model: Model | None = None,
    clock: Clock | None = None,
    **changes: Any,
) -> SharedServices:
    """What rooms share: on the memory bus, with a scripted model, on a clock that stands still."""
    clock = clock or ManualClock()
    return SharedServices(
        **{
            "bus": bus or EventBus(),
            "agent": ChatAgent(model or ScriptedLLM(), clock),
            "limiter": RateLimiter(),
            "tally": Tally(),
            "buffer": OutboundBuffer(5),
            "clock": clock,
            "rng": lambda: 0.5,
            "dialects": tuple(Dialect),
            "source": "llm_bot",
            "request_timeout": 1.0,
            **changes,
        }
    )


def room(**sections: Any) -> Room:
    """A room of `room_config(**sections)`."""
    return Room(room_config(**sections), secrets=())
