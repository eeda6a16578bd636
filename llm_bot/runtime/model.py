"""The model that the rooms ask: made from the configuration, counted, changed by a reload."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from llm_bot.config import LLMApiConfig, LLMProviderConfig
from llm_bot.llm_client import LLMClient, LLMConfig, LLMRequest, LLMResponse, ProviderState
from llm_bot.observability.metrics import Metrics
from llm_bot.ports import Clock

log = logging.getLogger(__name__)


class SwappableModel:
    """Hands each request to the newest client; an older one closes when its last request ends.

    It can be asked from the first `replace` on.
    """

    def __init__(self, metrics: Metrics, *, clock: Clock, rng: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._rng = rng
        self._clients: list[LLMClient] = []  # the newest is the last
        self._under_way: Counter[LLMClient] = Counter()

    @property
    def states(self) -> dict[str, ProviderState]:
        """How the providers of the newest client stand, by their names."""
        return dict(self._clients[-1].states) if self._clients else {}

    @property
    def problems(self) -> dict[str, str]:
        """Why providers of the newest client don't work."""
        return self._clients[-1].problems if self._clients else {}

    @property
    def quirks(self) -> dict[str, dict[str, dict[str, object]]]:
        """What their servers refuse and aren't sent any more, by provider and model."""
        return self._clients[-1].quirks if self._clients else {}

    async def open(self, settings: LLMApiConfig) -> LLMClient:
        """An open client for `settings`, for `replace`. Raises `ConfigurationError`."""
        client = LLMClient(
            client_config(settings),
            clock=self._clock,
            rng=self._rng,
            on_attempt=self._metrics.note_attempt,
        )
        return await client.__aenter__()

    def replace(self, client: LLMClient) -> None:
        """Let `client`, which is open, answer from now on; `close_unused` is the rest of it."""
        self._clients.append(client)
        self._metrics.forget_failures()

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Ask the client that is the newest now, to the end of this request."""
        client = self._clients[-1]
        self._under_way[client] += 1
        try:
            response = await client.generate(request)
        finally:
            self._under_way[client] -= 1
            if client not in self._clients[-1:]:
                await self.close_unused()
        self._metrics.note_response(response)
        return response

    async def close_unused(self) -> None:
        """Close the older clients that answer nothing any more."""
        await self._close([one for one in self._clients[:-1] if not self._under_way[one]])

    async def aclose(self) -> None:
        """Close all clients, whatever they are doing."""
        await self._close(self._clients)

    async def _close(self, clients: list[LLMClient]) -> None:
        self._clients = [one for one in self._clients if one not in clients]
        for client in clients:
            del self._under_way[client]
        await asyncio.gather(*map(_close, clients))


async def _close(client: LLMClient) -> None:
    try:
        await client.aclose()
    except Exception as exc:  # noqa: BLE001 - the answer that was waited for is there all the same
        log.info("llm.close_failed", extra={"error": type(exc).__name__})


def client_config(settings: LLMApiConfig) -> LLMConfig:
    """The first provider with its fallbacks. Raises the client's `ConfigurationError`."""
    return _provider_config(settings, tuple(map(_provider_config, settings.fallbacks)))


def _provider_config(
    settings: LLMProviderConfig, fallbacks: tuple[LLMConfig, ...] = ()
) -> LLMConfig:
    parameters = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in settings.parameters
        if value is not None and value != ()
    }
    return LLMConfig(
        provider=settings.provider,
        base_url=settings.base_url,
        model=settings.model,
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        timeout_seconds=settings.timeout_seconds,
        max_attempts=settings.retry_attempts + 1,
        retry_delay_seconds=settings.retry_delay_seconds,
        max_concurrent_requests=settings.max_concurrent_requests,
        model_cache_ttl_seconds=settings.model_cache_ttl_seconds,
        parameters=parameters,
        fallbacks=fallbacks,
        breaker_failures=settings.breaker.failures,
        breaker_cooling_seconds=settings.breaker.cooling_seconds,
        extra_headers=settings.extra_headers,
        extra_body=settings.extra_body,
        vision_model=settings.vision_model,
    )
