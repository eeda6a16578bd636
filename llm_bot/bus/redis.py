"""`Bus` on Redis pub/sub: connects, comes back by itself, keeps the order of what it hears.

Subjects are channels. Headers travel in front of the body (`bus.framing`); a message without any
is its body alone, so others can publish here and hear what is published with nothing but Redis.

Each subscription is a `PubSub` of redis-py, on a connection of its own: it hears a message once
however many others fit, and a refusal is its own. redis-py's own retries are off: they would repeat
a command whose answer got lost, and a line would be said twice; and they would come back unseen, so
that nobody could tell that messages were missed. What is lost is lost whole, and made anew.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from llm_bot.bus.base import PENDING_MESSAGES, BaseBus, QueuedSubscription
from llm_bot.bus.framing import pack, unpack
from llm_bot.bus.subjects import is_subject, matches, outgoing
from llm_bot.config import Config
from llm_bot.errors import (
    BusError,
    BusUnavailableError,
    NotPermittedError,
    RequestTimeoutError,
    UnsupportedByBusError,
)
from llm_bot.ports import Body, Handler

try:
    from redis import exceptions
    from redis.asyncio import ConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import DecorrelatedJitterBackoff, NoBackoff
except ImportError:
    HAS_REDIS = False
else:
    HAS_REDIS = True
    FAILURES = (exceptions.RedisError, OSError)

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

log = logging.getLogger(__name__)

# Seconds between two tries to connect: the first pause, of which each next one is up to thrice the
# last, and the longest.
BACKOFF_BASE = 0.25
BACKOFF_CAP = 30.0

# Longest waits, in seconds: for a connection with all its subscriptions; for the server's word that
# it has a message, or that a subscription has begun; that one has ended.
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 5.0
UNSUBSCRIBE_SECONDS = 2.0

# A server that died without a word is noticed after PING_SECONDS + ANSWER_SECONDS at most.
PING_SECONDS = 10.0

_SPECIAL = re.compile(r"([\\*?\[\]])")


def to_glob(pattern: str) -> str | None:
    """What `pattern` is to Redis, None if it is a plain channel.

    A star of Redis crosses dots, so more may come than `pattern` matches.
    """
    tokens = pattern.split(".")
    if "*" not in tokens and tokens[-1] != ">":
        return None
    return ".".join("*" if each in ("*", ">") else _SPECIAL.sub(r"\\\1", each) for each in tokens)


def connection_settings(client: Redis | str, **more: Any) -> dict[str, Any]:
    """The settings for a pool of our own to where `client` connects to, as whom it is there; `more`
    are for an address."""
    if not HAS_REDIS:
        raise BusUnavailableError("Redis needs redis-py: pip install 'llm-chat-bot[redis]'")
    if isinstance(client, str):
        client = Redis.from_url(client, **more)
    if not isinstance(client, Redis):
        raise TypeError(f"RedisEventBus needs a redis.asyncio.Redis, not a {type(client)}")
    # How the client is tuned is left out, and what a pool makes up for version 3 of the protocol,
    # which redis-py refuses beside version 2.
    left_out = ("decode_", "health_", "maint", "orig_", "oss_", "retry", "socket_timeout")
    settings = client.connection_pool.connection_kwargs.items()
    return {name: value for name, value in settings if not name.startswith(left_out)} | {
        "connection_class": client.connection_pool.connection_class,
        "max_connections": 100_000,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0, ()),
        "socket_timeout": None,
    }


def describe_error(error: BaseException) -> str:
    """`error` for people to read."""
    if isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = str(error)[:200] or type(error).__name__
    is_login = isinstance(error, exceptions.AuthenticationError)
    return f"the server refused the login: {text}" if is_login else text


class RedisEventBus(BaseBus):
    """A `Bus` that connects at its first use. After that the connection comes back by itself, for
    ever, and brings the subscriptions along. `undecodable` counts the messages dropped because
    their channel was no subject.

    Args:
        client: A `redis.asyncio.Redis`, which stays its owner's: its settings serve for connections
            of our own. Or an address such as `redis://127.0.0.1:6379`.
        tries: How often to try before the first use fails; 0: for ever.
        pending_messages: Events that may wait for one handler; more are dropped and counted.
        settings: More for an address, as redis-py names them.

    Raises:
        BusUnavailableError: redis-py is missing; says what to install.
        TypeError: Another kind of client.
    """

    def __init__(
        self,
        client: Redis | str,
        *,
        tries: int = 5,
        pending_messages: int = PENDING_MESSAGES,
        **settings: Any,
    ) -> None:
        super().__init__(pending_messages)
        self._settings = connection_settings(client, **settings)
        host, port = self._settings.get("host", "localhost"), self._settings.get("port", 6379)
        self._place = str(self._settings.get("path", f"{host}:{port}"))
        self._tries = tries
        self._backoff = DecorrelatedJitterBackoff(BACKOFF_CAP, BACKOFF_BASE)
        # Whatever goes wrong, it counts as a try.
        self._retry = Retry(self._backoff, tries - 1, (Exception,))  # type: ignore[arg-type]
        self._was_up = False
        self._client: Redis
        self._lost: asyncio.Future[Exception]
        self._listening: dict[QueuedSubscription, tuple[PubSub, asyncio.Task[None]]] = {}
        self._first: asyncio.Future[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._publishing = asyncio.Lock()  # what is published at once goes out in order
        self.undecodable = 0

    @classmethod
    def from_config(cls, config: Config) -> RedisEventBus:
        """The bus that the section `bus` asks for."""
        secret = config.bus.password
        return cls(
            config.bus.url,
            tries=config.nats.max_reconnect_attempts,
            username=config.bus.user,
            password=secret and secret.get_secret_value(),
            client_name=config.instance,
        )

    # --- the connection ---

    async def connect(self) -> None:
        """Connect, unless that was done; every other method does so.

        Raises:
            BusUnavailableError: After the last try, with the server and the last error.
        """
        if self._first is None:
            self.require_open()
            self._first = asyncio.get_running_loop().create_future()
            self._keeping = asyncio.create_task(self._keep(self._first))
        await asyncio.shield(self._first)

    async def wait_connected(self) -> None:
        await self.connect()
        await super().wait_connected()

    async def _require_connected(self) -> Redis:
        await self.connect()
        self.require_connection()
        return self._client

    async def _keep(self, first: asyncio.Future[None]) -> None:
        """One connection after another; `first` is done when the first one stands, or won't."""
        try:
            await self._retry.call_with_retry(self._run_connection, self._on_failure)
        except Exception as exc:  # noqa: BLE001 - whatever it was, it was the last try
            self._first = None  # the next use tries again
            where = f"can't connect to Redis at {self._place} (tries: {self._tries})"
            first.set_exception(BusUnavailableError(f"{where}: {describe_error(exc)}"))

    async def _run_connection(self) -> NoReturn:
        """From its making to its loss, which raises."""
        self._client = client = Redis.from_pool(ConnectionPool(**self._settings))
        self._lost = lost = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.ping()
                while missing := self._unheard():  # some may come meanwhile
                    async with asyncio.TaskGroup() as tasks:
                        for subscription in missing:
                            tasks.create_task(self._listen(subscription))
            self._on_open()
            while not (await asyncio.wait({lost}, timeout=PING_SECONDS))[0]:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await client.ping()
            raise lost.result()
        finally:
            self._up.clear()
            for subscription in self._subscriptions:
                subscription.refused = False  # asked for anew when the connection is back
            while self._listening:
                self._listening.popitem()[1][1].cancel()
            await client.aclose()

    def _unheard(self) -> list[QueuedSubscription]:
        return [
            each for each in self._subscriptions if each not in self._listening and not each.refused
        ]

    def _on_open(self) -> None:
        fields: dict[str, Any] = {"server": self._place}
        if self._first is not None and not self._first.done():
            self._first.set_result(None)
            self._retry.update_retries(-1)
            log.info("redis.connected", extra=fields)
        else:
            self.reconnects += 1
            log.info("redis.reconnected", extra=fields | {"reconnects": self.reconnects})
        self._was_up = True
        self._up.set()

    async def _on_failure(self, error: Exception) -> None:
        fields = {"server": self._place, "error": describe_error(error)}
        if self._was_up:
            log.warning("redis.disconnected", extra=fields)
            self._backoff.reset()
        else:
            is_first = self._first is not None and not self._first.done()
            event = "redis.connect_failed" if is_first else "redis.reconnect_failed"
            log.warning(event, extra=fields)
        self._was_up = False

    def _lose(self, error: Exception) -> None:
        if not self._lost.done():
            self._lost.set_result(error)

    async def flush(self, timeout: float = 5.0) -> None:
        client = await self._require_connected()
        try:
            async with asyncio.timeout(timeout):
                await client.ping()
        except FAILURES as exc:
            raise BusError(f"flush: {describe_error(exc)}") from exc

    async def _disconnect(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        if self._first is not None and not self._first.done():
            self._first.set_exception(BusUnavailableError("the bus is closed"))
        self._first = None

    # --- what goes over it ---

    async def subscribe(self, subject: str, handler: Handler) -> QueuedSubscription:
        """Also possible while the connection is away: it is made when it comes back.

        Where it isn't, what is published from now on is heard when this returns.
        """
        await self.connect()
        subscription = await super().subscribe(subject, handler)
        if self.is_connected:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._listen(subscription)
            except FAILURES as exc:
                self._lose(exc)
        return subscription

    async def _listen(self, subscription: QueuedSubscription) -> None:
        """Returns when what is published from now on will come, or it is refused."""
        pubsub = self._client.pubsub()
        glob = to_glob(subscription.subject)
        try:
            await (pubsub.psubscribe(glob) if glob else pubsub.subscribe(subscription.subject))
            await pubsub.get_message(timeout=None)
        except exceptions.ResponseError as exc:
            subscription.refused = True
            fields = {"subject": subscription.subject, "error": str(exc)}
            log.warning("redis.subscription_refused", extra=fields)
            await pubsub.aclose()  # type: ignore[no-untyped-call]
        else:
            reading = asyncio.create_task(self._read(pubsub, subscription))
            self._listening[subscription] = pubsub, reading

    async def _read(self, pubsub: PubSub, subscription: QueuedSubscription) -> None:
        try:
            async for message in pubsub.listen():
                is_event = message["type"] in ("message", "pmessage")
                if is_event and subscription in self._subscriptions:
                    self._on_message(subscription, message["channel"], message["data"])
        except Exception as exc:  # noqa: BLE001 - whatever it was, nothing more is heard
            self._lose(exc)
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _on_message(self, subscription: QueuedSubscription, channel: bytes, data: bytes) -> None:
        subject = channel.decode(errors="replace")
        if is_subject(subject) and subject.encode() == channel:
            if matches(subscription.subject, subject):
                subscription.put(unpack(subject, data))
            return
        self.undecodable += 1
        log.warning("redis.undecodable", extra={"undecodable": self.undecodable})

    async def leave(self, subscription: QueuedSubscription) -> None:
        """Returns when all that was published before has come."""
        if (listening := self._listening.pop(subscription, None)) is not None:
            pubsub, reading = listening
            try:
                async with asyncio.timeout(UNSUBSCRIBE_SECONDS):
                    await pubsub.unsubscribe()
                    await pubsub.punsubscribe()
                    await reading  # ends when the server has answered both
            except FAILURES:
                reading.cancel()
        await super().leave(subscription)

    async def publish(
        self, subject: str, data: Body, headers: Mapping[str, str] | None = None
    ) -> None:
        """Returns when the server has it.

        Raises:
            RequestTimeoutError: The server doesn't say that it has it; it may have it.
            NotPermittedError: The server refuses, such as to an account that may not publish there.
        """
        client = await self._require_connected()
        event = outgoing(subject, data, headers)
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._publishing:
                await client.publish(subject, pack(event.data, event.headers))
        except exceptions.ResponseError as exc:
            raise NotPermittedError(f"{subject}: the server refuses: {exc}") from exc
        except FAILURES as exc:
            self._lose(exc)
            raise RequestTimeoutError(f"{subject}: the server didn't say that it has it") from exc

    async def request(self, subject: str, data: Body, **_: object) -> NoReturn:  # noqa: ARG002
        """Redis has no answers, and nobody who says that nobody listens.

        Raises:
            UnsupportedByBusError: Always, while there is a connection.
        """
        await self._require_connected()
        raise UnsupportedByBusError(f"{subject}: there are no requests on Redis, only messages")

    async def read_value(self, bucket: str, key: str, **_: object) -> NoReturn:  # noqa: ARG002
        """No connector keeps its buckets on Redis.

        Raises:
            UnsupportedByBusError: Always, while there is a connection.
        """
        await self._require_connected()
        raise UnsupportedByBusError(f"{bucket}: there are no key-value buckets on Redis")
