"""`llm-bot check`: is the configuration usable?"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from llm_bot.config import Config
from llm_bot.config.loader import ConfigFileError, LoadedConfig, load_config
from llm_bot.errors import Problem


def run(config_path: Path, *, strict: bool) -> int:
    """Print every error, or every warning and a summary. 0 if usable, else 1.

    All of it goes to standard output, since it is what was asked for. `strict` counts warnings
    as errors.
    """
    try:
        loaded = load_config(config_path, os.environ)
    except ConfigFileError as exc:
        _print_all(exc.source, "warning", exc.warnings)
        _print_all(exc.source, "error", exc.problems)
        print(f"{exc.source}: not usable, {_counted(len(exc.problems), 'error')}")
        return 1
    _print_all(loaded.source, "warning", loaded.warnings)
    if strict and loaded.warnings:
        count = _counted(len(loaded.warnings), "warning")
        print(f"{loaded.source}: refused, {count} with --strict")
        return 1
    print(_summary(loaded))
    return 0


def _print_all(source: str, kind: str, problems: Iterable[Problem]) -> None:
    for problem in problems:
        print(problem.at(source, kind))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _summary(loaded: LoadedConfig) -> str:
    config = loaded.config
    lines = [
        f"{loaded.source}: usable, {_counted(len(loaded.warnings), 'warning')}",
        f"  rooms     {_rooms(config)}",
        f"  provider  {config.llm_api.provider}, model {config.llm_api.model}",
        f"  triggers  {_triggers(config)}",
    ]
    if config.dry_run:
        lines.append("  dry run   nothing will be said")
    return "\n".join(lines)


def _rooms(config: Config) -> str:
    names = []
    for channel in config.channels:
        state = "" if channel.enabled else " (disabled)"
        if channel.enabled and channel.silenced:
            state = " (silenced)"
        names.append(channel.name + state)
    return ", ".join(names)


def _triggers(config: Config) -> str:
    kinds = dict.fromkeys(trigger.type for trigger in config.triggers if trigger.enabled)
    own = sum(channel.triggers is not None for channel in config.channels)
    text = ", ".join(kinds) or "none"
    return f"{text} ({_counted(own, 'room')} with its own)" if own else text
