"""Gets the connection to Redis and brings it back, for ever, ever more patiently."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable

from llm_bot.bus.redis_line import told
from llm_bot.bus.redis_link import OnLoss, RedisLink
from llm_bot.errors import BusUnavailableError
from llm_bot.ports import Clock

log = logging.getLogger(__name__)

# Seconds between two tries to connect: doubled each time, of which a random part is waited.
BACKOFF_BASE = 0.5
BACKOFF_CAP = 30.0

CONNECT_SECONDS = 5.0
"""Longest time for one try."""


class RedisKeeper:
    """Of the server at `place`. `on_open` makes a new link ready for use; `on_loss` is called at
    once when it is lost."""

    def __init__(
        self,
        place: str,
        *,
        clock: Clock,
        rng: Callable[[], float],
        tries: int,
        make_link: Callable[[OnLoss], RedisLink],
        on_open: Callable[[RedisLink], Awaitable[None]],
        on_loss: Callable[[], None],
    ) -> None:
        self._fields = {"server": place}
        self._clock = clock
        self._rng = rng
        self._tries = tries
        self._make_link = make_link
        self._on_open = on_open
        self._on_loss = on_loss
        self._link: RedisLink | None = None
        self._up = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._is_closed = False
        self.reconnects = 0

    @property
    def is_started(self) -> bool:
        """Whether there was a connection, which now comes back by itself."""
        return self._keeping is not None

    @property
    def link(self) -> RedisLink | None:
        """The connection, None while there is none."""
        return self._link if self._up.is_set() and not self._is_closed else None

    def require_link(self) -> RedisLink:
        if (link := self.link) is None:
            raise BusUnavailableError("the bus is closed" if self._is_closed else "not connected")
        return link

    async def connect(self) -> None:
        """Raises `BusUnavailableError`, with the server and the last error, after the last try."""
        for number in itertools.count(1):
            if self._is_stopped:
                raise BusUnavailableError("the bus is closed")
            if self._keeping is not None:
                return
            failure = await self._try()
            if self._link is not None:
                log.info("redis.connected", extra=self._fields)
                self._keeping = asyncio.create_task(self._keep())
                return
            if failure is None:
                continue  # closed meanwhile
            log.warning("redis.connect_failed", extra=self._fields | {"error": failure})
            if number == self._tries:
                where = f"can't connect to Redis at {self._fields['server']} (tries: {number})"
                raise BusUnavailableError(f"{where}: {failure}")
            await self._clock.sleep(self._backoff(number - 1))

    async def _try(self) -> str | None:
        """Get a link; what went wrong, if anything did."""
        link = self._make_link(self._lost)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await link.open()
                await self._on_open(link)
                failure = "the server hung up" if link.is_lost else None
        except Exception as exc:  # noqa: BLE001 - whatever it was, it counts as a try
            failure = told(exc)
        except BaseException:
            await link.close()
            raise
        if failure is None and not self._is_stopped:
            self._link = link
            self._up.set()
        else:
            await link.close()
        return failure

    async def _keep(self) -> None:
        while self._link is not None:
            await self._link.watch()
            await self._link.close()
            for tries in itertools.count():
                await self._clock.sleep(self._backoff(tries))
                failure = await self._try()
                if failure is None:
                    break
                log.warning("redis.reconnect_failed", extra=self._fields | {"error": failure})
            self.reconnects += 1
            log.info("redis.reconnected", extra=self._fields | {"reconnects": self.reconnects})

    def _backoff(self, tries: int) -> float:
        return self._rng() * min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(tries, 16))

    def _lost(self, link: RedisLink, why: str) -> None:
        if link is self._link and not self._is_closed:
            self._up.clear()
            self._on_loss()
            log.warning("redis.disconnected", extra=self._fields | {"error": why})

    async def wait(self) -> None:
        """Return when there is a connection, or will be none any more."""
        await self._up.wait()

    async def stop(self) -> None:
        """Bring nothing back any more."""
        self._is_stopped = True
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})

    async def close(self) -> None:
        """Hang up, for good."""
        self._is_closed = True
        if self._link is not None:
            await self._link.close()
        self._up.set()
