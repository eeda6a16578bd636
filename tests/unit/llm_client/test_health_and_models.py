"""Rules of `health_check`, `states`, `list_models` and `invalidate_cache`, over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from llm_bot.llm_client import (
    AllProvidersFailedError,
    AuthenticationError,
    LLMClient,
    LLMError,
    ProviderHealth,
    ProviderState,
)
from tests.unit.llm_client.scripted_server import Answer, Reset, ScriptedServer, Stall, chat
from tests.unit.llm_client.support import KEY, ManualClock, config, request

UP, DOWN, COOLING = ProviderState.UP, ProviderState.DOWN, ProviderState.COOLING


def listing(*names: str) -> Answer:
    return Answer(body={"object": "list", "data": [{"id": name} for name in names]})


@pytest.fixture
def make(server: ScriptedServer, other: ScriptedServer, clock: ManualClock):
    """Makes a client of one or two scripted servers."""

    def make_client(*, alone=False, **changes) -> LLMClient:
        second = config(base_url=f"{other.url}/v1", model="other-model", api_key="sk-other")
        fallbacks = () if alone else (second,)
        made = config(base_url=f"{server.url}/v1", fallbacks=fallbacks, **changes)
        return LLMClient(made, clock=clock, rng=lambda: 0.0)

    return make_client


async def test_the_health_of_each(server, other, make):
    """Each provider is asked once and at the same time; what fails says why, without secrets."""
    server.script(listing("a"))
    other.script(Answer(401, "bad key sk-other"))
    async with make() as client:
        health = await client.health_check()
    assert list(health) == ["openai", "openai-2"]
    assert health["openai"] == ProviderHealth(True, UP, 0.0, None)
    assert (health["openai-2"].available, health["openai-2"].latency_seconds) == (False, None)
    assert health["openai-2"].error == "openai-2: bad key *** (HTTP 401)"
    assert len(server.requests) == len(other.requests) == 1
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("step", [Answer(500), Answer(301), Answer(403), Answer(429)])
async def test_a_check_changes_nothing(server, make, step):
    """However often a check fails, it is neither repeated nor counted."""
    server.script(*[step] * 6, chat())
    async with make(alone=True) as client:
        for _ in range(6):
            assert not (await client.health_check())["openai"].available
        assert client.states == {"openai": UP}
        assert (await client.generate(request())).attempts == 1


async def test_a_check_goes_past_the_breaker_and_the_slots(server, clock, make):
    """A provider that rests is checked all the same; being there doesn't end its rest."""
    server.script(Answer(401), listing("a"), Stall(), listing("a"))
    async with make(alone=True, max_concurrent_requests=1, timeout_seconds=100) as client:
        with pytest.raises(AuthenticationError):
            await client.generate(request())
        assert (await client.health_check())["openai"] == ProviderHealth(True, COOLING, 0.0, None)
        assert client.states == {"openai": COOLING}
        clock.advance(300)
        asking = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(3)
        assert (await client.health_check())["openai"].available
        asking.cancel()


async def test_a_check_of_a_silent_server(server, clock, make):
    """It is bounded like any request."""
    server.script(Stall())
    async with make(alone=True) as client:
        checking = asyncio.create_task(client.health_check())
        await server.wait_for_requests(1)
        clock.advance(30)
        health = (await checking)["openai"]
    assert health.error == "openai: no whole answer within 30 s"


async def test_states(server, other, clock, make):
    """Up until a request fails, cooling while nobody may ask, then down until one is answered
    (LLM-14).
    """
    async with make(max_attempts=1, breaker_failures=2) as client:
        seen = [client.states["openai"]]
        for step in (Answer(500), Answer(500)):
            server.script(step)
            other.script(chat())
            await client.generate(request())
            seen.append(client.states["openai"])
        clock.advance(30)
        seen.append(client.states["openai"])
        gate = asyncio.Event()
        server.script(Answer(200, chat().body, gate=gate))
        probe = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(3)
        seen.append(client.states["openai"])
        gate.set()
        await probe
        seen.append(client.states["openai"])
        assert client.states["openai-2"] is UP
    assert seen == [UP, DOWN, COOLING, DOWN, COOLING, UP]


async def test_the_models_of_all(server, other, make):
    """In the order of the providers, each with the unique name of its own, and asked for once."""
    server.script(listing("a", "b"))
    other.script(listing("a"))
    async with make() as client:
        lists = [await client.list_models() for _ in range(2)]
    assert lists[0] == lists[1]
    assert [(model.id, model.provider) for model in lists[0]] == [
        ("a", "openai"),
        ("b", "openai"),
        ("a", "openai-2"),
    ]
    assert len(server.requests) == len(other.requests) == 1


async def test_what_is_returned_is_the_caller_s(server, make):
    """Who changes the list changes nobody else's."""
    server.script(listing("a"))
    async with make(alone=True) as client:
        (await client.list_models()).clear()
        assert len(await client.list_models()) == 1


async def test_the_models_of_those_that_can_be_reached(server, other, make):
    """One that fails is left out, and asked again by the next caller; the other's list is kept."""
    server.script(Answer(500), listing("a"))
    other.script(listing("b"))
    async with make() as client:
        assert [model.id for model in await client.list_models()] == ["b"]
        assert [model.id for model in await client.list_models()] == ["a", "b"]
    assert (len(server.requests), len(other.requests)) == (2, 1)


async def test_no_list_at_all(server, other, make):
    """Only then it is an error: of all in their order, or the only one's as it is."""
    server.script(Answer(500, "a"), Answer(403, "c"))
    other.script(Reset(), Reset())  # aiohttp itself repeats a GET whose connection broke
    async with make() as client:
        with pytest.raises(AllProvidersFailedError) as caught:
            await client.list_models()
    assert [each.code for each in caught.value.errors] == ["server_error", "connection"]
    async with make(alone=True) as client:
        with pytest.raises(AuthenticationError, match="openai: c"):
            await client.list_models()


async def test_a_list_does_not_touch_the_breaker(server, make):
    """A list that is refused says nothing about answers."""
    server.script(*[Answer(403)] * 6, chat())
    async with make(alone=True) as client:
        for _ in range(6):
            with pytest.raises(LLMError):
                await client.list_models()
        assert client.states == {"openai": UP}
        assert (await client.generate(request())).content == "Hello"


async def test_refresh_and_invalidation(server, make):
    """Both ask anew, the one at once, the other with the next caller."""
    server.script(*[listing(name) for name in "abc"])
    async with make(alone=True) as client:
        names = [(await client.list_models())[0].id]
        names.append((await client.list_models(refresh=True))[0].id)
        client.invalidate_cache()
        names.append((await client.list_models())[0].id)
        names.append((await client.list_models())[0].id)
    assert names == ["a", "b", "c", "c"]


async def test_a_cancelled_list_leaves_nothing_behind(server, other, make):
    """Both connections are closed, and the next caller gets his list."""
    server.script(Stall(), listing("a"))
    other.script(Stall(), listing("b"))
    async with make() as client:
        asking = asyncio.create_task(client.list_models())
        await server.wait_for_requests(1)
        await other.wait_for_requests(1)
        asking.cancel()
        await asyncio.wait([asking])
        await server.wait_for_no_connection()
        await other.wait_for_no_connection()
        assert [model.id for model in await client.list_models()] == ["a", "b"]


@pytest.mark.parametrize("ask", ["list_models", "health_check"])
async def test_a_client_that_is_not_open(make, ask):
    """It can't be asked."""
    with pytest.raises(RuntimeError, match="open"):
        await getattr(make(), ask)()
