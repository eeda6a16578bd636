"""What the demo runs with: its own configuration, or somebody's, made fit for the film night."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from llm_bot.config import Config, LLMApiConfig
from llm_bot.config_loader import load_config

DEMO_CONFIG = "demo.yaml"
DOMAIN = "cytube.example"


@dataclass(frozen=True, slots=True)
class Setting:
    """`is_stand_in`: nobody named a model, so one is stood in for."""

    config: Config
    is_stand_in: bool
    speed: float

    @property
    def channel(self) -> str:
        return self.config.channels[0].name

    @property
    def domain(self) -> str:
        return self.config.channels[0].domain or DOMAIN

    @property
    def bot_name(self) -> str:
        return self.config.bot.username

    def config_with_model_at(self, base_url: str) -> Config:
        """The configuration with the stand-in's address."""
        api = self.config.llm_api.model_copy(update={"base_url": base_url})
        return self.config.model_copy(update={"llm_api": api})


def read_setting(config_path: Path | None, speed: float) -> Setting:
    """The setting for a configuration, or the demo's own. Raises `ConfigError`."""
    if config_path is not None:
        config = load_config(config_path, os.environ).config
    else:
        with resources.as_file(resources.files("llm_bot.demo") / DEMO_CONFIG) as path:
            config = load_config(path, {}).config
    return Setting(_fit(config, speed), config_path is None, speed)


def _fit(config: Config, speed: float) -> Config:
    """One room, heard whatever the dialect; nothing that listens, nothing that keeps it silent.

    Time runs `speed` times as fast for the bot; what waits for a model keeps its real time.
    """
    channel = next((one for one in config.channels if one.enabled), config.channels[0])
    deadline = config.replies.deadline_seconds * speed
    return config.model_copy(
        update={
            "channels": (channel.model_copy(update={"enabled": True, "silenced": False}),),
            "nats": config.nats.model_copy(update={"dialect": "auto"}),
            "llm_api": _patient(config.llm_api, speed),
            "replies": config.replies.model_copy(update={"deadline_seconds": deadline}),
            "health": config.health.model_copy(update={"enabled": False}),
            "dry_run": False,
        }
    )


def _patient(api: LLMApiConfig, speed: float) -> LLMApiConfig:
    fallbacks = tuple(
        one.model_copy(update={"timeout_seconds": one.timeout_seconds * speed})
        for one in api.fallbacks
    )
    timeout = api.timeout_seconds * speed
    return api.model_copy(update={"timeout_seconds": timeout, "fallbacks": fallbacks})
