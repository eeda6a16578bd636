"""A queue and a task for each subscription, for the buses whose library has none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from llm_bot.bus.subjects import is_logged
from llm_bot.ports import Event, Handler

log = logging.getLogger(__name__)

# Events that wait for one handler; more are dropped and counted, as on NATS.
PENDING_MESSAGES = 65_536


class Losses:
    """What the subscriptions of one bus lost, counted, and logged as a sample."""

    def __init__(self) -> None:
        self.dropped = 0
        self.handler_errors = 0

    def note_dropped(self, event: Event) -> None:
        """There was no place for `event`."""
        self.dropped += 1
        if is_logged(self.dropped):
            fields = {"subject": event.subject, "dropped": self.dropped}
            log.warning("bus.dropped", extra=fields)

    def note_failed(self, event: Event, error: BaseException) -> None:
        """A handler raised."""
        self.handler_errors += 1
        if is_logged(self.handler_errors):
            fields = {"subject": event.subject, "handler_errors": self.handler_errors}
            log.error("bus.handler_failed", exc_info=error, extra=fields)


class QueuedSubscription:
    """Hands what is `put` to its handler, one event after another. A slow handler holds up only
    itself.

    `leave` takes the subscription off its bus: nothing is `put` any more when it returns.
    """

    def __init__(
        self,
        subject: str,
        handler: Handler,
        *,
        size: int,
        losses: Losses,
        leave: Callable[[QueuedSubscription], Awaitable[None]],
    ) -> None:
        self.subject = subject
        self.refused = False
        self._handler = handler
        self._losses = losses
        self._leave = leave
        self._ending = False
        self._events: asyncio.Queue[Event] = asyncio.Queue(size)
        self._task = asyncio.create_task(self._run())

    def put(self, event: Event) -> None:
        """Take `event`, or count that there was no place for it."""
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            self._losses.note_dropped(event)

    async def unsubscribe(self) -> None:
        """Called by the handler, it doesn't wait: the task ends when what is left is handled."""
        is_own = asyncio.current_task() is self._task
        try:
            await self._leave(self)
            self._ending = True
            if not is_own:
                await self._events.join()
        finally:
            if not is_own:
                self.abandon()

    def abandon(self) -> None:
        """Handle nothing more, and don't wait for the handler."""
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
                self._losses.note_failed(event, exc)
            except Exception as exc:  # noqa: BLE001 - a handler must not end the stream
                self._losses.note_failed(event, exc)
            finally:
                self._events.task_done()


async def end_all(subscriptions: Iterable[QueuedSubscription], seconds: float) -> None:
    """Unsubscribe them; handlers that are still at work after `seconds` are cancelled."""
    ends = [asyncio.ensure_future(each.unsubscribe()) for each in subscriptions]
    if ends:
        _, unfinished = await asyncio.wait(ends, timeout=seconds)
        for end in unfinished:
            end.cancel()
        if unfinished:
            await asyncio.wait(unfinished)
