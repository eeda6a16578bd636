"""`Bus` on Redis pub/sub: connects, comes back by itself, keeps the order of what it hears.

Subjects are channels. Headers travel in front of the body (`bus.framing`); a message without any
is its body alone, so others can publish here and hear what is published with nothing but Redis.

Redis has no answers to a message and nobody who says that nobody listens: `request` raises
`UnsupportedByBusError`, and so does `read_value`, since no connector keeps its buckets here.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

from llm_bot.bus.framing import pack, unpack
from llm_bot.bus.queue import PENDING_MESSAGES, Losses, QueuedSubscription, end_all
from llm_bot.bus.redis_keeper import RedisKeeper
from llm_bot.bus.redis_line import (
    ForbiddenError,
    LineLostError,
    NotSentError,
    RefusedError,
    make_client,
    place,
)
from llm_bot.bus.redis_link import OnLoss, RedisLink, Route
from llm_bot.bus.redis_routes import RedisRoutes
from llm_bot.bus.subjects import check_pattern, is_logged, is_subject, outgoing
from llm_bot.config import Config
from llm_bot.errors import (
    BusError,
    BusUnavailableError,
    NotPermittedError,
    RequestTimeoutError,
    UnsupportedByBusError,
)
from llm_bot.ports import Body, Clock, Event, Handler, SystemClock

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger(__name__)

# Longest waits, in seconds: for the server's word that it has a message; for the handlers when the
# bus closes.
ANSWER_SECONDS = 5.0
CLOSE_SECONDS = 5.0


class RedisEventBus:
    """Made with a client of `redis.asyncio`, whose settings it uses for connections of its own; the
    client stays its owner's. `connect` first; it makes `tries` at most (0: no limit).

    After that the connection comes back by itself, for ever, and brings the subscriptions along.
    `undecodable` counts the messages dropped because their channel was no subject.
    """

    def __init__(
        self,
        client: Redis,
        *,
        clock: Clock | None = None,
        rng: Callable[[], float] = random.random,
        tries: int = 5,
        pending_messages: int = PENDING_MESSAGES,
    ) -> None:
        self._routes = RedisRoutes()
        self._client = client
        self._keeper = RedisKeeper(
            place(client),
            clock=clock or SystemClock(),
            rng=rng,
            tries=tries,
            make_link=self._make_link,
            on_open=self._routes.hear_all,
            on_loss=self._routes.forget_refusals,
        )
        self._pending_messages = pending_messages
        self._losses = Losses()
        self._closing: asyncio.Task[None] | None = None
        self.undecodable = 0

    @classmethod
    def from_config(
        cls, config: Config, *, clock: Clock, rng: Callable[[], float]
    ) -> RedisEventBus:
        """The bus that the section `bus` asks for."""
        settings = config.bus
        password = None if settings.password is None else settings.password.get_secret_value()
        client = make_client(
            settings.url, user=settings.user, password=password, name=config.instance
        )
        return cls(client, clock=clock, rng=rng, tries=config.nats.max_reconnect_attempts)

    @property
    def is_connected(self) -> bool:
        return self._keeper.link is not None

    @property
    def reconnects(self) -> int:
        return self._keeper.reconnects

    @property
    def dropped(self) -> int:
        return self._losses.dropped

    @property
    def handler_errors(self) -> int:
        return self._losses.handler_errors

    # --- the connection ---

    async def connect(self) -> None:
        """Raises `BusUnavailableError`, with the server and the last error, after the last try."""
        await self._keeper.connect()

    async def wait_connected(self) -> None:
        await self._keeper.wait()
        if self._closing is not None:
            raise BusUnavailableError("the bus is closed")

    async def flush(self, timeout: float = 5.0) -> None:
        link = self._keeper.require_link()
        try:
            async with asyncio.timeout(timeout):
                await link.ping()
        except TimeoutError as exc:
            raise BusError(f"flush: no answer within {timeout:g} s") from exc
        except LineLostError as exc:
            raise BusUnavailableError(f"flush: {exc}") from exc

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._keeper.stop()
        await end_all(tuple(self._routes), CLOSE_SECONDS)
        await self._keeper.close()

    def _make_link(self, on_loss: OnLoss) -> RedisLink:
        return RedisLink(
            self._client,
            on_message=self._on_message,
            on_undecodable=self._on_undecodable,
            on_loss=on_loss,
        )

    # --- what goes over it ---

    async def subscribe(self, subject: str, handler: Handler) -> QueuedSubscription:
        """Also possible while the connection is away: it is made when it comes back.

        Where it isn't, what is published from now on is heard when this returns.
        """
        check_pattern(subject)
        if not self._keeper.is_started or self._closing is not None:
            raise BusUnavailableError("not connected" if self._closing is None else "closed")
        subscription = QueuedSubscription(
            subject, handler, size=self._pending_messages, losses=self._losses, leave=self._leave
        )
        try:
            await self._routes.join(subscription, self._keeper.link)
        except BaseException:
            self._routes.forget(subscription)
            subscription.abandon()
            raise
        return subscription

    async def _leave(self, subscription: QueuedSubscription) -> None:
        await self._routes.leave(subscription, self._keeper.link)

    async def publish(
        self, subject: str, data: Body, headers: Mapping[str, str] | None = None
    ) -> None:
        """Returns when the server has it.

        Raises `RequestTimeoutError` if it doesn't say so: it may have it all the same.
        """
        link = self._keeper.require_link()
        event = outgoing(subject, data, headers)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await link.say(subject, pack(event.data, event.headers))
        except NotSentError as exc:
            raise BusUnavailableError("not connected") from exc
        except (LineLostError, TimeoutError) as exc:
            raise RequestTimeoutError(f"{subject}: the server didn't say that it has it") from exc
        except ForbiddenError as exc:
            raise NotPermittedError(f"the account may not publish on {subject}") from exc
        except RefusedError as exc:
            raise BusError(f"{subject}: {exc}") from exc

    async def request(
        self,
        subject: str,
        data: Body,  # noqa: ARG002
        *,
        timeout: float,  # noqa: ARG002
        headers: Mapping[str, str] | None = None,  # noqa: ARG002
        accept: Callable[[Event], bool] | None = None,  # noqa: ARG002
    ) -> NoReturn:
        self._keeper.require_link()
        raise UnsupportedByBusError(f"{subject}: there are no requests on Redis, only messages")

    async def read_value(self, bucket: str, key: str, *, timeout: float) -> NoReturn:  # noqa: ARG002
        self._keeper.require_link()
        raise UnsupportedByBusError(f"{bucket}: there are no key-value buckets on Redis")

    def _on_message(self, route: Route, subject: str, message: bytes) -> None:
        if not is_subject(subject):
            self._on_undecodable()
            return
        self._routes.deliver(route, unpack(subject, message))

    def _on_undecodable(self) -> None:
        self.undecodable += 1
        if is_logged(self.undecodable):
            log.warning("redis.undecodable", extra={"undecodable": self.undecodable})
