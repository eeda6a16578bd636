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
from llm_bot.demo.casting import RECORDED_BOT, bot_of, recast, without_lines_of
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
PAGE_GRACE_SECONDS = 1.0
"""Nobody who leaves the page's demo wants to wait for a reply that is under way."""


@dataclass(frozen=True, slots=True)
class Setting:
    """`loaded` is the configuration as it stands in its file; nobody named a model, so one is stood
    in for, if `is_stand_in`; `evening` is what is played, in the first room, with its bot."""

    loaded: Config
    is_stand_in: bool
    speed: float
    evening: tuple[RecordedEvent, ...]

    @property
    def config(self) -> Config:
        """What the terminal's demo runs with: one room, no server."""
        health = self.loaded.health.model_copy(update={"enabled": False})
        return _fit(self.loaded, self.speed, {"channels": (self._stage,), "health": health})

    @property
    def _stage(self) -> ChannelConfig:
        """The room of the film night: enabled, with nothing that keeps the bot silent."""
        channels = self.loaded.channels
        channel = next((one for one in channels if one.enabled), channels[0])
        return channel.model_copy(update={"enabled": True, "silenced": False})

    @property
    def channel(self) -> str:
        return self._stage.name

    @property
    def domain(self) -> str:
        return self._stage.domain or DOMAIN

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
        """Those that the page shows beside the film night's."""
        channel = self.channel
        return tuple(one for one in self.loaded.channels if one.enabled and one.name != channel)

    def page_config(self, *, port: int, rate: float, is_muted: bool) -> Config:
        """What the page's demo runs with while time passes at `rate`: every room, its own server.

        The people are invented, so what they say may be seen and logged.
        """
        stage = self._stage.model_copy(update={"silenced": is_muted})
        health: dict[str, Any] = {"enabled": True, "host": HOST, "port": port, "dashboard": True}
        health |= {"token": None, "token_file": None}
        return _fit(
            self.loaded,
            rate,
            {
                "channels": (stage, *self.other_rooms),
                "health": self.loaded.health.model_copy(update=health),
                "logging": self.loaded.logging.model_copy(
                    update={"format": "text", "content": "full"}
                ),
                "log_level": "WARNING",
                "shutdown_grace_seconds": PAGE_GRACE_SECONDS * rate,
            },
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
    events, recorded_bot = film_night(), RECORDED_BOT
    if recording is not None:
        events = event_subjects_only(read_recording(recording))
        recorded_bot = bot_of(events)
        events = without_lines_of(events, recorded_bot)
    setting = Setting(config, config_path is None, speed, ())
    evening = recast(
        events,
        channel=setting.channel,
        domain=setting.domain,
        bot_name=setting.bot_name,
        recorded_bot=recorded_bot,
    )
    return Setting(config, config_path is None, speed, evening)


def with_models_at(config: Config, addresses: Sequence[str]) -> Config:
    """`config` with the stand-ins' addresses, the first provider's first."""
    first, *others = addresses
    fallbacks = tuple(
        one.model_copy(update={"base_url": address})
        for one, address in zip(config.llm_api.fallbacks, others, strict=True)
    )
    api = config.llm_api.model_copy(update={"base_url": first, "fallbacks": fallbacks})
    return config.model_copy(update={"llm_api": api})


def _fit(config: Config, rate: float, changes: dict[str, Any]) -> Config:
    """`config` with `changes`, heard whatever the dialect.

    Time runs `rate` times as fast for the bot; what waits for a model keeps its real time.
    """
    deadline = config.replies.deadline_seconds * rate
    return config.model_copy(
        update={
            "nats": config.nats.model_copy(update={"dialect": "auto"}),
            "llm_api": _patient(config.llm_api, rate),
            "replies": config.replies.model_copy(update={"deadline_seconds": deadline}),
            "dry_run": False,
            **changes,
        }
    )


def _patient(api: LLMApiConfig, rate: float) -> LLMApiConfig:
    fallbacks = tuple(one.model_copy(update=_times(one, rate)) for one in api.fallbacks)
    return api.model_copy(update={**_times(api, rate), "fallbacks": fallbacks})


def _times(api: LLMProviderConfig, rate: float) -> dict[str, Any]:
    cooling = api.breaker.cooling_seconds * rate
    return {
        "timeout_seconds": api.timeout_seconds * rate,
        "retry_delay_seconds": api.retry_delay_seconds * rate,
        "breaker": api.breaker.model_copy(update={"cooling_seconds": cooling}),
    }
