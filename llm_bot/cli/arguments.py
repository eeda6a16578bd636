"""The command line: its commands and options, what they say of themselves, and wrong usage."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from llm_bot import __version__
from llm_bot.cli.output import ExitCode, printable

PROGRAM = "llm-bot"
DEFAULT_CONFIG = Path("config.yaml")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

MAX_DECISIONS = 1000  # that /decisions gives at once
MAX_PORT = 65535
MAX_SPEED = 10_000

_NONE = argparse.SUPPRESS

_DESCRIPTION = """\
A daemon that takes part in the chat of CyTube rooms with a large language model, over NATS.
Without a command it runs until it is told to stop (SIGTERM, or Ctrl-C)."""
_EPILOG = """\
The daemon reads its configuration anew at SIGHUP. `llm-bot COMMAND --help` tells about a command.

exit codes:
  0    ended in order
  1    the configuration can't be used; of healthcheck, models, why: no good answer
  2    NATS wasn't reachable at the start
  3    any other failure
  64   wrong usage
  130  ended at once, by a second signal
  141  the reader of its output went away"""
# The first line is what the list of commands says, the whole what `--help` of the command says.
_COMMANDS = {
    "check": """\
Say what is wrong with a configuration.
Prints every error and every warning, with its line and how to mend it. The exit code is 0 if the
configuration can be used, else 1.""",
    "schema": """\
Print the JSON Schema of the configuration.
An editor that knows it completes and checks config.yaml as you type.""",
    "demo": """\
Watch it in a room, with nothing else needed.
A film night is said line by line on a page in the browser, each line with what was decided and why.
Talk there as any of its people, change the film, flood, mute, take the model away. Where no browser
would be seen it runs in this terminal, with lines to type. Ctrl-C ends it. It needs no NATS server,
no key and no network: bot, rooms, rules and model server are those of --config, or else its own,
with a small model server that is built in.""",
    "why": """\
Tell what it decided about the latest lines, and why.
Asks a running bot's /decisions, at the host and port of the configuration or at --url; with --id
for all that is known of one decision. What was said is shown only where logging.content
is full.""",
    "healthcheck": """\
Ask a running bot whether it is well.
Asks its /health, at the host and port of its configuration. The exit code is 0 if it answers with
200 within 3 seconds, else 1. Meant for containers.""",
    "models": """\
List the models of each provider.
Marks those that the configuration names. The exit code is 0 if each provider answers and has them,
else 1.""",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage."""
        wrong = message.removeprefix("unrecognized arguments: ")
        if wrong != message and wrong.endswith((".yaml", ".yml")) and " " not in wrong:
            message += f", did you mean --config {wrong}?"
        line = f"{self.prog}: {printable(message)} (see {self.prog} --help)"
        self.exit(ExitCode.USAGE, f"{line}\n")


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for: `command`, and beside it what its `run` takes, as far as it was given.

    Wrong usage, `--help` and `--version` end in `SystemExit`.
    """
    parser = make_parser()
    arguments = parser.parse_args(argv)
    for name, option in (("log_level", "--log-level"), ("dry_run", "--dry-run")):
        if arguments.command != "run" and name in arguments:
            parser.error(f"{option} is for the daemon, not for {arguments.command}")
    return arguments


def make_parser() -> argparse.ArgumentParser:
    """The whole command line, with all its help."""
    common = _Parser(add_help=False)
    # SUPPRESS: not repeated after the command, it keeps its value from before it.
    hint = f"the configuration (default: {DEFAULT_CONFIG}; demo: one of its own)"
    common.add_argument(
        "--config", dest="config_path", type=Path, metavar="PATH", default=_NONE, help=hint
    )
    parser = _Parser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    hint = f"{', '.join(LOG_LEVELS)}; overrides log_level of the configuration"
    parser.add_argument(
        "--log-level", type=str.upper, choices=LOG_LEVELS, metavar="LEVEL", default=_NONE, help=hint
    )
    hint = "do everything, ask the model too, but say nothing; overrides dry_run"
    parser.add_argument("--dry-run", action="store_true", default=_NONE, help=hint)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    parser.set_defaults(command="run")
    for name, description in _COMMANDS.items():
        summary = description.partition("\n")[0].removesuffix(".")
        command = commands.add_parser(
            name,
            help=summary[0].lower() + summary[1:],
            description=description,
            allow_abbrev=False,
            parents=[common],
        )
        _add_options(name, command)
    return parser


def _add_options(name: str, command: argparse.ArgumentParser) -> None:
    match name:
        case "check":
            hint = "refuse it for a warning, too"
            command.add_argument("--strict", action="store_true", help=hint)
        case "demo":
            _add_demo(command)
        case "why":
            _add_why(command)


def _add_demo(demo: argparse.ArgumentParser) -> None:
    hint = "play this one instead of the film night"
    demo.add_argument("--recording", type=Path, metavar="PATH", help=hint)
    hint = "how many times as fast as people talk (default: 2.5)"
    demo.add_argument(
        "--speed", type=_number(float, 0.01, 1000), default=2.5, metavar="X", help=hint
    )
    form = demo.add_mutually_exclusive_group()
    hint = "show it here, without a browser"
    form.add_argument("--terminal", dest="in_terminal", action="store_true", help=hint)
    hint = "serve the page there (default: any free port)"
    form.add_argument("--port", type=_number(int, 0, MAX_PORT), metavar="N", help=hint)
    hint = "serve the page and only say where it is"
    demo.add_argument("--no-browser", dest="opens_browser", action="store_false", help=hint)


def _add_why(why: argparse.ArgumentParser) -> None:
    last = _number(int, 1, MAX_DECISIONS)
    why.add_argument("--channel", metavar="NAME", help="of that room alone")
    why.add_argument("--last", type=last, default=20, metavar="N", help="how many (default: 20)")
    hint = "the decision with that correlation id, in full"
    why.add_argument("--id", dest="correlation_id", metavar="ID", help=hint)
    why.add_argument("--url", metavar="URL", help="where the bot listens, e.g. http://host:8080")
    why.add_argument("--json", dest="as_json", action="store_true", help="as JSON, newest first")


def _number(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} isn't a number from {least} to {most}")
        return number

    return read
