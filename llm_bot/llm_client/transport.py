"""httpx's requests over aiohttp's connections.

httpx's own pool looks through all its connections at every request; aiohttp's doesn't.
"""

from __future__ import annotations

import asyncio
import base64
import io
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

import aiohttp
import httpx
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection as PooledConnection
from aiohttp.http import HttpProcessingError
from aiohttp.tracing import Trace
from yarl import URL

ProxyFor = Callable[[httpx.URL], httpx.Proxy | None]
MakeTLS = Callable[[], ssl.SSLContext]
_Kinds = type[Exception] | tuple[type[Exception], ...]

_MAX_IDLE = 20
_IDLE_SECONDS = 30
# What a burst leaves idle is mostly taken again at once; what isn't by then is surplus.
_TRIM_AFTER_SECONDS = 1
# aiohttp allows lines of 8 KiB; policies and cookies of real servers are longer.
_MAX_HEADER_BYTES = 64 * 1024
_MAX_ROUTES = 256
# aiohttp sends what is larger in pieces, if asked to, so that the loop isn't held up.
_PIECE_BYTES = 64 * 1024
_BAD_ADDRESS = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)
_BAD_ANSWER = (aiohttp.ClientError, HttpProcessingError)
# The first row that fits counts. Texts are ours: those of aiohttp quote addresses and answers.
_AS_HTTPX: tuple[tuple[_Kinds, type[httpx.TransportError], str], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout, "no connection in time"),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout, "nothing was read in time"),
    (aiohttp.ClientProxyConnectionError, httpx.ProxyError, "no connection to the proxy"),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError, "the proxy refuses"),
    (aiohttp.ClientConnectorError, httpx.ConnectError, "no connection"),
    (aiohttp.ServerFingerprintMismatch, httpx.ConnectError, "another certificate"),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError, "the server hung up"),
    (aiohttp.ClientConnectionError, httpx.ReadError, "the connection broke"),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError, "the answer broke off"),
    (_BAD_ADDRESS, httpx.UnsupportedProtocol, "the address can't be used"),
    (_BAD_ANSWER, httpx.RemoteProtocolError, "the answer isn't HTTP"),
    (TimeoutError, httpx.ConnectTimeout, "no connection in time"),
    (OSError, httpx.ReadError, "the connection broke"),
    (ValueError, httpx.LocalProtocolError, "it can't be sent over HTTP"),
)
_FAILURES = (*_BAD_ANSWER, OSError, ValueError)


class CertificateSettingsError(httpx.TransportError):
    """The certificates that the environment names can't be used."""


@dataclass(frozen=True, slots=True)
class _Route:
    """How an address is reached, in aiohttp's terms."""

    url: URL
    uses_tls: bool
    proxy: URL | None
    request_headers: list[tuple[str, str]]
    proxy_headers: dict[str, str] | None


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Connections for `httpx`, in one pool; has no time-outs, keeps no cookies, never redirects.

    `proxy_for` gives the proxy for an address, None for a direct connection. `make_tls` is called
    in a thread, by the first request that needs it: it takes a megabyte and tens of milliseconds.
    """

    def __init__(self, proxy_for: ProxyFor, make_tls: MakeTLS) -> None:
        self._proxy_for = proxy_for
        self._make_tls = make_tls
        self._tls: ssl.SSLContext | None = None
        self._tls_lock = asyncio.Lock()
        self._routes: dict[tuple[bytes, bytes, int | None, bytes], _Route] = {}
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, its body still to be read. Raises exceptions of httpx only."""
        stream, raw = request.stream, request.headers.raw
        if isinstance(stream, httpx.ByteStream):
            body = b"".join(stream)  # what `aread` gives too, but not as fast
        else:
            body = await request.aread()
            raw = [field for field in raw if field[0].lower() != b"transfer-encoding"]
        try:
            route = self._route(request.url)
            tls = await self._tls_settings() if route.uses_tls else True
            fields = [(name.decode("ascii"), text.decode("ascii")) for name, text in raw]
            answer = await self._open_session().request(
                request.method,
                route.url,
                headers=fields + route.request_headers,
                data=io.BytesIO(body) if len(body) > _PIECE_BYTES else body or None,
                allow_redirects=False,
                ssl=tls,
                proxy=route.proxy,
                proxy_headers=route.proxy_headers,
            )
        except _FAILURES as exc:
            raise as_httpx(exc) from None
        content = answer.content
        is_whole = content.is_eof() and content.exception() is None  # as small answers mostly are
        found = httpx.ByteStream(content.read_nowait()) if is_whole else _Body(answer)
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=found)

    async def aclose(self) -> None:
        """Idempotent; requests under way end in an error."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        """Made with the first request, as aiohttp needs a running loop."""
        if self._session is None:
            if self._is_closed:
                raise httpx.ConnectError("the transport was closed")
            self._session = aiohttp.ClientSession(
                connector=_Pool(),
                timeout=aiohttp.ClientTimeout(),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=_MAX_HEADER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
            )
        return self._session

    def _route(self, url: httpx.URL) -> _Route:
        key = (url.raw_scheme, url.raw_host, url.port, url.raw_path)
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            route = self._routes[key] = _route_to(url, self._proxy_for(url))
        return route

    async def _tls_settings(self) -> ssl.SSLContext:
        async with self._tls_lock:
            if self._tls is None:
                try:
                    self._tls = await asyncio.to_thread(self._make_tls)
                except OSError as exc:
                    text = "the certificates that the environment names can't be used"
                    raise CertificateSettingsError(text) from exc
            return self._tls


class _Body(httpx.AsyncByteStream):
    """The body of an answer as it comes, still compressed if it was."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    # No generator: one that isn't read to its end leaves a task behind.
    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._answer.content.readany()
        except _FAILURES as exc:
            raise as_httpx(exc) from None
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """A connection whose answer wasn't read to its end is closed, as it can't be used again."""
        if not self._answer.content.at_eof():
            self._answer.close()


class _Pool(aiohttp.TCPConnector):
    """aiohttp's connections, with a bound for the idle ones."""

    def __init__(self) -> None:
        # The lookup behind aiohttp's cache of names would outlive the request that began it.
        resolver = aiohttp.ThreadedResolver()
        super().__init__(
            limit=0, keepalive_timeout=_IDLE_SECONDS, use_dns_cache=False, resolver=resolver
        )
        self._idle: dict[asyncio.Transport | None, None] = {}  # the longest idle first
        self._trimming: asyncio.TimerHandle | None = None

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> PooledConnection:
        connection = await super().connect(req, traces, timeout)
        socket = connection.transport
        self._idle.pop(socket, None)
        connection.add_callback(partial(self._rests, socket))
        return connection

    def _rests(self, socket: asyncio.Transport | None) -> None:
        self._idle[socket] = None
        if len(self._idle) > _MAX_IDLE and self._trimming is None:
            self._trimming = asyncio.get_running_loop().call_later(_TRIM_AFTER_SECONDS, self._trim)

    def _trim(self) -> None:
        """Close those that have been idle for longest, as far as they are too many."""
        self._trimming = None
        alive = [socket for socket in self._idle if socket and not socket.is_closing()]
        surplus = max(0, len(alive) - _MAX_IDLE)
        for socket in alive[:surplus]:
            socket.close()
        self._idle = dict.fromkeys(alive[surplus:])


def as_httpx(exc: Exception) -> httpx.TransportError:
    """The exception of httpx that stands for one of aiohttp, of the system or of Python."""
    kind, text = next((kind, text) for its, kind, text in _AS_HTTPX if isinstance(exc, its))
    cause = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc.__cause__
    return kind(f"{text} ({_named(cause or exc)})")


def _named(exc: BaseException) -> str:
    """What is surely no secret: the name of an exception, and what the system says."""
    said = exc.strerror if isinstance(exc, OSError) else None
    return f"{type(exc).__name__}: {said}" if said else type(exc).__name__


def _route_to(url: httpx.URL, proxy: httpx.Proxy | None) -> _Route:
    if url.scheme not in ("http", "https") or not url.host:
        raise httpx.UnsupportedProtocol("it isn't an address of HTTP")
    target = URL(str(url.copy_with(userinfo=b"")), encoded=True)
    uses_tls = url.scheme == "https"
    if proxy is None:
        return _Route(target, uses_tls, None, [], None)
    through = URL(str(proxy.url), encoded=True)
    permit: list[tuple[str, str]] = []
    if proxy.raw_auth is not None:
        token = base64.b64encode(b":".join(proxy.raw_auth)).decode()
        permit.append(("proxy-authorization", f"Basic {token}"))
    if uses_tls:
        return _Route(target, True, through, [], dict(permit))
    return _Route(target, through.scheme == "https", through, permit, None)
