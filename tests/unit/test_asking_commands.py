"""`llm-bot why` and `llm-bot healthcheck`, from real answers of a server on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from llm_bot.__main__ import main
from llm_bot.cli import running
from llm_bot.observability.queries import DecisionFilter, DecisionQueries
from llm_bot.observability.record_view import record_view
from tests.servers import LOOPBACK, free_port
from tests.unit.stage import Stage

CONFIG = """
nats: {{servers: ["nats://localhost:4222"]}}
channels: [{{name: lounge}}]
bot: {{username: robbie}}
llm_api: {{base_url: "http://localhost:1/v1", model: any, provider: ollama}}
health: {health}
"""
TOKEN = "a-long-secret-token"


class Served:
    """A bot that answers every path as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.answer: Any = {"decisions": []}
        self.status = 200
        self.port = 0

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/{path}", self._answered)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, 0).start()
        self.port = runner.addresses[0][1]
        return runner

    async def _answered(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        text = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        headers = {"Location": "/", "Content-Type": "application/json"}
        return web.Response(text=text, status=self.status, headers=headers)


@pytest.fixture
async def served():
    served = Served()
    runner = await served.start()
    yield served
    await runner.cleanup()


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[..., str]:
    """Writes a configuration with that health section, or that text; returns its path."""

    def write(health: str = "", text: str = "") -> str:
        path = tmp_path / "config.yaml"
        path.write_text(text or CONFIG.format(health=health))
        return str(path)

    return write


@pytest.fixture
def run(served, configuration):
    """Runs a command in a thread, so that the server of this loop can answer it."""

    async def command(*arguments: str, config: str | None = None) -> int:
        path = configuration(f"{{port: {served.port}}}") if config is None else config
        return await asyncio.to_thread(main, [*arguments, "--config", path])

    return command


async def evening() -> list[dict[str, Any]]:
    """Records of a few lines, newest first."""
    async with Stage("Good evening.", logging={"content": "full"}) as stage:
        stage.say("nice film", user="carol")
        stage.say("hey MyBot, what is this?", user="alice")
        await stage.work()
        stage.say("psst", user="bob", to="MyBot")
        return DecisionQueries(lambda: [stage.room]).decisions(DecisionFilter())


async def test_a_table_that_reads_like_the_chat(served, run, capsys, monkeypatch):
    """Oldest first: time, who, outcome, and the sentence, wrapped to the terminal."""
    monkeypatch.setenv("COLUMNS", "70")
    served.answer = {"decisions": await evening()}
    assert await run("why") == 0
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


async def test_one_decision_in_full(served, run, capsys):
    """With an id: the line, the sentence, every gate with its numbers, and what the reply took."""
    records = await evening()
    served.answer = {"decisions": [records[2]]}
    assert await run("why", "--id", "the-id") == 0
    out = capsys.readouterr().out
    assert "said: hey MyBot, what is this?" in out
    assert "replied: alice named the bot and got an answer." in out
    assert "passed   max_per_user_per_minute" in out
    assert "fake" in out
    assert "1 attempt" in out
    assert "the room has shown it" in " ".join(out.split())
    assert served.asked[0].query["id"] == "the-id"


async def test_a_gate_that_refused(served, run, capsys):
    """The value it was measured against, the window, and when there is room again."""
    async with Stage("a", "b", limits={"max_per_user_per_minute": 1}) as stage:
        stage.say()
        await stage.work()
        refused = stage.say("hey MyBot, again")
        served.answer = {"decisions": [record_view(refused, shows_text=False)]}
    assert await run("why", "--id", "x") == 0
    out = capsys.readouterr().out
    assert "said:" not in out
    assert "refused  max_per_user_per_minute" in out
    assert "1 of 1 in 60 s, frees in 60 s" in out


async def test_rooms_are_named_where_there_are_several(served, run, capsys):
    """A column more, and none where all lines are of one room."""
    records = await evening()
    records[0]["channel"] = "attic"
    served.answer = {"decisions": records}
    assert await run("why", "--channel", "attic", "--last", "3") == 0
    assert "attic" in capsys.readouterr().out
    assert served.asked[0].query == {"channel": "attic", "limit": "3"}


async def test_json_is_passed_on(served, run, capsys):
    """What /decisions said, for other programs."""
    served.answer = {"decisions": await evening()}
    assert await run("why", "--json") == 0
    assert json.loads(capsys.readouterr().out) == served.answer


async def test_nothing_to_tell(served, run, capsys):
    """An empty room is no failure; an id that nobody knows is."""
    assert await run("why") == 0
    assert await run("why", "--id", "gone") == 1
    assert capsys.readouterr().out.splitlines() == [
        "nothing was decided yet",
        "no such decision is known",
    ]


async def test_the_token_goes_along(served, run, configuration):
    """From the configuration, also where --url names the place; without one nothing is needed."""
    url = f"http://{LOOPBACK}:{served.port}"
    path = configuration(f"{{port: {served.port}, token: {TOKEN}}}")
    assert await run("why", config=path) == 0
    assert await run("why", "--url", f"{url}/", config=path) == 0
    assert await run("why", "--url", url, config="none.yaml") == 0
    tokens = [each.headers.get("authorization") for each in served.asked]
    assert tokens == [f"Bearer {TOKEN}", f"Bearer {TOKEN}", None]


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
async def test_refusals_are_told(served, run, capsys, status, answer, told):
    """One line on standard error, and 1."""
    served.status, served.answer = status, answer
    assert await run("why") == 1
    captured = capsys.readouterr()
    assert told in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


async def test_nobody_there(run, configuration, capsys):
    """No bot, no usable file, or an address that is none: each says so."""
    assert await run("why", config=configuration(f"{{port: {free_port()}}}")) == 1
    assert await run("why", config=configuration("{port: 0}")) == 1
    for url in ([], ["--url", "ftp://somewhere"], ["--url", "http://["]):
        assert await run("why", *url, config="none.yaml") == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 5
    assert "/decisions" in errors[0]
    assert "health.port is 0" in errors[1]
    assert "--url" in errors[2]
    assert "http://" in errors[3]


async def test_control_characters_stay_in_the_record(served, run, capsys):
    """A name or a server's word can't draw on the operator's terminal."""
    records = await evening()
    records[0]["user"] = "\x1b[31mred"
    records[0]["sentence"] = "bell \x07 rings"
    served.answer = {"decisions": records}
    assert await run("why") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out


# --- healthcheck ---


@pytest.mark.parametrize("host", [LOOPBACK, "localhost", "0.0.0.0"])
async def test_bot_that_answers_is_well(served, run, configuration, capsys, host):
    """200 from /health is exit code 0; a bot that listens everywhere is asked on loopback."""
    path = configuration(f"{{host: {host}, port: {served.port}, token: {TOKEN}}}")
    assert await run("healthcheck", config=path) == 0
    out, err = capsys.readouterr()
    assert out.endswith(f":{served.port}/health: answered 200\n")
    assert err == ""


@pytest.mark.parametrize(
    "broken",
    [
        "llm_api: {model: any, api_key_file: ./gone}",
        "nats: {servers: ['${NOBODY_SET_THIS}']}",
        "triggers: [{type: telepathy}]",
        "channels: none at all",
        "bot: {}\nbot: {}",
    ],
)
async def test_only_the_health_section_matters(served, run, configuration, monkeypatch, broken):
    """A file that a reload would refuse, or a key just being exchanged, doesn't make it unwell."""
    monkeypatch.setenv("BOT_PORT", str(served.port))
    health = "health: {host: 0.0.0.0, port: '${BOT_PORT}', token_file: ./gone}"
    assert await run("healthcheck", config=configuration(text=f"{broken}\n{health}\n")) == 0


@pytest.mark.parametrize("status", [404, 500, 503, 204, 302])
async def test_any_other_answer_is_unwell(served, run, capsys, status):
    """Only 200 counts; a redirection isn't followed."""
    served.status, served.answer = status, ""
    assert await run("healthcheck") == 1
    assert capsys.readouterr().err == f"http://{LOOPBACK}:{served.port}/health: answered {status}\n"


async def test_proxy_of_the_environment_is_not_asked(run, monkeypatch):
    """`http_proxy` has no say about an address of this machine."""
    monkeypatch.setenv("http_proxy", f"http://{LOOPBACK}:{free_port()}")
    assert await run("healthcheck") == 0


@pytest.mark.parametrize(
    ("host", "shown"), [(LOOPBACK, LOOPBACK), ("'::'", "[::1]"), ("'[::]'", "[::1]")]
)
async def test_bot_that_is_not_there_is_unwell(run, configuration, capsys, host, shown):
    """Nobody listening is exit code 1 and one line that names the address."""
    health = f"{{host: {host}, port: {free_port()}, token: {TOKEN}}}"
    assert await run("healthcheck", config=configuration(health)) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"http://{shown}:")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", ""),
        (b"garbage\x1b[2J\r\n\r\n", ""),
        (b"HTTP/1.1 abc\r\n\r\n", ""),
        (None, "no answer within 0.1 s"),
    ],
)
async def test_answer_that_is_not_http_is_unwell(
    run, configuration, capsys, monkeypatch, answer, told
):
    """Another program on the port, or one that says nothing, is one line, fit for a terminal."""
    monkeypatch.setattr(running, "TIMEOUT_SECONDS", 0.1 if answer is None else 30)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await reader.read()  # to the end, which is when the other side has given up
        else:
            writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(handle, LOOPBACK, 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await run("healthcheck", config=configuration(f"{{port: {port}}}")) == 1
    err = capsys.readouterr().err
    assert err.removesuffix("\n").isprintable()
    assert told in err


@pytest.mark.parametrize(
    ("health", "reason"),
    [
        ("{enabled: false}", "health.enabled is false"),
        ("{port: 0}", "health.port is 0"),
        ("{port: many}", "not usable"),
        ("{port: '${NOBODY_SET_THIS}'}", "not usable"),
        ("nowhere", "not usable"),
        ("{host: 0.0.0.0}", "not usable"),
        ("{", "not usable"),
        (f"{{host: a..b, port: 1, token: {TOKEN}}}", "http://a..b:1/health: "),
    ],
)
async def test_configuration_that_names_no_address_is_unwell(
    run, configuration, capsys, health, reason
):
    """Where there is nothing to ask, exit code 1 and one line say why."""
    assert await run("healthcheck", config=configuration(health)) == 1
    err = capsys.readouterr().err
    assert reason in err
    assert err.count("\n") == 1
