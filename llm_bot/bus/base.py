"""What every bus has: subscriptions, whether it is connected, what it lost, and how it ends."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable

from llm_bot.bus.subjects import check_pattern
from llm_bot.errors import BusUnavailableError
from llm_bot.ports import Event, Handler

log = logging.getLogger(__name__)

# Events that wait for one handler; more are dropped and counted.
PENDING_MESSAGES = 65_536

# Longest wait of `close` for handlers that are still at work.
CLOSE_SECONDS = 5.0


class QueuedSubscription:
    """Hands events to its handler, one after another. A slow handler holds up only itself."""

    def __init__(self, bus: BaseBus, subject: str, handler: Handler, *, size: int) -> None:
        self.subject = subject
        self.refused = False
        self._bus = bus
        self._handler = handler
        self._is_plain = not inspect.iscoroutinefunction(handler)
        self._ending = False
        self._events: asyncio.Queue[tuple[Event, Awaitable[None] | None]] = asyncio.Queue(size)
        self._task = asyncio.create_task(self._run())

    def put(self, event: Event, begun: Awaitable[None] | None = None) -> None:
        """Take `event`, or count that there was no place for it. `begun` is what the handler has
        returned, if it was called already."""
        try:
            self._events.put_nowait((event, begun))
        except asyncio.QueueFull:
            self._bus.note_dropped(event)

    def handle(self, event: Event) -> None:
        """Let a plain function handle `event` at once; all else is `put`."""
        if not self._is_plain:
            self.put(event)
            return
        try:
            begun = self._handler(event)
        # It waits for nothing, so it isn't the caller that was cancelled.
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001
            self._bus.note_failed(event, exc)
        else:
            if begun is not None:  # it isn't plain after all
                self._is_plain = False
                self.put(event, begun)

    async def unsubscribe(self) -> None:
        """Called by the handler, it doesn't wait: the task ends when what is left is handled."""
        is_own = asyncio.current_task() is self._task
        try:
            await self._bus.leave(self)
            self._ending = True
            if not is_own:
                await self._events.join()
        finally:
            if not is_own:
                self._task.cancel()

    async def _run(self) -> None:
        while not (self._ending and self._events.empty()):
            event, result = await self._events.get()
            try:
                if result is None:
                    result = self._handler(event)
                if result is not None:
                    await result
            except asyncio.CancelledError as exc:
                if self._task.cancelling():
                    raise
                # Something that the handler waited for was cancelled.
                self._bus.note_failed(event, exc)
            except Exception as exc:  # noqa: BLE001 - a handler must not end the stream
                self._bus.note_failed(event, exc)
            finally:
                self._events.task_done()


class BaseBus:
    """`_up` is set while there is a connection, which `_disconnect` ends."""

    def __init__(self, pending_messages: int) -> None:
        self.reconnects = 0
        self.dropped = 0
        self.handler_errors = 0
        self._pending_messages = pending_messages
        self._subscriptions: list[QueuedSubscription] = []
        self._up = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_connected(self) -> bool:
        """Whether something can be published now."""
        return self._up.is_set() and not self._closed

    def require_connection(self) -> None:
        """Raise `BusUnavailableError` where there is none."""
        if not self.is_connected:
            raise BusUnavailableError("the bus is closed" if self._closed else "not connected")

    def require_open(self) -> None:
        """Raise `BusUnavailableError` once `close` was called."""
        if self._closing is not None:
            raise BusUnavailableError("the bus is closed")

    async def wait_connected(self) -> None:
        """Return as soon as the bus is connected."""
        await self._up.wait()
        self.require_open()

    async def subscribe(self, subject: str, handler: Handler) -> QueuedSubscription:
        """Let `handler` hear `subject`. Raises `BusError` for what can't be subscribed to."""
        check_pattern(subject)
        self.require_open()
        subscription = QueuedSubscription(self, subject, handler, size=self._pending_messages)
        self._subscriptions.append(subscription)
        return subscription

    async def leave(self, subscription: QueuedSubscription) -> None:
        """Take it off: nothing is put into its queue any more when this returns. Idempotent."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def note_dropped(self, event: Event) -> None:
        """There was no place for `event`."""
        self.dropped += 1
        log.warning("bus.dropped", extra={"subject": event.subject, "dropped": self.dropped})

    def note_failed(self, event: Event, error: BaseException) -> None:
        """A handler raised."""
        self.handler_errors += 1
        fields = {"subject": event.subject, "handler_errors": self.handler_errors}
        log.error("bus.handler_failed", exc_info=error, extra=fields)

    async def close(self) -> None:
        """Hear nothing more, let the handlers end, disconnect. Never raises; idempotent."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if ends := [asyncio.create_task(each.unsubscribe()) for each in self._subscriptions]:
            _, unfinished = await asyncio.wait(ends, timeout=CLOSE_SECONDS)
            for end in unfinished:
                end.cancel()
            await asyncio.wait(ends)
        await self._disconnect()
        self._closed = True
        self._up.set()  # nobody waits for it any longer

    async def _disconnect(self) -> None:
        """Hang up. Must not raise."""
