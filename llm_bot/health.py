"""The HTTP server: /health, /ready, /metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from llm_bot.config import HealthConfig
from llm_bot.exposition import expose

log = logging.getLogger(__name__)

SECURITY_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

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
        self._runner: web.AppRunner | None = None
        self._scraping = asyncio.Lock()
        self.port = config.port

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[_sober_headers])
        app.router.add_get("/health", self._health)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics)
        for part in self._parts:
            app.add_routes(part.routes())
        app.on_shutdown.append(self._close_parts)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, self._config.host, self._config.port).start()
        except OSError as exc:
            await self._close()
            # The library names the address; an operator looks for the key.
            raise OSError(exc.errno, f"health.host, health.port: {exc.strerror}") from exc
        except BaseException:
            await self._close()
            raise
        self.port = runner.addresses[0][1]
        log.info("health.listening", extra={"host": self._config.host, "port": self.port})
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

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
        async with self._scraping:  # each more at a time would hold the loop up for a slice more
            body, content_type = await expose(self._registry, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})


@web.middleware
async def _sober_headers(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        refusal.headers.update(SECURITY_HEADERS)
        raise
    response.headers.update(SECURITY_HEADERS)
    return response
