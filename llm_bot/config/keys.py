"""The keys that a configuration may have: which of them are sensitive, which one was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from llm_bot.config.fields import DataPath, Section
from llm_bot.config.model import Config

# Their keys are those of other sections, too.
_OVERRIDES = ("channels", "triggers", "llm_api.fallbacks")


def _types(annotation: Any) -> Iterator[Any]:
    """The type itself and all that it is made of."""
    yield annotation
    for argument in get_args(annotation):
        yield from _types(argument)


def _fields(section: type[Section], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}", field
        for inner in _types(field.annotation):
            if isinstance(inner, type) and issubclass(inner, Section):
                yield from _fields(inner, f"{prefix}{name}.")


@cache
def _known() -> dict[str, FieldInfo]:
    """Every key by its dotted path, without indices."""
    return dict(_fields(Config))


@cache
def _sensitive() -> frozenset[str]:
    return frozenset(
        path.rpartition(".")[2]
        for path, field in _known().items()
        if not field.repr or SecretStr in _types(field.annotation)
    )


def is_sensitive(key: str | int) -> bool:
    """Whether the value of a key is secret, or may hold a secret, and so is never shown."""
    return key in _sensitive()


def keys_beside(path: DataPath) -> list[str]:
    """The keys of the section that `path` is in."""
    parent = ".".join(part for part in path[:-1] if isinstance(part, str))
    known = (name.rpartition(".") for name in _known())
    return [key for section, _, key in known if section == parent]


def closest_key(path: DataPath) -> str:
    """Which key was meant by an unknown one: one of its section, else the one of that name."""
    key = str(path[-1])
    close = difflib.get_close_matches(key.lower(), keys_beside(path), n=1)
    if not close:
        namesakes = [name for name in _known() if name.rpartition(".")[2] == key]
        close = [name for name in namesakes if not name.startswith(_OVERRIDES)]
    return close[0] if len(close) == 1 and close[0] != key else ""
