"""The one place that knows httpx: its connections, its limits and its exceptions."""

from __future__ import annotations

import httpx

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.adapters import BaseAdapter, HTTPReply, HTTPRequest

MAX_BODY_BYTES = 1024 * 1024
# A model on this machine is never behind the proxy that the environment names for the world.
_DIRECT_HOSTS = ("all://localhost", "all://127.0.0.1", "all://[::1]")
_HTTPX_ERRORS = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict)

Transport = httpx.AsyncBaseTransport


class Connection:
    """Opened once, closed for good; has no time-outs of its own."""

    def __init__(self, transport: Transport | None) -> None:
        self._transport = transport
        self._http: httpx.AsyncClient | None = None
        self._was_opened = False

    @property
    def is_open(self) -> bool:
        return self._http is not None

    def open(self) -> None:
        """Raises `RuntimeError` the second time, `ConfigurationError` if the environment is bad."""
        if self._was_opened:
            raise RuntimeError("an LLMClient can be entered only once")
        self._http = _open_http(self._transport)
        self._was_opened = True

    async def aclose(self) -> None:
        """Idempotent."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def send(self, outgoing: HTTPRequest, adapter: BaseAdapter) -> HTTPReply:
        """What comes back, as far as the bound of its size; an `LLMError` if nothing does."""
        if self._http is None:
            text = "the client was closed"
            raise errors.ConnectionError(text, provider=adapter.name, retryable=False)
        try:
            return await _exchange(self._http, outgoing)
        except _HTTPX_ERRORS as exc:
            raise translated(exc, adapter) from exc


def _open_http(transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(
            transport=transport,
            mounts=None if transport else dict.fromkeys(_DIRECT_HOSTS),
            timeout=None,  # noqa: S113 -- `within` bounds the whole
            follow_redirects=False,
            # The slots bound the connections in use; a chat asks again within the minute or not.
            limits=httpx.Limits(max_keepalive_connections=20, keepalive_expiry=30),
        )
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as exc:
        text = "the proxy or certificate settings of the environment can't be used"
        raise errors.ConfigurationError(text) from exc


async def _exchange(http: httpx.AsyncClient, outgoing: HTTPRequest) -> HTTPReply:
    """One request and what comes back, as far as the bound of its size."""
    body = bytearray()
    async with http.stream(
        outgoing.method, outgoing.url, headers=dict(outgoing.headers), content=outgoing.body
    ) as response:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                break
    is_cut = len(body) > MAX_BODY_BYTES
    return HTTPReply(
        response.status_code, dict(response.headers), b"" if is_cut else bytes(body), is_cut
    )


def translated(exc: Exception, adapter: BaseAdapter) -> errors.LLMError:
    """The error that stands for an exception of httpx."""
    where = f"{adapter.config.address}: {adapter.fit_to_show(str(exc)) or type(exc).__name__}"
    match exc:
        case httpx.TimeoutException():
            return errors.TimeoutError(f"timed out at {where}", provider=adapter.name)
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return errors.ConfigurationError(where, field="base_url", provider=adapter.name)
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
