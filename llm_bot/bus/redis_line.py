"""One connection to Redis, on which commands, their answers and messages pass one another.

Not redis-py's own `PubSub` and `publish`: both repeat a command whose answer got lost, and a line
would be said twice; and both reconnect unseen, so nobody could tell that messages were missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from llm_bot.errors import BusUnavailableError

try:
    from redis.asyncio import Redis
    from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
except ImportError:
    HAS_REDIS = False
else:
    HAS_REDIS = True

_MESSAGES = (b"message", b"pmessage")

# Whatever the client is set to: bytes as they are, no tries and no timeouts but ours. In version 2
# of the protocol everything on a connection comes in one order.
_OURS: dict[str, Any] = {
    "protocol": 2,
    "decode_responses": False,
    "socket_timeout": None,
    "health_check_interval": 0,
    "retry": None,
    "retry_on_error": [],
    "retry_on_timeout": False,
}
# Settings for version 3 that the pool makes up, and that redis-py refuses beside version 2.
_NOT_OURS = ("maint", "orig_", "oss_")


class LineLostError(Exception):
    """The connection broke before the answer came; whether the command was carried out is
    unknown."""


class NotSentError(LineLostError):
    """The connection was gone before the command was sent."""


class RefusedError(Exception):
    """The server answers that it won't."""


class ForbiddenError(RefusedError):
    """Nor will it for this account."""


class RedisLine:
    """Opened once and lost once. `on_message` gets each message; `on_loss` is told why, unless it
    was closed before."""

    def __init__(
        self,
        client: Redis,
        *,
        on_message: Callable[[list[bytes]], None],
        on_loss: Callable[[str], None],
    ) -> None:
        pool = client.connection_pool
        settings = {
            name: value
            for name, value in pool.connection_kwargs.items()
            if not name.startswith(_NOT_OURS)
        }
        self._connection: Any = pool.connection_class(**{**settings, **_OURS})
        self._on_message = on_message
        self._on_loss = on_loss
        self._answers: deque[asyncio.Future[Any]] = deque()
        self._writing = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self.is_lost = False

    async def open(self) -> None:
        """Connect and log in. Raises what redis-py raises; `close` it then."""
        await self._connection.connect()
        self._reader = asyncio.create_task(self._read())
        await self.ask("PING", "")  # a server that wants a login says so only now

    async def ask(self, *command: str | bytes) -> Any:
        """Send one command and return its answer. Commands are carried out in order.

        Raises `NotSentError`, `LineLostError` or `RefusedError`.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        async with self._writing:
            # redis-py would connect anew if it saw that it isn't connected.
            if self.is_lost or not self._connection.is_connected:
                raise NotSentError
            self._answers.append(answer)
            try:
                await self._connection.send_command(*command, check_health=False)
            except (RedisError, OSError) as exc:
                self.lose(told(exc))
            except asyncio.CancelledError:
                # Perhaps half of it is sent, and redis-py has hung up.
                answer.cancel()
                self.lose("a command was cancelled while it was sent")
                raise
        return await answer

    async def _read(self) -> None:
        try:
            while True:
                await self._read_one()
        except Exception as exc:  # noqa: BLE001 - whatever it is, nothing more can be read
            self.lose(told(exc))

    async def _read_one(self) -> None:
        try:
            read = await self._connection.read_response()
        except ResponseError as exc:
            if self._answers and not (answer := self._answers.popleft()).done():
                kind = ForbiddenError if isinstance(exc, NoPermissionError) else RefusedError
                answer.set_exception(kind(str(exc)))
            return
        if isinstance(read, list) and read[0] in _MESSAGES:
            self._on_message(read)
        elif self._answers and not (answer := self._answers.popleft()).done():
            answer.set_result(read)

    def lose(self, why: str) -> None:
        """It is of no use any more."""
        if self.is_lost:
            return
        self._end(why)
        self._on_loss(why)

    def _end(self, why: str) -> None:
        self.is_lost = True
        while self._answers:
            if not (answer := self._answers.popleft()).done():
                answer.set_exception(LineLostError(why))

    async def close(self) -> None:
        """Hang up. Never raises; idempotent."""
        self._end("closed")
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect(nowait=True)
        await asyncio.sleep(0)  # in which the socket closes


def make_client(url: str, *, user: str | None, password: str | None, name: str) -> Redis:
    """A client for `RedisEventBus`. Raises `BusUnavailableError` where redis-py is missing."""
    require_library()
    return Redis.from_url(url, username=user, password=password, client_name=name)


def require_library() -> None:
    """Raise `BusUnavailableError`, with what to install, where redis-py is missing."""
    if not HAS_REDIS:
        raise BusUnavailableError('Redis needs redis-py: pip install "llm-chat-bot[redis]"')


def place(client: Redis) -> str:
    """Where the client connects to, without who it is there. Raises `TypeError` for another kind
    of client."""
    require_library()
    if not isinstance(client, Redis):
        raise TypeError(f"RedisEventBus needs a redis.asyncio.Redis, not a {type(client)}")
    settings = client.connection_pool.connection_kwargs
    if "path" in settings:
        return str(settings["path"])
    return f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"


def told(error: BaseException) -> str:
    """`error` for people to read."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = str(error)[:200] or type(error).__name__
    return (
        f"the server refused the login: {text}" if isinstance(error, AuthenticationError) else text
    )
