"""What README.md says of settings and exit codes is so. Its links, commands and configurations are
looked at with those of all pages."""

from __future__ import annotations

import asyncio
import os
import re
import sys

import pytest
from pydantic import BaseModel

from llm_bot.config import Config
from tests.docs.configurations import MINIMAL, documents, is_configuration
from tests.docs.exit_codes import EXIT_CODES
from tests.docs.markdown import ROOT, blocks, inline_code
from tests.unit.llm_client.scripted_server import ScriptedServer, chat

PAGE = ROOT / "README.md"
README = PAGE.read_text(encoding="utf-8")
SETTINGS = re.findall(r"^\| `([a-z_.]+)` \| (.+?) \| .+ \|$", README, re.MULTILINE)


def test_there_is_something_to_check():
    """The patterns of this module still find what they look for."""
    assert len(SETTINGS) > 5


def test_it_shows_a_whole_configuration():
    """One can start with what it shows: at least one block is whole as it stands."""
    shown = [document for block in blocks(PAGE) for document in documents(block)]
    assert any(is_configuration(each) and set(MINIMAL) <= set(each) for each in shown)


def test_the_first_commands_are_named():
    """Watching it, testing it, checking and asking it."""
    code = "\n".join([*(block.text for block in blocks(PAGE)), *inline_code(PAGE)])
    assert all(one in code for one in ("make demo", "make test", "llm-bot check", "llm-bot why"))


@pytest.mark.parametrize(("path", "default"), SETTINGS)
def test_the_settings_exist_and_have_the_default_shown(path, default):
    """Defaults in code marks are compared; the others are described in words."""
    value: object = Config.model_validate(MINIMAL)
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


PARTS = [block.text for block in blocks(PAGE) if block.language == "python"]
ADDRESS = "http://localhost:11434/v1"


@pytest.mark.parametrize("number", range(len(PARTS)))
async def test_each_part_can_be_used_as_shown(number, tmp_path):
    """The examples run as they stand, but for the address of the model server."""
    async with ScriptedServer() as server:
        server.script(chat("The Lighthouse."))
        script = tmp_path / "example.py"
        script.write_text(PARTS[number].replace(ADDRESS, f"{server.url}/v1"), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(script),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    assert printed.strip()


def test_there_is_an_example_of_each_part():
    """Client, bus, agents, measures."""
    assert len(PARTS) == 4


def test_the_exit_codes_are_those_of_the_program():
    """Every code of the program is in the table, and no other."""
    table = README.partition("## Exit codes")[2].partition("\n## ")[0]
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert told == EXIT_CODES
