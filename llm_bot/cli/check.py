"""`llm-bot check`: is the configuration usable?"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from llm_bot.cli.arguments import DEFAULT_CONFIG
from llm_bot.cli.output import ExitCode
from llm_bot.config import Config, ConfigFileError, load_config
from llm_bot.errors import Problem


def run(config_path: Path = DEFAULT_CONFIG, *, strict: bool) -> int:
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
        return ExitCode.CONFIG
    _print_all(loaded.source, "warning", loaded.warnings)
    warnings = _counted(len(loaded.warnings), "warning")
    if strict and loaded.warnings:
        print(f"{loaded.source}: refused, {warnings} with --strict")
        return ExitCode.CONFIG
    print(f"{loaded.source}: usable, {warnings}")
    for name, value in _summary(loaded.config):
        print(f"  {name:<9} {value}")
    return ExitCode.OK


def _print_all(source: str, kind: str, problems: Iterable[Problem]) -> None:
    for problem in problems:
        print(problem.at(source, kind))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _summary(config: Config) -> Iterable[tuple[str, str]]:
    yield (
        "rooms",
        ", ".join(
            f"{channel.name}{' (silenced)' if channel.silenced else ''}"
            if channel.enabled
            else f"{channel.name} (disabled)"
            for channel in config.channels
        ),
    )
    yield "provider", f"{config.llm_api.provider}, model {config.llm_api.model}"
    kinds = dict.fromkeys(trigger.type for trigger in config.triggers if trigger.enabled)
    own = sum(channel.triggers is not None for channel in config.channels)
    exceptions = f" ({_counted(own, 'room')} with its own)" if own else ""
    yield "triggers", f"{', '.join(kinds) or 'none'}{exceptions}"
    if config.dry_run:
        yield "dry run", "nothing will be said"
