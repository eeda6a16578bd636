"""`${NAME}` in text values, replaced from the environment."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from llm_bot.config.yaml_source import DataPath

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}|\$\{")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


class Substitution(msgspec.Struct):
    """Data with the values filled in, and which of them came from where."""

    data: Any = None
    names: dict[DataPath, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """For each value that came from the environment: the variables in it."""
    whole: set[DataPath] = msgspec.field(default_factory=set)
    """Values that are one `${NAME}` and nothing else."""
    faults: list[tuple[DataPath, str, str, str]] = msgspec.field(default_factory=list)
    """Path, found, expected, suggestion."""


def substitute(data: Any, environ: Mapping[str, str]) -> Substitution:
    """A copy of `data` with every `${NAME}` in a text value replaced; `$${` stands for `${`.

    Keys stay as they are, and a value is never read as YAML, so it can't add any.
    """
    result = Substitution()
    result.data = _value(data, (), environ, result)
    return result


def _value(data: Any, path: DataPath, environ: Mapping[str, str], result: Substitution) -> Any:
    if isinstance(data, dict):
        return {key: _value(item, (*path, key), environ, result) for key, item in data.items()}
    if isinstance(data, list):
        return [_value(item, (*path, at), environ, result) for at, item in enumerate(data)]
    if isinstance(data, str) and "${" in data:
        return _text(data, path, environ, result)
    return data


def _text(text: str, path: DataPath, environ: Mapping[str, str], result: Substitution) -> str:
    names: list[str] = []

    def replacement(reference: re.Match[str]) -> str:
        if reference[1]:
            return "${"
        name = reference[2]
        if name is None or not _NAME.fullmatch(name):
            # What stands in the braces may be the secret itself, so it isn't repeated.
            result.faults.append(
                (path, "${ without a plain NAME in braces", "${NAME}", "write $${ for ${ itself")
            )
            return ""
        names.append(name)
        if name not in environ:
            result.faults.append((path, *_not_set(name, environ)))
            return ""
        return environ[name]

    filled = _REFERENCE.sub(replacement, text)
    if names:
        result.names[path] = tuple(names)
        if text == f"${{{names[0]}}}":
            result.whole.add(path)
    return filled


def _not_set(name: str, environ: Mapping[str, str]) -> tuple[str, str, str]:
    close = difflib.get_close_matches(name, list(environ), n=1, cutoff=0.8)
    suggestion = f"did you mean ${{{close[0]}}}?" if close else f"set {name} before the start"
    return f"${{{name}}}, which isn't set", f"a variable {name} in the environment", suggestion


def as_number_or_flag(text: str) -> int | float | bool | None:
    """What an environment variable means where a number or true/false is wanted, else None.

    Plain decimal only: the octal, sexagesimal and yes/no readings of YAML would be surprises.
    """
    stripped = text.strip()
    if stripped.lower() in {"true", "false"}:
        return stripped.lower() == "true"
    if _INTEGER.fullmatch(stripped):
        return int(stripped)
    try:
        return float(stripped) if "_" not in stripped else None
    except ValueError:
        return None
