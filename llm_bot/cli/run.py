"""The daemon itself."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from llm_bot.app import App
from llm_bot.cli.event_loop import loop_factory
from llm_bot.config import Config
from llm_bot.config.loader import LoadedConfig, load_config, not_a_file
from llm_bot.errors import BusUnavailableError, ConfigError
from llm_bot.logging_config import LogHandler, configure_logging
from llm_bot.runtime.systemd import ServiceManager
from llm_bot.shutdown_handler import shutdown_signals

EXIT_OK = 0
EXIT_CONFIG = 1
EXIT_NO_BUS = 2
EXIT_FAILED = 3

log = logging.getLogger(__name__)


@contextmanager
def _hangups_held() -> Iterator[None]:
    """Keep a SIGHUP until somebody takes it: before the loop runs and after, it would end us."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.sigtimedwait({signal.SIGHUP}, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@_hangups_held()
def run(config_path: Path, *, log_level: str | None, dry_run: bool) -> int:
    """Run until a signal says stop; SIGHUP reads the file anew. Returns the exit code."""

    def load() -> LoadedConfig:
        loaded = load_config(config_path, os.environ)
        config = _with_options(loaded.config, log_level=log_level, dry_run=dry_run)
        return LoadedConfig(config, loaded.warnings, loaded.source)

    def load_again() -> Config:
        if config_path.exists() and not config_path.is_file():
            # A pipe gives its text once, and then nobody would write the rest of it.
            raise not_a_file(config_path)
        loaded = load()
        _tell_warnings(loaded)
        return loaded.config

    try:
        loaded = load()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    config = loaded.config
    handler = configure_logging(config.logging, config.log_level, secrets=config.secrets())
    with handler.in_background():
        _tell_warnings(loaded)
        return _run(config, load_again, handler)


def _run(config: Config, load: Callable[[], Config], handler: LogHandler) -> int:
    manager = ServiceManager.taken_from(os.environ, pid=os.getpid())
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_live(config, load, manager, handler))
    except BusUnavailableError as error:
        log.critical("app.no_bus", extra={"error": str(error)})
        return EXIT_NO_BUS
    except OSError as error:
        log.critical("app.failed", extra={"error": str(error)})
        return EXIT_FAILED
    except Exception:
        log.critical("app.failed", exc_info=True)
        return EXIT_FAILED
    return EXIT_OK


def _with_options(config: Config, *, log_level: str | None, dry_run: bool) -> Config:
    """`config` with what the command line says, which holds over a reload."""
    changes: dict[str, object] = {}
    if log_level is not None:
        changes["log_level"] = log_level.upper()
    if dry_run:
        changes["dry_run"] = True
    return config.model_copy(update=changes) if changes else config


def _tell_warnings(loaded: LoadedConfig) -> None:
    for warning in loaded.warnings:
        log.warning("config.warning", extra={"source": loaded.source, "problem": str(warning)})


async def _live(
    config: Config, load: Callable[[], Config], manager: ServiceManager, handler: LogHandler
) -> None:
    stop = asyncio.Event()
    app = App(
        config,
        stop=stop,
        load=load,
        manager=manager,
        announces=True,
        log_lines_lost=lambda: handler.lost,
    )
    with shutdown_signals(stop, reload=app.request_reload), _hangups_taken():
        await app.run()


@contextmanager
def _hangups_taken() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
