"""The two connections to Redis that are one to the bus: what hears can't publish there."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from llm_bot.bus.redis_line import LineLostError, RedisLine

if TYPE_CHECKING:
    from redis.asyncio import Redis

# A connection that died without a word is noticed after PING_SECONDS + PONG_SECONDS at most.
PING_SECONDS = 10.0
PONG_SECONDS = 10.0

_SPECIAL = re.compile(r"([\\*?\[\]])")


class Route(NamedTuple):
    """What Redis is asked for: one channel, or all that a glob fits."""

    is_glob: bool
    name: str

    @classmethod
    def to(cls, pattern: str) -> Route:
        """The narrowest route on which all comes that `pattern` matches.

        A star of Redis crosses dots, so more may come, and is to be sorted out.
        """
        tokens = pattern.split(".")
        if "*" not in tokens and tokens[-1] != ">":
            return cls(False, pattern)
        parts = ("*" if token in ("*", ">") else _SPECIAL.sub(r"\\\1", token) for token in tokens)
        return cls(True, ".".join(parts))


OnLoss = Callable[["RedisLink", str], None]
"""Is told which link was lost, and why."""


class RedisLink:
    """Opened once and lost once, whole. `on_message` gets the route, the channel and the message;
    `on_loss` is told why."""

    def __init__(
        self,
        client: Redis,
        *,
        on_message: Callable[[Route, str, bytes], None],
        on_undecodable: Callable[[], None],
        on_loss: OnLoss,
    ) -> None:
        self._on_message = on_message
        self._on_undecodable = on_undecodable
        self._on_loss = on_loss
        self._lost = asyncio.Event()
        self._hearing, self._saying = (
            RedisLine(client, on_message=self._hear, on_loss=self.lose) for _ in range(2)
        )

    @property
    def is_lost(self) -> bool:
        return self._lost.is_set()

    async def open(self) -> None:
        await self._hearing.open()
        await self._saying.open()

    async def hear(self, route: Route) -> None:
        """Returns when what is published from now on will come."""
        await self._hearing.ask("PSUBSCRIBE" if route.is_glob else "SUBSCRIBE", route.name)

    async def leave(self, route: Route) -> None:
        """Returns when all that was published before has come."""
        await self._hearing.ask("PUNSUBSCRIBE" if route.is_glob else "UNSUBSCRIBE", route.name)

    async def catch_up(self) -> None:
        """Returns when all that was published before has come."""
        await self._hearing.ask("PING", "")

    async def say(self, channel: str, message: bytes) -> None:
        """Returns when the server has it."""
        await self._saying.ask("PUBLISH", channel, message)

    async def ping(self) -> None:
        """Returns when both connections answer, and all that came before has been heard."""
        await self._saying.ask("PING", "")
        await self.catch_up()

    async def watch(self) -> None:
        """Returns when it is lost; asks now and then whether it is."""
        while not self.is_lost:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_SECONDS):
                    await self._lost.wait()
                    return
            try:
                async with asyncio.timeout(PONG_SECONDS):
                    await self.ping()
            except TimeoutError:
                self.lose("the server doesn't answer")
            except LineLostError:
                return

    def _hear(self, message: list[bytes]) -> None:
        is_glob = message[0] == b"pmessage"
        try:
            channel = message[-2].decode()
            route = Route(is_glob, message[1].decode())
        except UnicodeDecodeError:
            self._on_undecodable()
        else:
            self._on_message(route, channel, message[-1])

    def lose(self, why: str) -> None:
        """It is of no use any more."""
        if not self.is_lost:
            self._lost.set()
            self._on_loss(self, why)

    async def close(self) -> None:
        """Hang up. Never raises; idempotent."""
        self._lost.set()
        await self._hearing.close()
        await self._saying.close()
