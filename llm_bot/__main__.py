"""The program `llm-bot`, which is also `python -m llm_bot`: its command, its exit code.

A command's module is imported when it is asked for, so that `--version` and `--help` don't wait
for libraries that they have no use for.
"""

from __future__ import annotations

import gc
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from llm_bot.cli.arguments import DEFAULT_CONFIG, read_arguments

log = logging.getLogger("llm_bot")


EXIT_FAILURE = 3
EXIT_INTERRUPTED = 130
EXIT_NO_READER = 141  # as a program that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Do what `argv` (default: the process's arguments) asks for, and return the exit code."""
    if sys.stderr is None:  # closed by whoever started us; no socket may get its number either
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # in every locale, for every file name
    try:
        code = _dispatch(argv)
        if sys.stdout is not None:  # None where it was closed by whoever started us
            sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _without_reader()
    except Exception:
        log.critical("app.crashed", exc_info=True)
        return EXIT_FAILURE
    return code


def _dispatch(argv: Sequence[str] | None) -> int:
    try:
        arguments = read_arguments(argv)
    except SystemExit as exc:  # argparse has printed the help, the version, or what is wrong
        return exc.code if isinstance(exc.code, int) else EXIT_FAILURE
    command: str = arguments.command or "run"
    if command == "run":
        # From here on a SIGHUP waits for the daemon: the imports alone take 0.3 s.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    run = _import(f"llm_bot.cli.{command}").run
    config: Path = arguments.config or DEFAULT_CONFIG
    code: int
    match command:
        case "check":
            code = run(config, strict=arguments.strict)
        case "schema":
            code = run()
        case "demo":
            code = run(
                arguments.config,
                speed=arguments.speed,
                recording=arguments.recording,
                port=arguments.port,
                opens_browser=arguments.opens_browser,
                in_terminal=arguments.terminal,
            )
        case "why":
            code = run(
                config,
                channel=arguments.channel,
                last=arguments.last,
                correlation_id=arguments.id,
                url=arguments.url,
                as_json=arguments.json,
            )
        case "healthcheck" | "models":
            code = run(config)
        case _:
            code = run(config, log_level=arguments.log_level, dry_run=arguments.dry_run)
    return code


def _import(name: str) -> ModuleType:
    """What modules are made of stays: to look for garbage among it takes a tenth of the start."""
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.enable()


def _without_reader() -> int:
    """The reader of our output went away (`llm-bot schema | head`), which is no error of ours."""
    # What is still buffered would raise once more when the interpreter flushes it.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return EXIT_NO_READER


if __name__ == "__main__":
    sys.exit(main())
