"""A queue and a task for each subscription, for the buses whose library has none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from llm_bot.bus import base
from llm_bot.bus.base import BaseBus
from llm_bot.bus.subjects import check_pattern, matches
from llm_bot.ports import Event, Handler

log = logging.getLogger(__name__)

# Events that wait for one handler; more are dropped and counted, as on NATS.
PENDING_MESSAGES = 65_536


class QueuedSubscription:
    """Hands what is `put` to its handler, one event after another. A slow handler holds up only
    itself."""

    def __init__(self, bus: QueuingBus, subject: str, handler: Handler, *, size: int) -> None:
        self.subject = subject
        self.refused = False
        self._bus = bus
        self._handler = handler
        self._ending = False
        self._events: asyncio.Queue[Event] = asyncio.Queue(size)
        self._task = asyncio.create_task(self._run())

    def put(self, event: Event) -> None:
        """Take `event`, or count that there was no place for it."""
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            self._bus.note_dropped(event)

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
            event = await self._events.get()
            try:
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


class QueuingBus(BaseBus):
    """A bus that hands out events itself."""

    def __init__(self, pending_messages: int) -> None:
        super().__init__()
        self._pending_messages = pending_messages
        self._subscriptions: list[QueuedSubscription] = []

    async def subscribe(self, subject: str, handler: Handler) -> QueuedSubscription:
        """Let `handler` hear `subject`. Raises `BusError` for what can't be subscribed to."""
        check_pattern(subject)
        self.require_open()
        subscription = QueuedSubscription(self, subject, handler, size=self._pending_messages)
        self._subscriptions.append(subscription)
        return subscription

    def deliver(self, event: Event, to: Iterable[QueuedSubscription]) -> bool:
        """Hand `event` to those that hear its subject; says whether any does."""
        hearers = [each for each in to if matches(each.subject, event.subject)]
        for hearer in hearers:
            hearer.put(event)
        return bool(hearers)

    def note_dropped(self, event: Event) -> None:
        """There was no place for `event`."""
        self.dropped += 1
        log.warning("bus.dropped", extra={"subject": event.subject, "dropped": self.dropped})

    async def leave(self, subscription: QueuedSubscription) -> None:
        """Take it off: nothing is put into its queue any more when this returns. Idempotent."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    async def _close(self) -> None:
        ends = [asyncio.create_task(each.unsubscribe()) for each in self._subscriptions]
        if ends:
            _, unfinished = await asyncio.wait(ends, timeout=base.CLOSE_SECONDS)
            for end in unfinished:
                end.cancel()
            await asyncio.wait(ends)
