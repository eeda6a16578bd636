"""How the process is doing: for /health and /ready, the live page, the bus, and systemd."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_bot import __version__
from llm_bot.observability.metrics import Metrics
from llm_bot.ports import Bus, Clock
from llm_bot.room.tally import Tally
from llm_bot.runtime.model import SwappableModel
from llm_bot.runtime.reload import RunningConfig
from llm_bot.runtime.rooms import Rooms
from llm_bot.wire.commands import iso_time

_NOTED_STATES = ("silent", "muted")
_BUS_NAMES = {"nats": "NATS", "redis": "Redis", "memory": "memory bus"}


@dataclass(eq=False)
class Status:
    """Read anew each time. `ready` is set from when the rooms are heard until the order to stop."""

    running: RunningConfig
    rooms: Rooms
    bus: Bus
    model: SwappableModel
    tally: Tally
    metrics: Metrics
    clock: Clock
    ready: asyncio.Event
    _started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._started_at = self.clock.monotonic()

    def is_ready(self) -> bool:
        """Connected, and every room heard in at least one dialect."""
        heard = all(service.subscriptions.is_heard for service in self.rooms)
        return self.ready.is_set() and self.bus.is_connected and heard

    def read(self) -> dict[str, Any]:
        """What /health says."""
        tallies = [service.room.tally for service in self.rooms]
        problems = self.model.problems
        is_well = self.is_ready() and self.metrics.is_model_available and not problems
        last = self.tally.last_event_at
        return {
            "status": "healthy" if is_well else "degraded",
            "uptime_seconds": round(self.clock.monotonic() - self._started_at, 3),
            "version": __version__,
            "nats_connected": self.bus.is_connected,
            "llm_api_available": self.metrics.is_model_available,
            "channels": {
                channel.name: self._state(channel.name) for channel in self.running.config.channels
            },
            "rooms": {service.room.config.name: service.sync.status() for service in self.rooms},
            "providers": self.model.states,
            "provider_problems": problems,
            "provider_quirks": self.model.quirks,
            "last_event_timestamp": None if last is None else iso_time(last),
            "metrics": {
                "events_received": sum(sum(tally.events.values()) for tally in tallies),
                "triggers_fired": sum(sum(tally.triggers_fired.values()) for tally in tallies),
                "responses_sent": sum(sum(tally.sent.values()) for tally in tallies),
            },
        }

    def line(self) -> str:
        """The same in a line for people."""
        config = self.running.config
        rooms = sum(channel.enabled for channel in config.channels)
        heard = len(self.heard_rooms)
        return status_line(self.read(), bus=config.bus.type, heard=heard, rooms=rooms)

    @property
    def heard_rooms(self) -> list[str]:
        """Rooms that are heard in at least one dialect, by the names of the configuration."""
        return [
            service.room.config.name for service in self.rooms if service.subscriptions.is_heard
        ]

    def _state(self, name: str) -> str:
        service = self.rooms.get(name)
        if service is None:
            return "disabled"
        if service.room.is_muted_by_server:
            return "muted"
        return "silent" if service.room.config.silenced else "active"


def status_line(status: Mapping[str, Any], *, bus: str, heard: int, rooms: int) -> str:
    """Bus, rooms and providers in a line for people; `status` is what /health says."""
    states = Counter(status["channels"].values())
    counts = [f"{states[state]} {state}" for state in _NOTED_STATES if states[state]]
    providers = [f"{name} {state}" for name, state in status["providers"].items()]
    parts = [
        f"{_BUS_NAMES[bus]} {'connected' if status['nats_connected'] else 'away'}",
        ", ".join([f"{heard} of {rooms} rooms heard", *counts]),
        ", ".join(providers),
    ]
    return "; ".join(filter(None, parts))
