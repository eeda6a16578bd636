"""What the tests of the client have in common: a clock that is moved by hand, and builders."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from llm_bot.llm_client import LLMClient, LLMConfig, LLMRequest, Message
from tests.unit.llm_client.scripted_server import PATIENCE_SECONDS

KEY = "sk-very-secret-0123456789"


class ManualClock:
    """Time that passes when told to.

    A sleep of up to `passes_up_to` seconds passes at once; a longer one, such as the bound of a
    request, lasts until `advance` goes beyond it.
    """

    def __init__(self, passes_up_to: float = 20.0) -> None:
        self.now = 1000.0
        self.epoch = 1_700_000_000.0
        self.slept: list[float] = []
        self._passes_up_to = passes_up_to
        self._sleepers: list[tuple[float, float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.epoch + self.now

    async def sleep(self, seconds: float) -> None:
        if seconds <= self._passes_up_to:
            self.slept.append(seconds)
            self.now += max(0.0, seconds)
            await asyncio.sleep(0)
            return
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, seconds, waker))
        await waker

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [waker for moment, _, waker in self._sleepers if moment <= self.now]
        self._sleepers = [each for each in self._sleepers if each[0] > self.now]
        for waker in due:
            if not waker.done():
                waker.set_result(None)

    @property
    def sleeping(self) -> list[float]:
        """How long those who sleep now are going to, from when they began."""
        return [seconds for _, seconds, waker in self._sleepers if not waker.done()]

    async def wait_for_sleepers(self, *lengths: float) -> None:
        """Return when somebody sleeps for each of `lengths`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not Counter(lengths) <= Counter(self.sleeping):  # noqa: ASYNC110 -- no event
                await asyncio.sleep(0)


def warm(client: LLMClient) -> LLMClient:
    """`client`, whose providers have just answered: none may have to load its model."""
    for provider in client._providers:
        provider._answered_at = client._clock.monotonic()
    return client


def config(**changes: Any) -> LLMConfig:
    """A provider that needs no more than what a test says about it."""
    return LLMConfig(
        **{
            "provider": "openai",
            "base_url": "http://127.0.0.1:9/v1",
            "api_key": KEY,
            "model": "asked-model",
            **changes,
        }
    )


def request(text: str = "Which film is this?", **changes: Any) -> LLMRequest:
    return LLMRequest([Message("user", text)], **changes)
