"""`llm-bot healthcheck`, against servers on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from llm_bot.cli import healthcheck, running
from tests.servers import LOOPBACK, free_port

CONFIG = """
nats: {{servers: ["nats://localhost:4222"]}}
channels: [{{name: lounge}}]
bot: {{username: robbie}}
llm_api: {{base_url: "http://localhost:1/v1", model: any, provider: openai, api_key: sk-0123456789}}
health: {health}
"""

Serve = Callable[[web.StreamResponse], Awaitable[int]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server whose /health answers as given; returns its port."""
    runners: list[web.AppRunner] = []

    async def start(response: web.StreamResponse) -> int:
        async def health(_request: web.Request) -> web.StreamResponse:
            return response

        app = web.Application()
        app.router.add_get("/health", health)
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        site = web.TCPSite(runners[-1], LOOPBACK, 0)
        await site.start()
        port: int = runners[-1].addresses[0][1]
        return port

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[[str], Path]:
    def write(health: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(CONFIG.format(health=health))
        return path

    return write


async def run(path: Path) -> int:
    """The command, in a thread, so that servers of this loop can answer it."""
    return await asyncio.to_thread(healthcheck.run, path)


@pytest.mark.parametrize("host", [LOOPBACK, "localhost", "0.0.0.0"])
async def test_bot_that_answers_is_well(
    serve: Serve,
    configuration: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    host: str,
) -> None:
    """200 from /health is exit code 0; a bot that listens everywhere is asked on loopback."""
    port = await serve(web.json_response({"status": "healthy"}))
    path = configuration(f"{{host: {host}, port: {port}, token: 0123456789}}")
    assert await run(path) == 0
    out, err = capsys.readouterr()
    assert out.endswith(f":{port}/health: answered 200\n")
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
async def test_only_the_health_section_matters(serve: Serve, tmp_path: Path, broken: str) -> None:
    """A file that a reload would refuse, or a key just being exchanged, doesn't make it unwell."""
    port = await serve(web.Response())
    path = tmp_path / "config.yaml"
    health = f"{{host: 0.0.0.0, port: {port}, token_file: ./gone}}"
    path.write_text(f"{broken}\nhealth: {health}\n")
    assert await run(path) == 0


async def test_port_of_the_environment(
    serve: Serve, configuration: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`${NAME}` is filled in, as a number where one is wanted."""
    monkeypatch.setenv("BOT_PORT", str(await serve(web.Response())))
    assert await run(configuration("{port: '${BOT_PORT}'}")) == 0


@pytest.mark.parametrize("status", [404, 500, 503, 204, 302])
async def test_any_other_answer_is_unwell(
    serve: Serve,
    configuration: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    status: int,
) -> None:
    """Only 200 counts; a redirection isn't followed."""
    port = await serve(web.Response(status=status, headers={"Location": "/"}))
    assert await run(configuration(f"{{port: {port}}}")) == 1
    assert capsys.readouterr().err == f"http://{LOOPBACK}:{port}/health: answered {status}\n"


async def test_proxy_of_the_environment_is_not_asked(
    serve: Serve, configuration: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`http_proxy` has no say about an address of this machine."""
    monkeypatch.setenv("http_proxy", f"http://{LOOPBACK}:{free_port()}")
    port = await serve(web.Response())
    assert await run(configuration(f"{{port: {port}}}")) == 0


@pytest.mark.parametrize(
    ("host", "shown"), [(LOOPBACK, LOOPBACK), ("'::'", "[::1]"), ("'[::]'", "[::1]")]
)
def test_bot_that_is_not_there_is_unwell(
    configuration: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    host: str,
    shown: str,
) -> None:
    """Nobody listening is exit code 1 and one line that names the address."""
    port = free_port()
    assert healthcheck.run(configuration(f"{{host: {host}, port: {port}, token: 0123456789}}")) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"http://{shown}:{port}/health: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("answer", [b"", b"garbage\x1b[2J\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
async def test_answer_that_is_not_http_is_unwell(
    configuration: Callable[[str], Path], capsys: pytest.CaptureFixture[str], answer: bytes
) -> None:
    """Another program on the port is exit code 1 and one line, fit for a terminal."""

    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(handle, LOOPBACK, 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await run(configuration(f"{{port: {port}}}")) == 1
    err = capsys.readouterr().err
    assert err.removesuffix("\n").isprintable()


async def test_silence_is_unwell(
    configuration: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bot that takes the connection and says nothing isn't waited for."""
    monkeypatch.setattr(running, "TIMEOUT_SECONDS", 0.1)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # to the end, which is when the other side has given up
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(handle, LOOPBACK, 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await run(configuration(f"{{port: {port}}}")) == 1
    expected = f"http://{LOOPBACK}:{port}/health: no answer within 0.1 s\n"
    assert capsys.readouterr().err == expected


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
        ("{host: a..b, port: 1, token: 0123456789}", "http://a..b:1/health: "),
    ],
)
def test_configuration_that_names_no_address_is_unwell(
    configuration: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    health: str,
    reason: str,
) -> None:
    """Where there is nothing to ask, exit code 1 and one line say why."""
    assert healthcheck.run(configuration(health)) == 1
    err = capsys.readouterr().err
    assert reason in err
    assert err.count("\n") == 1
