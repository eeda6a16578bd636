"""What all commands say alike."""

from __future__ import annotations

import sys
from enum import IntEnum

from llm_bot.errors import ConfigError


class ExitCode(IntEnum):
    """What the program ends with. Of a command that asks something, 1 is: no good answer."""

    OK = 0
    CONFIG = 1
    NO_BUS = 2
    FAILED = 3
    USAGE = 64  # EX_USAGE of sysexits.h
    INTERRUPTED = 130
    NO_READER = 141  # as a program that SIGPIPE ended


def printable(text: str) -> str:
    """`text` without what would draw on somebody's terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def fail(reason: str | Exception) -> int:
    """Say on one line of standard error why there is no good answer; the exit code."""
    if isinstance(reason, ConfigError):
        reason = f"{reason.source}: not usable, see llm-bot check --config {reason.source}"
    print(printable(str(reason)), file=sys.stderr)
    return ExitCode.CONFIG
