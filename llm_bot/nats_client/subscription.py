"""One subscription of `NatsBus`: its handler, called in order, and its end."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.subscription import Subscription

from llm_bot.nats_client.connection import PatchedClient
from llm_bot.nats_client.errors import translated
from llm_bot.ports import Event, Handler

# What waits for one handler at most; more is dropped and counted.
PENDING_MESSAGES = 65_536
PENDING_BYTES = 64 * 1024 * 1024

# Longest wait for the server's word that a subscription has ended.
UNSUBSCRIBE_SECONDS = 2.0


class NatsSubscription:
    """`refused` turns true when the server says that the account may not hear `subject`.

    `on_failure` is told what the handler raised, `on_end` that nothing more is heard.
    """

    def __init__(
        self,
        client: PatchedClient,
        subject: str,
        handler: Handler,
        *,
        on_failure: Callable[[Event, BaseException], None],
        on_end: Callable[[NatsSubscription], None],
    ) -> None:
        self.subject = subject
        self.refused = False
        self._client = client
        self._handler = handler
        self._on_failure = on_failure
        self._on_end = on_end
        self._raw: Subscription | None = None
        self._begun: Awaitable[None] | None = None
        self._end: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Ask the server for it. Raises `BusError`."""
        options: dict[str, Any] = {
            "cb": self._deliver,
            "pending_msgs_limit": PENDING_MESSAGES,
            "pending_bytes_limit": PENDING_BYTES,
        }
        client, subject = self._client, self.subject
        with translated(subject):
            if inspect.iscoroutinefunction(self._handler):
                self._raw = await client.subscribe(subject, **options)
            else:
                self._raw = await client.subscribe_in_place(
                    subject, self._handle_in_place, **options
                )
        if not client.is_connected:
            client.forget_unsent()  # the reconnect itself asks for it

    async def unsubscribe(self) -> None:
        """Hear nothing more, and wait until what was heard is handled. Idempotent."""
        if self._raw is None:
            return
        if self._end is None:
            self._end = asyncio.create_task(self._client.end(self._raw, UNSUBSCRIBE_SECONDS))
            self._end.add_done_callback(lambda _: self._on_end(self))
        if not self._client.is_current(self._raw):  # a handler can't wait for its own end
            await asyncio.shield(self._end)

    def abandon(self) -> None:
        """Wait no longer for a handler that `unsubscribe` still waits for: cancel it."""
        if self._end is not None:
            self._end.cancel()

    def _handle_in_place(self, event: Event) -> bool:
        """Let a plain function handle `event`; false if it turns out to be none: what it has begun
        is then awaited in `_deliver`."""
        try:
            self._begun = self._handler(event)
        # It waits for nothing, so it isn't what was cancelled; raised on, it would end the reader.
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001
            self._on_failure(event, exc)
        return self._begun is None

    async def _deliver(self, event: Event) -> None:
        try:
            result = self._begun
            if result is None:
                result = self._handler(event)
            else:
                self._begun = None
            if result is not None:
                await result
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that the handler waited for was cancelled. nats-py would go deaf.
            self._on_failure(event, exc)
        except Exception as exc:  # noqa: BLE001 - a handler must not end the stream
            self._on_failure(event, exc)
