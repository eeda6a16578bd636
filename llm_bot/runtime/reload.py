"""The configuration that runs, and how another takes its place: prepared whole, swapped at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from llm_bot.config import NEEDS_RESTART, Config, differences
from llm_bot.errors import BusError, ConfigError
from llm_bot.llm_client import ConfigurationError, LLMClient
from llm_bot.logging_config import configure_logging
from llm_bot.observability.metrics import Metrics
from llm_bot.runtime.model import SwappableModel
from llm_bot.runtime.rooms import PreparedRooms, Rooms

log = logging.getLogger(__name__)

Load = Callable[[], Config]
"""Reads the configuration anew. Raises `ConfigError`."""

MAX_SECRETS_KEPT = 50
"""Secrets that no reply may tell: the newest, and replaced ones, which may still open something."""


@dataclass(frozen=True)
class Prepared:
    """All of a reload that can fail: `loaded` as the file says, `config` as it will run."""

    loaded: Config
    config: Config
    secrets: tuple[str, ...]
    client: LLMClient
    rooms: PreparedRooms


class RunningConfig:
    """What runs: `config`, and the `secrets` that no log and no reply may tell."""

    def __init__(
        self, config: Config, *, rooms: Rooms, metrics: Metrics, model: SwappableModel
    ) -> None:
        self.config = config
        self.secrets = config.secrets()
        self._rooms = rooms
        self._metrics = metrics
        self._model = model

    async def change(self, load: Load) -> None:
        """Swap the configuration as one step, or keep the running one and say why.

        Cancelled, it has either done nothing or all of it. `tidy_up` is the rest.
        """
        try:
            prepared = await self._prepare(load)
        except (ConfigError, ConfigurationError, BusError) as error:
            self._keep(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, what runs can go on
            self._keep(f"{type(error).__name__}: {error}", error)
        else:
            self._swap(prepared)

    async def tidy_up(self) -> None:
        """End what the last change has left without work."""
        await asyncio.gather(self._rooms.tidy_up(), self._model.close_unused())

    async def _prepare(self, load: Load) -> Prepared:
        """Everything that can fail. If it does, or is cancelled, nothing of it is left."""
        loaded = await asyncio.to_thread(load)
        known = dict.fromkeys((*loaded.secrets(), *self.secrets))
        secrets = tuple(known)[:MAX_SECRETS_KEPT]
        running = self.config
        # Before anything is tried with them: errors may quote them.
        configure_logging(running.logging, running.log_level, secrets=secrets)
        config = kept_until_restart(running, loaded)
        client = await self._model.open(config.llm_api)
        try:
            rooms = await self._rooms.prepare(config, secrets)
        except BaseException:
            await client.aclose()
            raise
        return Prepared(loaded, config, secrets, client, rooms)

    def _swap(self, prepared: Prepared) -> None:
        """Let the prepared configuration run. Nothing waits here, so nobody sees half of it."""
        config = prepared.config
        changes = differences(self.config, prepared.loaded)
        self._rooms.swap(prepared.rooms)
        self._model.replace(prepared.client)
        self.config = config
        self.secrets = prepared.secrets
        configure_logging(config.logging, config.log_level, secrets=prepared.secrets)
        self._metrics.note_reload(succeeded=True)
        for change in changes:
            log.log(
                logging.WARNING if change.needs_restart else logging.INFO,
                "config.needs_restart" if change.needs_restart else "config.changed",
                extra={"path": change.path, "old": change.old, "new": change.new},
            )
        log.info("config.reloaded", extra={"changes": len(changes)})

    def _keep(self, why: str, bug: Exception | None = None) -> None:
        """The running configuration goes on: say so."""
        self._metrics.note_reload(succeeded=False)
        log.error("config.reload_failed", exc_info=bug, extra={"error": why})


def kept_until_restart(running: Config, loaded: Config) -> Config:
    """`loaded`, with the sections that only a restart can change as they run."""
    return loaded.model_copy(update={name: getattr(running, name) for name in NEEDS_RESTART})
