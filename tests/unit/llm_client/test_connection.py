"""Rules of the edge to httpx: every exception translated, the environment honoured."""

from __future__ import annotations

import gzip
import inspect
import traceback
import tracemalloc
import zlib
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
from tests.unit.llm_client.scripted_server import Answer
from tests.unit.llm_client.support import KEY, config, request

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
    async with LLMClient(made, transport=transport) as client:
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


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # the time would get into the ids of tests


async def sent(transport: httpx.AsyncBaseTransport | None, **changes: Any) -> HTTPReply:
    """What `send` gives back for one request."""
    connection = Connection(get_adapter(config()), transport)
    outgoing = {"method": "POST", "url": "http://host/v1", "headers": {}, "body": b"{}"} | changes
    try:
        return await connection.send(HTTPRequest(**outgoing))
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
        ("deflate", zlib.compress(b"small")),
        ("gzip", b""),
    ],
)
async def test_packed_answers_are_read(coding, body):
    """The client asks for no compression, and still reads what comes compressed."""
    expected = b"small" if body else b""
    assert (await sent(answering(body, content_encoding=coding))).body == expected


@pytest.mark.parametrize(
    ("coding", "body"),
    [("br", b"small"), ("gzip", b"small"), ("gzip", packed(b"small")[:-1]), ("deflate", b"\xff")],
)
async def test_what_cannot_be_unpacked(coding, body):
    """An unknown packing, a broken one and half of one are errors of the answer."""
    with pytest.raises(GenerationError) as caught:
        await sent(answering(body, content_encoding=coding))
    assert caught.value.code == "bad_encoding"


async def test_a_bomb_is_cut(server):
    """However much an answer swells, no more of it is unpacked than the bound."""
    server.script(Answer(200, packed(bytes(50_000_000)), {"content-encoding": "gzip"}))
    tracemalloc.start()
    reply = await sent(None, url=server.url)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (reply.is_cut, reply.body) == (True, b"")
    assert peak < 8 * MAX_BODY_BYTES


async def test_headers_of_answers_are_texts():
    """Names in lower case, what comes twice joined."""
    raw = [(b"X-A", b"1"), (b"x-a", b"2"), (b"X-B", b"\xff"), (b"X-C", "é".encode())]
    response = httpx.Response(200, headers=raw, stream=httpx.ByteStream(b""))
    reply = await sent(httpx.MockTransport(lambda _: response))
    assert (reply.headers["x-a"], set(reply.headers)) == ("1, 2", {"x-a", "x-b", "x-c"})


async def test_what_goes_out_is_whole(server):
    """A request carries host and length and asks for no compression; one without a body has no
    length.
    """
    server.script(Answer(), Answer())
    await sent(None, url=server.url, headers=get_adapter(config()).build_models().headers)
    await sent(None, url=server.url, method="GET", body=b"")
    first, second = (each.headers for each in server.requests)
    assert first["host"] == second["host"] == server.url.removeprefix("http://")
    assert (first["content-length"], first["accept-encoding"]) == ("2", "identity")
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


async def test_proxies_of_the_environment(server, monkeypatch):
    """They are for the world, not for a model on this machine."""
    monkeypatch.setenv("http_proxy", server.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.script(Answer(200, "through the proxy"), Answer(200, "direct"))
    assert (await sent(None, url="http://model.invalid/v1")).body == b"through the proxy"
    assert server.requests[0].headers["host"] == "model.invalid"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await sent(None, url=server.url)).body == b"direct"


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
