"""`llm-bot why`: what is printed, from real answers of a server on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from llm_bot.cli import why
from llm_bot.observability.queries import DecisionFilter, DecisionQueries
from llm_bot.observability.record_view import record_view
from tests.servers import LOOPBACK
from tests.unit.stage import Stage

CONFIG = """
nats: {{servers: ["nats://localhost:4222"]}}
channels: [{{name: lounge}}]
bot: {{username: robbie}}
llm_api: {{base_url: "http://localhost:1/v1", model: any, provider: ollama}}
health: {{port: {port}, token: {token}}}
"""


class Served:
    """A bot that answers /decisions as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.answer: Any = {"decisions": []}
        self.status = 200
        self.port = 0

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/decisions", self._decisions)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, 0).start()
        self.port = runner.addresses[0][1]
        return runner

    async def _decisions(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        text = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        return web.Response(text=text, status=self.status, content_type="application/json")


@pytest.fixture
async def served():
    served = Served()
    runner = await served.start()
    yield served
    await runner.cleanup()


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[..., Path]:
    def write(port: int, token: str = "null") -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(CONFIG.format(port=port, token=token))
        return path

    return write


async def run(path: Path, **changes: Any) -> int:
    """The command, in a thread, so that the server of this loop can answer it."""
    options = {
        "channel": None,
        "last": 20,
        "correlation_id": None,
        "url": None,
        "as_json": False,
        **changes,
    }
    return await asyncio.to_thread(lambda: why.run(path, **options))


async def evening() -> list[dict[str, Any]]:
    """Records of a few lines, newest first."""
    async with Stage("Good evening.", logging={"content": "full"}) as stage:
        stage.say("nice film", user="carol")
        stage.say("hey MyBot, what is this?", user="alice")
        await stage.work()
        stage.say("psst", user="bob", to="MyBot")
        return DecisionQueries(lambda: [stage.room]).decisions(DecisionFilter())


async def test_a_table_that_reads_like_the_chat(served, configuration, capsys, monkeypatch):
    """Oldest first: time, who, outcome, and the sentence, wrapped to the terminal."""
    monkeypatch.setenv("COLUMNS", "70")
    served.answer = {"decisions": await evening()}
    assert await run(configuration(served.port)) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert all(len(line) <= 70 for line in lines)
    starts = [line for line in lines if not line.startswith(" ")]
    assert [line[10:20].strip() for line in starts] == ["carol", "alice", "MyBot", "bob (pm)"]
    assert "no_match" in starts[0]
    assert "replied" in starts[1]
    assert "own_line" in starts[2]
    assert "under way" in starts[3]
    assert "named the bot" in out
    assert served.asked[0].query == {"limit": "20"}


async def test_one_decision_in_full(served, configuration, capsys):
    """With an id: the line, the sentence, every gate with its numbers, and what the reply took."""
    records = await evening()
    served.answer = {"decisions": [records[2]]}
    assert await run(configuration(served.port), correlation_id="the-id") == 0
    out = capsys.readouterr().out
    assert "said: hey MyBot, what is this?" in out
    assert "replied: alice named the bot and got an answer." in out
    assert "passed   max_per_user_per_minute" in out
    assert "fake" in out
    assert "1 attempt" in out
    assert "the room has shown it" in " ".join(out.split())
    assert served.asked[0].query["id"] == "the-id"


async def test_a_gate_that_refused(served, configuration, capsys):
    """The value it was measured against, the window, and when there is room again."""
    async with Stage("a", "b", limits={"max_per_user_per_minute": 1}) as stage:
        stage.say()
        await stage.work()
        refused = stage.say("hey MyBot, again")
        served.answer = {"decisions": [record_view(refused, shows_text=False)]}
    assert await run(configuration(served.port), correlation_id="x") == 0
    out = capsys.readouterr().out
    assert "said:" not in out
    assert "refused  max_per_user_per_minute" in out
    assert "1 of 1 in 60 s, frees in 60 s" in out


async def test_rooms_are_named_where_there_are_several(served, configuration, capsys):
    """A column more, and none where all lines are of one room."""
    records = await evening()
    records[0]["channel"] = "attic"
    served.answer = {"decisions": records}
    assert await run(configuration(served.port), channel="attic", last=3) == 0
    assert "attic" in capsys.readouterr().out
    assert served.asked[0].query == {"channel": "attic", "limit": "3"}


async def test_json_is_passed_on(served, configuration, capsys):
    """What /decisions said, for other programs."""
    served.answer = {"decisions": await evening()}
    assert await run(configuration(served.port), as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == served.answer


async def test_nothing_to_tell(served, configuration, capsys):
    """An empty room is no failure; an id that nobody knows is."""
    assert await run(configuration(served.port)) == 0
    assert await run(configuration(served.port), correlation_id="gone") == 1
    assert capsys.readouterr().out.splitlines() == [
        "nothing was decided yet",
        "no such decision is known",
    ]


async def test_the_token_goes_along(served, configuration):
    """From the configuration, also where --url names the place."""
    path = configuration(served.port, "a-long-secret-token")
    assert await run(path) == 0
    assert await run(path, url=f"http://{LOOPBACK}:{served.port}/") == 0
    assert [each.headers["authorization"] for each in served.asked] == [
        "Bearer a-long-secret-token"
    ] * 2


async def test_a_url_needs_no_configuration(served, tmp_path, capsys):
    """From another machine there is none."""
    url = f"http://{LOOPBACK}:{served.port}"
    assert await run(tmp_path / "none.yaml", url=url) == 0
    assert "Authorization" not in served.asked[0].headers
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("status", "answer", "told"),
    [
        (400, {"error": "no room 'x' is heard"}, "no room 'x' is heard"),
        (401, {}, "wants the token"),
        (404, "nothing", "answered 404, and no decisions"),
        (200, {"other": 1}, "answered 200, and no decisions"),
        (200, "\x1b[31m", "answered 200, and no decisions"),
        (200, {"decisions": None}, "answered 200, and no decisions"),
        (200, {"decisions": ["x"]}, "answered 200, and no decisions"),
        (200, {"decisions": [{}]}, "no decisions of this version"),
        (200, {"decisions": [{"channel": 1, "time": "soon"}]}, "no decisions of this version"),
        (429, "Too many wrong tokens.", "too many wrong tokens"),
    ],
)
async def test_refusals_are_told(served, configuration, capsys, status, answer, told):
    """One line on standard error, and 1."""
    served.status, served.answer = status, answer
    assert await run(configuration(served.port)) == 1
    captured = capsys.readouterr()
    assert told in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


async def test_nobody_there(tmp_path, configuration, capsys):
    """No bot, no usable file, or an address that is none: each says so."""
    assert await run(configuration(1)) == 1
    assert await run(configuration(0)) == 1
    assert await run(tmp_path / "none.yaml") == 1
    assert await run(tmp_path / "none.yaml", url="ftp://somewhere") == 1
    assert await run(tmp_path / "none.yaml", url="http://[") == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 5
    assert "/decisions" in errors[0]
    assert "health.port is 0" in errors[1]
    assert "--url" in errors[2]
    assert "http://" in errors[3]


async def test_control_characters_stay_in_the_record(served, configuration, capsys):
    """A name or a server's word can't draw on the operator's terminal."""
    records = await evening()
    records[0]["user"] = "\x1b[31mred"
    records[0]["sentence"] = "bell \x07 rings"
    served.answer = {"decisions": records}
    assert await run(configuration(served.port)) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
