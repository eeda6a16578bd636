"""The client that answers may be replaced while it answers."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from llm_bot.bus import EventBus
from llm_bot.llm_client import LLMClient, LLMConfig, LLMError, LLMRequest, Message
from llm_bot.observability.metrics import Metrics
from llm_bot.ports import SystemClock
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room.tally import Tally
from llm_bot.runtime.model import SwappableModel
from tests.servers import eventually

ANSWER = {"choices": [{"message": {"content": "Hi!"}}]}
ASKED = LLMRequest([Message("user", "Hello")])


class Provider(httpx.AsyncBaseTransport):
    """Answers once its `gate` is set; knows whether it was closed and with which keys it was
    asked."""

    def __init__(self, status: int = 200, *, fails_to_close: bool = False) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.keys: list[str] = []
        self.closed = 0
        self._status = status
        self._fails_to_close = fails_to_close

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers["authorization"].removeprefix("Bearer "))
        await self.gate.wait()
        assert not self.closed
        return httpx.Response(self._status, json=ANSWER)

    async def aclose(self) -> None:
        self.closed += 1
        if self._fails_to_close:
            raise OSError("broken pipe")


async def client(provider: Provider, key: str = "sk-old") -> LLMClient:
    """An open client of `provider` that asks once."""
    config = LLMConfig(
        provider="openai", base_url="http://model/v1", model="m", api_key=key, max_attempts=1
    )
    return await LLMClient(config, transport=provider).__aenter__()


async def model(provider: Provider) -> SwappableModel:
    """It is asked first."""
    clock = SystemClock()
    metrics = Metrics(
        rooms=list,
        tally=Tally(),
        bus=EventBus(),
        limiter=RateLimiter(),
        clock=clock,
        outbound_depth=lambda: 0,
    )
    made = SwappableModel(metrics, clock=clock, rng=lambda: 0.5)
    made.replace(await client(provider))
    return made


async def test_requests_go_to_the_newest_client():
    """After `replace` the next request carries the new key, and the unused client is closed."""
    old, new = Provider(), Provider()
    holder = await model(old)
    await holder.generate(ASKED)
    holder.replace(await client(new, "sk-new"))
    await holder.close_unused()
    assert (await holder.generate(ASKED)).content == "Hi!"
    assert (old.keys, new.keys) == (["sk-old"], ["sk-new"])
    assert (old.closed, new.closed) == (1, 0)


async def test_request_under_way_ends_with_the_old_client_which_then_closes():
    """LIFE-9: a request in flight goes on with the old key; the last one to end closes it."""
    old, new = Provider(), Provider()
    holder = await model(old)
    old.gate.clear()
    first, second = (asyncio.create_task(holder.generate(ASKED)) for _ in range(2))
    await eventually(lambda: len(old.keys) == 2)
    holder.replace(await client(new, "sk-new"))
    await holder.close_unused()
    second.cancel()
    await asyncio.wait({second})
    assert second.cancelled()
    assert not old.closed
    assert (await holder.generate(ASKED)).content == "Hi!"
    assert not old.closed
    old.gate.set()
    assert (await first).content == "Hi!"
    assert (old.closed, new.closed) == (1, 0)


async def test_failed_request_closes_it_too():
    """A retired client whose last request fails closes, and the error is told as it was."""
    old = Provider(500)
    holder = await model(old)
    old.gate.clear()
    asking = asyncio.create_task(holder.generate(ASKED))
    await eventually(lambda: old.keys)
    holder.replace(await client(Provider()))
    old.gate.set()
    with pytest.raises(LLMError):
        await asking
    assert old.closed == 1


async def test_client_that_fails_to_close_costs_no_answer(caplog):
    """An error while connections close is logged; the answer that was waited for is there."""
    caplog.set_level("INFO")
    old = Provider(fails_to_close=True)
    holder = await model(old)
    old.gate.clear()
    asking = asyncio.create_task(holder.generate(ASKED))
    await eventually(lambda: old.keys)
    holder.replace(await client(Provider()))
    old.gate.set()
    assert (await asking).content == "Hi!"
    assert [one.message for one in caplog.records].count("llm.close_failed") == 1


async def test_every_client_of_many_replacements_is_closed_once():
    """However often it is replaced, in use or not, `aclose` leaves none open."""
    providers = [Provider() for _ in range(50)]
    holder = await model(providers[0])
    asking = []
    for at, provider in enumerate(providers[1:]):
        providers[at].gate.clear()
        asking.append(asyncio.create_task(holder.generate(ASKED)))
        await eventually(lambda at=at: providers[at].keys)  # type: ignore[misc]
        holder.replace(await client(provider))
        await holder.close_unused()
    assert [one.closed for one in providers] == [0] * 50
    for provider in providers[:40]:
        provider.gate.set()
    await asyncio.gather(*asking[:40])
    assert [one.closed for one in providers] == [1] * 40 + [0] * 10
    for one in asking[40:]:
        one.cancel()
    await asyncio.wait(asking[40:])
    await holder.aclose()
    await holder.aclose()
    assert [one.closed for one in providers] == [1] * 50
