"""The bus that the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable

from llm_bot import bus
from llm_bot.config import Config
from llm_bot.nats_client import NatsBus
from llm_bot.ports import Bus, Clock


def make_bus(config: Config, clock: Clock, rng: Callable[[], float]) -> Bus:
    """The bus of `config`, not yet connected."""
    match config.bus.type:
        case "memory":
            return bus.EventBus()
        case "redis":
            return bus.RedisEventBus.from_config(config)
        case "nats":
            return NatsBus(config.nats, clock=clock, rng=rng, name=config.instance)
