"""Carry events within the process, or over Redis. NATS has a wing of its own, `nats_client`.

from llm_bot.bus import Event, EventBus

bus = EventBus()
await bus.subscribe("rooms.*", handler)
await bus.publish("rooms.lobby", {"text": "hello"})
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from llm_bot.bus.memory import EventBus
from llm_bot.ports import Body, Bus, Event, Handler, Subscription

if TYPE_CHECKING:
    from llm_bot.bus.redis import RedisEventBus

__all__ = ["Body", "Bus", "Event", "EventBus", "Handler", "RedisEventBus", "Subscription"]


def __getattr__(name: str) -> object:
    """Import what needs redis-py, which takes 6 MB and 35 ms, when somebody asks for it."""
    if name == "RedisEventBus":
        return importlib.import_module("llm_bot.bus.redis").RedisEventBus
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
