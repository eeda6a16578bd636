"""What README.md says can be done works as it says, as far as a test can tell."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from pydantic import BaseModel

from llm_bot import __main__ as command_line
from llm_bot.cli import run
from llm_bot.config import Config
from llm_bot.config_loader import load_config
from llm_bot.shutdown_handler import EXIT_FORCED

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
YAML = [
    textwrap.dedent(block)
    for _, block in re.findall(r"^( *)```yaml\n(.*?)^\1```", README, re.DOTALL | re.MULTILINE)
]
ENVIRON = {"OPENAI_API_KEY": "sk-0123456789"}
SETTINGS = re.findall(r"^\| `([a-z_.]+)` \| (.+?) \| .+ \|$", README, re.MULTILINE)
COMMANDS = set(re.findall(r"\bllm-bot ([a-z]+)\b", README))


def least_config() -> Config:
    return Config.model_validate(
        {
            "nats": {"servers": ["nats://localhost:4222"]},
            "channels": [{"name": "lounge"}],
            "bot": {"username": "MyBot"},
            "llm_api": {"provider": "ollama", "base_url": "http://localhost", "model": "m"},
        }
    )


def test_there_is_something_to_check():
    """The patterns of this module still find what they look for."""
    assert len(YAML) == 2
    assert len(SETTINGS) > 5
    assert {"check", "healthcheck"} <= COMMANDS


@pytest.mark.parametrize("block", YAML)
def test_a_configuration_is_usable_as_it_stands(block, tmp_path):
    """Each block passes the check without a warning, like `llm-bot check --strict`."""
    path = tmp_path / "config.yaml"
    path.write_text(block)
    assert not load_config(path, ENVIRON).warnings


def test_the_targets_of_make_exist():
    """Each `make target` is one of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", README, re.MULTILINE))
    assert {"demo", "test", "setup"} <= named <= targets


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_commands_exist(command):
    """Each `llm-bot command` is one of the program."""
    assert (ROOT / "llm_bot" / "cli" / f"{command}.py").is_file()


def test_links_lead_somewhere():
    """Each link names a file that exists."""
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target.partition("#")[0]).is_file(), target


@pytest.mark.parametrize(("path", "default"), SETTINGS)
def test_the_settings_exist_and_have_the_default_shown(path, default):
    """Defaults in code marks are compared; the others are described in words."""
    value: object = least_config()
    for name in path.split("."):
        assert isinstance(value, BaseModel)
        assert name in type(value).model_fields
        value = getattr(value, name)
    if default.startswith("`"):
        assert default == f"`{as_yaml(value)}`"


def as_yaml(value: object) -> str:
    """A default as the file would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_the_exit_codes_are_those_of_the_program():
    """Every code of the program is in the table, and no other."""
    table = README.partition("## Exit codes")[2].partition("\n## ")[0]
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert told == {
        run.EXIT_OK,
        run.EXIT_CONFIG,
        run.EXIT_NO_BUS,
        run.EXIT_FAILED,
        command_line.EXIT_FAILURE,
        command_line.EXIT_USAGE,
        command_line.EXIT_INTERRUPTED,
        command_line.EXIT_NO_READER,
        EXIT_FORCED,
    }
