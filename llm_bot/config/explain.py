"""What is wrong with a configuration, in plain words: where, what, and how to mend it.

A value that came from the environment or stands in a sensitive field is never part of the words.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from types import NoneType
from typing import Any

from pydantic_core import ErrorDetails

from llm_bot.config.environment import Substitution
from llm_bot.config.fields import IN_WORDS, DataPath
from llm_bot.config.keys import closest_key, is_sensitive, keys_beside
from llm_bot.config.yaml_source import Document, Fault, dotted
from llm_bot.errors import Problem

_A_MAPPING = "{found} must be a mapping"
# By pydantic's type of error, where its own message isn't for somebody who writes YAML.
_MESSAGES = {
    "missing": "missing required key",
    "union_tag_not_found": "missing required key",
    "union_tag_invalid": "{found} must be one of {expected_tags}",
    "extra_forbidden": "unknown key, ignored",
    "int_type": "{found} must be a whole number",
    "float_type": "{found} must be a number",
    "bool_type": "{found} must be true or false",
    "string_type": "{found} must be text",
    "tuple_type": "{found} must be a list",
    "dict_type": _A_MAPPING,
    "model_type": _A_MAPPING,
    "model_attributes_type": _A_MAPPING,
}
_SUGGESTIONS = {
    ("model_type", NoneType): "indent its settings under it",
    ("string_type", bool): "put it in quotes",
    ("string_type", int): "put it in quotes",
    ("string_type", float): "put it in quotes",
    ("tuple_type", str): "write a list: [first, second]",
    ("tuple_type", dict): "begin each item with a dash: - ...",
}
# What a word stands for that is an item of these lists.
_FIRST_KEYS = {"channels": "name", "triggers": "type"}
_QUOTED_SCALAR = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?|true|false", re.IGNORECASE)
_MAX_SHOWN = 60
_MISSING = object()


class Explainer:
    """Turns what is wrong with the data of one document into problems."""

    def __init__(self, document: Document, substitution: Substitution) -> None:
        self._document = document
        self._data = substitution.data
        self._names = substitution.names

    def problems(self, faults: Iterable[Fault]) -> list[Problem]:
        """One problem for each path; what follows from a problem further inside is left out."""
        first: dict[DataPath, Fault] = {}
        for fault in faults:
            first.setdefault(fault.path, fault)
        outer = {path[:length] for path in first for length in range(len(path))}
        found = [self._problem(fault) for path, fault in first.items() if path not in outer]
        return sorted(found, key=lambda problem: (problem.line, problem.path))

    def _problem(self, fault: Fault) -> Problem:
        message = fault.message.replace("{found}", self._found(fault.path))
        line = self._document.line(fault.path)
        return Problem(line, dotted(fault.path), message, fault.suggestion)

    def fault(self, error: ErrorDetails) -> Fault:
        """What pydantic said, in other words."""
        path = path_of(error, self._data)
        kind, words = error["type"], error.get("ctx", {})
        if kind == "mismatch":
            path = (*path[:-1], words["field"]) if words["field"] else path
            detail = f": {words['detail']}" if words["detail"] and not self._is_hidden(path) else ""
            return Fault(path, words["message"] + detail, words["suggestion"])
        if kind == "missing":
            return Fault(path, _MESSAGES[kind], self._misspelt(path))
        if kind == "extra_forbidden":
            close = closest_key(path)
            return Fault(path, _MESSAGES[kind], f"did you mean {close}?" if close else "")
        choices = str(words.get("expected_tags", words.get("expected")))
        message = (_MESSAGES.get(kind) or _message(error)).replace("{expected_tags}", choices)
        return Fault(path, message, self._suggestion(path, kind, choices))

    def _misspelt(self, path: DataPath) -> str:
        """Is what is missing there under a name that the section doesn't know?"""
        wanted, known = str(path[-1]), keys_beside(path)
        unknown = [key for key in value_at(self._document.data, path[:-1]) if key not in known]
        close = difflib.get_close_matches(wanted, unknown, n=1, cutoff=0.75)
        return f"{dotted((close[0],))} is unknown, did you mean {wanted}?" if close else ""

    def _suggestion(self, path: DataPath, kind: str, choices: str) -> str:
        value = value_at(self._data, path)
        if (kind, type(value)) in _SUGGESTIONS:
            return _SUGGESTIONS[kind, type(value)]
        if value is None:
            return "leave the key out for its default"
        if not isinstance(value, str) or self._is_hidden(path):
            return ""
        if kind in {"literal_error", "union_tag_invalid"}:
            close = difflib.get_close_matches(value.lower(), re.findall("'(.*?)'", choices), n=1)
            return f"did you mean {close[0]}?" if close else ""
        if kind in {"int_type", "float_type", "bool_type"}:
            return "take the quotes away" if _QUOTED_SCALAR.fullmatch(value.strip()) else ""
        first = _FIRST_KEYS.get(str(path[-2])) if len(path) > 1 else None
        return f"write - {first}: before it" if first else ""

    def _found(self, path: DataPath) -> str:
        value = value_at(self._data, path)
        if path in self._names:
            return f"the value of {', '.join(f'${{{name}}}' for name in self._names[path])}"
        if isinstance(value, list | dict):
            return "the list" if isinstance(value, list) else "the mapping"
        if value is _MISSING or self._is_hidden(path):
            return "the value"
        text = json.dumps(value)
        if isinstance(value, str):
            text = repr(value) if value.isprintable() else ascii(value)
        return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."

    def _is_hidden(self, path: DataPath) -> bool:
        if path in self._names or any(map(is_sensitive, path)):
            return True
        # A bare word in place of a file's name may be the secret, put into the wrong key.
        is_word = not re.search(r"[/.]", str(value_at(self._data, path)))
        return is_word and str(path[-1]).endswith("_file")


def _message(error: ErrorDetails) -> str:
    pattern = error.get("ctx", {}).get("pattern")
    if pattern in IN_WORDS:
        return f"{{found}} must be {IN_WORDS[pattern]}"
    # "Input should be less than or equal to 5", "Tuple should have ... after validation, not 0"
    wanted = error["msg"].partition(" should ")[2].partition(" after validation")[0]
    return f"{{found}} must {wanted}"


def path_of(error: ErrorDetails, data: Any) -> DataPath:
    """Where in the file an error is. pydantic names the kind of a trigger in between."""
    path: DataPath = ()
    loc = error["loc"]
    for at, part in enumerate(loc):
        if at > 1 and loc[at - 2] == "triggers" and value_at(data, (*path, "type")) == part:
            continue
        if not isinstance(value_at(data, path), dict | list):
            break  # the rest names how pydantic reads a free-form value
        path = (*path, part)
    return (*path, "type") if error["type"].startswith("union_tag") else path


def value_at(data: Any, path: DataPath) -> Any:
    """What stands at `path`; an object of its own if there is nothing."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return data
