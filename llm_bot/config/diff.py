"""What changed between two configurations, field by field, for the log of a reload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from pydantic import SecretStr

from llm_bot.config.fields import Section
from llm_bot.config.model import ChannelConfig, Config, NatsConfig

NEEDS_RESTART = ("nats", "bus", "health", "instance")
"""Sections that a reload can't change in a running process."""

_CHANGED = "(changed)"
_ABSENT = "(absent)"
_PRESENT = "(present)"
_MAX_SHOWN = 60
# Addresses may carry credentials, headers and bodies often do.
_HIDDEN = frozenset({"servers", "base_url", "extra_headers", "extra_body"})


class FieldChange(msgspec.Struct, frozen=True):
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
    if isinstance(old, Section) and type(old) is type(new):
        yield from _section_changes(path, old, new)
    elif path == "channels":
        yield from _channel_changes(old, new)
    elif _is_sections(old) and _is_sections(new):
        yield from _list_changes(path, old, new)
    elif _is_hidden(path, old, new):
        yield FieldChange(path, _CHANGED, _CHANGED)
    else:
        yield FieldChange(path, _text(old), _text(new))


def _section_changes(path: str, old: Section, new: Section) -> Iterator[FieldChange]:
    for name in type(old).model_fields:
        inside = f"{path}.{name}" if path else name
        yield from _changes(inside, getattr(old, name), getattr(new, name))
    if (
        isinstance(old, NatsConfig)
        and isinstance(new, NatsConfig)
        and old.key_material != new.key_material
    ):
        yield FieldChange(f"{path}.key_material", _CHANGED, _CHANGED)


def _channel_changes(
    old: tuple[ChannelConfig, ...], new: tuple[ChannelConfig, ...]
) -> Iterator[FieldChange]:
    before = {channel.name.lower(): channel for channel in old}
    after = {channel.name.lower(): channel for channel in new}
    for key in before | after:
        name = (after.get(key) or before[key]).name
        if key not in after:
            yield FieldChange(f"channels[{name}]", _PRESENT, _ABSENT)
        elif key not in before:
            yield FieldChange(f"channels[{name}]", _ABSENT, _PRESENT)
        else:
            yield from _changes(f"channels[{name}]", before[key], after[key])


def _list_changes(
    path: str, old: tuple[Section, ...], new: tuple[Section, ...]
) -> Iterator[FieldChange]:
    for at, (one, other) in enumerate(zip(old, new, strict=False)):
        yield from _changes(f"{path}[{at}]", one, other)
    for at in range(len(new), len(old)):
        yield FieldChange(f"{path}[{at}]", _text(old[at]), _ABSENT)
    for at in range(len(old), len(new)):
        yield FieldChange(f"{path}[{at}]", _ABSENT, _text(new[at]))


def _is_sections(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, Section) for item in value)


def _is_hidden(path: str, *values: object) -> bool:
    return path.rpartition(".")[2] in _HIDDEN or any(
        isinstance(value, SecretStr) for value in values
    )


def _text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Section):
        kind = getattr(value, "type", None)
        return f"({kind})" if isinstance(kind, str) else _PRESENT
    if isinstance(value, tuple):
        value = list(value)
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."
