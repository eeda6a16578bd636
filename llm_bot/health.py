"""The HTTP server: /health, /ready, /metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from llm_bot.config import HealthConfig

log = logging.getLogger(__name__)

Status = Callable[[], dict[str, Any]]
"""What /health says, made anew for each request."""


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
    ) -> None:
        self._config = config
        self._status = status
        self._is_ready = is_ready
        self._registry = registry
        self._runner: web.AppRunner | None = None
        self.port = config.port

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[_sober_headers])
        app.router.add_get("/health", self._health)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, self._config.host, self._config.port).start()
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

    async def _health(self, _: web.Request) -> web.Response:
        return self._json(200)

    async def _ready(self, _: web.Request) -> web.Response:
        return self._json(200 if self._is_ready() else 503)

    def _json(self, status: int) -> web.Response:
        body = msgspec.json.encode(self._status())
        return web.Response(body=body, status=status, content_type="application/json")

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # In a thread, so that a large scrape holds nobody up; the numbers are plain integers.
        body = await asyncio.to_thread(encode, self._registry)
        return web.Response(body=body, headers={"Content-Type": content_type})


@web.middleware
async def _sober_headers(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    response = await handler(request)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
