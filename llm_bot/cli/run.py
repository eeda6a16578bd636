"""The daemon itself."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from llm_bot.app import App
from llm_bot.cli.arguments import DEFAULT_CONFIG
from llm_bot.cli.output import ExitCode
from llm_bot.config import Config, LoadedConfig, load_config
from llm_bot.errors import BusUnavailableError, ConfigError, Problem
from llm_bot.logging_config import LogHandler, configure_logging
from llm_bot.runtime.systemd import ServiceManager
from llm_bot.shutdown_handler import shutdown_signals

log = logging.getLogger(__name__)


def run(config_path: Path = DEFAULT_CONFIG, **settings: object) -> int:
    """Run until a signal says stop; SIGHUP reads the file anew. Returns the exit code.

    `settings` of the command line (`log_level`, `dry_run`) hold whatever the file says.
    """

    def load() -> LoadedConfig:
        loaded = load_config(config_path, os.environ)
        return replace(loaded, config=loaded.config.model_copy(update=settings))

    def load_again() -> Config:
        if config_path.exists() and not config_path.is_file():
            # A pipe gives its text once, and then nobody would write the rest of it.
            problem = Problem(1, "", "not a file that can be read again", "restart the bot")
            raise ConfigError(str(config_path), [problem])
        loaded = load()
        _tell_warnings(loaded)
        return loaded.config

    try:
        loaded = load()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return ExitCode.CONFIG
    config = loaded.config
    handler = configure_logging(config.logging, config.log_level, secrets=config.secrets())
    with handler.in_background():
        _tell_warnings(loaded)
        return _run(config, load_again, handler)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where the extra `speed` is installed, else None, which is asyncio's own.

    At the rates of real rooms it takes a tenth to a quarter off the CPU time (docs/PERFORMANCE.md).
    """
    try:
        uvloop: Any = importlib.import_module("uvloop")
    except ImportError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)


def _run(config: Config, load: Callable[[], Config], handler: LogHandler) -> int:
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_live(config, load, handler))
    except BusUnavailableError as error:
        log.critical("app.no_bus", extra={"error": str(error)})
        return ExitCode.NO_BUS
    except OSError as error:
        log.critical("app.failed", extra={"error": str(error)})
        return ExitCode.FAILED
    except Exception:
        log.critical("app.failed", exc_info=True)
        return ExitCode.FAILED
    return ExitCode.OK


async def _live(config: Config, load: Callable[[], Config], handler: LogHandler) -> None:
    stop = asyncio.Event()
    app = App(
        config,
        stop=stop,
        load=load,
        manager=ServiceManager.taken_from(os.environ, pid=os.getpid()),
        announces=True,
        log_lines_lost=lambda: handler.lost,
    )
    with shutdown_signals(stop, reload=app.request_reload):
        await app.run()


def _tell_warnings(loaded: LoadedConfig) -> None:
    for warning in loaded.warnings:
        problem = f"line {warning.line}: {warning}"
        log.warning("config.warning", extra={"source": loaded.source, "problem": problem})
