"""Refusals by the models, said in plain words: where, what was found, what is expected.

A value that came from the environment or stands in a secret field is never part of the words.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic_core import ErrorDetails

from llm_bot.config.fields import IN_WORDS
from llm_bot.config.model import Config
from llm_bot.config.yaml_source import DataPath, Document, dotted, shown_key
from llm_bot.errors import Problem

Schema = Mapping[str, Any]

_SECRET_KEYS = frozenset({"api_key", "password", "token", "extra_headers", "extra_body"})
_ADDRESS_KEYS = frozenset({"servers", "base_url"})
# Nothing in such an address can be a credential: no @, no query, digits only after a colon.
_PLAIN_ADDRESS = re.compile(
    r"([a-z]{1,10}:?/{0,2})?[A-Za-z0-9.-]{1,80}(:[0-9]{1,5})?(/[a-z0-9]{0,9}){0,3}"
)
_FORMATS = {"password": "a secret, as text", "uri": "an address with // in it (a URL)"}
_LIST = "write a list: [first, second]"
# Text in which only the quotes are wrong.
_UNQUOTED = {
    "integer": re.compile(r"[+-]?[0-9]+"),
    "number": re.compile(r"[+-]?[0-9]+(\.[0-9]*)?"),
    "boolean": re.compile(r"true|false|yes|no|on|off", re.IGNORECASE),
}
_MAX_SHOWN = 60
_ABSENT = object()


@cache
def _root() -> Schema:
    return Config.model_json_schema()


def _resolved(schema: Schema) -> Schema:
    """`schema` without references and without the "or null" around it."""
    while True:
        if "$ref" in schema:
            schema = _root()["$defs"][schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema:
            schema = next((one for one in schema["anyOf"] if one.get("type") != "null"), {})
        else:
            return schema


def located(loc: Iterable[str | int]) -> tuple[DataPath, Schema, bool]:
    """Path in the file, schema, and whether null is allowed, for a location as pydantic has it.

    pydantic names the chosen kind of a union between two parts of a path; the file doesn't.
    """
    path: list[str | int] = []
    schema, nullable = _root(), False
    for part in loc:
        within = _resolved(schema)
        if "discriminator" in within:
            schema = {"$ref": within["discriminator"]["mapping"].get(part, "")}
            continue
        if within.get("type") == "array":
            schema = within["items"]
        elif part in within.get("properties", {}):
            schema = within["properties"][part]
        else:  # free-form, or the inside of something that isn't as it should be
            break
        nullable = {"type": "null"} in schema.get("anyOf", ())
        path.append(part)
    return tuple(path), _resolved(schema), nullable


def in_words(schema: Schema) -> str:
    """What `schema` asks for."""
    kind = schema.get("type")
    if "enum" in schema or "const" in schema:
        return _one_of(schema.get("enum", [schema.get("const")]))
    if "pattern" in schema:
        return IN_WORDS.get(schema["pattern"], "text of a certain form")
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if kind == "boolean":
        return "true or false"
    if kind in {"integer", "number"}:
        return ("a whole number" if kind == "integer" else "a number") + _bounds(schema)
    if kind == "string":
        return "text" + _size(schema, "Length", "characters")
    if kind == "array":
        return "a list" + _size(schema, "Items", "items")
    return "a mapping (key: value)"


def _one_of(choices: list[Any]) -> str:
    return "one of " + ", ".join(map(str, choices)) if len(choices) > 1 else str(choices[0])


def _bounds(schema: Schema) -> str:
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum")
    return "" if least is None or most is None else f" from {least:g} to {most:g}"


def _size(schema: Schema, what: str, of: str) -> str:
    least, most = schema.get(f"min{what}", 0), schema.get(f"max{what}")
    if most is None:
        return ""
    return f" of {least} to {most} {of}" if least else f" of at most {most} {of}"


def _lookup(data: Any, path: DataPath) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return _ABSENT
    return data


class Explainer:
    """Turns what pydantic refused in one document into problems."""

    def __init__(
        self, document: Document, data: Any, names: Mapping[DataPath, tuple[str, ...]]
    ) -> None:
        self._document = document
        self._data = data
        self._names = names

    def problems(self, errors: Iterable[ErrorDetails]) -> list[Problem]:
        """One problem for each path; what follows from a problem further inside is left out."""
        found = [self._located_problem(error) for error in errors]
        paths = [path for path, _ in found]
        result: dict[DataPath, Problem] = {}
        for path, problem in found:
            if any(len(other) > len(path) and other[: len(path)] == path for other in paths):
                continue
            result.setdefault(path, problem)
        return list(result.values())

    def problem(self, path: DataPath, found: str, expected: str, suggestion: str = "") -> Problem:
        """A problem at `path`, with its line."""
        return Problem(self._document.line(path), dotted(path), found, expected, suggestion)

    def _located_problem(self, error: ErrorDetails) -> tuple[DataPath, Problem]:
        path, schema, nullable = located(error["loc"])
        kind, words = error["type"], error.get("ctx", {})
        if kind == "mismatch":
            return self._mismatch(path, words)
        expected = in_words(schema) + (" or null" if nullable else "")
        if kind.startswith("union_tag"):
            path = (*path, "type")
            expected = _one_of(list(schema["discriminator"]["mapping"]))
            schema = {"enum": list(schema["discriminator"]["mapping"])}
        if kind == "missing":
            _, section, _ = located(error["loc"][:-1])
            misspelt = self._misspelt(path, section.get("properties", {}))
            return path, self.problem(path, "nothing", expected, misspelt)
        value = _lookup(self._data, path)
        suggestion = self._suggestion(path, value, schema, nullable=nullable)
        return path, self.problem(path, self.description(path, value), expected, suggestion)

    def _mismatch(self, path: DataPath, words: Mapping[str, Any]) -> tuple[DataPath, Problem]:
        if words["field"]:
            path = (*path[:-1], words["field"])
        found = words["found"] or self.description(path, _lookup(self._data, path))
        if words["detail"] and not self._is_hidden(path):
            found = f"{found}: {words['detail']}"
        return path, self.problem(path, found, words["expected"], words["suggestion"])

    def _is_hidden(self, path: DataPath) -> bool:
        return path in self._names or not _SECRET_KEYS.isdisjoint(path)

    def description(self, path: DataPath, value: Any) -> str:
        """What a value is, and the value itself if it is short and may be shown."""
        if value is _ABSENT:
            return "nothing"
        if value is None:
            return "null"
        if isinstance(value, list):
            return f"a list of {len(value)}" if value else "an empty list"
        if isinstance(value, dict):
            return "a mapping"
        if path in self._names:
            names = ", ".join(f"${{{name}}}" for name in self._names[path])
            return f"a value from {names} (not shown)"
        if self._is_hidden(path):
            return "a value (not shown)"
        return _shown(path, value)

    def _misspelt(self, path: DataPath, known: Schema) -> str:
        """Is what is missing there under a name that the section doesn't know?"""
        parent, wanted = _lookup(self._data, path[:-1]), str(path[-1])
        unknown = [key for key in parent if key not in known] if isinstance(parent, dict) else []
        close = difflib.get_close_matches(wanted, unknown, n=1, cutoff=0.75)
        return f"{shown_key(close[0])} is unknown, did you mean {wanted}?" if close else ""

    def _suggestion(self, path: DataPath, value: Any, schema: Schema, *, nullable: bool) -> str:
        if value is None and not nullable:
            is_section = "properties" in schema
            return "indent its settings under it" if is_section else "leave it out for its default"
        if self._is_hidden(path):
            return ""
        if isinstance(value, str):
            return _for_text(value, schema)
        if isinstance(value, bool | int | float) and schema.get("type") == "string":
            return "put it in quotes"
        if isinstance(value, dict) and schema.get("type") == "array":
            return _for_mapping(schema)
        return ""


def _shown(path: DataPath, value: Any) -> str:
    if not isinstance(value, str):
        text = "true" if value is True else "false" if value is False else repr(value)
        return text[:_MAX_SHOWN]
    if not value:
        return "empty text"
    if not _ADDRESS_KEYS.isdisjoint(path) and not _PLAIN_ADDRESS.fullmatch(value):
        return "text (not shown, as it may hold credentials)"
    if len(value) > _MAX_SHOWN:
        return f"{value[:_MAX_SHOWN]!a}... ({len(value)} characters)"
    return repr(value) if value.isprintable() else ascii(value)


def _for_mapping(schema: Schema) -> str:
    item = _resolved(schema["items"])
    first = "type" if "discriminator" in item else next(iter(item.get("required", ())), "")
    return f"begin each item with a dash: - {first}: ..." if first else _LIST


def _for_text(value: str, schema: Schema) -> str:
    if "enum" in schema:
        close = difflib.get_close_matches(value.lower(), schema["enum"], n=1)
        return f"did you mean {close[0]}?" if close else ""
    kind = schema.get("type")
    if kind in {"integer", "number", "boolean"}:
        return "take the quotes away" if _UNQUOTED[kind].fullmatch(value.strip()) else ""
    if kind == "array":
        return _LIST
    if schema.get("title") == "ChannelConfig":
        return "write - name: before it"
    if "discriminator" in schema:
        return "write - type: before it"
    return ""
