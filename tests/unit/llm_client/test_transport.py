"""Rules of the connections, over real sockets: reuse, bounds, cancellation, proxies, errors."""

from __future__ import annotations

import asyncio
import inspect
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import httpx
import pytest
from aiohttp import client_exceptions
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from llm_bot.llm_client import transport as tested
from llm_bot.llm_client.transport import AiohttpTransport, CertificateSettingsError, as_httpx
from tests.unit.llm_client.scripted_server import PATIENCE_SECONDS, Answer, Reset, Stall

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
KEY = "sk-very-secret-0123456789"


def never() -> ssl.SSLContext:
    raise AssertionError("plain HTTP needs no TLS")


def direct(make_tls: Callable[[], ssl.SSLContext] = never) -> AiohttpTransport:
    return AiohttpTransport(lambda _: None, make_tls)


def to(proxy: httpx.Proxy) -> Callable[[httpx.URL], httpx.Proxy]:
    return lambda _: proxy


async def ask(transport: httpx.AsyncBaseTransport, url: str, **options) -> httpx.Response:
    """One request to its end, as `httpx` itself would send it."""
    request = httpx.Request(options.pop("method", "POST"), url, **options)
    response = await transport.handle_async_request(request)
    try:
        await response.aread()
    finally:
        await response.aclose()
    return response


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.001)


def other_tasks() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


def idle_of(transport: AiohttpTransport) -> list[asyncio.Transport]:
    return list(transport._session.connector._idle)  # type: ignore[union-attr]


def is_ours(task: asyncio.Task[object]) -> bool:
    """Whether a task isn't one of the scripted server, which runs in the same loop."""
    return "RequestHandler" not in repr(task) and "_handle" not in repr(task)


@asynccontextmanager
async def raw_server(
    serve: Serve, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, int]]:
    """A server that does what `serve` says with each connection."""
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


def saying(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return serve


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    made = direct()
    yield made
    await made.aclose()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> str:
    """A file with a key and a certificate for localhost that nobody vouches for."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    with path.open("a") as file:
        file.write((path.parent / "localhost.pem.crt").read_text())
    return str(path)


@pytest.fixture
def server_tls(certificate) -> ssl.SSLContext:
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    settings.load_cert_chain(certificate)
    return settings


async def test_a_connection_is_used_again(server, transport):
    """The next request goes over the same connection."""
    server.script(Answer(200, "one"), Answer(200, "two"))
    assert (await ask(transport, server.url)).text == "one"
    assert (await ask(transport, server.url)).text == "two"
    assert server.open_connections == 1


async def test_what_is_idle_is_bounded(server, transport, monkeypatch):
    """After a burst no more connections stay open than the bound says."""
    monkeypatch.setattr(tested, "_MAX_IDLE", 2)
    monkeypatch.setattr(tested, "_TRIM_AFTER_SECONDS", 0)
    gate = asyncio.Event()
    server.script(*[Answer(200, "ok", gate=gate)] * 6, Answer(200, "later"))
    burst = asyncio.gather(*(ask(transport, server.url) for _ in range(6)))
    await server.wait_for_requests(6)
    assert server.open_connections == 6
    gate.set()
    await burst
    await until(lambda: server.open_connections == 2)
    assert (await ask(transport, server.url)).text == "later"
    assert server.open_connections == 2


async def test_what_is_idle_for_long_is_closed(server, transport, monkeypatch):
    """A connection that nobody takes again doesn't stay open."""
    monkeypatch.setattr(tested, "_IDLE_SECONDS", 0.05)
    server.script(Answer(200, "ok"))
    await ask(transport, server.url)
    await server.wait_for_no_connection()


async def test_a_connection_that_the_server_closed_is_not_used(transport):
    """A server that closes an idle connection makes no error."""
    hung_up = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(OK)(reader, writer)
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    async with raw_server(once) as (host, port):
        for _ in range(3):
            hung_up.clear()
            assert (await ask(transport, f"http://{host}:{port}")).text == "ok"
            await hung_up.wait()
            await until(lambda: all(socket.is_closing() for socket in idle_of(transport)))


async def test_what_is_not_read_to_its_end_is_closed(server, transport):
    """The connection of an answer that was left half-way isn't used again."""
    server.script(Stall((b"begun",)))
    request = httpx.Request("POST", server.url)
    response = await transport.handle_async_request(request)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    assert await anext(aiter(response.stream)) == b"begun"
    await response.aclose()
    await server.wait_for_no_connection()


@pytest.mark.parametrize("pieces", [(), (b"begun",)])
async def test_cancelling_leaves_nothing(server, transport, pieces):
    """Cancelled before the headers or within the body: no connection stays, and no task."""
    server.script(Stall(pieces))
    before = asyncio.all_tasks()
    has_begun = asyncio.Event()

    async def read() -> None:
        response = await transport.handle_async_request(httpx.Request("POST", server.url))
        try:
            async for _ in response.stream:
                has_begun.set()
        finally:
            await response.stream.aclose()

    asking = asyncio.create_task(read())
    await server.wait_for_requests(1)
    if pieces:
        await asyncio.wait_for(has_begun.wait(), PATIENCE_SECONDS)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await server.wait_for_no_connection()
    await until(lambda: not [each for each in asyncio.all_tasks() - before if is_ours(each)])


async def test_cancelling_a_connect_leaves_nothing(transport):
    """Cancelled while the TLS handshake waits: no connection stays, and no task."""
    reached, left = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        while await reader.read(1024):
            pass
        left.set()

    tls = direct(ssl.create_default_context)
    async with raw_server(silent) as (host, port):
        asking = asyncio.create_task(ask(tls, f"https://{host}:{port}"))
        await asyncio.wait_for(reached.wait(), PATIENCE_SECONDS)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.wait_for(left.wait(), PATIENCE_SECONDS)
        await until(lambda: not other_tasks())
    await tls.aclose()


async def test_cancelling_an_upload_leaves_nothing(transport):
    """Cancelled while a large body is sent: no connection stays, and no task."""
    reached, may_read, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reached.set()
        await may_read.wait()
        while await reader.read(65536):
            pass
        left.set()

    async with raw_server(slow) as (host, port):
        body = b"x" * 32_000_000
        asking = asyncio.create_task(ask(transport, f"http://{host}:{port}", content=body))
        await asyncio.wait_for(reached.wait(), PATIENCE_SECONDS)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        may_read.set()
        await asyncio.wait_for(left.wait(), PATIENCE_SECONDS)
        await until(lambda: not other_tasks())


async def test_large_and_streamed_bodies_arrive_whole(server, transport):
    """A body too large for one write arrives as it was, and one that comes in pieces too."""
    large = bytes(range(256)) * 4000

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    server.script(Answer(), Answer())
    await ask(transport, server.url, content=large)
    await ask(transport, server.url, content=pieces())
    assert [each.body for each in server.requests] == [large, b"one two"]


async def test_redirects_are_not_followed_and_cookies_not_kept(server, transport):
    """A redirect is an answer like any other, and what it sets isn't sent back."""
    sets = {"location": "/elsewhere", "set-cookie": "a=b"}
    server.script(Answer(302, "", sets), Answer(200, "ok"))
    assert (await ask(transport, server.url)).status_code == 302
    await ask(transport, server.url)
    assert "cookie" not in server.requests[1].headers
    assert [each.path for each in server.requests] == ["/", "/"]


async def test_odd_headers_are_taken_as_they_are(transport):
    """Headers that come twice, are long or not ASCII are no reason to fail."""
    long = b"l" * 20_000
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: 1\r\nX-A: 2\r\nx-b: \xff\xe9\r\nx-l: %s\r\n"
    )
    async with raw_server(saying(head % long + b"\r\nok")) as (host, port):
        response = await ask(transport, f"http://{host}:{port}")
    assert response.headers.get_list("x-a") == ["1", "2"]
    assert response.headers["x-b"] == "\xff\xe9"
    assert response.headers["x-l"] == long.decode()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"SSH-2.0-OpenSSH_9 " + KEY.encode() + b"\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", httpx.RemoteProtocolError),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nno\r\n",
            httpx.RemoteProtocolError,
        ),
        (b"HTTP/1.1 200 OK\r\nx-l: " + b"l" * 200_000 + b"\r\n\r\n", httpx.RemoteProtocolError),
    ],
)
async def test_answers_that_are_none(transport, answer, kind):
    """What isn't a whole answer of HTTP is a broken protocol, and isn't quoted."""
    async with raw_server(saying(answer)) as (host, port):
        with pytest.raises(httpx.TransportError) as caught:
            await ask(transport, f"http://{host}:{port}")
    assert type(caught.value) is kind
    assert KEY not in str(caught.value)


async def test_a_reset_is_a_broken_connection(server, transport):
    """A connection that is dropped before or within the answer."""
    server.script(Reset(), Reset((b"half",)))
    for _ in range(2):
        with pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)):
            await ask(transport, server.url)


async def test_what_cannot_be_reached(transport, unused_port):
    """A refused connection and a name that doesn't exist say so, in the words of the system."""
    with pytest.raises(httpx.ConnectError, match="Connect call failed"):
        await ask(transport, f"http://127.0.0.1:{unused_port}")
    with pytest.raises(httpx.ConnectError, match="gaierror"):
        await ask(transport, "http://model.invalid")


@pytest.fixture
async def unused_port() -> int:
    async with raw_server(saying(b"")) as (_, port):
        pass
    return port


@pytest.mark.parametrize("url", ["ftp://host/", "ws://host/", "http://", "/path"])
async def test_addresses_that_are_none_of_http(transport, url):
    """Only addresses of HTTP with a host can be asked."""
    with pytest.raises(httpx.UnsupportedProtocol):
        await ask(transport, url)
    with pytest.raises(httpx.UnsupportedProtocol):
        await ask(transport, "http://127.1")  # a short form that hides what it means


@pytest.mark.parametrize("value", [b"new\r\nline", b"\xff"])
async def test_headers_that_cannot_be_sent(server, transport, value):
    """A header that would break the protocol is refused before anything is sent."""
    with pytest.raises(httpx.LocalProtocolError):
        await ask(transport, server.url, headers=[(b"x-key", value)])
    assert server.requests == []


async def test_the_user_of_the_address_is_not_sent(server, transport):
    """Who wants basic authentication sends the header, as with httpx's own transports."""
    server.script(Answer())
    await ask(transport, server.url.replace("//", "//me:hunter22@"))
    assert "authorization" not in server.requests[0].headers


async def test_the_memory_for_addresses_is_bounded(server, transport, monkeypatch):
    """Many addresses are no leak."""
    monkeypatch.setattr(tested, "_MAX_ROUTES", 2)
    server.script(*[Answer()] * 5)
    for number in range(5):
        await ask(transport, f"{server.url}/{number}")
    assert len(transport._routes) == 1
    assert [each.path for each in server.requests] == ["/0", "/1", "/2", "/3", "/4"]


async def test_a_closed_transport_stays_closed(server, transport):
    """It can be closed twice and connects no more; what is under way ends in an error."""
    server.script(Stall())
    asking = asyncio.create_task(ask(transport, server.url))
    await server.wait_for_requests(1)
    await transport.aclose()
    await transport.aclose()
    with pytest.raises(httpx.TransportError):
        await asking
    with pytest.raises(httpx.ConnectError, match="closed"):
        await ask(transport, server.url)


async def test_tls_is_set_up_once(certificate, server_tls):
    """The settings are made by the first requests that need them, once for all."""
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(ssl.create_default_context(cafile=certificate))
        return made[-1]

    transport = direct(make)
    async with raw_server(saying(OK), server_tls) as (_, port):
        asked = [ask(transport, f"https://localhost:{port}") for _ in range(3)]
        assert [each.text for each in await asyncio.gather(*asked)] == ["ok"] * 3
    assert len(made) == 1
    await transport.aclose()


async def test_a_certificate_that_nobody_vouches_for(server_tls):
    """It is an error of the connection that names the reason."""
    transport = direct(ssl.create_default_context)
    async with raw_server(saying(OK), server_tls) as (_, port):
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(transport, f"https://localhost:{port}")
    await transport.aclose()


async def test_tls_with_a_server_that_has_none(server):
    """A plain server behind an https address is an error of the connection."""
    transport = direct(ssl.create_default_context)
    with pytest.raises(httpx.ConnectError, match="SSL"):
        await ask(transport, server.url.replace("http:", "https:"))
    await transport.aclose()


async def test_certificates_that_cannot_be_read(tmp_path):
    """Settings that can't be made are told apart from a server that isn't trusted."""
    (tmp_path / "bad.pem").write_text("nothing")
    transport = direct(lambda: ssl.create_default_context(cafile=tmp_path / "bad.pem"))
    for _ in range(2):
        with pytest.raises(CertificateSettingsError):
            await ask(transport, "https://127.0.0.1:1")
    await transport.aclose()


def tunnel(seen: list[bytes], refusal: bytes = b"") -> Serve:
    """A proxy that opens tunnels, or refuses to."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        if refusal:
            writer.write(refusal)
            await writer.drain()
            return
        host, _, port = seen[-1].split()[1].decode().rpartition(":")
        inner = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, inner[1]), pump(inner[0], writer))

    return serve


async def test_https_goes_through_a_tunnel(certificate, server_tls):
    """The proxy is told the host and its own password, and never the key."""
    seen: list[bytes] = []
    async with (
        raw_server(saying(OK), server_tls) as (_, port),
        raw_server(tunnel(seen)) as (host, proxy_port),
    ):
        proxy = httpx.Proxy(f"http://me:hunter22@{host}:{proxy_port}")
        transport = AiohttpTransport(
            lambda _: proxy, lambda: ssl.create_default_context(cafile=certificate)
        )
        url = f"https://localhost:{port}/v1"
        response = await ask(transport, url, headers={"authorization": KEY})
        await transport.aclose()
    assert response.text == "ok"
    assert seen[0].startswith(f"CONNECT localhost:{port} ".encode())
    assert b"Basic bWU6aHVudGVyMjI=" in seen[0]
    assert KEY.encode() not in seen[0]


async def test_http_through_a_proxy_carries_its_password(server):
    """Without TLS the proxy gets the request itself, with its own password."""
    server.script(Answer(200, "ok"), Answer(200, "ok"))
    address = server.url.replace("//", "//me:hunter22@")
    for text in (address, server.url):
        proxy = httpx.Proxy(text)
        transport = AiohttpTransport(to(proxy), never)
        await ask(transport, "http://model.invalid/v1")
        await transport.aclose()
    first, second = (each.headers for each in server.requests)
    assert first["host"] == "model.invalid"
    assert first["proxy-authorization"] == "Basic bWU6aHVudGVyMjI="
    assert "proxy-authorization" not in second


async def test_a_proxy_that_fails(unused_port):
    """A proxy that refuses or isn't there is named as such, without its password."""
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    async with raw_server(tunnel([], refusal)) as (host, port):
        for where in (f"{host}:{port}", f"127.0.0.1:{unused_port}"):
            proxy = httpx.Proxy(f"http://me:hunter22@{where}")
            transport = AiohttpTransport(to(proxy), ssl.create_default_context)
            with pytest.raises(httpx.ProxyError) as caught:
                await ask(transport, "https://localhost:1/v1")
            assert "hunter22" not in str(caught.value)
            await transport.aclose()


def aiohttp_exceptions() -> list[type[Exception]]:
    return [
        kind
        for _, kind in inspect.getmembers(client_exceptions, inspect.isclass)
        if issubclass(kind, aiohttp.ClientError)
    ]


def sample(kind: type[Exception]) -> Exception:
    """An exception of that kind that holds a key wherever it can."""
    address = URL(f"http://me:{KEY}@host/")
    key = ConnectionKey("host", 80, False, True, address, None, None)
    asked = aiohttp.RequestInfo(address, "GET", {"authorization": KEY}, address)  # type: ignore[arg-type]
    if kind is aiohttp.ClientConnectorCertificateError:
        return aiohttp.ClientConnectorCertificateError(key, ssl.CertificateError("bad"))
    if kind is client_exceptions.UnixClientConnectorError:
        return client_exceptions.UnixClientConnectorError("/path", key, OSError(1, "refused"))
    if issubclass(kind, aiohttp.ClientConnectorError):
        return kind(key, OSError(1, "refused"))
    if issubclass(kind, aiohttp.ServerFingerprintMismatch):
        return kind(b"", b"", "host", 80)
    if issubclass(kind, aiohttp.ClientResponseError):
        return kind(asked, (), status=400, message=KEY)
    return kind(KEY)


@pytest.mark.parametrize("kind", aiohttp_exceptions(), ids=lambda kind: kind.__name__)
def test_every_exception_of_aiohttp_becomes_one_of_httpx(kind: type[Exception]):
    """Whatever aiohttp raises has a place of its own in httpx's terms, and shows no secret."""
    made = as_httpx(sample(kind))
    assert KEY not in str(made)
    assert isinstance(made, httpx.TransportError)
    assert isinstance(made, httpx.TimeoutException) == issubclass(kind, TimeoutError)
    if issubclass(kind, aiohttp.ClientConnectorError):
        assert isinstance(made, (httpx.ConnectError, httpx.ProxyError))


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (TimeoutError(), httpx.ConnectTimeout),
        (ConnectionResetError(104, "reset"), httpx.ReadError),
        (ValueError(KEY), httpx.LocalProtocolError),
        (aiohttp.http.HttpProcessingError(message=KEY), httpx.RemoteProtocolError),
    ],
)
def test_exceptions_of_others_too(raised, kind):
    """What the system, Python or aiohttp's parser raises is translated alike."""
    made = as_httpx(raised)
    assert type(made) is kind
    assert KEY not in str(made)
