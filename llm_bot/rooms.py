"""All rooms of the process, and how a reload changes them: prepared whole, then swapped at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from llm_bot.config import Config, RoomConfig, resolve_room
from llm_bot.errors import BusError
from llm_bot.room import Room
from llm_bot.room_service import RoomService, Surroundings

log = logging.getLogger(__name__)


class Rooms:
    """The rooms at work, by name in lower case. Iterating gives their services."""

    def __init__(self) -> None:
        self._services: dict[str, RoomService] = {}
        # Disabled ones keep what they remember until they are enabled again, or removed.
        self._parked: dict[str, Room] = {}

    def __iter__(self) -> Iterator[RoomService]:
        return iter(self._services.values())

    def get(self, name: str) -> RoomService | None:
        return self._services.get(name.lower())

    async def open(self, config: Config, shared: Surroundings, tasks: asyncio.TaskGroup) -> None:
        """Make, work and hear every room of `config`. Raises `BusError`."""
        self._shared = shared
        self._tasks = tasks
        for key, room in _enabled(config).items():
            service = RoomService(Room(room, secrets=config.secrets()), shared)
            self._services[key] = service
            service.start(tasks)
            await service.listen()

    async def change(self, config: Config) -> None:
        """Make the rooms those of `config`, or raise and leave everything as it was.

        Raises:
            BusError: A new room can't be subscribed to.
        """
        secrets = config.secrets()
        fresh = {key: Room(room, secrets=secrets) for key, room in _enabled(config).items()}
        coming = {
            key: RoomService(self._parked.get(key, room), self._shared)
            for key, room in fresh.items()
            if key not in self._services
        }
        await self._hear(coming, fresh)
        # From here to the last assignment nothing waits, so nobody sees half of it.
        leaving = [key for key in self._services if key not in fresh]
        gone = [self._services.pop(key) for key in leaving]
        for key, room in fresh.items():
            if key in coming:
                coming[key].start(self._tasks)
            (self._services.get(key) or coming[key]).adopt(room)
        self._services.update(coming)
        known = {channel.name.lower() for channel in config.channels}
        parked = {**self._parked, **{service.room.key: service.room for service in gone}}
        self._parked = {key: room for key, room in parked.items() if key in known - fresh.keys()}
        await asyncio.gather(*map(_let_go, gone))
        await asyncio.gather(*(service.forget_old_subjects() for service in self))

    async def _hear(self, coming: dict[str, RoomService], fresh: dict[str, Room]) -> None:
        """Subscribe what is new, of new rooms and of those whose address changed."""
        staying = {key: self._services[key] for key in fresh if key in self._services}
        try:
            for key, service in {**coming, **staying}.items():
                await service.listen(fresh[key].config)
            await self._shared.bus.flush()
        except BusError:
            for service in coming.values():
                await service.stop_hearing()
            for service in staying.values():
                await service.forget_old_subjects()
            raise

    async def stop_hearing(self) -> None:
        """Hear nothing more anywhere."""
        await asyncio.gather(*(service.stop_hearing() for service in self))

    async def finish(self, seconds: float) -> None:
        """Finish what was admitted everywhere, for so long."""
        await asyncio.gather(*(service.finish(seconds) for service in self))


async def _let_go(service: RoomService) -> None:
    await service.stop_hearing()
    await service.finish(0)


def _enabled(config: Config) -> dict[str, RoomConfig]:
    return {
        channel.name.lower(): resolve_room(config, channel)
        for channel in config.channels
        if channel.enabled
    }
