"""The one place that knows httpx: what goes out, what comes back, what goes wrong.

httpx speaks over aiohttp's connections (`httpx-aiohttp`), since its own pool gets slow with many.
Requests go to the transport itself: what `httpx.AsyncClient` would add (cookies, redirects,
authentication, a log line with the address) isn't wanted here, and takes as long as the request.
"""

from __future__ import annotations

import os
import ssl
import zlib
from functools import cache
from typing import cast
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.adapters import HTTPReply, HTTPRequest, OpenAIAdapter

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
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32

Transport = httpx.AsyncBaseTransport

_url = cache(httpx.URL)  # of the few paths of a provider


class Connection:
    """The connections to one provider: made when first used, closed for good; without time-outs.

    Args:
        adapter: The provider's.
        transport: Instead of real connections; closed with this.
    """

    def __init__(self, adapter: OpenAIAdapter, transport: Transport | None = None) -> None:
        self._adapter = adapter
        self._transport = transport
        self._is_closed = False
        self._was_answered = False  # and so may have kept connections

    async def aclose(self) -> None:
        """Idempotent; what is under way breaks off."""
        was_closed, self._is_closed = self._is_closed, True
        if self._transport is not None and not was_closed:
            await self._transport.aclose()

    async def send(self, outgoing: HTTPRequest) -> HTTPReply:
        """What comes back, as far as the bound of its size; an `LLMError` if nothing does."""
        may_repeat = self._was_answered
        while True:
            try:
                reply = await self._exchange(outgoing)
            except _ERRORS as exc:
                # The server closed a kept connection as we wrote: once more, on another one.
                if not (may_repeat and _was_closed_before_an_answer(exc)):
                    raise translated(exc, self._adapter) from exc
                may_repeat = False
            else:
                self._was_answered = True
                return reply

    async def _exchange(self, outgoing: HTTPRequest) -> HTTPReply:
        if self._is_closed:
            raise errors.ConnectionError("the client was closed", retryable=False)
        try:
            request = httpx.Request(
                outgoing.method, _url(outgoing.url), headers=outgoing.headers, content=outgoing.body
            )
        except UnicodeError:
            raise httpx.LocalProtocolError("a header isn't ASCII") from None
        if self._transport is None:
            self._transport = _opened(request.url)
        response = await self._transport.handle_async_request(request)
        try:
            return await _read(response)
        finally:
            await response.aclose()


def _opened(url: httpx.URL) -> Transport:
    proxy = _proxy_for(url)
    needs_tls = "https" in (url.scheme, proxy and proxy.url.scheme)
    tls = _tls() if needs_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def session() -> aiohttp.ClientSession:
        # How many requests are on the wire is bounded elsewhere, for each provider.
        connector = aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=KEEPALIVE_SECONDS)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    return AiohttpTransport(verify=tls, proxy=proxy, client=session)


async def _read(response: httpx.Response) -> HTTPReply:
    received = bytearray()
    async for chunk in cast(httpx.AsyncByteStream, response.stream):
        received += chunk
        if len(received) > MAX_BODY_BYTES:
            break
    headers = dict(response.headers)  # names in lower case, what comes twice joined
    body = bytes(received)
    if len(body) <= MAX_BODY_BYTES:
        body = _unpacked(body, headers.get("content-encoding", "identity").lower())
    is_cut = len(body) > MAX_BODY_BYTES
    return HTTPReply(response.status_code, headers, b"" if is_cut else body, is_cut)


def _unpacked(body: bytes, packing: str) -> bytes:
    """The body that was packed although nobody asked for that; up to just beyond the bound."""
    if not body or packing == "identity":
        return body
    if packing in ("gzip", "x-gzip", "deflate"):
        unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            found = unpacker.decompress(body, MAX_BODY_BYTES + 1)
        except zlib.error:
            found = b""
        if unpacker.eof or len(found) > MAX_BODY_BYTES:
            return found
    raise httpx.DecodingError("it is packed in a way that isn't known, or broken")


def _tls() -> ssl.SSLContext:
    try:
        context: ssl.SSLContext = httpx.create_ssl_context()
    except (OSError, ValueError) as exc:
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        text = f"the certificates of {name} can't be used: {type(exc).__name__}"
        raise errors.ConfigurationError(text) from None
    return context


def _proxy_for(url: httpx.URL) -> httpx.Proxy | None:
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
    kind = "SOCKS proxies aren't" if setting.startswith("socks") else "its kind of proxy isn't"
    try:
        if setting.startswith(("http://", "https://")):
            return httpx.Proxy(setting)
    except httpx.InvalidURL:
        kind = "its address isn't"
    advice = "name an HTTP proxy, or except the host in NO_PROXY"
    raise errors.ConfigurationError(f"{name.upper()}_PROXY: {kind} supported; {advice}") from None


def _was_closed_before_an_answer(exc: Exception) -> bool:
    match exc.__cause__ or exc:
        case aiohttp.ServerDisconnectedError() | ConnectionResetError():
            return True
        case aiohttp.ClientConnectorError():
            return False
        case cause:
            return isinstance(cause, aiohttp.ClientOSError)


def translated(exc: Exception, adapter: OpenAIAdapter) -> errors.LLMError:
    """The error that stands for an exception of httpx, or of aiohttp below it."""
    cause = exc.__cause__ if isinstance(exc.__cause__, aiohttp.ClientError) else exc
    where = f"{adapter.config.address}: {adapter.fit_to_show(str(exc)) or type(exc).__name__}"
    match cause:
        case httpx.UnsupportedProtocol() | httpx.InvalidURL() | aiohttp.InvalidURL():
            return errors.ConfigurationError(where, field="base_url")
        case httpx.LocalProtocolError():  # its text quotes what can't be sent, a key perhaps
            return errors.ValidationError("can't be sent over HTTP")
        case httpx.DecodingError():
            text = f"can't decompress the answer of {where}"
            return errors.GenerationError(text, code="bad_encoding")
        case httpx.TimeoutException() | aiohttp.ServerTimeoutError():
            return errors.TimeoutError(f"timed out at {where}")
        case httpx.TransportError() | aiohttp.ClientError() | OSError():
            return errors.ConnectionError(f"no answer from {where}")
        case _:
            text = f"unexpected at {where}"
            return errors.GenerationError(text, retryable=False, code="unexpected")
