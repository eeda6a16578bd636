"""What is allowed in a configuration file but hardly meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from llm_bot.config.fields import MIN_SECRET_CHARACTERS, Section
from llm_bot.config.model import Config
from llm_bot.config.yaml_source import DataPath, Document, dotted
from llm_bot.errors import Problem

_MAX_LISTED_KEYS = 8


def unknown_keys(document: Document) -> list[Problem]:
    """A warning for each key that no section has, with the closest one that it does have."""
    return [
        Problem(
            document.line(path),
            dotted(path),
            "an unknown key, which is ignored",
            "a known one",
            _closest(str(path[-1]), sections),
        )
        for path, sections in _unknown(document.data, (), (Config,))
    ]


def doubtful_settings(config: Config, document: Document) -> list[Problem]:
    """Settings that fit each for itself, but hardly what was meant."""
    return [
        Problem(document.line(path), dotted(path), found, expected, suggestion)
        for path, found, expected, suggestion in _doubts(config)
    ]


def _unknown(
    data: Any, path: DataPath, sections: tuple[type[Section], ...]
) -> Iterator[tuple[DataPath, tuple[type[Section], ...]]]:
    if isinstance(data, list):
        for at, item in enumerate(data):
            yield from _unknown(item, (*path, at), sections)
    if not isinstance(data, dict):
        return
    sections = _chosen(sections, data)
    for key, value in data.items():
        owners = [section for section in sections if key in section.model_fields]
        if not owners:
            yield (*path, key), sections
            continue
        inner = tuple(dict.fromkeys(one for owner in owners for one in _sections_of(owner, key)))
        if inner:
            yield from _unknown(value, (*path, key), inner)


def _chosen(sections: tuple[type[Section], ...], data: dict[str, Any]) -> tuple[type[Section], ...]:
    """Of several kinds the one that `type` names; all of them where it names none."""
    if len(sections) < 2:
        return sections
    named = tuple(
        section
        for section in sections
        if data.get("type") in get_args(section.model_fields["type"].annotation)
    )
    return named or sections


@cache
def _sections_of(owner: type[Section], key: str) -> tuple[type[Section], ...]:
    """The models that the value of a field may be made of; none for plain and free-form values."""
    return tuple(dict.fromkeys(_models(owner.model_fields[key].annotation)))


def _models(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _closest(key: str, sections: tuple[type[Section], ...]) -> str:
    known = list(dict.fromkeys(name for section in sections for name in section.model_fields))
    close = difflib.get_close_matches(key.lower(), known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    elsewhere = _homes().get(key)
    if elsewhere:
        return f"did you mean {elsewhere}?"
    return f"known here: {', '.join(known)}" if len(known) <= _MAX_LISTED_KEYS else ""


@cache
def _homes() -> dict[str, str]:
    """For each key that exists in one section only: where it belongs."""
    homes: dict[str, list[str]] = {}
    for path in _all_keys(Config, ""):
        if not path.startswith(("channels", "llm_api.fallbacks", "triggers")):
            homes.setdefault(path.rpartition(".")[2], []).append(path)
    return {key: paths[0] for key, paths in homes.items() if len(paths) == 1}


def _all_keys(section: type[Section], prefix: str) -> Iterator[str]:
    for name in section.model_fields:
        yield f"{prefix}{name}"
        for inner in _sections_of(section, name):
            yield from _all_keys(inner, f"{prefix}{name}.")


def _doubts(config: Config) -> Iterator[tuple[DataPath, str, str, str]]:
    if not any(channel.enabled for channel in config.channels):
        yield ("channels",), "no channel that is enabled", "at least one", ""
    processing = config.response_processing
    if processing.fallback_responses_enabled and not processing.fallback_responses:
        yield (
            ("response_processing", "fallback_responses"),
            "no lines",
            "some, as fallback_responses_enabled is true",
            "",
        )
    template = ("llm_api", "user_prompt_template")
    if "{trigger_message}" not in config.llm_api.user_prompt_template:
        yield template, "no {trigger_message}", "it, or the model doesn't see the line", ""
    if (
        config.llm_api.include_context_in_prompt
        and "{context_window}" not in config.llm_api.user_prompt_template
    ):
        yield template, "no {context_window}", "it, or the model sees no conversation", ""
    for path, secret in _given_secrets(config):
        if len(secret) < MIN_SECRET_CHARACTERS:
            yield (
                path,
                f"a secret of fewer than {MIN_SECRET_CHARACTERS} characters",
                "a longer one",
                "one so short can't be kept out of logs and replies",
            )


def _given_secrets(config: Config) -> Iterator[tuple[DataPath, str]]:
    fields = [
        (("nats", "password"), config.nats.password),
        (("nats", "token"), config.nats.token),
        (("bus", "password"), config.bus.password),
        (("health", "token"), config.health.token),
        (("llm_api", "api_key"), config.llm_api.api_key),
    ]
    for path, secret in fields:
        if secret is not None:
            yield path, secret.get_secret_value()
