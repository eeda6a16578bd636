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
from types import ModuleType

from llm_bot.cli.arguments import read_arguments
from llm_bot.cli.output import ExitCode

log = logging.getLogger("llm_bot")


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
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return _without_reader()
    except Exception:
        log.critical("app.crashed", exc_info=True)
        return ExitCode.FAILED
    return code


def _dispatch(argv: Sequence[str] | None) -> int:
    try:
        options = vars(read_arguments(argv))
    except SystemExit as exc:  # argparse has printed the help, the version, or what is wrong
        return exc.code if isinstance(exc.code, int) else ExitCode.FAILED
    command: str = options.pop("command")
    if command == "run" and hasattr(signal, "SIGHUP"):
        # From here on a SIGHUP waits for the daemon: the imports alone take 0.3 s. At the end it
        # waits for nobody, and is gone with the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    code: int = _import(f"llm_bot.cli.{command}").run(**options)
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
    return ExitCode.NO_READER


if __name__ == "__main__":
    sys.exit(main())
