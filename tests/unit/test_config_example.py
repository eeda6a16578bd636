"""config.example.yaml and the models have the same keys and the same defaults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def sections(data: Any, value: object) -> Iterator[tuple[Any, type[Section]]]:
    """Every mapping of the file with the model that was made of it."""
    if isinstance(value, Section):
        yield data, type(value)
        for name in type(value).model_fields:
            yield from sections(data.get(name), getattr(value, name))
    elif isinstance(value, tuple) and isinstance(data, list):
        for item, one in zip(data, value, strict=True):
            yield from sections(item, one)


def kinds(section: type[Section]) -> Iterator[type[Section]]:
    for kind in section.__subclasses__():
        yield from [kind, *kinds(kind)]


def test_the_keys_are_those_of_the_models(loaded):
    """Every key of every model is in the file, and no other; each kind of trigger is there, too."""
    assert loaded.warnings == ()
    shown = set()
    for data, section in sections(RAW, loaded.config):
        assert set(data) == set(section.model_fields), section
        shown.add(section)
    assert shown == {
        kind for kind in kinds(Section) if not kind.__name__.startswith(("_", "SectionWith"))
    }


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
