"""Markdown as the tests of this folder read it: blocks of code, links, headings."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:\A|\n)\n((?: {4}[^\n]*\n(?:\n(?= {4}))*)+)")
_INLINE = re.compile(r"(`+)(.+?)\1(?!`)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINK = re.compile(r"\]\(\s*<?([^()\s>]+(?:\([^()\s]*\))?)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_ANCHOR = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: `language` is empty for one that is only indented."""

    path: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every Markdown page of the project."""
    found = []
    for directory, inner, files in os.walk(ROOT):
        inner[:] = [name for name in inner if not name.startswith(".") and name != "node_modules"]
        found += [Path(directory, name) for name in files if name.endswith(".md")]
    return sorted(found)


def blocks(path: Path) -> list[Block]:
    """The blocks of code of a page, fenced ones and indented ones."""
    text = path.read_text(encoding="utf-8")
    found = [
        Block(path, _line(text, each), _language(each[3]), textwrap.dedent(each[4]))
        for each in _FENCE.finditer(text)
    ]
    rest = _FENCE.sub(lambda each: re.sub(r"[^\n]", "", each[0]), text)
    for each in _INDENTED.finditer(rest):
        if not _is_of_a_list(rest, each.start(1)):
            line = rest.count("\n", 0, each.start(1)) + 1
            found.append(Block(path, line, "", textwrap.dedent(each[1])))
    return found


def _is_of_a_list(text: str, start: int) -> bool:
    """Whether an indented block is a paragraph of a list's item."""
    before = text[:start].rstrip("\n").splitlines()
    for line in reversed(before):
        if line and not line.startswith(" "):
            return re.match(r"(\d+\.|[-*]) ", line) is not None
    return False


def inline_code(path: Path) -> Iterator[str]:
    """The short pieces of code within the text."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    for each in _INLINE.finditer(_COMMENT.sub("", text)):
        yield " ".join(each[2].split())


def links(path: Path) -> list[str]:
    """What the links and pictures of a page lead to."""
    text = _without_code(path.read_text(encoding="utf-8"))
    return [*_LINK.findall(text), *_REFERENCE.findall(text)]


def anchors(path: Path) -> set[str]:
    """The places of a page that a link can lead to, as GitHub names them."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    found: set[str] = set(_ANCHOR.findall(text))
    for heading in _HEADING.findall(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        again, number = name, 0
        while again in found:
            number += 1
            again = f"{name}-{number}"
        found.add(again)
    return found


def _without_code(text: str) -> str:
    return _INLINE.sub("`code`", _FENCE.sub("", _COMMENT.sub("", text)))


def _language(info: str) -> str:
    return info.split()[0].lower() if info.split() else "text"


def _line(text: str, found: re.Match[str]) -> int:
    return text.count("\n", 0, found.start()) + 1
