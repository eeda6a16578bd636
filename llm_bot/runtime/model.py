"""The model that the rooms ask, which a reload may change under them."""

from __future__ import annotations

import asyncio
import logging

from llm_bot.llm_client import LLMClient, LLMRequest, LLMResponse, ProviderState

log = logging.getLogger(__name__)


class _Lease:
    """A client and how many requests it is answering."""

    __slots__ = ("client", "in_use")

    def __init__(self, client: LLMClient) -> None:
        self.client = client
        self.in_use = 0


class SwappableModel:
    """Hands each request to the newest client; an older one closes when its last request ends."""

    def __init__(self, client: LLMClient) -> None:
        self._current = _Lease(client)
        self._retired: list[_Lease] = []

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Ask the client that is current now, to the end of this request."""
        lease = self._current
        lease.in_use += 1
        try:
            return await lease.client.generate(request)
        finally:
            lease.in_use -= 1
            if lease is not self._current:
                await self.close_unused()

    @property
    def states(self) -> dict[str, ProviderState]:
        """How the providers of the newest client stand, by their names."""
        return self._current.client.states

    def replace(self, client: LLMClient) -> None:
        """Let `client`, which is open, answer from now on; `close_unused` is the rest of it."""
        self._retired.append(self._current)
        self._current = _Lease(client)

    async def close_unused(self) -> None:
        """Close the older clients that answer nothing any more."""
        unused = [lease for lease in self._retired if not lease.in_use]
        self._retired = [lease for lease in self._retired if lease.in_use]
        await asyncio.gather(*map(_close, unused))

    async def aclose(self) -> None:
        """Close all clients, whatever they are doing."""
        retired, self._retired = self._retired, []
        await asyncio.gather(*map(_close, (*retired, self._current)))


async def _close(lease: _Lease) -> None:
    try:
        await lease.client.aclose()
    except Exception as exc:  # noqa: BLE001 - the answer that was waited for is there all the same
        log.info("llm.close_failed", extra={"error": type(exc).__name__})
