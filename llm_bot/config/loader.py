"""A configuration file, read and checked: `load_config`.

The way of a file: YAML with its lines, `${NAME}` filled in from the environment, files with
secrets read, then the models. Problems of all steps are gathered and raised together.

A value that is one `${NAME}` and nothing else may stand for a number or for true/false too: where
such a field gets `port: ${PORT}`, plain decimal digits and `true` or `false` count as what they
say. Everything else that comes from the environment is text and stays text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from llm_bot.config.diff import NEEDS_RESTART, FieldChange, differences
from llm_bot.config.environment import Substitution, as_number_or_flag, substitute
from llm_bot.config.explain import Explainer, located
from llm_bot.config.fields import Section, repeated
from llm_bot.config.lint import doubtful_settings, unknown_keys
from llm_bot.config.model import REPEATED_CHANNEL, Config, LLMProviderConfig
from llm_bot.config.secret_files import NamedFiles
from llm_bot.config.sections import HealthConfig
from llm_bot.config.triggers import SINGLE_TRIGGERS, repeated_trigger
from llm_bot.config.yaml_source import (
    MAX_CHARACTERS,
    DataPath,
    read_yaml,
)
from llm_bot.errors import WHOLE_FILE, ConfigError, Problem

__all__ = [
    "NEEDS_RESTART",
    "ConfigFileError",
    "FieldChange",
    "LoadedConfig",
    "differences",
    "load_config",
    "load_health",
]

_ModelT = TypeVar("_ModelT", bound=Section)
_VISION_VARIABLE = "VISION_MODEL"
_WANTED: dict[str, type | tuple[type, ...]] = {
    "int_type": int,
    "float_type": (int, float),
    "bool_type": bool,
}


class LoadedConfig(msgspec.Struct, frozen=True):
    """A checked configuration, what is doubtful about it, and the file that it came from."""

    config: Config
    warnings: tuple[Problem, ...]
    source: str


class ConfigFileError(ConfigError):
    """A file that can't be used; `warnings` says what else is doubtful about it."""

    def __init__(
        self, source: str, problems: Sequence[Problem], warnings: Sequence[Problem]
    ) -> None:
        super().__init__(source, problems)
        self.warnings = tuple(warnings)


def load_config(path: Path, environ: Mapping[str, str]) -> LoadedConfig:
    """Read and check `path`. Raises `ConfigFileError` with every problem, in the file's order."""
    source = str(path)
    document = read_yaml(_text_of(path))
    if document.data is None:
        raise ConfigFileError(source, document.problems, ())
    substitution = substitute(document.data, environ)
    explain = Explainer(document, substitution.data, substitution.names)
    problems = list(document.problems)
    problems += [explain.problem(*fault) for fault in substitution.faults]
    files = NamedFiles(substitution.data, path.absolute().parent, substitution, explain)
    problems += files.problems
    problems += [explain.problem(*repetition) for repetition in _repetitions(substitution.data)]
    config, errors = _validated(substitution, Config)
    problems += _new(explain.problems(errors), problems)
    if config is None or problems:
        raise ConfigFileError(source, _in_order(problems), unknown_keys(document))
    config = _with_vision_model(files.filled(config), environ)
    warnings = [
        *unknown_keys(document),
        *doubtful_settings(config, document),
    ]
    return LoadedConfig(config, tuple(_in_order(warnings)), source)


class _HealthAlone(Section):
    health: HealthConfig = Field(default_factory=HealthConfig)


def load_health(path: Path, environ: Mapping[str, str]) -> HealthConfig:
    """Where the bot of `path` listens, whatever is wrong in other sections. No file is read.

    Raises `ConfigFileError` where that can't be known.
    """
    document = read_yaml(_text_of(path))
    if document.data is None:
        raise ConfigFileError(str(path), document.problems, ())
    data = {key: value for key, value in document.data.items() if key == "health"}
    substitution = substitute(data, environ)
    alone, _ = _validated(substitution, _HealthAlone)
    if alone is None or substitution.faults:
        raise ConfigFileError(str(path), document.problems, ())
    return alone.health


def not_a_file(path: Path) -> ConfigFileError:
    """The error for what can't be read a second time."""
    problem = Problem(
        1, WHOLE_FILE, "something that is no file", "a file, which can be read again", "restart it"
    )
    return ConfigFileError(str(path), [problem], ())


def _text_of(path: Path) -> str:
    def refuse(found: str, expected: str, suggestion: str) -> ConfigError:
        problem = Problem(1, WHOLE_FILE, found, expected, suggestion)
        return ConfigFileError(str(path), [problem], ())

    expected = "a configuration file"
    try:
        with path.open("rb") as stream:
            content = stream.read(4 * MAX_CHARACTERS + 1)
    except FileNotFoundError:
        raise refuse(
            "no such file", expected, "write one, see README.md, or name one with --config"
        ) from None
    except IsADirectoryError:
        raise refuse("a directory", expected, "name the file in it with --config") from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a file name"
        raise refuse(
            f"a file that can't be read ({reason})", expected, "mind its owner and its mode"
        ) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        problem = Problem(line, WHOLE_FILE, "bytes that aren't UTF-8", "text in UTF-8", "save so")
        raise ConfigFileError(str(path), [problem], ()) from None


def _validated(
    substitution: Substitution, model: type[_ModelT]
) -> tuple[_ModelT | None, list[ErrorDetails]]:
    """The models' judgement, asked again once values of the environment are numbers and flags."""
    config, errors = _judged(substitution.data, model)
    if errors and _convert(substitution, errors):
        return _judged(substitution.data, model)
    return config, errors


def _judged(data: Any, model: type[_ModelT]) -> tuple[_ModelT | None, list[ErrorDetails]]:
    try:
        return model.model_validate(data), []
    except ValidationError as exc:
        return None, exc.errors(include_url=False, include_input=False)


def _convert(substitution: Substitution, errors: list[ErrorDetails]) -> bool:
    """Turn what is one `${NAME}` where a number or flag is wanted into one; true if any was."""
    converted = False
    for error in errors:
        wanted = _WANTED.get(error["type"])
        path, _, _ = located(error["loc"])
        if wanted is None or path not in substitution.whole:
            continue
        parent = substitution.data
        for part in path[:-1]:
            parent = parent[part]
        value = as_number_or_flag(parent[path[-1]])
        if isinstance(value, wanted) and (wanted is bool) is isinstance(value, bool):
            parent[path[-1]] = value
            converted = True
    return converted


def _new(candidates: list[Problem], known: list[Problem]) -> list[Problem]:
    """The candidates that say more than what is known, at the same place or inside of it."""
    return [
        candidate
        for candidate in candidates
        if not any(
            problem.path == candidate.path or problem.path.startswith(f"{candidate.path}[")
            for problem in known
        )
    ]


def _repetitions(data: Any) -> Iterator[tuple[DataPath, str, str, str]]:
    """Names and triggers that may come only once.

    The models look too, but only where every item is sound; here they are told along with what
    is wrong with the items.
    """
    channels = _items(data, "channels")
    names = [name.lower() if isinstance(name, str) else None for name in _each(channels, "name")]
    for at in repeated(names):
        yield ("channels", at, "name"), *REPEATED_CHANNEL, ""
    lists: list[tuple[DataPath, Any]] = [((), data)]
    lists += [(("channels", at), channel) for at, channel in enumerate(channels)]
    for path, owner in lists:
        kinds = [
            kind if isinstance(kind, str) and kind in SINGLE_TRIGGERS else None
            for kind in _each(_items(owner, "triggers"), "type")
        ]
        for at in repeated(kinds):
            yield (*path, "triggers", at, "type"), *repeated_trigger(str(kinds[at]))


def _items(owner: Any, key: str) -> list[Any]:
    items = owner.get(key) if isinstance(owner, dict) else None
    return items if isinstance(items, list) else []


def _each(items: list[Any], key: str) -> list[Any]:
    return [item.get(key) if isinstance(item, dict) else None for item in items]


def _with_vision_model(config: Config, environ: Mapping[str, str]) -> Config:
    """`config` with the variable VISION_MODEL where an mlx provider names no model itself."""
    vision_model = environ.get(_VISION_VARIABLE, "").strip()

    def seeing(provider: LLMProviderConfig) -> dict[str, str]:
        wanted = provider.provider == "mlx" and provider.vision_model is None and vision_model
        return {"vision_model": vision_model} if wanted else {}

    fallbacks = tuple(
        fallback.model_copy(update=seeing(fallback)) for fallback in config.llm_api.fallbacks
    )
    update = {**seeing(config.llm_api), "fallbacks": fallbacks}
    return config.model_copy(update={"llm_api": config.llm_api.model_copy(update=update)})


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.path))
