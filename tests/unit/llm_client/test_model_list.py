"""Rules of a provider's list of models: one request for however many callers."""

from __future__ import annotations

import asyncio

import pytest

from llm_bot.llm_client import ConnectionError, LLMError, ModelInfo
from llm_bot.llm_client.model_list import ModelList
from tests.unit.llm_client.support import ManualClock


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
    """Until its time is over nobody asks again, unless told to."""
    assert await name(models) == "m1"
    clock.advance(299.9)
    assert await name(models) == "m1"
    clock.advance(0.1)
    assert await name(models) == "m2"
    assert await name(models, refresh=True) == "m3"
    assert await name(models) == "m3"
    assert source.asked == 3


async def test_a_time_of_zero(source, clock):
    """Then each one asks."""
    models = ModelList(source.fetch, ttl_seconds=0, clock=clock)
    assert [await name(models), await name(models)] == ["m1", "m2"]


@pytest.mark.parametrize("refresh", [False, True])
async def test_callers_that_come_together_share_a_request(models, source, refresh):
    """A hundred callers, one request (LLM-15)."""
    source.gate.clear()
    asking = await started(*(name(models, refresh=refresh) for _ in range(100)))
    source.gate.set()
    assert set(await asyncio.gather(*asking)) == {"m1"}
    assert source.asked == 1


async def test_a_failure_is_shared_but_not_kept(models, source):
    """Those who waited get the error, each one an object of its own; the next one asks again."""
    source.failure = ConnectionError("refused", provider="openai")
    source.gate.clear()
    asking = await started(*(models.get() for _ in range(5)))
    source.gate.set()
    failures = await asyncio.gather(*asking, return_exceptions=True)
    assert {str(failure) for failure in failures} == {"openai: refused"}
    assert len({id(failure) for failure in failures}) == 5
    assert source.asked == 1
    source.failure = None
    assert await name(models) == "m2"


async def test_a_failed_refresh_leaves_what_is_believed(models, source):
    """Who doesn't insist still gets the list of before."""
    assert await name(models) == "m1"
    source.failure = ConnectionError("refused")
    with pytest.raises(ConnectionError):
        await models.get(refresh=True)
    assert await name(models) == "m1"


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
    assert await name(models) == "m3"


async def test_what_was_on_its_way_is_not_kept(models, source):
    """An answer that the invalidation overtook is nothing for those who come after it."""
    source.gate.clear()
    (before,) = await started(name(models))
    models.invalidate()
    source.gate.set()
    assert [await before, await name(models)] == ["m1", "m2"]


async def test_who_asks_is_cancelled(models, source):
    """Then the next in the line asks."""
    source.gate.clear()
    first, second, third = await started(*(name(models) for _ in range(3)))
    first.cancel()
    await asyncio.wait([first])
    source.gate.set()
    assert set(await asyncio.gather(second, third)) == {"m2"}
    assert source.asked == 2


async def test_who_waits_is_cancelled(models, source):
    """Then nobody else notices."""
    source.gate.clear()
    first, second = await started(*(name(models) for _ in range(2)))
    second.cancel()
    await asyncio.wait([second])
    source.gate.set()
    assert await first == "m1"
