"""The model that the rooms ask, which a reload may change under them."""

from __future__ import annotations

from llm_bot.llm_client import LLMClient, LLMRequest, LLMResponse


class _Lease:
    """A client and how many requests it is answering."""

    __slots__ = ("client", "in_use", "is_retired")

    def __init__(self, client: LLMClient) -> None:
        self.client = client
        self.in_use = 0
        self.is_retired = False


class ModelHolder:
    """Hands each request to the newest client; an older one closes when its last request ends."""

    def __init__(self, client: LLMClient) -> None:
        self._current = _Lease(client)

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Ask the client that is current now, to the end of this request."""
        lease = self._current
        lease.in_use += 1
        try:
            return await lease.client.generate(request)
        finally:
            lease.in_use -= 1
            await self._close_if_done(lease)

    async def replace(self, client: LLMClient) -> None:
        """Let `client`, which is open, answer from now on."""
        old, self._current = self._current, _Lease(client)
        old.is_retired = True
        await self._close_if_done(old)

    async def aclose(self) -> None:
        """Close the current client; the retired ones close with their last request."""
        self._current.is_retired = True
        await self._current.client.aclose()

    async def _close_if_done(self, lease: _Lease) -> None:
        if lease.is_retired and not lease.in_use:
            await lease.client.aclose()
