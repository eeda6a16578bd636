"""The command line: its commands and options, what they say of themselves, and wrong usage."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from llm_bot import __version__

PROGRAM = "llm-bot"
DEFAULT_CONFIG = Path("config.yaml")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
EXIT_USAGE = 64  # EX_USAGE of sysexits.h; 1 and 2 say something else about this program

MAX_DECISIONS = 1000  # that /decisions gives at once
MAX_PORT = 65535

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
_CHECK = """\
Print every error and every warning about a configuration, with its line and how to mend it. The
exit code is 0 if it can be used, else 1."""
_SCHEMA = """\
Print the JSON Schema of the configuration. An editor that knows it completes and checks
config.yaml as you type."""
_DEMO = """\
Open a room at work in the browser: a film night is said line by line, each line with what was
decided and why. Talk there as any of its people, change the film, flood, mute, take the model away.
Where no browser would be seen it runs in this terminal, with lines to type. Ctrl-C ends it. It
needs no NATS server, no key and no network. Unless a configuration names a model server, a small
one that is built in stands in for it."""
_WHY = """\
Tell what a running bot decided about the latest lines, and why; with --id all that is known of one
decision. It asks the bot's /decisions, at the host and port of the configuration or at --url. What
was said is shown only where logging.content is full."""
_MODELS = """\
Ask every configured provider which models it has, and mark those that the configuration names. The
exit code is 0 if each provider answers and has them, else 1."""
_HEALTHCHECK = """\
Ask a running bot's /health, at the host and port of its configuration. The exit code is 0 if it
answers with 200 within 3 seconds, else 1. Meant for containers."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage."""
        wrong = message.removeprefix("unrecognized arguments: ")
        if wrong != message and wrong.endswith((".yaml", ".yml")) and " " not in wrong:
            message += f", did you mean --config {wrong}?"
        line = "".join(char if char.isprintable() else "?" for char in message)
        self.exit(EXIT_USAGE, f"{self.prog}: {line} (see {self.prog} --help)\n")


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for. Wrong usage, `--help` and `--version` end in `SystemExit`."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is not None:
        for given, option in (
            (arguments.log_level is not None, "--log-level"),
            (arguments.dry_run, "--dry-run"),
        ):
            if given:
                parser.error(f"{option} is for the daemon, not for {arguments.command}")
    return arguments


def make_parser() -> argparse.ArgumentParser:
    """The whole command line, with all its help."""
    parser = _described(_Parser(prog=PROGRAM, epilog=_EPILOG, allow_abbrev=False), _DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    _add_config(parser, None, f"the configuration (default: {DEFAULT_CONFIG})")
    parser.add_argument(
        "--log-level",
        type=str.upper,
        choices=LOG_LEVELS,
        metavar="LEVEL",
        help=f"{', '.join(LOG_LEVELS)}; overrides log_level of the configuration",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="do everything, ask the model too, but say nothing; overrides dry_run",
    )
    _add_commands(parser)
    return parser


def _add_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    def add(name: str, summary: str, description: str) -> argparse.ArgumentParser:
        return _described(commands.add_parser(name, help=summary, allow_abbrev=False), description)

    of_config = f"the configuration (default: {DEFAULT_CONFIG})"
    # SUPPRESS: an option that isn't repeated after the command keeps its value from before it.
    check = add("check", "say what is wrong with a configuration", _CHECK)
    _add_config(check, argparse.SUPPRESS, of_config)
    check.add_argument("--strict", action="store_true", help="refuse it for a warning, too")
    schema = add("schema", "print the JSON Schema of the configuration", _SCHEMA)
    _add_config(schema, argparse.SUPPRESS, argparse.SUPPRESS)
    _add_demo(add("demo", "watch it in a room, with nothing else needed", _DEMO))
    _add_why(add("why", "tell what it decided about the latest lines", _WHY), of_config)
    healthcheck = add("healthcheck", "ask a running bot whether it is well", _HEALTHCHECK)
    _add_config(healthcheck, argparse.SUPPRESS, of_config)
    models = add("models", "list the models of each provider", _MODELS)
    _add_config(models, argparse.SUPPRESS, of_config)


def _add_demo(demo: argparse.ArgumentParser) -> None:
    from_config = "take bot, rooms, rules and the model server from this configuration"
    _add_config(demo, argparse.SUPPRESS, from_config)
    demo.add_argument(
        "--recording", type=Path, metavar="PATH", help="play this one instead of the film night"
    )
    demo.add_argument(
        "--speed",
        type=_speed,
        default=2.5,
        metavar="X",
        help="how many times as fast as people talk (default: 2.5)",
    )
    form = demo.add_mutually_exclusive_group()
    form.add_argument("--terminal", action="store_true", help="show it here, without a browser")
    form.add_argument(
        "--port", type=_port, metavar="N", help="serve the page there (default: any free port)"
    )
    demo.add_argument(
        "--no-browser",
        dest="opens_browser",
        action="store_false",
        help="serve the page and only say where it is",
    )


def _add_why(why: argparse.ArgumentParser, of_config: str) -> None:
    _add_config(why, argparse.SUPPRESS, of_config)
    why.add_argument("--channel", metavar="NAME", help="of that room alone")
    why.add_argument("--last", type=_count, default=20, metavar="N", help="how many (default: 20)")
    why.add_argument("--id", metavar="ID", help="the decision with that correlation id, in full")
    why.add_argument("--url", metavar="URL", help="where the bot listens, e.g. http://host:8080")
    why.add_argument("--json", action="store_true", help="as JSON, newest first")


def _described(parser: argparse.ArgumentParser, description: str) -> argparse.ArgumentParser:
    parser.description = description
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser


def _add_config(parser: argparse.ArgumentParser, default: object, text: str) -> None:
    parser.add_argument("--config", type=Path, metavar="PATH", default=default, help=text)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number above 0")
    return speed


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a whole number from 0 to {MAX_PORT}")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_DECISIONS):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a whole number from 1 to {MAX_DECISIONS}")
    return int(text)
