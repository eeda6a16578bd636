"""`EventBus` within one process, for the demo and for tests."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping

from llm_bot.bus.replies import PendingReply
from llm_bot.bus.subjects import check_pattern, check_subject, clean_headers, is_logged, matches
from llm_bot.errors import BusUnavailableError, NoRespondersError
from llm_bot.ports import Body, Event, Handler, encode_body

log = logging.getLogger(__name__)

# Events that wait for one handler; more are dropped and counted, as on NATS.
PENDING_MESSAGES = 65_536

# Longest wait of `close` for handlers that are still at work.
CLOSE_SECONDS = 5.0


class MemoryEventBus:
    """Connected from the start. `disconnect` and `reconnect` play an outage of the server.

    `values` is what `read_value` finds, by bucket and key.

    Each subscription has a queue and a task of its own, so a slow handler holds up only itself.
    """

    def __init__(self, *, pending_messages: int = PENDING_MESSAGES) -> None:
        self._pending_messages = pending_messages
        self._subscriptions: list[_MemorySubscription] = []
        self._replies: dict[str, PendingReply] = {}
        self._inboxes = itertools.count(1)
        self._up = asyncio.Event()
        self._up.set()
        self._closed = False
        self._reconnects = 0
        self.values: dict[tuple[str, str], bytes] = {}
        self.dropped = 0
        self.handler_errors = 0

    @property
    def is_connected(self) -> bool:
        return self._up.is_set() and not self._closed

    @property
    def reconnects(self) -> int:
        return self._reconnects

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

    async def subscribe(self, subject: str, handler: Handler) -> _MemorySubscription:
        check_pattern(subject)
        if self._closed:
            raise BusUnavailableError("the bus is closed")
        subscription = _MemorySubscription(self, subject, handler, self._pending_messages)
        self._subscriptions.append(subscription)
        return subscription

    async def publish(
        self, subject: str, data: Body, headers: Mapping[str, str] | None = None
    ) -> None:
        self._send(Event(subject, encode_body(data), clean_headers(headers)))

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
            heard = self._send(Event(subject, encode_body(data), clean_headers(headers), inbox))
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
        ends = [asyncio.ensure_future(each.unsubscribe()) for each in tuple(self._subscriptions)]
        if ends:
            _, unfinished = await asyncio.wait(ends, timeout=CLOSE_SECONDS)
            for end in unfinished:
                end.cancel()

    def _require_connection(self) -> None:
        if not self.is_connected:
            raise BusUnavailableError("the bus is closed" if self._closed else "not connected")

    def _send(self, event: Event) -> bool:
        """Hand `event` to whoever hears its subject; says whether anybody does."""
        check_subject(event.subject)
        self._require_connection()
        if (pending := self._replies.get(event.subject)) is not None:
            pending.offer(event)
        hearers = [each for each in self._subscriptions if each.hears(event.subject)]
        for hearer in hearers:
            hearer.put(event)
        return bool(hearers)

    def _forget(self, subscription: _MemorySubscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)


class _MemorySubscription:
    refused = False

    def __init__(
        self, bus: MemoryEventBus, subject: str, handler: Handler, pending_messages: int
    ) -> None:
        self.subject = subject
        self._bus = bus
        self._handler = handler
        self._ending = False
        self._events: asyncio.Queue[Event] = asyncio.Queue(pending_messages)
        self._task = asyncio.create_task(self._run())

    def hears(self, subject: str) -> bool:
        return matches(self.subject, subject)

    def put(self, event: Event) -> None:
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            self._bus.dropped += 1
            if is_logged(self._bus.dropped):
                fields = {"subject": event.subject, "dropped": self._bus.dropped}
                log.warning("bus.dropped", extra=fields)

    async def unsubscribe(self) -> None:
        self._ending = True
        self._bus._forget(self)
        if asyncio.current_task() is self._task:
            return  # called by the handler: the task ends when it has handled what is left
        try:
            await self._events.join()
        finally:
            self._task.cancel()

    async def _run(self) -> None:
        while not (self._ending and self._events.empty()):
            event = await self._events.get()
            try:
                result = self._handler(event)
                if result is not None:
                    await result
            except asyncio.CancelledError as exc:
                if self._task.cancelling():
                    raise
                self._failed(event, exc)  # something that the handler waited for was cancelled
            except Exception as exc:  # noqa: BLE001 - a handler must not end the stream
                self._failed(event, exc)
            finally:
                self._events.task_done()

    def _failed(self, event: Event, error: BaseException) -> None:
        self._bus.handler_errors += 1
        if is_logged(self._bus.handler_errors):
            fields = {"subject": event.subject, "handler_errors": self._bus.handler_errors}
            log.error("bus.handler_failed", exc_info=error, extra=fields)
