"""The exit codes of the program, from where each is defined."""

from __future__ import annotations

from llm_bot.cli.output import ExitCode
from llm_bot.shutdown_handler import EXIT_FORCED

EXIT_CODES = {*map(int, ExitCode), EXIT_FORCED}
