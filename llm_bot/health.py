"""The HTTP server: /health, /ready, /metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol, Self

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llm_bot.config import HealthConfig

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 1.0
"""How long requests under way have at the end."""

MAX_BODY_BYTES = 4096
"""Of what somebody may send: a token, or an order of the demo's page."""

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer: nothing is kept, guessed at, or run that isn't a file of the live page."""

Status = Callable[[], dict[str, Any]]
"""What /health says, made anew for each request."""


class Part(Protocol):
    """More for the server to serve, such as the live page."""

    def routes(self) -> Iterable[web.RouteDef]: ...

    async def close(self) -> None:
        """The server is about to end: let whoever is connected go."""
        ...


class HealthServer:
    """Serves on `host:port` while it is entered. Port 0 takes any free one; `port` then tells it.

    Entering raises `OSError` where the port can't be had.
    """

    def __init__(
        self,
        config: HealthConfig,
        *,
        status: Status,
        is_ready: Callable[[], bool],
        registry: CollectorRegistry,
        parts: Iterable[Part] = (),
    ) -> None:
        self._config = config
        self._status = status
        self._is_ready = is_ready
        self._registry = registry
        self._parts = tuple(parts)
        self._scraping = asyncio.Lock()
        self.port = config.port

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/ready", self._ready),
                web.get("/metrics", self._metrics),
                *(route for part in self._parts for route in part.routes()),
            ]
        )
        app.on_response_prepare.append(_add_security_headers)
        app.on_shutdown.append(self._close_parts)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._config.host, self._config.port).start()
        except BaseException as exc:
            await self._runner.cleanup()
            if isinstance(exc, OSError):  # the library names the address; people look for the key
                raise OSError(exc.errno, f"health.host, health.port: {exc.strerror}") from exc
            raise
        self.port = self._runner.addresses[0][1]
        log.info("health.listening", extra={"host": self._config.host, "port": self.port})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _close_parts(self, _: web.Application) -> None:
        for part in self._parts:
            await part.close()

    async def _health(self, _: web.Request) -> web.Response:
        return self._json(200)

    async def _ready(self, _: web.Request) -> web.Response:
        return self._json(200 if self._is_ready() else 503)

    def _json(self, status: int) -> web.Response:
        body = msgspec.json.encode(self._status())
        return web.Response(body=body, status=status, content_type="application/json")

    async def _metrics(self, request: web.Request) -> web.Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        except (TypeError, ValueError):  # a version that is no number
            encode, content_type = choose_encoder("")
        ending = encode(_Families())
        texts = []
        async with self._scraping:  # each more at a time would hold the loop up for longer
            for family in self._registry.collect():
                texts.append(encode(_Families(family)).removesuffix(ending))
                await asyncio.sleep(0)  # all of them at once would hold it up for 10 ms and more
        body = b"".join((*texts, ending))
        return web.Response(body=body, headers={"Content-Type": content_type})


class _Families(Collector):
    """A registry of these alone."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


async def _add_security_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)
