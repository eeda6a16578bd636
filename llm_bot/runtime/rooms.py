"""All rooms of the process, and how a reload changes them: prepared whole, then swapped at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llm_bot.config import Config, resolve_room
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
        self._leaving: list[RoomService] = []

    def __iter__(self) -> Iterator[RoomService]:
        return iter(self._services.values())

    def get(self, name: str) -> RoomService | None:
        return self._services.get(name.lower())

    async def open(self, config: Config, shared: SharedServices, tasks: asyncio.TaskGroup) -> None:
        """Make, work and hear every room of `config`. Raises `BusError`."""
        self._shared = shared
        self._tasks = tasks
        for key, room in _made(config, config.secrets()).items():
            service = self._services[key] = RoomService(room, shared)
            service.start(tasks)
            await service.subscriptions.listen(room.config)

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
            asked = {
                key: service
                for key, service in services.items()
                if await service.subscriptions.listen(fresh[key].config)
            }
            if asked:  # else nothing is wanted of the bus, which may be away
                await self._shared.bus.flush()
            for key, service in asked.items():
                service.subscriptions.require(fresh[key].config)
        except BaseException:
            await _forget_old(services.values())
            raise
        return PreparedRooms(known, fresh, services, tuple(asked.values()))

    def _service_for(self, key: str, fresh: Room) -> RoomService:
        """The one at work, a new one that remembers, or one for a room never seen."""
        service, parked = self._services.get(key), self._parked.get(key)
        if service is not None and service.room.is_same_place(fresh.config):
            return service
        is_known = parked is not None and parked.is_same_place(fresh.config)
        return RoomService(parked if is_known and parked else fresh, self._shared)

    def swap(self, prepared: PreparedRooms) -> None:
        """Make the rooms the prepared ones. Nothing waits here; `tidy_up` is the rest."""
        gone = {
            key: one for key, one in self._services.items() if prepared.services.get(key) != one
        }
        self._leaving += gone.values()
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

    def _park(self, gone: dict[str, RoomService], known: frozenset[str]) -> None:
        """Keep what disabled rooms remember, and nothing of removed ones."""
        idle = {**self._parked, **{key: service.room for key, service in gone.items()}}
        self._parked = {
            key: room for key, room in idle.items() if key in known and key not in self._services
        }
        for room in self._parked.values():
            room.forget_presence()

    async def tidy_up(self) -> None:
        """End what is at work for nobody any more, in rooms that left and in those that stay."""
        leaving, self._leaving = self._leaving, []
        await asyncio.gather(*(service.close() for service in leaving), _forget_old(self))

    async def finish(self, seconds: float) -> None:
        """Hear nothing more anywhere, and finish what was admitted, for so long."""
        await asyncio.gather(*(service.finish(seconds) for service in self))


async def _forget_old(services: Iterable[RoomService]) -> None:
    await asyncio.gather(*(service.subscriptions.forget_old() for service in services))


def _made(config: Config, secrets: tuple[str, ...]) -> dict[str, Room]:
    return {
        channel.name.lower(): Room(resolve_room(config, channel), secrets=secrets)
        for channel in config.channels
        if channel.enabled
    }
