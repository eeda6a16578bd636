"""The keys of the configuration, read from the JSON Schema of its models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llm_bot.config import Config
from llm_bot.config.fields import DOMAIN, IN_WORDS

Schema = Mapping[str, Any]

MAX_SHOWN_DEFAULT = 60
_NOTHING = {"type": "null"}
# What a domain may look like takes no more words than its pattern's own.
_IN_WORDS = {**IN_WORDS, DOMAIN: "a host name such as `cytu.be`"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its dotted path, what it may be, its default (None: it has to be given)."""

    path: str
    kind: str
    default: str | None
    what: str


def whole_schema() -> dict[str, Any]:
    """The schema of the whole file."""
    return Config.model_json_schema()


class Sections:
    """The sections of a schema by name."""

    def __init__(self, schema: Schema) -> None:
        self._definitions: Mapping[str, Schema] = schema["$defs"]

    def section_of(self, field: Schema) -> Schema | None:
        """The section that a field holds, None for a plain value or a list."""
        name = field.get("$ref")
        return None if name is None else self._definitions[name.rpartition("/")[2]]

    def items_of(self, field: Schema) -> list[Schema]:
        """The sections that a list holds, one for each kind; none if it holds plain values."""
        item = field.get("items", {})
        found = [self.section_of(each) for each in item.get("oneOf", [item])]
        return [section for section in found if section is not None]

    def is_free_form(self, section: Schema) -> bool:
        """Whether it is any JSON value."""
        return not section.get("properties")

    def keys(self, section: Schema, prefix: str) -> Iterator[Key]:
        """The plain keys of a section; those that are sections themselves are left out."""
        required = section.get("required", [])
        for name, field in section["properties"].items():
            if self._is_section(field):
                continue
            path = f"{prefix}{name}"
            default = None if name in required else _default(field)
            yield Key(path, self._kind(field, name), default, field.get("description", ""))

    def _is_section(self, field: Schema) -> bool:
        return self.section_of(field) is not None or bool(self.items_of(field))

    def _kind(self, field: Schema, name: str) -> str:
        choices = [each for each in field.get("anyOf", [field]) if each != _NOTHING]
        (only,) = choices
        if self._is_section(only):
            # A channel's own section, or a trigger's limits: told under a heading of its own.
            words = f"as [`{name}`](#{name})" if name != "rate_limit" else "see below"
        else:
            words = _words(only, name)
        return f"{words}, or `null`" if _NOTHING in field.get("anyOf", []) else words


def choice(values: Iterable[object]) -> str:
    """One of several values."""
    *others, last = [f"`{value}`" for value in values]
    return f"{', '.join(others)} or {last}" if others else last


def _words(field: Schema, name: str) -> str:
    """What a plain value may be, in words."""
    for word in ("const", "enum"):
        if word in field:
            values = field[word] if word == "enum" else [field[word]]
            return choice(values)
    match field.get("type"):
        case "boolean":
            return "`true` or `false`"
        case "integer":
            return f"whole number, {_range(field)}"
        case "number":
            return f"number, {_range(field)}"
        case "array":
            return f"list of {_count(field)}, each {_words(field['items'], name)}"
        case "object":
            values = field["additionalProperties"]
            what = "texts" if values.get("type") == "string" else "any JSON values"
            return f"up to {field['maxProperties']} names with {what}"
        case _:
            return _text_words(field, name)


def _text_words(field: Schema, name: str) -> str:
    if field.get("format") == "password":
        return "secret"
    if name.endswith("_file"):
        return "name of a file"
    if "pattern" in field:
        return _IN_WORDS[field["pattern"]]
    if field.get("format") == "uri":
        return "address"
    most = field.get("maxLength")
    return "text" if most is None else f"text of 1 to {most:,} characters"


def _range(field: Schema) -> str:
    return f"{field['minimum']:,g} to {field['maximum']:,g}"


def _count(field: Schema) -> str:
    least, most = field.get("minItems", 0), field["maxItems"]
    return f"{least} to {most:,}" if least else f"up to {most:,}"


def _default(field: Schema) -> str:
    # pydantic tells no default where a factory makes it; the plain ones make an empty mapping.
    value = field.get("default", {})
    text = as_yaml(value)
    return text if len(text) <= MAX_SHOWN_DEFAULT else ""


def as_yaml(value: object) -> str:
    """A plain value as the file would have it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}"
        case str():
            escaped = value.replace("\n", "\\n")
            return f'"{escaped}"' if not value.replace("_", "").isalnum() else value
        case list() | tuple():
            return f"[{', '.join(as_yaml(each) for each in value)}]"
        case _:
            return "{}" if value == {} else str(value)
