"""The one place that knows httpx's client: what goes out, what comes back, what goes wrong.

Requests go to the transport of the `httpx.AsyncClient` directly. What the client itself would
add (cookies, redirects, authentication, a log line with the address) isn't wanted here, and takes
as long as the request does.
"""

from __future__ import annotations

import os
import ssl
import zlib
from typing import cast
from urllib.request import getproxies, proxy_bypass

import httpx

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.adapters import BaseAdapter, HTTPReply, HTTPRequest
from llm_bot.llm_client.transport import AiohttpTransport, CertificateSettingsError, ProxyFor

MAX_BODY_BYTES = 1024 * 1024
# A model on this machine is never behind the proxy that the environment names for the world.
_DIRECT_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_HTTPX_ERRORS = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict)
_MAX_ADDRESSES = 256
_GZIP, _ZLIB, _BARE = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
# Some servers leave out the frame that "deflate" should have.
_FORMATS = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (_ZLIB, _BARE)}

Transport = httpx.AsyncBaseTransport


class Connection:
    """Opened once, closed for good; has no time-outs of its own."""

    def __init__(self, transport: Transport | None) -> None:
        self._given = transport
        self._transport: Transport | None = None
        self._http: httpx.AsyncClient | None = None
        self._addresses: dict[str, tuple[httpx.URL, dict[str, str]]] = {}
        self._was_opened = False

    @property
    def is_open(self) -> bool:
        return self._http is not None

    def open(self) -> None:
        """Raises `RuntimeError` the second time, `ConfigurationError` if the environment is bad."""
        if self._was_opened:
            raise RuntimeError("an LLMClient can be entered only once")
        self._transport = self._given or _real_transport()
        self._http = httpx.AsyncClient(transport=self._transport)
        self._was_opened = True

    async def aclose(self) -> None:
        """Idempotent."""
        http, self._http, self._transport = self._http, None, None
        if http is not None:
            await http.aclose()

    async def send(self, outgoing: HTTPRequest, adapter: BaseAdapter) -> HTTPReply:
        """What comes back, as far as the bound of its size; an `LLMError` if nothing does."""
        if self._transport is None:
            text = "the client was closed"
            raise errors.ConnectionError(text, provider=adapter.name, retryable=False)
        try:
            response = await self._transport.handle_async_request(self._request(outgoing))
            stream = cast(httpx.AsyncByteStream, response.stream)
            if isinstance(stream, httpx.ByteStream):  # it is all here
                return _reply(response, b"".join(stream))
            return _reply(response, await _read(stream))
        except _HTTPX_ERRORS as exc:
            raise translated(exc, adapter) from exc

    def _request(self, outgoing: HTTPRequest) -> httpx.Request:
        url, own_headers = self._address(outgoing.url)
        headers = {**own_headers, **outgoing.headers}
        if outgoing.body:
            headers["content-length"] = str(len(outgoing.body))
        try:
            # With `content=`, httpx would go through the headers twice more.
            stream = httpx.ByteStream(outgoing.body)
            return httpx.Request(outgoing.method, url, headers=headers, stream=stream)
        except UnicodeError:
            raise httpx.LocalProtocolError("a header isn't ASCII") from None

    def _address(self, text: str) -> tuple[httpx.URL, dict[str, str]]:
        """An address and what any request to it carries; kept, as the same few come again."""
        known = self._addresses.get(text)
        if known is None:
            if len(self._addresses) >= _MAX_ADDRESSES:
                self._addresses.clear()
            url = httpx.URL(text)
            headers = {"host": url.netloc.decode(), "accept-encoding": "identity"}
            headers["user-agent"] = f"python-httpx/{httpx.__version__}"
            known = self._addresses[text] = url, headers
        return known


def _reply(response: httpx.Response, body: bytes) -> HTTPReply:
    headers = _texts(response.headers)
    packing = headers.get("content-encoding")
    if packing is not None and body:
        body = _unpacked(body, packing)
    is_cut = len(body) > MAX_BODY_BYTES
    return HTTPReply(response.status_code, headers, b"" if is_cut else body, is_cut)


async def _read(stream: httpx.AsyncByteStream) -> bytes:
    """The body as it comes, up to just beyond the bound."""
    body = bytearray()
    try:
        async for chunk in stream:
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                break
    finally:
        await stream.aclose()
    return bytes(body)


def _unpacked(body: bytes, packing: str) -> bytes:
    """The body that was packed, up to just beyond the bound however much it swells."""
    for name in reversed(packing.lower().split(",")):
        if len(body) > MAX_BODY_BYTES:
            break
        if name.strip() != "identity":
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


def _real_transport() -> AiohttpTransport:
    try:
        if certificates := os.environ.get("SSL_CERT_FILE"):
            os.stat(certificates)  # the rest shows with the first request that needs them
        return AiohttpTransport(_proxies_of_environment(), _tls_of_environment)
    except (ValueError, OSError, httpx.InvalidURL):
        text = "the proxy or certificate settings of the environment can't be used"
        raise errors.ConfigurationError(text) from None  # the cause may quote a proxy's password


def _tls_of_environment() -> ssl.SSLContext:
    settings = httpx.create_ssl_context()
    settings.set_alpn_protocols(["http/1.1"])
    return settings


def _proxies_of_environment() -> ProxyFor:
    settings = getproxies()
    proxies = {
        scheme: _proxy(settings[scheme])
        for scheme in ("http", "https", "all")
        if settings.get(scheme)
    }

    exceptions = [name.strip() for name in settings.get("no", "").split(",")]

    def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
        names = (url.host, url.netloc.decode())  # what goes direct may be named with its port
        if url.host in _DIRECT_HOSTS or "*" in exceptions or any(map(proxy_bypass, names)):
            return None
        return proxies.get(url.scheme) or proxies.get("all")

    return proxy_for


def _proxy(setting: str) -> httpx.Proxy:
    proxy = httpx.Proxy(setting if "://" in setting else f"http://{setting}")
    if proxy.url.scheme not in ("http", "https"):
        raise ValueError("SOCKS isn't spoken here")
    return proxy


def translated(exc: Exception, adapter: BaseAdapter) -> errors.LLMError:
    """The error that stands for an exception of httpx."""
    where = f"{adapter.config.address}: {adapter.fit_to_show(str(exc)) or type(exc).__name__}"
    match exc:
        case httpx.TimeoutException():
            return errors.TimeoutError(f"timed out at {where}", provider=adapter.name)
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return errors.ConfigurationError(where, field="base_url", provider=adapter.name)
        case CertificateSettingsError():
            return errors.ConfigurationError(where, provider=adapter.name)
        case httpx.LocalProtocolError():  # its text quotes what can't be sent, a key perhaps
            return errors.ValidationError("can't be sent over HTTP", provider=adapter.name)
        case httpx.TransportError():
            return errors.ConnectionError(f"no answer from {where}", provider=adapter.name)
        case httpx.DecodingError():
            text = f"can't decompress the answer of {where}"
            return errors.GenerationError(text, provider=adapter.name, code="bad_encoding")
        case _:
            return errors.GenerationError(
                f"unexpected at {where}", provider=adapter.name, retryable=False, code="unexpected"
            )
