"""Rules of the edge to httpx: every exception translated, the environment honoured."""

from __future__ import annotations

import gzip
import inspect
import json
import logging
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any

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
from llm_bot.llm_client.adapters import HTTPReply, HTTPRequest, get_adapter
from llm_bot.llm_client.connection import MAX_BODY_BYTES, Connection
from tests.unit.llm_client.scripted_server import Answer, Flood, Reset, chat, chat_body
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


def packed(data: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        data = gzip.compress(data, mtime=0)  # the time would get into the ids of tests
    return data


def framed(data: bytes, window: int) -> bytes:
    packer = zlib.compressobj(wbits=window)
    return packer.compress(data) + packer.flush()


class Pieces(httpx.AsyncByteStream):
    """A body that comes byte by byte, as from a transport that isn't ours."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number in range(len(self.body)):
            yield self.body[number : number + 1]

    async def aclose(self) -> None:
        self.is_closed = True


async def sent(transport: httpx.AsyncBaseTransport | None, **changes: Any) -> HTTPReply:
    """What `send` gives back for one request."""
    connection = Connection(transport)
    connection.open()
    outgoing = {"method": "POST", "url": "http://host/v1", "headers": {}, "body": b"{}"} | changes
    try:
        return await connection.send(HTTPRequest(**outgoing), get_adapter(config()))
    finally:
        await connection.aclose()


def answering(body: bytes, **headers: str) -> httpx.MockTransport:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.MockTransport(
        lambda _: httpx.Response(200, headers=named, stream=httpx.ByteStream(body))
    )


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("identity", b"small"),
        ("gzip", packed(b"small")),
        ("X-GZIP", packed(b"small")),
        ("deflate", framed(b"small", zlib.MAX_WBITS)),
        ("deflate", framed(b"small", -zlib.MAX_WBITS)),
        ("gzip, gzip", packed(b"small", times=2)),
    ],
)
async def test_packed_answers_are_read(coding, body):
    """Whatever the standard library unpacks is read, from any transport."""
    assert (await sent(answering(body, content_encoding=coding))).body == b"small"
    pieces = Pieces(body)
    headers = {"content-encoding": coding}
    response = httpx.Response(200, headers=headers, stream=pieces)
    assert (await sent(httpx.MockTransport(lambda _: response))).body == b"small"
    assert pieces.is_closed


@pytest.mark.parametrize(
    ("coding", "body"),
    [("br", b"small"), ("gzip", b"small"), ("gzip", packed(b"small")[:-1]), ("deflate", b"\xff")],
)
async def test_what_cannot_be_unpacked(coding, body):
    """An unknown packing, a broken one and half of one are errors of the answer."""
    with pytest.raises(GenerationError) as caught:
        await sent(answering(body, content_encoding=coding))
    assert caught.value.code == "bad_encoding"


@pytest.mark.parametrize(("coding", "times"), [("gzip", 1), ("gzip, gzip", 2), ("br, gzip", 1)])
async def test_a_bomb_is_cut(server, coding, times):
    """However much an answer swells, no more of it is unpacked than the bound."""
    bomb = packed(bytes(50_000_000), times)
    server.script(Answer(200, bomb, {"content-encoding": coding}))
    tracemalloc.start()
    reply = await sent(None, url=server.url)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reply.is_cut
    assert reply.body == b""
    assert peak < 8 * MAX_BODY_BYTES


async def test_an_answer_without_end_is_cut(server):
    """Beyond the bound nothing is read, and the connection is closed."""
    server.script(Flood())
    connection = Connection(None)
    connection.open()
    outgoing = HTTPRequest("POST", server.url, {}, b"{}")
    assert (await connection.send(outgoing, get_adapter(config()))).is_cut
    await server.wait_for_no_connection()
    await connection.aclose()


async def test_an_answer_of_just_the_bound_is_whole(server):
    """The bound itself isn't beyond it."""
    server.script(Answer(200, b"x" * MAX_BODY_BYTES), Answer(200, b"x" * (MAX_BODY_BYTES + 1)))
    reply = await sent(None, url=server.url)
    assert (len(reply.body), reply.is_cut) == (MAX_BODY_BYTES, False)
    assert (await sent(None, url=server.url)).is_cut


async def test_headers_of_answers_are_texts():
    """Names in lower case, what comes twice joined, what isn't UTF-8 marked."""
    raw = [(b"X-A", b"1"), (b"x-a", b"2"), (b"X-B", b"\xff"), (b"X-C", "é".encode())]
    response = httpx.Response(200, headers=raw, stream=httpx.ByteStream(b""))
    reply = await sent(httpx.MockTransport(lambda _: response))
    assert reply.headers == {"x-a": "1, 2", "x-b": "\ufffd", "x-c": "é"}


async def test_what_goes_out_is_whole(server):
    """A request carries host and length, and one without a body has no length."""
    server.script(Answer(), Answer())
    await sent(None, url=server.url, headers={"x-a": "1"})
    await sent(None, url=server.url, method="GET", body=b"")
    first, second = (each.headers for each in server.requests)
    assert first["host"] == second["host"] == server.url.removeprefix("http://")
    assert (first["content-length"], first["x-a"]) == ("2", "1")
    assert "content-length" not in second


async def test_a_header_that_is_not_ascii():
    """It can't be sent, and isn't quoted."""
    with pytest.raises(ValidationError) as caught:
        await sent(answering(b""), headers={"x-key": f"{KEY}é"})
    assert KEY not in "".join(traceback.format_exception(caught.value))


async def test_certificates_of_the_environment(server, monkeypatch, tmp_path):
    """They are read by the first https request only, and told apart when they are no good."""
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(bad))
    server.script(Answer(200, "plain"))
    assert (await sent(None, url=server.url)).body == b"plain"
    with pytest.raises(ConfigurationError, match="certificates"):
        await sent(None, url=server.url.replace("http:", "https:"))
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ConnectionError, match="SSL"):
        await sent(None, url=server.url.replace("http:", "https:"))


@pytest.mark.parametrize(
    "excepted", ["model.invalid", ".invalid", "x, model.invalid:8080", "x, *", "*"]
)
async def test_hosts_that_the_environment_excepts(server, monkeypatch, excepted):
    """What `NO_PROXY` names is asked directly; nothing else is."""
    url = "http://model.invalid:8080/"
    monkeypatch.setenv("all_proxy", server.url)
    monkeypatch.setenv("no_proxy", "other.invalid,del.invalid,model.invalid:80")
    server.script(Answer(200, "by the proxy"))
    assert (await sent(None, url=url)).body == b"by the proxy"
    monkeypatch.setenv("no_proxy", excepted)
    with pytest.raises(ConnectionError, match=r"model\.invalid:8080"):
        await sent(None, url=url)


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
    ("name", "value", "words"),
    [
        ("https_proxy", "nonsense://proxy", "HTTPS_PROXY"),
        ("all_proxy", "socks5://me:hunter22@proxy:1080", "SOCKS proxies aren't supported"),
        ("https_proxy", "http://proxy:port", "HTTPS_PROXY"),
        ("SSL_CERT_FILE", "/nowhere/at/all.pem", "SSL_CERT_FILE"),
    ],
)
async def test_a_bad_environment_is_a_configuration_error(server, monkeypatch, name, value, words):
    """The variable is named where a request would use it; what nobody uses isn't judged."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=words) as caught:
        await sent(None, url="https://model.invalid/v1")
    assert "hunter22" not in "".join(traceback.format_exception(caught.value))
    server.script(Answer(200, "direct"))
    assert (await sent(None, url=server.url)).body == b"direct"


async def test_a_kept_connection_that_was_closed(server):
    """The server closes it as we write: once more on another, which is no attempt (LLM-22)."""
    server.script(chat("one"), Reset(), chat("two"))
    async with LLMClient(config(base_url=f"{server.url}/v1", max_attempts=1)) as client:
        assert (await client.generate(request())).content == "one"
        response = await client.generate(request())
    assert (response.content, response.attempts, len(server.requests)) == ("two", 1, 3)


async def test_secrets_are_nowhere(server, caplog):
    """Neither errors, causes, tracebacks, reprs nor logs show key, headers or password."""
    caplog.set_level(logging.INFO)  # httpcore's DEBUG shows what headers the server sends
    caplog.set_level(logging.DEBUG, "llm_bot")
    secrets = (KEY, "hunter22", "header-secret-1")
    address = server.url.replace("http://", "http://me:hunter22@")
    made = config(
        base_url=f"{address}/v1",
        extra_headers={"x-token": "header-secret-1"},
        max_attempts=9,
        breaker_failures=20,
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
    client = LLMClient(made, clock=ManualClock(), rng=lambda: 0.0, on_attempt=heard.append)
    async with client:
        with pytest.raises(LLMError) as caught:
            await client.generate(request())
    error = caught.value
    shown = "".join(traceback.format_exception(error))
    shown += f"{error!r} {vars(error)} {client!r} {made!r} {heard} {caplog.text}"
    shown += " ".join(str(vars(record)) for record in caplog.records)
    assert error.attempts == 7  # the reset one is repeated at once
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
    """With several providers, each one's last error is kept, and any hope makes it retryable
    (LLM-8).
    """
    first = TimeoutError("slow", provider="openai")
    second = ValidationError("bad", provider="ollama", status=400)
    error = tree.AllProvidersFailedError(errors=[first, second])
    assert error.errors == (first, second)
    assert str(error) == "openai: slow; ollama: bad (HTTP 400)"
    assert error.retryable
    assert not tree.AllProvidersFailedError(errors=[second]).retryable
