"""`llm-bot models`, against servers on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_bot.cli import models
from tests.unit.llm_client.scripted_server import Answer, ScriptedServer

KEY = "sk-0123456789"


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration of one provider, with what a test says else."""

    def write(url: str, *, rooms: str = "[{name: lounge}]", fallbacks: str = "[]") -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(
            f"""
nats: {{servers: ["nats://localhost:4222"]}}
channels: {rooms}
bot: {{username: robbie}}
llm_api:
  base_url: {url}/v1
  model: small
  api_key: {KEY}
  fallbacks: {fallbacks}
"""
        )
        return path

    return write


def listed(*names: str) -> Answer:
    return Answer(body={"data": [{"id": name, "object": "model"} for name in names]})


async def run(path: Path) -> int:
    """The command, in a thread, so that servers of this loop can answer it."""
    return await asyncio.to_thread(models.run, path)


async def test_a_configured_model_is_marked(configuration, capsys):
    """The list is sorted, the configured model has a star, and the key went out."""
    async with ScriptedServer() as server:
        server.script(listed("small", "large"))
        assert await run(configuration(server.url)) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"openai  {server.url}/v1",
        "    large",
        "  * small",
        "  (* is asked for)",
    ]
    assert server.requests[0].path == "/v1/models"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_models_that_are_not_there_are_named(configuration, capsys):
    """The provider's model and a room's own are both looked for; one missing is exit code 1."""
    async with ScriptedServer() as server:
        server.script(listed("small"))
        path = configuration(server.url, rooms="[{name: lounge, llm_model: huge}, {name: attic}]")
        assert await run(path) == 1
    assert "  ! huge  is asked for, and isn't listed" in capsys.readouterr().out.splitlines()


async def test_each_provider_has_its_own_part(configuration, capsys):
    """A fallback is listed under its unique name; one that doesn't answer says why."""
    async with ScriptedServer() as server, ScriptedServer() as second:
        server.script(Answer(401, {"error": {"message": f"wrong key {KEY}"}}))
        second.script(listed("tiny:latest"))
        fallbacks = json.dumps([{"provider": "ollama", "base_url": second.url, "model": "tiny"}])
        assert await run(configuration(server.url, fallbacks=fallbacks)) == 1
    out = capsys.readouterr().out
    first, other = out.split("\n\n")
    assert first.splitlines() == [
        f"openai  {server.url}/v1",
        "  no list: wrong key *** (HTTP 401)",
    ]
    assert other.splitlines() == [
        f"ollama  {second.url}",
        "  * tiny:latest",
        "  (* is asked for)",
    ]


async def test_a_server_without_a_list_is_not_blamed(configuration, capsys):
    """An empty list says nothing about what the server has."""
    async with ScriptedServer() as server:
        server.script(Answer(body={"data": []}))
        assert await run(configuration(server.url)) == 0
    assert "lists no models" in capsys.readouterr().out


async def test_long_lists_are_cut(configuration, capsys):
    """Beyond 200 models the rest is counted; names can't draw on the terminal."""
    async with ScriptedServer() as server:
        names = [f"m{number:03}" for number in range(300)]
        server.script(listed("a\x1b[31m", "small", *names))
        assert await run(configuration(server.url)) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "  and 102 more" in out.splitlines()


async def test_a_file_that_is_not_usable(tmp_path, capsys):
    """One line on standard error that says which command tells more."""
    path = tmp_path / "config.yaml"
    path.write_text("nats: 1")
    assert await run(path) == 1
    assert "llm-bot check" in capsys.readouterr().err
