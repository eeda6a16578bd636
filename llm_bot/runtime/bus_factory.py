"""The bus that the configuration asks for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol

from llm_bot.bus.memory import MemoryEventBus
from llm_bot.config import Config
from llm_bot.nats_client import NatsBus
from llm_bot.ports import Clock, EventBus


class OwnBus(EventBus, Protocol):
    """A bus that the process connects and closes itself."""

    async def connect(self) -> None:
        """Raises `BusUnavailableError` when the last try has failed."""
        ...


def make_bus(config: Config, clock: Clock, rng: Callable[[], float]) -> OwnBus:
    """The bus of `config`, not yet connected."""
    match config.bus.type:
        case "memory":
            return MemoryEventBus()
        case "redis":
            # By name, since redis-py takes 6 MB and 35 ms that nobody else has a use for.
            redis_bus: Callable[..., OwnBus]
            redis_bus = importlib.import_module("llm_bot.bus.redis").redis_bus
            return redis_bus(config, clock=clock, rng=rng)
        case "nats":
            return NatsBus(config.nats, clock=clock, rng=rng, name=config.instance)
