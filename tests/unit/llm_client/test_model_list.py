"""Rules of a provider's list of models: one request for however many callers."""

from __future__ import annotations

import asyncio

import pytest

from llm_bot.llm_client import ConnectionError, LLMError, ModelInfo
from llm_bot.llm_client.model_list import ModelList
from tests.fakes import ManualClock


class Source:
    """Gives what it was told to, when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: LLMError | None = None

    async def fetch(self) -> tuple[ModelInfo, ...]:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return (ModelInfo(f"m{number}", "openai"),)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def models(source: Source, clock: ManualClock) -> ModelList:
    return ModelList(source.fetch, ttl_seconds=300, clock=clock)


async def started(*coroutines):
    """Tasks that have come as far as they get."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def name(models: ModelList, *, refresh: bool = False) -> str:
    (model,) = await models.get(refresh=refresh)
    return model.id


async def test_it_is_believed_for_a_while(models, source, clock):
    """Until its time is over nobody asks again, unless told to; a failed refresh leaves it."""
    assert await name(models) == "m1"
    clock.advance(299.9)
    assert await name(models) == "m1"
    clock.advance(0.1)
    assert await name(models) == "m2"
    assert await name(models, refresh=True) == "m3"
    source.failure = ConnectionError("refused")
    with pytest.raises(ConnectionError):
        await models.get(refresh=True)
    assert await name(models) == "m3"


async def test_a_time_of_zero(source, clock):
    """Then each one asks."""
    models = ModelList(source.fetch, ttl_seconds=0, clock=clock)
    assert [await name(models), await name(models)] == ["m1", "m2"]


async def test_callers_that_come_together_share_a_request(models, source):
    """A hundred callers, one request, whoever of them is cancelled (LLM-15)."""
    source.gate.clear()
    asking = await started(*(name(models) for _ in range(100)))
    asking[0].cancel()
    asking[50].cancel()
    await asyncio.wait([asking[0]])
    source.gate.set()
    ends = await asyncio.gather(*asking, return_exceptions=True)
    assert {end for end in ends if isinstance(end, str)} == {"m2"}
    assert source.asked == 2  # the first was cancelled as it asked


async def test_what_was_asked_for_before_the_invalidation_is_not_believed(models, source):
    """Neither what is there nor what is on its way; who came before still gets an answer."""
    assert await name(models) == "m1"
    models.invalidate()
    source.gate.clear()
    (before,) = await started(name(models))
    models.invalidate()
    after = await started(*(name(models) for _ in range(3)))
    source.gate.set()
    assert await before == "m2"
    assert set(await asyncio.gather(*after)) == {"m3"}
