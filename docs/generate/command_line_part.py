"""The part of docs/API.md about the command line, from the parser itself.

The parser's parts are read and not its help text, which looks different with each Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from docs.generate.markdown import table
from llm_bot.cli.arguments import PROGRAM, make_parser

EXIT_CODES = """\
Exit codes are in [the README](../README.md#exit-codes), and [what to do about
them](TROUBLESHOOTING.md#exit-codes)."""


def command_line_part() -> Iterator[str]:
    """The paragraphs of the part."""
    parser = make_parser()
    yield "## Command line"
    yield f"{_prose(parser.description)} The same program is `python -m llm_bot`. {EXIT_CODES}"
    yield table(("option", "what"), _options(parser))
    for name, command in commands(parser).items():
        yield f"### `{PROGRAM} {name}`"
        yield _prose(command.description)
        rows = list(_options(command))
        yield table(("option", "what"), rows) if rows else "No options."


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, by its name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        is_listed = action.option_strings and action.help != argparse.SUPPRESS
        if is_listed and not isinstance(action, argparse._HelpAction):
            names = ", ".join(action.option_strings)
            value = f" {action.metavar}" if action.metavar else ""
            yield f"`{names}{value}`", _sentence(action)


def _sentence(action: argparse.Action) -> str:
    if isinstance(action, argparse._VersionAction):
        return "Print the version."
    text = action.help or ""
    return f"{text[:1].upper()}{text[1:]}."


def _prose(text: str | None) -> str:
    return " ".join((text or "").split())
