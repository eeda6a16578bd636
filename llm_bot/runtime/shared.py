"""What all rooms share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llm_bot.agents.chat import ChatAgent
from llm_bot.models import Dialect
from llm_bot.ports import Bus, Clock
from llm_bot.rate_limiter import RateLimiter
from llm_bot.replies.delivery import OutboundBuffer
from llm_bot.room import RoomObserver
from llm_bot.room.tally import Tally


@dataclass(frozen=True)
class SharedServices:
    """From the bus to the limits of users over all rooms.

    `source` is what this process calls itself in commands; `request_timeout` is in seconds.
    """

    bus: Bus
    agent: ChatAgent
    limiter: RateLimiter
    tally: Tally
    buffer: OutboundBuffer
    clock: Clock
    rng: Callable[[], float]
    dialects: tuple[Dialect, ...]
    source: str
    request_timeout: float
    observers: tuple[RoomObserver, ...] = ()
