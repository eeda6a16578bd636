"""Configurations that pages show, whole ones and parts, as files that the loader can judge."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from llm_bot.config import Config
from llm_bot.config.loader import LoadedConfig, load_config
from tests.docs.markdown import Block

MINIMAL: dict[str, Any] = {
    "nats": {"servers": ["nats://localhost:4222"]},
    "channels": [{"name": "lounge"}],
    "bot": {"username": "MyBot"},
    "llm_api": {"provider": "ollama", "base_url": "http://localhost:11434/v1", "model": "m"},
}
SECRET = "value-0123456789"
PORT = "8081"


def documents(block: Block) -> list[Any]:
    """What a block of YAML says; of an indented one only if it is a provider's settings."""
    if block.language in {"yaml", "yml"}:
        return list(yaml.safe_load_all(block.text))
    if not block.language and block.text.startswith("provider:"):
        return [{"llm_api": yaml.safe_load(block.text)}]
    return []


def is_configuration(document: Any) -> bool:
    """Whether it is one of the bot's, or a part of one: other files have other keys on top."""
    return isinstance(document, dict) and not Config.model_fields.keys().isdisjoint(document)


def judged(document: Mapping[str, Any], directory: Path) -> LoadedConfig:
    """What the loader says of it, in `directory`, where all files and variables that it names are.

    What a part leaves out is that of a minimal one. A provider that names address and model is
    taken whole, so that a missing key shows.
    """
    whole = {**MINIMAL, **document}
    for name, least in MINIMAL.items():
        part = document.get(name)
        if isinstance(part, dict) and not {"base_url", "model"} <= part.keys():
            whole[name] = {**least, **part}
    path = directory / "config.yaml"
    text = yaml.safe_dump(_with_files(whole, directory), sort_keys=False)
    path.write_text(text, encoding="utf-8")
    names = re.findall(r"\$\{(\w+)\}", text)
    return load_config(path, {name: PORT if "PORT" in name else SECRET for name in names})


def _with_files(value: Any, directory: Path) -> Any:
    """`value`, with every file that it names being one that is there."""
    if isinstance(value, list):
        return [_with_files(each, directory) for each in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, each in value.items():
        if str(key).endswith("_file") and isinstance(each, str):
            (directory / "named").write_text(SECRET, encoding="utf-8")
            found[key] = "named"
        else:
            found[key] = _with_files(each, directory)
    return found
