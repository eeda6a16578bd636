"""Rules of the edge to httpx: every exception translated, the environment honoured."""

from __future__ import annotations

import gzip
import inspect
import json
import logging
import traceback

import httpx
import pytest

from llm_bot.llm_client import (
    ConfigurationError,
    ConnectionError,
    GenerationError,
    LLMClient,
    LLMError,
    TimeoutError,
    ValidationError,
)
from llm_bot.llm_client import exceptions as tree
from tests.unit.llm_client.scripted_server import Answer, Reset, chat, chat_body
from tests.unit.llm_client.support import KEY, ManualClock, config, request

ASKED = httpx.Request("POST", "http://host/v1")
TRANSLATIONS = {
    "CloseError": ConnectionError,
    "ConnectError": ConnectionError,
    "ConnectTimeout": TimeoutError,
    "CookieConflict": GenerationError,
    "DecodingError": GenerationError,
    "HTTPError": GenerationError,
    "HTTPStatusError": GenerationError,
    "InvalidURL": ConfigurationError,
    "LocalProtocolError": ValidationError,
    "NetworkError": ConnectionError,
    "PoolTimeout": TimeoutError,
    "ProtocolError": ConnectionError,
    "ProxyError": ConnectionError,
    "ReadError": ConnectionError,
    "ReadTimeout": TimeoutError,
    "RemoteProtocolError": ConnectionError,
    "RequestError": GenerationError,
    "RequestNotRead": GenerationError,
    "ResponseNotRead": GenerationError,
    "StreamClosed": GenerationError,
    "StreamConsumed": GenerationError,
    "StreamError": GenerationError,
    "TimeoutException": TimeoutError,
    "TooManyRedirects": GenerationError,
    "TransportError": ConnectionError,
    "UnsupportedProtocol": ConfigurationError,
    "WriteError": ConnectionError,
    "WriteTimeout": TimeoutError,
}
RETRYABLE = {ConnectionError, TimeoutError}


def httpx_exceptions() -> dict[str, type[Exception]]:
    return {
        name: kind
        for name, kind in inspect.getmembers(httpx, inspect.isclass)
        if issubclass(kind, Exception)
    }


def sample(kind: type[Exception], text: str = "some text") -> Exception:
    """An exception of that kind, whatever its constructor asks for."""
    if kind is httpx.HTTPStatusError:
        return httpx.HTTPStatusError(text, request=ASKED, response=httpx.Response(500))
    if "message" in inspect.signature(kind).parameters:
        return kind(text)
    return kind()


def raising(exc: Exception) -> httpx.MockTransport:
    def handle(_: httpx.Request) -> httpx.Response:
        raise exc

    return httpx.MockTransport(handle)


async def failure(transport: httpx.AsyncBaseTransport, **changes) -> LLMError:
    made = config(max_attempts=1, **changes)
    async with LLMClient(made, clock=ManualClock(), transport=transport) as client:
        with pytest.raises(LLMError) as caught:
            await client.generate(request())
    return caught.value


def test_every_exception_of_httpx_is_in_the_table():
    """A new exception of httpx has to be given a place."""
    assert set(httpx_exceptions()) == set(TRANSLATIONS)


@pytest.mark.parametrize("name", sorted(TRANSLATIONS))
async def test_every_exception_of_httpx_is_translated(name):
    """Whatever httpx raises becomes one of ours, with the original as its cause."""
    original = sample(httpx_exceptions()[name])
    error = await failure(raising(original))
    assert type(error) is TRANSLATIONS[name]
    assert error.__cause__ is original
    assert error.provider == "openai"
    assert error.attempts == 1
    if type(error) in RETRYABLE:
        assert error.retryable


async def test_what_cannot_be_sent_is_not_quoted():
    """The text of a header that HTTP refuses may be the key: it isn't shown."""
    error = await failure(raising(httpx.LocalProtocolError(f"Illegal header value b'{KEY}'")))
    assert KEY not in str(error)


async def test_the_text_of_a_broken_connection_is_masked():
    """What httpx says is shown, without secrets; a silent exception shows its name."""
    error = await failure(raising(httpx.ConnectError(f"no way to {KEY}")))
    assert "http://127.0.0.1:9/v1: no way to ***" in str(error)
    assert "ReadError" in str(await failure(raising(httpx.ReadError(""))))


async def test_a_compressed_answer_is_not_asked_for_but_read():
    """The client asks for no compression, and still reads what comes compressed."""
    seen: list[str] = []

    def handle(received: httpx.Request) -> httpx.Response:
        seen.append(received.headers["accept-encoding"])
        packed = gzip.compress(json.dumps(chat_body("small")).encode())
        return httpx.Response(200, content=packed, headers={"content-encoding": "gzip"})

    async with LLMClient(config(), transport=httpx.MockTransport(handle)) as client:
        assert (await client.generate(request())).content == "small"
    assert seen == ["identity"]


async def test_this_machine_is_never_asked_through_a_proxy(server, monkeypatch):
    """A proxy of the environment is for the world, not for a model on this machine."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.script(chat("direct"))
    async with LLMClient(config(base_url=f"{server.url}/v1")) as client:
        assert (await client.generate(request())).content == "direct"


async def test_a_proxy_of_the_environment_is_used(server, monkeypatch):
    """Any other host is asked through the proxy that the environment names."""
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.script(chat("through the proxy"))
    async with LLMClient(config(base_url="http://model.invalid/v1")) as client:
        assert (await client.generate(request())).content == "through the proxy"
    assert server.requests[0].headers["host"] == "model.invalid"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("https_proxy", "nonsense://proxy"),
        ("https_proxy", "http://proxy:port"),
        ("SSL_CERT_FILE", "/nowhere/at/all.pem"),
    ],
)
async def test_a_bad_environment_is_a_configuration_error(monkeypatch, name, value):
    """Settings of the environment that can't be used are said so, and the client can be closed."""
    monkeypatch.setenv(name, value)
    client = LLMClient(config())
    with pytest.raises(ConfigurationError, match="environment"):
        await client.__aenter__()
    await client.aclose()


async def test_secrets_are_nowhere(server, caplog):
    """Neither errors, causes, tracebacks, reprs nor logs show key, headers or password."""
    caplog.set_level(logging.INFO)  # httpcore's DEBUG shows what headers the server sends
    caplog.set_level(logging.DEBUG, "llm_bot")
    secrets = (KEY, "hunter22", "header-secret-1")
    address = server.url.replace("http://", "http://me:hunter22@")
    made = config(
        base_url=f"{address}/v1", extra_headers={"x-token": "header-secret-1"}, max_attempts=9
    )
    echo = " ".join(secrets)
    server.script(
        Answer(500, {"error": {"message": echo}}),
        Answer(503, echo),
        Reset(),
        Answer(200, f"<html>{echo}"),
        Answer(200, {"error": echo}),
        Answer(200, "{", {"content-type": f"text/{KEY}"}),
        chat("", finish_reason=echo),
        Answer(401, {"detail": echo}),
    )
    heard: list[object] = []
    client = LLMClient(made, clock=ManualClock(), chance=lambda: 0.0, on_attempt=heard.append)
    async with client:
        with pytest.raises(LLMError) as caught:
            await client.generate(request())
    error = caught.value
    shown = "".join(traceback.format_exception(error))
    shown += f"{error!r} {vars(error)} {client!r} {made!r} {heard} {caplog.text}"
    shown += " ".join(str(vars(record)) for record in caplog.records)
    assert error.attempts == 8
    assert "llm.retry" in caplog.text
    for secret in secrets:
        assert secret not in shown


def test_every_error_has_the_same_attributes():
    """Each exception of the tree can be made from a text alone and has a code of its own."""
    kinds = [
        kind for _, kind in inspect.getmembers(tree, inspect.isclass) if issubclass(kind, LLMError)
    ]
    codes = set()
    for kind in kinds:
        error = kind("why")
        assert (error.provider, error.status, error.retry_after) == ("", None, None)
        assert (error.attempts, error.attempt_log) == (0, ())
        assert isinstance(error.retryable, bool)
        assert error.outcome in ("timeout", "rate_limited", "error", "rejected")
        codes.add(error.code)
    assert len(codes) == len(kinds) == 11


def test_all_failed_holds_the_errors_in_order():
    """With several providers, each one's last error is kept, and any hope makes it retryable."""
    first = TimeoutError("slow", provider="openai")
    second = ValidationError("bad", provider="ollama", status=400)
    error = tree.AllProvidersFailedError(errors=[first, second])
    assert error.errors == (first, second)
    assert str(error) == "openai: slow; ollama: bad (HTTP 400)"
    assert error.retryable
    assert not tree.AllProvidersFailedError(errors=[second]).retryable
