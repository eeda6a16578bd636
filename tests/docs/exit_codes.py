"""The exit codes of the program, from where each is defined."""

from __future__ import annotations

from llm_bot import __main__ as program
from llm_bot.cli import arguments, run
from llm_bot.shutdown_handler import EXIT_FORCED

EXIT_CODES = {
    run.EXIT_OK,
    run.EXIT_CONFIG,
    run.EXIT_NO_BUS,
    run.EXIT_FAILED,
    program.EXIT_FAILURE,
    arguments.EXIT_USAGE,
    program.EXIT_INTERRUPTED,
    program.EXIT_NO_READER,
    EXIT_FORCED,
}
