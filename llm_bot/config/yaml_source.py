"""YAML text -> plain data that remembers its lines.

Only what a configuration needs: mappings with text keys, lists, scalars; anchors, aliases and
merges work. Dates stay text. Every fault becomes a `Problem` in words of its own, because the
YAML library quotes the text it stumbles over, which may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import yaml
from yaml.constructor import SafeConstructor

from llm_bot.errors import WHOLE_FILE, Problem

DataPath = tuple[str | int, ...]

MAX_CHARACTERS = 1024 * 1024
# A configuration of 500 rooms, each with every override, has some 30,000. Counted after aliases
# are followed, which is what makes a file of a few lines explode.
MAX_NODES = 100_000
MAX_DEPTH = 40

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_PLAIN_TEXT = {f"{_TAG}{kind}" for kind in ("str", "timestamp", "value")}

# What the library's message or context holds -> what was found, what helps.
_SYNTAX = (
    ("tab character", "a tab", "indent with spaces"),
    ("undefined alias", "an alias (*name) without its anchor", "quote a value that begins with *"),
    ("an alias", "a value that begins with *", "put it in quotes"),
    ("duplicate anchor", "an anchor (&name) that exists already", "give it another name"),
    ("an anchor", "a value that begins with &", "put it in quotes"),
    ("tag", "a value that begins with !", "put it in quotes"),
    ("single document", "a second document (---)", "keep one document in the file"),
    ("first colon", "a line that is indented deeper than its neighbours", "indent it as they are"),
    ("mapping values", "a second colon in the line", "quote the value, or mind the indentation"),
    ("start any token", "a value that begins with @, ` or %", "put it in quotes"),
    ("expected ':'", "a line without its colon", "write key: value, and quote text with colons"),
    ("escape", "an unknown backslash sequence", "use single quotes, or double the backslash"),
    ("quoted scalar", "a quote that isn't closed", "close it, and double a quote inside"),
    ("flow", "a bracket or brace that isn't closed", "close it, and quote text that holds one"),
    ("block mapping", "a line that is indented otherwise", "indent with the lines around it"),
    ("block collection", "a line that is indented otherwise", "indent with the lines around it"),
    ("block scalar", "text after | or >", "begin the text on the next line"),
    ("directive", "a line that begins with %", "put it in quotes"),
)


class Document(msgspec.Struct, frozen=True):
    """Plain data, the line of each part of it, and what was wrong with its form."""

    data: Any
    lines: Mapping[DataPath, int]
    problems: tuple[Problem, ...]

    def line(self, path: DataPath) -> int:
        """The line of `path`, or of its nearest parent that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def dotted(path: DataPath) -> str:
    """`("triggers", 1, "keywords")` as `triggers[1].keywords`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + shown_key(part)
    return text or WHOLE_FILE


def shown_key(key: str) -> str:
    """A key as it can be printed anywhere: short, on one line, no lone surrogates."""
    key = key if len(key) <= 60 else key[:57] + "..."
    return key if key.isprintable() else ascii(key)


def read_yaml(text: str) -> Document:
    """Read `text`. Where it isn't YAML at all, `data` is None and `problems` says why."""
    if len(text) > MAX_CHARACTERS:
        return _unusable(1, "more than 1 MiB of text", "a configuration file")
    try:
        too_much = _measured(text)
        root = None if too_much else yaml.compose(text, _LOADER)
    except yaml.YAMLError as exc:
        return _unusable(*_syntax_error(exc, text))
    if too_much:
        return _unusable(*too_much)
    if root is None:
        return _unusable(1, "an empty file", "settings", "start from config.example.yaml")
    if not isinstance(root, yaml.MappingNode):
        found = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        return _unusable(1, found, "a mapping (lines of key: value)", at="(top level)")
    builder = _Builder()
    try:
        data = builder.value(root, (), 1)
    except _TooMuchError as exc:
        return _unusable(exc.line, exc.found, exc.expected)
    return Document(data, builder.lines, tuple(builder.problems))


def _unusable(
    line: int, found: str, expected: str, suggestion: str = "", at: str = WHOLE_FILE
) -> Document:
    return Document(None, {}, (Problem(line, at, found, expected, suggestion),))


def _measured(text: str) -> tuple[int, str, str] | None:
    """What is too much, before the library builds a tree of it by recursion."""
    depth = count = 0
    for event in yaml.parse(text, _LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        count += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH:
            return _line(event), *_DEPTH
        if count > MAX_NODES:
            return _line(event), *_NODES
    return None


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


_DEPTH = (f"more than {MAX_DEPTH} levels", "fewer levels")
_NODES = (f"more than {MAX_NODES} values, aliases included", "fewer values")


def _syntax_error(exc: yaml.YAMLError, text: str) -> tuple[int, str, str, str]:
    if not isinstance(exc, yaml.MarkedYAMLError):
        position = getattr(exc, "position", 0)
        line = text.count("\n", 0, position if isinstance(position, int) else 0) + 1
        return line, "a character that YAML forbids", "printable text", "delete or escape it"
    mark = exc.problem_mark or exc.context_mark
    line = mark.line + 1 if mark else 1
    words = f"{exc.problem or ''} {exc.context or ''}"
    before, here = _around(text, mark) if mark else ("", "")
    if here == "\t":
        words = "tab character"
    elif "mapping values" in words and ":" not in before:
        words = "first colon"
    for part, found, suggestion in _SYNTAX:
        if part in words:
            return line, found, "YAML", suggestion
    return line, "text that isn't YAML", "YAML", "mind indentation, quotes and brackets here"


def _around(text: str, mark: yaml.Mark) -> tuple[str, str]:
    """What stands in the line before `mark`, and the character at it."""
    line = text.split("\n")[mark.line : mark.line + 1]
    whole = line[0] if line else ""
    return whole[: mark.column], whole[mark.column : mark.column + 1]


class _TooMuchError(Exception):
    """The file unfolds to more than any configuration needs."""

    def __init__(self, line: int, found: str, expected: str) -> None:
        super().__init__(found)
        self.line = line
        self.found = found
        self.expected = expected


class _Builder:
    """Makes data of nodes; keeps count, lines and problems on the way."""

    def __init__(self) -> None:
        self.lines: dict[DataPath, int] = {}
        self.problems: list[Problem] = []
        self._count = 0
        self._open: set[int] = set()  # ids of the collections that we are inside of
        self._constructor = SafeConstructor()

    def value(self, node: yaml.Node, path: DataPath, line: int) -> Any:
        """The data of `node`, whose key stands on `line`."""
        self._admit(node)
        self.lines[path] = line
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, line)
        if node.tag not in {f"{_TAG}map", f"{_TAG}seq"}:
            self._unknown_tag(path, line)
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [
                    self.value(item, (*path, at), item.start_mark.line + 1)
                    for at, item in enumerate(node.value)
                ]
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _admit(self, node: yaml.Node) -> None:
        self._count += 1
        line = node.start_mark.line + 1
        if self._count > MAX_NODES:
            raise _TooMuchError(line, *_NODES)
        if id(node) in self._open:
            raise _TooMuchError(line, "an alias inside of what it stands for", "no circles")
        if len(self._open) > MAX_DEPTH:
            raise _TooMuchError(line, *_DEPTH)

    def _unknown_tag(self, path: DataPath, line: int) -> None:
        self._problem(path, line, "a tag (!) that has no meaning here", "a plain value", "quote it")

    def _problem(
        self, path: DataPath, line: int, found: str, expected: str, suggestion: str = ""
    ) -> None:
        self.problems.append(Problem(line, dotted(path), found, expected, suggestion))

    def _mapping(self, node: yaml.Node, path: DataPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in self._explicit(node, path):
            data[key.value] = self.value(value, (*path, key.value), key.start_mark.line + 1)
        for key, value in self._merged(node, path):
            if key.value not in data:
                data[key.value] = self.value(value, (*path, key.value), key.start_mark.line + 1)
        return data

    def _explicit(
        self, node: yaml.Node, path: DataPath
    ) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Keys that stand in the mapping itself; a second one of the same name is a problem."""
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._problem(path, line, "a key that is a list or a mapping", "a plain word")
            elif key.tag == _MERGE:
                continue
            elif key.value in first:
                self._problem(
                    (*path, key.value),
                    line,
                    f"the key a second time (first in line {first[key.value]})",
                    "each key once",
                    "delete one of the two",
                )
            else:
                first[key.value] = line
                yield key, value

    def _merged(
        self, node: yaml.Node, path: DataPath
    ) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Keys that `<<` brings in, those of the first source before those of the next."""
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != _MERGE:
                continue
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for source in sources:
                if not isinstance(source, yaml.MappingNode):
                    line = key.start_mark.line + 1
                    self._problem(path, line, "<< without a mapping", "<<: *name of a mapping")
                    continue
                yield from self._source(source, path)

    def _source(
        self, source: yaml.Node, path: DataPath
    ) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        self._admit(source)
        self._open.add(id(source))
        try:
            for key, value in source.value:
                self._count += 1
                if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                    yield key, value
            yield from self._merged(source, path)
        finally:
            self._open.discard(id(source))

    def _scalar(self, node: yaml.ScalarNode, path: DataPath, line: int) -> Any:
        if node.tag in _PLAIN_TEXT:
            return self._text(node.value, path, line)
        kind = node.tag.removeprefix(_TAG)
        if kind not in {"null", "bool", "int", "float"}:
            self._unknown_tag(path, line)
            return None
        try:
            return getattr(self._constructor, f"construct_yaml_{kind}")(node)
        except (ValueError, KeyError, OverflowError, yaml.YAMLError):
            self._problem(path, line, "a value that can't be read", "a number, true, false or null")
            return None

    def _text(self, text: str, path: DataPath, line: int) -> str:
        if text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text):
            return text
        self._problem(path, line, "half a character (a lone surrogate)", "whole characters")
        return ""
