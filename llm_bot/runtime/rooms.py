"""All rooms of the process, and how a reload changes them: prepared whole, then swapped at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llm_bot.config import Config, RoomConfig, resolve_room
from llm_bot.replies.services import SharedServices
from llm_bot.room import Room
from llm_bot.runtime.room_service import RoomService


@dataclass(frozen=True)
class PreparedRooms:
    """The rooms of another configuration, subscribed to and not yet heard.

    All are by name in lower case. `fresh` are new and hold the configuration, `services` those that
    will work it; `asked` are the ones among them that had something to subscribe to.
    """

    known: frozenset[str]
    fresh: dict[str, Room]
    services: dict[str, RoomService]
    asked: tuple[RoomService, ...]


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

    async def open(self, config: Config, shared: SharedServices, tasks: asyncio.TaskGroup) -> None:
        """Make, work and hear every room of `config`. Raises `BusError`."""
        self._shared = shared
        self._tasks = tasks
        for key, room in _made(config, config.secrets()).items():
            service = RoomService(room, shared)
            self._services[key] = service
            service.start(tasks)
            await service.listen()

    async def prepare(self, config: Config, secrets: tuple[str, ...]) -> PreparedRooms:
        """Everything that can fail about having the rooms of `config`. If it does, or is cancelled,
        all is as it was.

        Raises:
            BusError: Something new can't be subscribed to, or the server refuses all of a room.
        """
        # In a thread: hundreds of rooms take their time, and the others are to be heard meanwhile.
        fresh = await asyncio.to_thread(_made, config, secrets)
        services = {key: self._service_for(key, room) for key, room in fresh.items()}
        known = frozenset(channel.name.lower() for channel in config.channels)
        try:
            asked = await self._subscribe(services, fresh)
        except BaseException:
            await _forget_old(services.values())
            raise
        return PreparedRooms(known, fresh, services, asked)

    def _service_for(self, key: str, fresh: Room) -> RoomService:
        """The one at work, a new one that remembers, or one for a room never seen."""
        service = self._services.get(key)
        if service is not None and service.room.is_same_place(fresh.config):
            return service
        parked = self._parked.get(key)
        if parked is not None and parked.is_same_place(fresh.config):
            return RoomService(parked, self._shared)
        return RoomService(fresh, self._shared)

    async def _subscribe(
        self, services: dict[str, RoomService], fresh: dict[str, Room]
    ) -> tuple[RoomService, ...]:
        """Subscribe to what isn't yet, and return those rooms that had any of it."""
        asked = {
            key: service
            for key, service in services.items()
            if await service.listen(fresh[key].config)
        }
        if asked:  # else nothing is wanted of the bus, which may be away
            await self._shared.bus.flush()
        for key, service in asked.items():
            service.subscriptions.require(fresh[key].config)
        return tuple(asked.values())

    def swap(self, prepared: PreparedRooms) -> list[RoomService]:
        """Make the rooms the prepared ones, at once: nothing waits here, so nobody sees half of it.

        Returns those that have left, for `tidy_up`.
        """
        gone = {
            key: one for key, one in self._services.items() if prepared.services.get(key) != one
        }
        for key, service in gone.items():
            service.leave()
            if key in prepared.services:  # another place by the same name
                prepared.services[key].room.inherit_history(service.room)
        for key, service in prepared.services.items():
            service.adopt(prepared.fresh[key])
            if self._services.get(key) is not service:
                service.start(self._tasks)
        self._services = dict(prepared.services)
        self._park(gone, prepared.known)
        for service in prepared.asked:
            service.subscriptions.tell_refusals()
        return list(gone.values())

    def _park(self, gone: dict[str, RoomService], known: frozenset[str]) -> None:
        """Keep what disabled rooms remember, and nothing of removed ones."""
        idle = {**self._parked, **{key: service.room for key, service in gone.items()}}
        self._parked = {
            key: room for key, room in idle.items() if key in known and key not in self._services
        }
        for room in self._parked.values():
            room.forget_presence()

    async def tidy_up(self, gone: list[RoomService]) -> None:
        """End what is at work for nobody any more, in `gone` rooms and in those that stay."""
        await asyncio.gather(
            *(service.close() for service in gone),
            _forget_old(self),
        )

    async def stop_hearing(self) -> None:
        """Hear nothing more anywhere."""
        await asyncio.gather(*(service.stop_hearing() for service in self))

    async def finish(self, seconds: float) -> None:
        """Finish what was admitted everywhere, for so long."""
        await asyncio.gather(*(service.finish(seconds) for service in self))


async def _forget_old(services: Iterable[RoomService]) -> None:
    await asyncio.gather(*(service.subscriptions.forget_old() for service in services))


def _made(config: Config, secrets: tuple[str, ...]) -> dict[str, Room]:
    return {key: Room(room, secrets=secrets) for key, room in _enabled(config).items()}


def _enabled(config: Config) -> dict[str, RoomConfig]:
    return {
        channel.name.lower(): resolve_room(config, channel)
        for channel in config.channels
        if channel.enabled
    }
