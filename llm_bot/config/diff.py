"""What changed between two configurations, field by field, for the log of a reload."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llm_bot.config.bus import NatsConfig
from llm_bot.config.fields import Section
from llm_bot.config.keys import is_sensitive
from llm_bot.config.model import ChannelConfig, Config

NEEDS_RESTART = ("nats", "bus", "health", "instance")
"""Sections that a reload can't change in a running process."""

_CHANGED = "(changed)"
_ABSENT = "(absent)"
_PRESENT = "(present)"
_MAX_SHOWN = 60


@dataclass(frozen=True)
class FieldChange:
    """One field that differs; secrets are `(changed)` on both sides."""

    path: str
    old: str
    new: str

    @property
    def needs_restart(self) -> bool:
        """True if a running process can't take it over."""
        return self.path.partition(".")[0] in NEEDS_RESTART


def differences(old: Config, new: Config) -> tuple[FieldChange, ...]:
    """Every field that differs. Channels are matched by name, all other lists by position."""
    return tuple(_changes("", old, new))


def _changes(path: str, old: Any, new: Any) -> Iterator[FieldChange]:
    if old == new:
        return
    before, after = _parts(old), _parts(new)
    if type(old) is not type(new) or before is None or after is None:
        yield FieldChange(path, *(_shown(path, value) for value in (old, new)))
        return
    for key in before | after:
        name, one = before.get(key, (key, _ABSENT))
        name, other = after.get(key, (name, _ABSENT))
        yield from _changes(f"{path}{name}".removeprefix("."), one, other)


def _parts(value: Any) -> dict[str, tuple[str, Any]] | None:
    """What a section or a list of them consists of: by what to match it, its name, and itself."""
    if isinstance(value, Section):
        fields = {f".{name}": getattr(value, name) for name in type(value).model_fields}
        if isinstance(value, NatsConfig):
            fields[".key_material"] = value.key_material
        return {name: (name, field) for name, field in fields.items()}
    if not isinstance(value, tuple) or not all(isinstance(item, Section) for item in value):
        return None
    names = [
        f"[{item.name if isinstance(item, ChannelConfig) else at}]" for at, item in enumerate(value)
    ]
    return {name.lower(): (name, item) for name, item in zip(names, value, strict=True)}


def _shown(path: str, value: Any) -> str:
    name = path.rpartition(".")[2]
    if is_sensitive(name) or name == "key_material":
        return _CHANGED
    match value:
        case str() if value == _ABSENT:
            return _ABSENT
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case Section():
            return f"({value.type})" if hasattr(value, "type") else _PRESENT
        case tuple():
            text = repr(list(value))
        case _:
            text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."
