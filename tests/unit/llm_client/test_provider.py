"""Rules of what all requests to one provider share: its name, its quirks, its slots, its state."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest

from llm_bot.llm_client import (
    AllProvidersFailedError,
    AuthenticationError,
    LLMClient,
    LLMError,
    ModelNotFoundError,
    ProviderHealth,
    ProviderState,
)
from llm_bot.llm_client import provider as module
from llm_bot.llm_client.adapters import get_adapter
from llm_bot.llm_client.connection import Connection
from llm_bot.llm_client.provider import Provider, unique_names
from tests.unit.llm_client.scripted_server import Answer, Reset, Stall, chat, chat_body
from tests.unit.llm_client.support import KEY, config, request

UP, DOWN, COOLING = ProviderState.UP, ProviderState.DOWN, ProviderState.COOLING


def refuse(field: str) -> Answer:
    return Answer(400, {"error": {"message": f"Unsupported parameter: '{field}'", "param": field}})


def listing(*names: str) -> Answer:
    return Answer(body={"object": "list", "data": [{"id": name} for name in names]})


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        (["openai"], ["openai"]),
        (["openai", "openai"], ["openai", "openai-2"]),
        (
            ["ollama", "openai", "ollama", "mlx", "ollama"],
            ["ollama", "openai", "ollama-2", "mlx", "ollama-3"],
        ),
    ],
)
def test_names_are_unique(kinds, names):
    """The second of a kind is `kind-2`, whatever stands between (LLM-1)."""
    assert unique_names([config(provider=kind) for kind in kinds]) == names


async def test_what_a_refusal_taught(server, make, monkeypatch):
    """It is no attempt of its own, and left out from then on; of the models that came first it is
    forgotten (LLM-3).
    """
    monkeypatch.setattr(module, "MAX_MODELS", 1)
    heard: list[object] = []
    async with make(on_attempt=heard.append, parameters={"temperature": 1}) as client:
        for model in ("a", "b", "a"):
            server.script(refuse("temperature"), chat())
            assert (await client.generate(request(model=model))).attempts == 1
        server.script(refuse("top_p"), chat())
        await client.generate(request(model="a", parameters={"top_p": 0.5}))
        assert client.quirks == {"openai": {"a": {"dropped": ("temperature", "top_p")}}}
        assert client.states == {"openai": UP}
    assert len(heard) == 4
    assert not {"temperature", "top_p"} & set(server.requests[-1].json)


async def test_a_model_that_isn_t_there(server, make):
    """One that only the request names says nothing about the provider; the list of models is asked
    for anew.
    """
    server.script(listing("old"), Answer(404, {"error": "no such model"}), chat(), listing("new"))
    async with make() as client:
        names = [(await client.list_models())[0].id for _ in range(2)]
        with pytest.raises(ModelNotFoundError):
            await client.generate(request(model="no such model"))
        assert (await client.generate(request())).content == "Hello"
        names += [(await client.list_models())[0].id]
    assert names == ["old", "old", "new"]


async def test_an_odd_answer_is_told_once(server, other, make, caplog, monkeypatch):
    """Once for each model, and not for more models than can be of use; of a fallback under its
    own name.
    """
    monkeypatch.setattr(module, "MAX_MODELS", 2)
    long = request("word " * 1000)
    server.script(*[Answer(400)] * 2)
    other.script(*[chat()] * 2)
    async with make(other=other, fallback={"provider": "ollama", "model": "small"}) as client:
        for _ in range(2):
            await client.generate(long)
    async with make(provider="ollama") as client:
        for model in ("a", "b", "c"):
            server.script(chat())
            await client.generate(request("word " * 1000, model=model))
    told = [record for record in caplog.records if record.message == "llm.answer_doubtful"]
    assert [(each.provider, each.model) for each in told] == [
        ("ollama", "small"),
        ("ollama", "a"),
        ("ollama", "b"),
    ]


@pytest.mark.parametrize("moments", range(8))
async def test_a_slot_that_comes_as_the_deadline_passes(clock, moments):
    """However close the two are, either it is had or it is free for the next."""
    adapter = get_adapter(config(max_concurrent_requests=1))
    made = Provider(adapter, Connection(adapter), clock, lambda: None)
    assert await made.take_slot(float("inf"))
    waiting = asyncio.create_task(made.take_slot(0.001))
    await asyncio.sleep(0.001)
    for _ in range(moments):
        await asyncio.sleep(0)
    made.free_slot()
    if await waiting:
        made.free_slot()
    assert made._slots._value == 1


async def test_a_bug_under_way_leaves_no_probe_behind(clock):
    """What isn't one of our errors goes through, and the next one may ask."""
    answers: list[httpx.Response | Exception] = [
        httpx.Response(401),
        ZeroDivisionError(),
        httpx.Response(200, json=chat_body()),
    ]

    def handle(_: httpx.Request) -> httpx.Response:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with LLMClient(config(), clock=clock, transport=httpx.MockTransport(handle)) as client:
        for kind in (AuthenticationError, ZeroDivisionError):
            with pytest.raises(kind):
                await client.generate(request())
            clock.advance(300)
        assert (await client.generate(request())).content == "Hello"


async def test_a_rest_is_logged_when_it_begins_and_when_it_is_over(server, make, clock, caplog):
    """Once each, with the reason and the seconds; not for each failure within the rest."""
    caplog.set_level(logging.INFO)
    server.script(Answer(401), Answer(401), chat("Back."))
    async with make(breaker_rejected_seconds=60) as client:
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                await client.generate(request())
            clock.advance(61)
        assert client.problems == {"openai": "openai: the key is refused (HTTP 401)"}
        await client.generate(request())
        assert client.problems == {}
    (rests,) = [vars(each) for each in caplog.records if each.message == "llm.provider_rests"]
    assert (rests["provider"], rests["error"], rests["status"]) == ("openai", "authentication", 401)
    assert rests["seconds"] == 60
    assert [each.message for each in caplog.records].count("llm.provider_back") == 1


async def test_states(server, other, clock, make):
    """Up until a request fails, cooling while nobody may ask, then down until one is answered
    (LLM-14).
    """
    gate = asyncio.Event()
    async with make(other=other, max_attempts=1, breaker_failures=2) as client:
        seen = [client.states["openai"]]
        for _ in range(2):
            server.script(Answer(500))
            other.script(chat())
            await client.generate(request())
            seen.append(client.states["openai"])
        clock.advance(30)
        seen.append(client.states["openai"])
        server.script(Answer(200, chat_body(), gate=gate))
        probe = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(3)
        seen.append(client.states["openai"])
        gate.set()
        await probe
        seen.append(client.states["openai"])
        assert client.states["openai-2"] is UP
    assert seen == [UP, DOWN, COOLING, DOWN, COOLING, UP]


async def test_the_health_of_each(server, other, make):
    """Each provider is asked once; what fails says why, without secrets."""
    server.script(listing("a"))
    other.script(Answer(401, "bad key sk-other"))
    async with make(other=other) as client:
        health = await client.health_check()
    assert list(health) == ["openai", "openai-2"]
    assert health["openai"] == ProviderHealth(True, UP, 0.0, None)
    assert health["openai-2"] == ProviderHealth(False, UP, None, "openai-2: bad key *** (HTTP 401)")
    assert len(server.requests) == len(other.requests) == 1
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_a_check_changes_nothing(server, make):
    """It goes past rests, slots and time: it is bounded, never repeated, and counts nowhere."""
    server.script(Answer(401), listing("a"), Answer(500), Answer(429), Stall())
    async with make(max_concurrent_requests=1, timeout_seconds=0.05) as client:
        with pytest.raises(AuthenticationError):
            await client.generate(request())
        assert await client._providers[0].take_slot(1)
        checks = [(await client.health_check())["openai"] for _ in range(4)]
        assert client.states == {"openai": COOLING}
    assert checks[0] == ProviderHealth(True, COOLING, 0.0, None)
    assert [each.available for each in checks] == [True, False, False, False]
    assert checks[3].error == "openai: no whole answer within 0.05 s"
    assert len(server.requests) == 5


async def test_the_models_of_all(server, other, make):
    """In the order of the providers, each with the unique name of its own, and asked for once; one
    that fails is left out and asked again by the next caller.
    """
    server.script(Answer(500), listing("a", "b"))
    other.script(listing("a"))
    async with make(other=other) as client:
        assert [model.provider for model in await client.list_models()] == ["openai-2"]
        (await client.list_models()).clear()
        models = await client.list_models()
    assert [(model.id, model.provider) for model in models] == [
        ("a", "openai"),
        ("b", "openai"),
        ("a", "openai-2"),
    ]
    assert (len(server.requests), len(other.requests)) == (2, 1)


async def test_no_list_at_all(server, other, make):
    """Only then it is an error: of all in their order, or the only one's as it is; it says nothing
    about answers.
    """
    server.script(Answer(500, "a"), Answer(403, "c"), chat())
    other.script(Reset(), Reset())  # aiohttp itself repeats a GET whose connection broke
    async with make(other=other) as client:
        with pytest.raises(AllProvidersFailedError) as caught:
            await client.list_models()
    assert [each.code for each in caught.value.errors] == ["server_error", "connection"]
    async with make() as client:
        with pytest.raises(AuthenticationError, match="openai: c"):
            await client.list_models()
        assert client.states == {"openai": UP}
        assert (await client.generate(request())).content == "Hello"


async def test_a_cancelled_list_leaves_nothing_behind(server, other, make):
    """Both connections are closed, and the next caller gets his list."""
    server.script(Stall(), listing("a"))
    other.script(Stall(), listing("b"))
    async with make(other=other) as client:
        asking = asyncio.create_task(client.list_models())
        await server.wait_for_requests(1)
        await other.wait_for_requests(1)
        asking.cancel()
        await asyncio.wait([asking])
        await server.wait_for_no_connection()
        await other.wait_for_no_connection()
        assert [model.id for model in await client.list_models()] == ["a", "b"]


async def test_every_error_names_its_provider(server, other, make):
    """Wherever it comes from."""
    server.script(Answer(400), listing())
    other.script(Answer(200, "{"), Answer(200, "{"))
    async with make(other=other) as client:
        with pytest.raises(LLMError, match=r"^openai: .*; openai-2: the answer isn't JSON"):
            await client.generate(request())
        assert await client.list_models() == []
