"""The one place that knows httpx: what goes out, what comes back, what goes wrong.

httpx speaks over aiohttp's connections (`httpx-aiohttp`), since its own pool gets slow with many.
Requests go to the transport itself: what `httpx.AsyncClient` would add (cookies, redirects,
authentication, a log line with the address) isn't wanted here, and takes as long as the request.
"""

from __future__ import annotations

import os
import ssl
import zlib
from typing import cast
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.adapters import BaseAdapter, HTTPReply, HTTPRequest

MAX_BODY_BYTES = 1024 * 1024
# Most servers close an idle connection after a minute; one that is about to be closed isn't used.
KEEPALIVE_SECONDS = 15.0
# A model on this machine is never behind the proxy that the environment names for the world.
_DIRECT_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_ERRORS = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpx.CookieConflict,
    aiohttp.ClientError,
    OSError,
)

_GZIP, _ZLIB, _BARE = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
# Some servers leave out the frame that "deflate" should have.
_FORMATS = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (_ZLIB, _BARE)}

Transport = httpx.AsyncBaseTransport


class Connection:
    """Opened once, closed for good; has no time-outs of its own."""

    def __init__(self, transport: Transport | None) -> None:
        self._given = transport
        self._transports: dict[str | None, Transport] = {}  # by their proxies
        self._ways: dict[tuple[str, str, int | None], Transport] = {}  # by scheme, host and port
        self._was_opened = False
        self._hosts: set[str] = set()  # that have answered, and so may have kept connections
        self.is_open = False

    def open(self) -> None:
        """Raises `RuntimeError` the second time."""
        if self._was_opened:
            raise RuntimeError("an LLMClient can be entered only once")
        self._was_opened = self.is_open = True

    async def aclose(self) -> None:
        """Idempotent."""
        if not self.is_open:
            return
        self.is_open = False
        for transport in (self._given, *self._transports.values()):
            if transport is not None:
                await transport.aclose()

    async def send(self, outgoing: HTTPRequest, adapter: BaseAdapter) -> HTTPReply:
        """What comes back, as far as the bound of its size; an `LLMError` if nothing does."""
        try:
            return await self._exchange(outgoing, adapter)
        except _ERRORS as exc:
            is_fresh = adapter.config.address not in self._hosts
            if is_fresh or not _was_closed_before_an_answer(exc):
                raise translated(exc, adapter) from exc
        # The server closed a kept connection as we wrote: once more, on another one.
        try:
            return await self._exchange(outgoing, adapter)
        except _ERRORS as exc:
            raise translated(exc, adapter) from exc

    async def _exchange(self, outgoing: HTTPRequest, adapter: BaseAdapter) -> HTTPReply:
        if not self.is_open:
            text = "the client was closed"
            raise errors.ConnectionError(text, provider=adapter.name, retryable=False)
        try:
            request = httpx.Request(
                outgoing.method, outgoing.url, headers=outgoing.headers, content=outgoing.body
            )
        except UnicodeError:
            raise httpx.LocalProtocolError("a header isn't ASCII") from None
        response = await self._transport(request.url, adapter).handle_async_request(request)
        try:
            reply = await _read(response)
            self._hosts.add(adapter.config.address)
            return reply
        finally:
            await response.aclose()

    def _transport(self, url: httpx.URL, adapter: BaseAdapter) -> Transport:
        if self._given is not None:
            return self._given
        way = url.scheme, url.host, url.port
        if way not in self._ways:
            self._ways[way] = self._opened(url, adapter)
        return self._ways[way]

    def _opened(self, url: httpx.URL, adapter: BaseAdapter) -> Transport:
        proxy = _proxy_for(url, adapter)
        found = self._transports.get(proxy)
        if found is None:
            tls = (
                _tls(adapter) if url.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            )
            found = self._transports[proxy] = AiohttpTransport(
                verify=tls,
                proxy=None if proxy is None else httpx.Proxy(proxy),
                client=lambda: _session(tls),
            )
        return found


def _session(tls: ssl.SSLContext) -> aiohttp.ClientSession:
    # How many requests are on the wire is bounded elsewhere, for each provider.
    connector = aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=KEEPALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def _read(response: httpx.Response) -> HTTPReply:
    """The body, up to just beyond the bound however much a packed one swells."""
    headers = _texts(response.headers)
    received = bytearray()
    async for chunk in cast(httpx.AsyncByteStream, response.stream):
        received += chunk
        if len(received) > MAX_BODY_BYTES:
            break
    body = _unpacked(bytes(received), headers.get("content-encoding", "identity"))
    is_cut = len(body) > MAX_BODY_BYTES
    return HTTPReply(response.status_code, headers, b"" if is_cut else body, is_cut)


def _unpacked(body: bytes, packing: str) -> bytes:
    """The body that was packed, although nobody asked for that; up to just beyond the bound."""
    for name in reversed(packing.lower().split(",")):
        if body and len(body) <= MAX_BODY_BYTES and name.strip() != "identity":
            body = _unpacked_once(body, _FORMATS.get(name.strip(), ()))
    return body


def _unpacked_once(body: bytes, formats: tuple[int, ...]) -> bytes:
    for window in formats:
        unpacker = zlib.decompressobj(window)
        try:
            found = unpacker.decompress(body, MAX_BODY_BYTES + 1)
        except zlib.error:
            continue
        if unpacker.eof or len(found) > MAX_BODY_BYTES:
            return found
    raise httpx.DecodingError("it is packed in a way that isn't known, or broken")


def _texts(headers: httpx.Headers) -> dict[str, str]:
    """Names in lower case; what isn't UTF-8 is marked, what comes twice is joined."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("utf-8", "replace")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _tls(adapter: BaseAdapter) -> ssl.SSLContext:
    try:
        context: ssl.SSLContext = httpx.create_ssl_context()
    except (OSError, ValueError) as exc:
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        text = f"the certificates of {name} can't be used: {type(exc).__name__}"
        raise errors.ConfigurationError(text, provider=adapter.name) from None
    return context


def _proxy_for(url: httpx.URL, adapter: BaseAdapter) -> str | None:
    """The proxy that the environment names for `url`; None for a direct way.

    Raises:
        ConfigurationError: It is one that isn't supported.
    """
    settings = getproxies()
    exceptions = {name.strip() for name in settings.get("no", "").split(",")}
    names = (url.host, url.netloc.decode())  # what goes direct may be named with its port
    if url.host in _DIRECT_HOSTS or "*" in exceptions or any(map(proxy_bypass, names)):
        return None
    name = next((scheme for scheme in (url.scheme, "all") if settings.get(scheme)), None)
    if name is None:
        return None
    setting = settings[name] if "://" in settings[name] else f"http://{settings[name]}"
    variable = f"{name.upper()}_PROXY"
    try:
        scheme = httpx.URL(setting).scheme
    except httpx.InvalidURL:
        scheme = ""
    if scheme not in ("http", "https"):
        kind = "SOCKS proxies aren't" if scheme.startswith("socks") else "its kind of proxy isn't"
        text = f"{variable}: {kind} supported; name an HTTP proxy, or except the host in NO_PROXY"
        raise errors.ConfigurationError(text, provider=adapter.name)
    return setting


def _was_closed_before_an_answer(exc: BaseException) -> bool:
    cause = exc.__cause__ or exc
    return isinstance(cause, aiohttp.ServerDisconnectedError | ConnectionResetError) or (
        isinstance(cause, aiohttp.ClientOSError)
        and not isinstance(cause, aiohttp.ClientConnectorError)
    )


def translated(exc: Exception, adapter: BaseAdapter) -> errors.LLMError:
    """The error that stands for an exception of httpx, or of aiohttp below it."""
    cause = exc.__cause__ if isinstance(exc.__cause__, aiohttp.ClientError) else exc
    where = f"{adapter.config.address}: {adapter.fit_to_show(str(exc)) or type(exc).__name__}"
    match cause:
        case httpx.UnsupportedProtocol() | httpx.InvalidURL() | aiohttp.InvalidURL():
            return errors.ConfigurationError(where, field="base_url", provider=adapter.name)
        case httpx.LocalProtocolError():  # its text quotes what can't be sent, a key perhaps
            return errors.ValidationError("can't be sent over HTTP", provider=adapter.name)
        case httpx.DecodingError():
            text = f"can't decompress the answer of {where}"
            return errors.GenerationError(text, provider=adapter.name, code="bad_encoding")
        case httpx.TimeoutException() | aiohttp.ServerTimeoutError():
            return errors.TimeoutError(f"timed out at {where}", provider=adapter.name)
        case httpx.TransportError() | aiohttp.ClientError() | OSError():
            return errors.ConnectionError(f"no answer from {where}", provider=adapter.name)
        case _:
            return errors.GenerationError(
                f"unexpected at {where}", provider=adapter.name, retryable=False, code="unexpected"
            )
