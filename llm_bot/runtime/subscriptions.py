"""What one room hears: a few subjects for each dialect, and what becomes of them on a reload."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from functools import partial

from llm_bot.config import RoomConfig
from llm_bot.errors import BusError
from llm_bot.event_handler import EventHandler
from llm_bot.models import Dialect
from llm_bot.ports import Event, Subscription
from llm_bot.replies.services import SharedServices
from llm_bot.room import Room
from llm_bot.runtime.room_sync import CONNECTED_SUBJECT, RoomSync
from llm_bot.wire import event_subjects

log = logging.getLogger(__name__)


class RoomSubscriptions:
    """Subscribed to is what `listen` was called for; heard is only what `hear` named last.

    So a reload can subscribe to what is new before the room has adopted its configuration.
    """

    def __init__(
        self, room: Room, handler: EventHandler, sync: RoomSync, shared: SharedServices
    ) -> None:
        self._room = room
        self._handler = handler
        self._sync = sync
        self._bus = shared.bus
        self._dialects = shared.dialects
        self._subscriptions: dict[str, Subscription] = {}
        self._heard: dict[str, Dialect] = {}

    @property
    def is_heard(self) -> bool:
        """Whether the room can be heard in at least one dialect."""
        return any(not one.refused for one in self._subscribed(self._heard))

    def hear(self, config: RoomConfig | None) -> None:
        """From now on events of the room as `config` names it are handled, and no others."""
        self._heard = {} if config is None else self._subjects(config)

    async def listen(self, config: RoomConfig) -> bool:
        """Subscribe to what isn't yet; true if something was new. Raises `BusError`."""
        new = [subject for subject in self._subjects(config) if subject not in self._subscriptions]
        for subject in new:
            handler = partial(self._on_event, subject)
            self._subscriptions[subject] = await self._bus.subscribe(subject, handler)
        if CONNECTED_SUBJECT not in self._subscriptions:
            # From here on nothing is missed, so what was said before can be asked for.
            self._subscriptions[CONNECTED_SUBJECT] = await self._bus.subscribe(
                CONNECTED_SUBJECT, self._sync.hear_connected
            )
            self._sync.ask()
        return bool(new)

    def _on_event(self, subject: str, event: Event) -> None:
        dialect = self._heard.get(subject)
        if dialect is not None:
            self._handler.handle(event, dialect)

    def require(self, config: RoomConfig) -> None:
        """Raise `BusError` if the server lets the room hear nothing of what `config` names. Call it
        after a flush."""
        wanted = self._subscribed(self._subjects(config))
        if all(one.refused for one in wanted):
            refused = ", ".join(one.subject for one in wanted)
            raise BusError(f"channel {config.name}: the account may not hear {refused}")

    def tell_refusals(self) -> None:
        """Log what the server wouldn't let the room hear. Call it after a flush."""
        refused = [one.subject for one in self._subscribed(self._heard) if one.refused]
        if refused:
            log.log(
                logging.WARNING if self.is_heard else logging.ERROR,
                "room.subscription_refused" if self.is_heard else "room.not_heard",
                extra={"channel": self._room.config.name, "subjects": refused},
            )

    async def forget_old(self) -> None:
        """End the subscriptions that the room doesn't hear, or not any more."""
        kept = {*self._heard, CONNECTED_SUBJECT} if self._heard else ()
        await self._end([subject for subject in self._subscriptions if subject not in kept])

    async def end(self) -> None:
        """Hear nothing more."""
        await self._end(list(self._subscriptions))

    async def _end(self, subjects: Iterable[str]) -> None:
        # All at once: a server that has stopped answering is waited for once, not for each.
        await asyncio.gather(*(_unsubscribe(self._subscriptions.pop(one)) for one in subjects))

    def _subjects(self, config: RoomConfig) -> dict[str, Dialect]:
        return {
            subject: dialect
            for dialect in self._dialects
            for subject in event_subjects(dialect, config.name, config.domain)
        }

    def _subscribed(self, subjects: Iterable[str]) -> list[Subscription]:
        return [self._subscriptions[one] for one in subjects if one in self._subscriptions]


async def _unsubscribe(subscription: Subscription) -> None:
    try:
        await subscription.unsubscribe()
    except BusError as exc:
        log.info("room.unsubscribe_failed", extra={"error": str(exc)})
