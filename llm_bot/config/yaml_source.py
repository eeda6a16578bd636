"""YAML text -> plain data that remembers its lines.

Only what a configuration needs: mappings with text keys, lists, scalars; anchors, aliases and
merges work. Dates stay text. Every fault becomes a `Problem` in words of its own, because the
YAML library quotes the text it stumbles over, which may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml
from yaml.constructor import SafeConstructor

from llm_bot.config.fields import DataPath
from llm_bot.errors import Problem

MAX_CHARACTERS = 1024 * 1024
# A configuration of 500 rooms, each with every override, has some 30,000. Counted with aliases
# followed, which is what makes a file of a few lines explode.
MAX_NODES = 100_000
MAX_DEPTH = 40

_TOO_DEEP = f"more than {MAX_DEPTH} levels"
_TOO_MANY = f"more than {MAX_NODES} values, aliases included"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_COLLECTIONS = {f"{_TAG}map", f"{_TAG}seq"}
_TEXTS = {f"{_TAG}{kind}" for kind in ("str", "timestamp", "value")}
_SCALARS = {
    f"{_TAG}{kind}": getattr(SafeConstructor, f"construct_yaml_{kind}")
    for kind in ("null", "bool", "int", "float")
}

# What the library's message or context holds -> what is wrong, what helps.
_SYNTAX = (
    ("tab character", "a tab in the indentation", "indent with spaces"),
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


class Fault(NamedTuple):
    """What is wrong with the value at `path`; `{found}` in the message stands for that value."""

    path: DataPath
    message: str
    suggestion: str = ""


class UnusableError(Exception):
    """The file is no configuration at all."""

    def __init__(self, line: int, message: str, suggestion: str = "") -> None:
        self.problem = Problem(line, "", message, suggestion)
        super().__init__(message)


@dataclass(frozen=True)
class Document:
    """Plain data, the line of each part of it, and what was wrong with its form."""

    data: Any
    lines: Mapping[DataPath, int]
    faults: tuple[Fault, ...]

    def line(self, path: DataPath) -> int:
        """The line of `path`, or of its nearest parent that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def dotted(path: DataPath) -> str:
    """`("triggers", 1, "keywords")` as `triggers[1].keywords`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{_printable(part)}" for part in path)
    return "".join(parts).removeprefix(".")


def _printable(key: str) -> str:
    key = key if len(key) <= 60 else key[:57] + "..."
    return key if key.isprintable() else ascii(key)


def read_yaml(text: str) -> Document:
    """Read `text`.

    Raises:
        UnusableError: It isn't YAML, or no mapping, or too big.
    """
    if len(text) > MAX_CHARACTERS:
        raise UnusableError(1, "the file is bigger than 1 MiB")
    try:
        _check_size(text)
        root = yaml.compose(text, _LOADER)
    except yaml.YAMLError as exc:
        raise _syntax_error(exc, text) from None
    if root is None:
        raise UnusableError(1, "the file is empty", "start from config.example.yaml")
    if not isinstance(root, yaml.MappingNode):
        raise UnusableError(1, "the file must be a mapping (lines of key: value)")
    builder = _Builder()
    data = builder.value(root, (), 1)
    return Document(data, builder.lines, tuple(builder.faults))


def _check_size(text: str) -> None:
    """Refuse what is too much, before the library builds a tree of it by recursion."""
    depth = count = 0
    for event in yaml.parse(text, _LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        count += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH or count > MAX_NODES:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise UnusableError(line, _TOO_DEEP if depth > MAX_DEPTH else _TOO_MANY)


def _syntax_error(exc: yaml.YAMLError, text: str) -> UnusableError:
    mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
    if not isinstance(exc, yaml.MarkedYAMLError) or mark is None:
        line = text.count("\n", 0, getattr(exc, "position", 0)) + 1
        return UnusableError(line, "invalid YAML: a forbidden character", "delete or escape it")
    words = f"{exc.problem or ''} {exc.context or ''}"
    # YAML knows more ends of lines than this, so there may be no such line.
    (here,) = text.split("\n")[mark.line : mark.line + 1] or [""]
    if here[mark.column : mark.column + 1] == "\t":
        words = "tab character"
    elif "mapping values" in words and ":" not in here[: mark.column]:
        words = "first colon"
    for part, message, suggestion in _SYNTAX:
        if part in words:
            return UnusableError(mark.line + 1, f"invalid YAML: {message}", suggestion)
    return UnusableError(mark.line + 1, "invalid YAML", "look at indentation, quotes, brackets")


class _Builder:
    """Makes data of nodes; keeps count, lines and faults on the way."""

    def __init__(self) -> None:
        self.lines: dict[DataPath, int] = {}
        self.faults: list[Fault] = []
        self._count = 0
        self._open: list[yaml.Node] = []  # the collections that we are inside of
        self._constructor = SafeConstructor()

    def value(self, node: yaml.Node, path: DataPath, line: int) -> Any:
        """The data of `node`, whose key stands on `line`."""
        self._count += 1
        if self._count > MAX_NODES:
            raise UnusableError(line, _TOO_MANY)
        if len(self._open) > MAX_DEPTH:
            raise UnusableError(line, _TOO_DEEP)
        if node in self._open:
            raise UnusableError(line, "an alias inside of what it stands for")
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag not in _COLLECTIONS:
            return self._unknown_tag(path)
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [
                self.value(item, (*path, at), _line(item)) for at, item in enumerate(node.value)
            ]
        finally:
            self._open.pop()

    def _mapping(self, node: yaml.MappingNode, path: DataPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.lines[*path, "?"] = _line(key)
                self._fault((*path, "?"), "a key that is a list or a mapping")
                continue
            inside = (*path, key.value)
            if key.tag == _MERGE:
                self.lines[inside] = _line(key)
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
            elif key.value in data:
                first, self.lines[inside] = self.lines[inside], _line(key)
                self._fault(inside, f"duplicate key, first in line {first}", "delete one of them")
            else:
                data[key.value] = self.value(value, inside, _line(key))
        for source in merged:
            if isinstance(source, yaml.MappingNode):
                data = (self.value(source, path, _line(source)) or {}) | data
            else:
                self._fault((*path, "<<"), "must be a mapping", "write <<: *name of a mapping")
        return data

    def _scalar(self, node: yaml.ScalarNode, path: DataPath) -> Any:
        if node.tag in _TEXTS:
            return node.value
        if node.tag not in _SCALARS:
            return self._unknown_tag(path)
        try:
            return _SCALARS[node.tag](self._constructor, node)
        except (ValueError, KeyError, OverflowError):
            return self._fault(path, "not a number, true, false or null, though it begins like one")

    def _unknown_tag(self, path: DataPath) -> None:
        self._fault(path, "a tag (!) that has no meaning here", "put the value in quotes")

    def _fault(self, path: DataPath, message: str, suggestion: str = "") -> None:
        self.faults.append(Fault(path, message, suggestion))


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1
