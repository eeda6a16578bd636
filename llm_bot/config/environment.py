"""`${NAME}` in text values, replaced from the environment."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from llm_bot.config.fields import DataPath
from llm_bot.config.yaml_source import Fault

# An escaped brace, a reference with its name, or what begins like one and isn't.
_REFERENCE = re.compile(r"\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{[^{}]*\}|\$\{")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


class Substitution:
    """A copy of data with every `${NAME}` in a text value replaced; `$${` stands for `${`.

    Keys stay as they are, and a value is never read as YAML, so it can't add any. `names` has the
    variables in each value that came from the environment, `whole` the values that are one
    `${NAME}` and nothing else, `faults` what couldn't be replaced.
    """

    def __init__(self, data: Any, environ: Mapping[str, str]) -> None:
        self.names: dict[DataPath, tuple[str, ...]] = {}
        self.whole: set[DataPath] = set()
        self.faults: list[Fault] = []
        self._environ = environ
        self.data = self._value(data, ())

    def _value(self, data: Any, path: DataPath) -> Any:
        if isinstance(data, dict):
            return {key: self._value(item, (*path, key)) for key, item in data.items()}
        if isinstance(data, list):
            return [self._value(item, (*path, at)) for at, item in enumerate(data)]
        return self._text(data, path) if isinstance(data, str) else data

    def _text(self, text: str, path: DataPath) -> str:
        names: list[str] = []

        def replacement(reference: re.Match[str]) -> str:
            escaped, name = reference[1], reference[2]
            if escaped:
                return "${"
            if name is None:
                # What stands in the braces may be the secret itself, so it isn't repeated.
                message = "${ without a plain NAME in braces"
                self.faults.append(Fault(path, message, "write $${ for ${ itself"))
                return ""
            names.append(name)
            if name not in self._environ:
                self.faults.append(Fault(path, f"${{{name}}} isn't set", self._nearest(name)))
            return self._environ.get(name, "")

        filled = _REFERENCE.sub(replacement, text)
        if names:
            self.names[path] = tuple(names)
            if text == f"${{{names[0]}}}":
                self.whole.add(path)
        return filled

    def _nearest(self, name: str) -> str:
        close = difflib.get_close_matches(name, list(self._environ), n=1, cutoff=0.8)
        return f"did you mean ${{{close[0]}}}?" if close else f"set {name} in the environment"


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
