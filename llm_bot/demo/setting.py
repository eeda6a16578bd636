"""What the demo runs with: its own configuration, or somebody's, made fit for the film night."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from llm_bot.config import ChannelConfig, Config, LLMApiConfig, LLMProviderConfig
from llm_bot.config.loader import load_config
from llm_bot.demo.casting import recast
from llm_bot.demo.recording import (
    RecordedEvent,
    event_subjects_only,
    film_night,
    read_recording,
)
from llm_bot.demo.stand_ins.kryten import Dialect

DEMO_CONFIG = "demo.yaml"
DOMAIN = "cytube.example"
HOST = "127.0.0.1"
GRACE_SECONDS = 1.0
"""Nobody who leaves the demo wants to wait for a reply that is under way."""


@dataclass(frozen=True, slots=True)
class Setting:
    """`loaded` is the configuration as it stands in its file; nobody named a model, so one is stood
    in for, if `is_stand_in`; `evening` is what is played, `speed` times as fast, in `room`."""

    loaded: Config
    is_stand_in: bool
    speed: float
    room: ChannelConfig
    evening: tuple[RecordedEvent, ...]

    @property
    def bot_name(self) -> str:
        return self.loaded.bot.username

    @property
    def dialect(self) -> Dialect:
        """Of what is played, so that the bot is answered in it, too."""
        is_kryten = any(event.is_enveloped for event in self.evening) or not self.evening
        return Dialect.KRYTEN if is_kryten else Dialect.PLAIN

    @property
    def other_rooms(self) -> tuple[ChannelConfig, ...]:
        """Those beside the film night's."""
        rooms = self.loaded.channels
        return tuple(one for one in rooms if one.enabled and one.name != self.room.name)

    def config(
        self, *, port: int | None, rate: float, is_muted: bool = False, models: Sequence[str] = ()
    ) -> Config:
        """What the bot runs with while its time passes at `rate`.

        Every room, whatever the dialect; a server of its own at `port`, if any; `models` are the
        addresses of the stand-ins. What waits for a model keeps its real time. The people are
        invented, so what they say may be seen and logged.
        """
        loaded = self.loaded
        is_page = port is not None
        health = {"enabled": is_page, "dashboard": is_page, "host": HOST, "port": port or 0}
        no_token = {"token": None, "token_file": None}
        deadline = loaded.replies.deadline_seconds * rate
        stage = self.room.model_copy(update={"silenced": is_muted})
        return loaded.model_copy(
            update={
                "nats": loaded.nats.model_copy(update={"dialect": "auto"}),
                "channels": (stage, *self.other_rooms),
                "llm_api": _fit(loaded.llm_api, rate, models),
                "replies": loaded.replies.model_copy(update={"deadline_seconds": deadline}),
                "health": loaded.health.model_copy(update={**health, **no_token}),
                "logging": loaded.logging.model_copy(update={"format": "text", "content": "full"}),
                "log_level": "WARNING",
                "shutdown_grace_seconds": GRACE_SECONDS * rate,
                "dry_run": False,
            }
        )


def read_setting(config_path: Path | None, speed: float, recording: Path | None = None) -> Setting:
    """The setting for a configuration, or the demo's own, and for a recording, or the film night.

    Raises:
        ConfigError: The configuration can't be used.
        RecordingError: The recording can't be.
    """
    if config_path is not None:
        config = load_config(config_path, os.environ).config
    else:
        with resources.as_file(resources.files("llm_bot.demo") / DEMO_CONFIG) as path:
            config = load_config(path, {}).config
    room = next((one for one in config.channels if one.enabled), config.channels[0])
    evening = recast(
        event_subjects_only(film_night() if recording is None else read_recording(recording)),
        channel=room.name,
        domain=room.domain or DOMAIN,
        bot_name=config.bot.username,
    )
    room = room.model_copy(update={"enabled": True})
    return Setting(config, config_path is None, speed, room, evening)


def _fit(api: LLMApiConfig, rate: float, addresses: Sequence[str]) -> LLMApiConfig:
    """The providers with times that pass at `rate`, at `addresses` if there are any."""
    providers = (api, *api.fallbacks)
    changes = [_times(one, rate) for one in providers]
    for change, address in zip(changes, addresses, strict=False):
        change["base_url"] = address
    first, *others = changes
    fallbacks = tuple(
        one.model_copy(update=change) for one, change in zip(api.fallbacks, others, strict=True)
    )
    return api.model_copy(update={**first, "fallbacks": fallbacks})


def _times(api: LLMProviderConfig, rate: float) -> dict[str, Any]:
    cooling = api.breaker.cooling_seconds * rate
    return {
        "timeout_seconds": api.timeout_seconds * rate,
        "retry_delay_seconds": api.retry_delay_seconds * rate,
        "breaker": api.breaker.model_copy(update={"cooling_seconds": cooling}),
    }
