"""Files that a configuration names: found, and where they hold a secret, read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr

from llm_bot.config.environment import Substitution
from llm_bot.config.explain import Explainer
from llm_bot.config.fields import Section
from llm_bot.config.model import Config
from llm_bot.config.yaml_source import DataPath
from llm_bot.errors import Problem

# Keys and credentials are a few hundred bytes; the bound is for a path that leads elsewhere.
_MAX_SECRET_BYTES = 64 * 1024
_SUFFIX = "_file"
_KEY_MATERIAL = frozenset({"credentials_file", "nkey_seed_file"})
_MIN_KEY_MATERIAL = 20
_FOR_HEADERS = frozenset({"api_key", "token"})

_SectionT = TypeVar("_SectionT", bound=Section)


class NamedFiles:
    """The files of one configuration. Making it reads them and makes their paths absolute."""

    def __init__(
        self, data: Any, directory: Path, substitution: Substitution, explain: Explainer
    ) -> None:
        self.problems: list[Problem] = []
        self._secrets: dict[DataPath, str] = {}
        self._key_material: list[str] = []
        self._substitution = substitution
        self._explain = explain
        for section, path in _sections_with_files(data):
            for key, name in section.items():
                if key.endswith(_SUFFIX) and isinstance(name, str) and name.strip():
                    self._take(section, (*path, key), directory / name)

    def _take(self, section: dict[str, Any], path: DataPath, file: Path) -> None:
        key = str(path[-1])
        written = section[key]
        section[key] = str(file)
        try:
            with file.open("rb") as stream:
                content = stream.read(_MAX_SECRET_BYTES + 1)
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "not a file name"
            self._refuse(path, f"{self._named(path, written)}: {reason}", "a file to read")
            return
        if path[:2] == ("nats", "tls"):
            return
        self._keep(path, content, self._named(path, written))

    def _keep(self, path: DataPath, content: bytes, name: str) -> None:
        key = str(path[-1]).removesuffix(_SUFFIX)
        try:
            text = content.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            text = "\0"
        if not text:
            self._refuse(path, f"{name}, which is empty", "a file that holds the secret")
        elif len(content) > _MAX_SECRET_BYTES:
            self._refuse(path, f"{name}, which is over 64 KiB", "a file that holds the secret")
        elif path[-1] in _KEY_MATERIAL:
            self._key_material += _key_lines(text)
        elif not text.isprintable() or (key in _FOR_HEADERS and not text.isascii()):
            self._refuse(path, f"{name}, which isn't one line of plain text", "the secret alone")
        else:
            self._secrets[(*path[:-1], key)] = text

    def _refuse(self, path: DataPath, found: str, expected: str) -> None:
        self.problems.append(self._explain.problem(path, found, expected))

    def _named(self, path: DataPath, name: str) -> str:
        """The file as it may be shown: a bare word may be the secret, put into the wrong key."""
        if path in self._substitution.names:
            return self._explain.description(path, name)
        if "/" in name or "." in name:
            return f"the file {name!r}" if name.isprintable() else f"the file {name!a}"
        return "a file whose name isn't shown, as it could be the secret itself"

    def filled(self, config: Config) -> Config:
        """`config` with the secrets that were read."""
        for path, secret in self._secrets.items():
            config = _replaced(config, path, SecretStr(secret))
        if not self._key_material:
            return config
        nats = config.nats.with_key_material(tuple(self._key_material))
        return config.model_copy(update={"nats": nats})


def _sections_with_files(data: Any) -> Iterator[tuple[dict[str, Any], DataPath]]:
    sections: list[DataPath] = [("nats",), ("nats", "tls"), ("health",), ("llm_api",)]
    fallbacks = _at(data, ("llm_api", "fallbacks"))
    if isinstance(fallbacks, list):
        sections += [("llm_api", "fallbacks", at) for at in range(len(fallbacks))]
    for path in sections:
        section = _at(data, path)
        if isinstance(section, dict):
            yield section, path


def _at(data: Any, path: DataPath) -> Any:
    for part in path:
        if isinstance(part, str) and not isinstance(data, dict):
            return None
        data = data.get(part) if isinstance(part, str) else data[part]
    return data


def _key_lines(text: str) -> list[str]:
    """The lines of a key file that give access: no decoration, no headings."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if len(line) >= _MIN_KEY_MATERIAL and not line.startswith("-")]


def _replaced(section: _SectionT, path: DataPath, value: object) -> _SectionT:
    """A copy of `section` with `value` at `path`."""
    name, rest = str(path[0]), path[1:]
    if rest:
        inner = getattr(section, name)
        if isinstance(rest[0], int):
            items = list(inner)
            items[rest[0]] = _replaced(items[rest[0]], rest[1:], value)
            value = tuple(items)
        else:
            value = _replaced(inner, rest, value)
    return section.model_copy(update={name: value})
