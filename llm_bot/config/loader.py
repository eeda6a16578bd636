"""A configuration file, read and checked: `load_config`.

The way of a file: YAML with its lines, `${NAME}` filled in from the environment, then the models,
which read the files that it names. Problems of all steps are gathered and raised together.

A value that is one `${NAME}` and nothing else may stand for a number or for true/false too: where
such a field gets `port: ${PORT}`, plain decimal digits and `true` or `false` count as what they
say. Everything else that comes from the environment is text and stays text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from llm_bot.config.environment import Substitution, as_number_or_flag
from llm_bot.config.explain import Explainer, path_of, value_at
from llm_bot.config.fields import DataPath, Section
from llm_bot.config.lint import doubtful_settings
from llm_bot.config.model import Config
from llm_bot.config.secret_files import Origin
from llm_bot.config.sections import HealthConfig
from llm_bot.config.triggers import SINGLE_TRIGGERS
from llm_bot.config.yaml_source import MAX_CHARACTERS, Document, Fault, UnusableError, read_yaml
from llm_bot.errors import ConfigError, Problem

_ModelT = TypeVar("_ModelT", bound=Section)
# What a variable may stand for, by pydantic's type of error.
_WANTED: Mapping[str, tuple[type, ...]] = {
    "int_type": (int,),
    "float_type": (int, float),
    "bool_type": (bool,),
}


@dataclass(frozen=True)
class LoadedConfig:
    """A checked configuration, what is doubtful about it, and the file that it came from."""

    config: Config
    warnings: tuple[Problem, ...]
    source: str


class ConfigFileError(ConfigError):
    """A file that can't be used; `warnings` says what else is doubtful about it."""

    def __init__(
        self, source: str, problems: Sequence[Problem], warnings: Sequence[Problem] = ()
    ) -> None:
        super().__init__(source, problems)
        self.warnings = tuple(warnings)


def load_config(path: Path, environ: Mapping[str, str]) -> LoadedConfig:
    """Read and check a file.

    Raises:
        ConfigFileError: It can't be used: every problem, in the file's order.
    """
    document = _document(path)
    substitution = Substitution(document.data, environ)
    explain = Explainer(document, substitution)
    origin = Origin(path.absolute().parent, environ)
    config, refused, unknown = _validated(Config, substitution, explain, origin)
    duplicates = _duplicates(substitution.data)
    problems = explain.problems([*document.faults, *substitution.faults, *duplicates, *refused])
    if config is None or problems:
        raise ConfigFileError(str(path), problems, explain.problems(unknown))
    warnings = explain.problems([*unknown, *doubtful_settings(config)])
    return LoadedConfig(config, tuple(warnings), str(path))


class _HealthAlone(Section):
    health: HealthConfig = Field(default_factory=HealthConfig)


def load_health(path: Path, environ: Mapping[str, str]) -> HealthConfig:
    """Where the bot of `path` listens, whatever is wrong in other sections. No other file is read.

    Raises:
        ConfigFileError: That can't be known.
    """
    document = _document(path)
    data = {key: value for key, value in document.data.items() if key == "health"}
    substitution = Substitution(data, environ)
    explain = Explainer(document, substitution)
    alone, refused, _ = _validated(_HealthAlone, substitution, explain, None)
    problems = explain.problems([*substitution.faults, *refused])
    if alone is None or problems:
        raise ConfigFileError(str(path), problems)
    return alone.health


def not_a_file(path: Path) -> ConfigFileError:
    """The error for what can't be read a second time."""
    return ConfigFileError(str(path), [Problem(1, "", "not a file that can be read again")])


def _document(path: Path) -> Document:
    try:
        return read_yaml(_text(path))
    except UnusableError as exc:
        problem = exc.problem
    raise ConfigFileError(str(path), [problem])


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(4 * MAX_CHARACTERS + 1)
    except FileNotFoundError:
        hint = "write one, see README.md, or name one with --config"
        raise UnusableError(1, "no such file", hint) from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a file name"
        raise UnusableError(1, f"can't be read: {reason}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise UnusableError(line, "not UTF-8 text") from None


def _validated(
    model: type[_ModelT], substitution: Substitution, explain: Explainer, origin: Origin | None
) -> tuple[_ModelT | None, list[Fault], list[Fault]]:
    """What the model makes of the data, what it refuses, and keys that it doesn't know.

    It is asked again without unknown keys, and with numbers and flags of the environment as such.
    """
    unknown: list[Fault] = []
    while True:
        try:
            return model.model_validate(substitution.data, context=origin), [], unknown
        except ValidationError as exc:
            errors = exc.errors(include_url=False, include_input=False)
        faults = [explain.fault(error) for error in errors]
        mended = [_mend(error, substitution) for error in errors]
        unknown += [
            fault
            for fault, error in zip(faults, errors, strict=True)
            if error["type"] == "extra_forbidden"
        ]
        if not any(mended):
            return None, faults, unknown


def _mend(error: ErrorDetails, substitution: Substitution) -> bool:
    path = path_of(error, substitution.data)
    parent = value_at(substitution.data, path[:-1])
    if error["type"] == "extra_forbidden":
        del parent[path[-1]]
        return True
    if path not in substitution.whole or error["type"] not in _WANTED:
        return False
    value = as_number_or_flag(parent[path[-1]])
    if type(value) not in _WANTED[error["type"]]:
        return False
    parent[path[-1]] = value
    return True


def _duplicates(data: Any) -> Iterator[Fault]:
    """Names and triggers that may come only once.

    Not a matter of the models, which look at a list as a whole only where every item is sound.
    """
    for path in _repeated(data, ("channels",), "name"):
        yield Fault(path, "duplicate channel name {found}")
    channels = value_at(data, ("channels",))
    rooms = range(len(channels)) if isinstance(channels, list) else ()
    for triggers in [("triggers",), *(("channels", at, "triggers") for at in rooms)]:
        for path in _repeated(data, triggers, "type"):
            if value_at(data, path) in SINGLE_TRIGGERS:
                yield Fault(path, "duplicate trigger of type {found}")


def _repeated(data: Any, path: DataPath, key: str) -> Iterator[DataPath]:
    """Where the items of a list have a text under `key` that comes before, capitals aside."""
    items = value_at(data, path)
    seen = set()
    for at in range(len(items)) if isinstance(items, list) else ():
        text = value_at(data, (*path, at, key))
        if isinstance(text, str):
            if text.lower() in seen:
                yield (*path, at, key)
            seen.add(text.lower())
