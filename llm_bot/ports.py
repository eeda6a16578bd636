"""What the shell needs from the world outside, as protocols that the shell itself owns.

`Bus` carries events in and commands out (NATS, Redis, or memory), `Model` answers prompts,
`Clock` tells the time. Implementations satisfy them without importing anything above this layer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from llm_bot.llm_client.clock import Clock as Clock
from llm_bot.llm_client.clock import SystemClock as SystemClock
from llm_bot.llm_client.models import LLMRequest, LLMResponse


class Event(msgspec.Struct, frozen=True, gc=False):
    """One message from the bus: `subject`, raw body, headers if there were any.

    `reply` is the subject that an answer goes to, for requests. `event["field"]` reads a field of
    a JSON object body; it raises `KeyError` for a missing field or another kind of body.
    """

    subject: str
    data: bytes
    headers: Mapping[str, str] | None = None
    reply: str = ""

    def __getitem__(self, key: str) -> Any:
        try:
            body = msgspec.json.decode(self.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise KeyError(key) from exc
        if not isinstance(body, dict):
            raise KeyError(key)
        return body[key]

    def get(self, key: str) -> Any:
        """The same, None where there is no such field."""
        try:
            return self[key]
        except KeyError:
            return None


Handler = Callable[[Event], Awaitable[None] | None]
"""Takes one event. A plain function is called in place; a coroutine is awaited before the next."""

Body = bytes | Mapping[str, Any]
"""What `publish` and `request` take: bytes as they are, or an object that becomes JSON."""


def encode_body(body: Body) -> bytes:
    """`body` as the bytes that go over the bus."""
    return body if isinstance(body, bytes) else msgspec.json.encode(body)


class Subscription(Protocol):
    """An open subscription. `refused` turns true when the server says that it may not be had."""

    @property
    def subject(self) -> str: ...

    @property
    def refused(self) -> bool: ...

    async def unsubscribe(self) -> None:
        """Hear nothing more; what has arrived already is handled first. Idempotent."""
        ...


class Bus(Protocol):
    """Subscribe, publish, request. Subjects and wildcards (`*`, `>`) are those of NATS.

    Events of one subscription reach its handler one after another, in the order of their arrival.
    An exception in a handler is counted (`handler_errors`) and logged; the next event is handled.
    """

    @property
    def is_connected(self) -> bool: ...

    @property
    def reconnects(self) -> int:
        """How often the connection came back since the start."""
        ...

    @property
    def dropped(self) -> int:
        """Events lost because a handler was slower than the stream."""
        ...

    @property
    def handler_errors(self) -> int: ...

    async def connect(self) -> None:
        """Connect. Raises `BusUnavailableError` when the last try has failed."""
        ...

    async def subscribe(self, subject: str, handler: Handler) -> Subscription:
        """Hear `subject`. A refusal by the server comes later and turns `refused` true; after
        `flush()` it is known."""
        ...

    async def publish(
        self, subject: str, data: Body, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send once. Raises `BusUnavailableError` when not connected; nothing is kept for later."""
        ...

    async def request(
        self,
        subject: str,
        data: Body,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        accept: Callable[[Event], bool] | None = None,
    ) -> Event:
        """Send once and return the first answer for which `accept` is true (default: the first).

        `timeout` is in seconds. Raises `NoRespondersError`, `RequestTimeoutError`,
        `UnacceptedReplyError` (time ran out, but other answers had come), `BusUnavailableError`,
        or `UnsupportedByBusError`.
        """
        ...

    async def read_value(self, bucket: str, key: str, *, timeout: float) -> bytes | None:
        """The value of `key` in a key-value bucket of the server; None where there is none, no
        such bucket, or no such thing on this server. Never creates anything.

        `timeout` is in seconds. Raises `RequestTimeoutError`, `NotPermittedError`,
        `BusUnavailableError`, `UnsupportedByBusError` where this kind of bus has no buckets, or
        another `BusError`.
        """
        ...

    async def flush(self, timeout: float = 5.0) -> None:
        """Return when all that was sent has reached the server; raises `BusError` if it can't."""
        ...

    async def wait_connected(self) -> None:
        """Return as soon as the bus is connected."""
        ...

    async def close(self) -> None:
        """Hear nothing more, send what was given, disconnect. Never raises; idempotent."""
        ...


class Model(Protocol):
    """Whoever answers prompts."""

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Raises `llm_bot.llm_client.LLMError`; its `attempts` says how many requests went out."""
        ...
