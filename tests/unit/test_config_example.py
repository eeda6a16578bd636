"""config.example.yaml and the models have the same keys and the same defaults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from llm_bot.config import (
    Config,
    LLMProviderConfig,
    LoadedConfig,
    default_triggers,
    differences,
    load_config,
)
from llm_bot.config.fields import Section

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
ENVIRON = {"OPENAI_API_KEY": "sk-0123456789"}
RAW: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())


@pytest.fixture(scope="module")
def loaded() -> LoadedConfig:
    return load_config(EXAMPLE, ENVIRON)


def sections_of(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [one for argument in get_args(annotation) for one in sections_of(argument)]


def pairs(data: Any, section: type[Section], path: str) -> Iterator[tuple[str, Any, type[Section]]]:
    """Every mapping of the file with the model that it belongs to."""
    yield path, data, section
    for name, field in section.model_fields.items():
        value = data.get(name)
        inner = sections_of(field.annotation)
        if not inner or value is None:
            continue
        for item in value if isinstance(value, list) else [value]:
            kinds = [
                one
                for one in inner
                if len(inner) == 1 or item["type"] in get_args(one.model_fields["type"].annotation)
            ]
            yield from pairs(
                item, kinds[0], f"{path}.{item.get('type', name) if len(inner) > 1 else name}"
            )


ALL = list(pairs(RAW, Config, "config"))


@pytest.mark.parametrize(("path", "data", "section"), ALL, ids=[path for path, *_ in ALL])
def test_the_keys_are_those_of_the_model(path, data, section):
    """Every key of the models is in the file, and no other, at every depth."""
    assert set(data) == set(section.model_fields)


def test_every_model_is_shown():
    """Each section and each kind of trigger appears at least once."""
    shown = {section for _, _, section in ALL}

    def all_of(section: type[Section]) -> set[type[Section]]:
        inner = [
            one for field in section.model_fields.values() for one in sections_of(field.annotation)
        ]
        return {section}.union(*(all_of(one) for one in inner))

    assert shown == all_of(Config)


def test_it_is_usable(loaded):
    """The example loads, and warns of nothing but what has no effect yet."""
    assert all("no effect yet" in warning.found for warning in loaded.warnings)


def test_the_values_are_the_defaults(loaded):
    """What the file shows is what a configuration without it has, save for the examples."""
    least = Config.model_validate(
        {
            "nats": {"servers": RAW["nats"]["servers"]},
            "channels": [{"name": "mychannel"}],
            "bot": {"username": "MyBot"},
            "llm_api": {
                "base_url": RAW["llm_api"]["base_url"],
                "model": RAW["llm_api"]["model"],
                "api_key": ENVIRON["OPENAI_API_KEY"],
            },
        }
    )
    changed = {change.path for change in differences(least, loaded.config)}
    assert all(path.startswith(("triggers[", "llm_api.fallbacks[")) for path in changed)


def test_the_default_triggers_are_shown(loaded):
    """The mention and the pm of the file are those that a file without triggers has."""
    assert set(map(repr, default_triggers())) <= set(map(repr, loaded.config.triggers))


def test_the_fallback_shows_the_defaults(loaded):
    """A fallback has the defaults of a provider."""
    (fallback,) = loaded.config.llm_api.fallbacks
    least = LLMProviderConfig(provider="ollama", base_url=fallback.base_url, model=fallback.model)
    assert fallback == least


def test_every_override_is_null():
    """A channel as shown inherits everything."""
    (channel,) = RAW["channels"]
    overrides = set(channel) - {"name", "enabled", "silenced"}
    assert overrides
    assert all(channel[key] is None for key in overrides)
