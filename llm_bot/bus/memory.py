"""`Bus` within one process, for the demo and for tests."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping

from llm_bot.bus.queue import PENDING_MESSAGES, Losses, QueuedSubscription, end_all
from llm_bot.bus.replies import PendingReply
from llm_bot.bus.subjects import check_pattern, matches, outgoing
from llm_bot.errors import BusUnavailableError, NoRespondersError
from llm_bot.ports import Body, Event, Handler

# Longest wait of `close` for handlers that are still at work.
CLOSE_SECONDS = 5.0


class EventBus:
    """Connected from the start. `disconnect` and `reconnect` play an outage of the server.

    `values` is what `read_value` finds, by bucket and key.
    """

    def __init__(self, *, pending_messages: int = PENDING_MESSAGES) -> None:
        self._pending_messages = pending_messages
        self._subscriptions: list[QueuedSubscription] = []
        self._replies: dict[str, PendingReply] = {}
        self._inboxes = itertools.count(1)
        self._up = asyncio.Event()
        self._up.set()
        self._closed = False
        self._reconnects = 0
        self.values: dict[tuple[str, str], bytes] = {}
        self._losses = Losses()

    @property
    def is_connected(self) -> bool:
        return self._up.is_set() and not self._closed

    @property
    def reconnects(self) -> int:
        return self._reconnects

    @property
    def dropped(self) -> int:
        return self._losses.dropped

    @property
    def handler_errors(self) -> int:
        return self._losses.handler_errors

    def disconnect(self) -> None:
        """The server goes away: what is published from now on is refused."""
        self._up.clear()

    def reconnect(self) -> None:
        """The server is back, and the subscriptions with it."""
        if not self._up.is_set():
            self._reconnects += 1
            self._up.set()

    async def connect(self) -> None:
        """Nothing to do; the other buses need it."""
        if self._closed:
            raise BusUnavailableError("the bus is closed")

    async def subscribe(self, subject: str, handler: Handler) -> QueuedSubscription:
        check_pattern(subject)
        if self._closed:
            raise BusUnavailableError("the bus is closed")
        subscription = QueuedSubscription(
            subject, handler, size=self._pending_messages, losses=self._losses, leave=self._forget
        )
        self._subscriptions.append(subscription)
        return subscription

    async def publish(
        self, subject: str, data: Body, headers: Mapping[str, str] | None = None
    ) -> None:
        self._send(outgoing(subject, data, headers))

    async def request(
        self,
        subject: str,
        data: Body,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        accept: Callable[[Event], bool] | None = None,
    ) -> Event:
        inbox = f"_INBOX.{next(self._inboxes)}"
        pending = self._replies[inbox] = PendingReply(subject, accept)
        try:
            heard = self._send(outgoing(subject, data, headers, inbox))
            if not heard:
                raise NoRespondersError(f"nobody listens on {subject}")
            return await pending.wait(timeout)
        finally:
            del self._replies[inbox]

    async def read_value(
        self,
        bucket: str,
        key: str,
        *,
        timeout: float,  # noqa: ARG002 - nothing takes time here
    ) -> bytes | None:
        self._require_connection()
        return self.values.get((bucket, key))

    async def flush(self, timeout: float = 5.0) -> None:  # noqa: ARG002 - nothing takes time here
        self._require_connection()

    async def wait_connected(self) -> None:
        await self._up.wait()
        if self._closed:
            raise BusUnavailableError("the bus is closed")

    async def close(self) -> None:
        self._closed = True
        self._up.set()  # nobody waits for it any longer
        await end_all(tuple(self._subscriptions), CLOSE_SECONDS)

    def _require_connection(self) -> None:
        if not self.is_connected:
            raise BusUnavailableError("the bus is closed" if self._closed else "not connected")

    def _send(self, event: Event) -> bool:
        """Hand `event` to whoever hears its subject; says whether anybody does."""
        self._require_connection()
        if (pending := self._replies.get(event.subject)) is not None:
            pending.offer(event)
        hearers = [each for each in self._subscriptions if matches(each.subject, event.subject)]
        for hearer in hearers:
            hearer.put(event)
        return bool(hearers)

    async def _forget(self, subscription: QueuedSubscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
