"""Commands that pages tell their readers to run, as far as they are this project's own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from llm_bot.cli.arguments import read_arguments
from tests.docs.markdown import ROOT, Block

PROGRAM = "llm-bot"
MODULES = (ROOT / "llm_bot" / "cli").glob("*.py")
COMMANDS = {path.stem for path in MODULES if "\ndef run(" in path.read_text()}

# Stand for something of the reader's own; a number does where one is wanted.
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*|\.\.\.|<.*>")
_BEFORE = {"sudo", "exec", "env", "time", "nice", "-n", "-E", "-", "$", "&"}
_ENDS = set("();<>|&")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def make_targets() -> set[str]:
    """The targets of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = re.findall(r"^([a-z][a-z0-9 -]*(?: *\\\n\s+[a-z0-9 -]+)*):(?!=)", text, re.MULTILINE)
    return {target for rule in rules for target in rule.replace("\\\n", " ").split()}


def simple_commands(text: str) -> Iterator[list[str]]:
    """The commands of a piece of shell, each as its words; what can't be split is passed over."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        try:
            for word in lexer:
                if set(word) <= _ENDS:
                    if word[0] in "<>" and words and words[-1].isdigit():
                        words.pop()  # the number of a stream: 2>log
                    yield words
                    words = []
                else:
                    words.append(word)
        except ValueError:
            continue  # the middle of a quotation; `bash -n` sees the whole
        yield words


def of_blocks(found: list[Block]) -> Iterator[tuple[str, list[str]]]:
    """The commands of all blocks of shell, with where they stand."""
    for block in found:
        if block.language in {"sh", "bash", "shell", "console", ""}:
            for words in simple_commands(block.text):
                yield str(block), words


def complaint(words: list[str]) -> str | None:
    """What is wrong with a command of ours; None too if it is none of ours, or only named."""
    words = _without_prefixes(words)
    if not words or any(word in {"COMMAND", "..."} for word in words):
        return None
    name, rest = Path(words[0]).name, words[1:]
    if name == "make":
        return _make_complaint(rest)
    if name == PROGRAM:
        return _program_complaint(rest)
    if name.startswith("python") and rest[:2] == ["-m", "llm_bot"]:
        return _program_complaint(rest[2:])
    # Within another program: `docker compose exec bot llm-bot why`.
    for at, word in enumerate(rest[:-1]):
        if Path(word).name == PROGRAM and rest[at + 1] in COMMANDS:
            return _program_complaint(rest[at + 1 :])
    return None


def _without_prefixes(words: list[str]) -> list[str]:
    rest = list(words)
    while rest and (rest[0] in _BEFORE or _ASSIGNMENT.match(rest[0]) or rest[0] == "-u"):
        rest = rest[2:] if rest[0] == "-u" else rest[1:]
    return rest


def _make_complaint(words: list[str]) -> str | None:
    targets = [word for word in words if not word.startswith("-") and "=" not in word]
    unknown = sorted(target for target in targets if target not in make_targets())
    if unknown:
        return f"the Makefile has no target {', '.join(unknown)}"
    given = dict(word.partition("=")[::2] for word in words if "=" in word)
    if "demo" in targets and "ARGS" in given:
        return _program_complaint(["demo", *shlex.split(given["ARGS"])])
    return None


def _program_complaint(words: list[str]) -> str | None:
    arguments = ["1" if _PLACEHOLDER.fullmatch(word) else word for word in words]
    try:
        read_arguments(arguments)
    except SystemExit as ended:
        return None if ended.code == 0 else f"llm-bot doesn't take {' '.join(words)!r}"
    return None
