"""Rules of what all requests to one provider share: its name, its lessons, its slots."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest

from llm_bot.llm_client import (
    AuthenticationError,
    ConfigurationError,
    LLMClient,
    ModelNotFoundError,
)
from llm_bot.llm_client import provider as module
from llm_bot.llm_client.adapters import get_adapter
from llm_bot.llm_client.clock import Deadline, Signal
from llm_bot.llm_client.connection import Connection
from llm_bot.llm_client.provider import Provider, unique_names
from tests.unit.llm_client.scripted_server import Answer, ScriptedServer, chat, chat_body
from tests.unit.llm_client.support import ManualClock, config, request


def refuse(field: str) -> Answer:
    return Answer(400, {"error": {"message": f"Unsupported parameter: '{field}'", "param": field}})


@pytest.fixture
def make(server: ScriptedServer, clock: ManualClock):
    """Makes a client of the scripted server that waits no backoff."""

    def make_client(on_attempt=None, **changes) -> LLMClient:
        made = config(**{"base_url": f"{server.url}/v1", **changes})
        return LLMClient(made, clock=clock, rng=lambda: 0.0, on_attempt=on_attempt)

    return make_client


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


def test_the_fallback_that_lacks_its_key_is_named():
    """Of two of a kind one has to know which."""
    with pytest.raises(ConfigurationError, match="openai-2: api_key") as caught:
        LLMClient(config(fallbacks=[config(api_key=None)]))
    assert (caught.value.provider, caught.value.field) == ("openai-2", "api_key")


async def test_what_a_refusal_taught_is_no_attempt(server, make):
    """A parameter that is refused is left out at once and from then on; it counts nowhere
    (LLM-3).
    """
    heard: list[object] = []
    server.script(refuse("temperature"), chat("a"), chat("b"))
    async with make(on_attempt=heard.append, parameters={"temperature": 1}) as client:
        responses = [await client.generate(request()) for _ in range(2)]
        assert client.states == {"openai": "up"}
    assert [each.attempts for each in responses] == [1, 1]
    assert [each.retries for each in responses] == [0, 0]
    assert len(heard) == 2
    assert ["temperature" in each.json for each in server.requests] == [True, False, False]


async def test_lessons_are_bounded(server, make, monkeypatch):
    """Of the models that came first it is forgotten; asking again teaches it again."""
    monkeypatch.setattr(module, "MAX_MODELS", 1)
    async with make(parameters={"temperature": 1}) as client:
        for model in ("a", "b", "a"):
            server.script(refuse("temperature"), chat())
            await client.generate(request(model=model))
        server.script(refuse("top_p"), chat())
        await client.generate(request(model="a", parameters={"top_p": 0.5}))
        assert len(client.quirks["openai"]) == 1
    sent = server.requests[-1].json
    assert "temperature" not in sent
    assert "top_p" not in sent


async def test_a_model_that_only_the_request_names(server, make):
    """That the server doesn't know it says nothing about the provider, whose own model is there."""
    server.script(Answer(404), chat())
    async with make() as client:
        with pytest.raises(ModelNotFoundError):
            await client.generate(request(model="no such model"))
        assert (await client.generate(request())).content == "Hello"


async def test_an_unknown_model_makes_the_list_doubtful(server, make):
    """After a ModelNotFoundError the list of models is asked for anew."""
    lists = [Answer(body={"data": [{"id": name}]}) for name in ("old", "new")]
    server.script(lists[0], Answer(404), lists[1])
    async with make() as client:
        names = [(await client.list_models())[0].id for _ in range(2)]
        with pytest.raises(ModelNotFoundError):
            await client.generate(request())
        names += [(await client.list_models())[0].id]
    assert names == ["old", "old", "new"]


async def test_an_odd_answer_is_told_once(server, make, caplog, monkeypatch):
    """Once for each model, and not for more models than can be of use."""
    monkeypatch.setattr(module, "MAX_MODELS", 2)
    caplog.set_level(logging.WARNING, "llm_bot")
    long = "word " * 1000
    async with make(provider="ollama") as client:
        for model in ("a", "a", "b", "c"):
            server.script(chat())
            await client.generate(request(long, model=model))
    told = [record for record in caplog.records if record.message == "llm.answer_doubtful"]
    assert [(each.provider, each.model) for each in told] == [("ollama", "a"), ("ollama", "b")]


async def test_an_odd_answer_of_the_fallback_names_its_model(server, other, caplog):
    """Not the first provider's."""
    server.script(Answer(400))
    other.script(chat())
    fallback = config(provider="ollama", base_url=other.url, model="small")
    made = config(base_url=f"{server.url}/v1", fallbacks=[fallback])
    async with LLMClient(made, clock=ManualClock()) as client:
        await client.generate(request("word " * 1000, model="large"))
    (told,) = (each for each in caplog.records if each.message == "llm.answer_doubtful")
    assert (told.provider, told.model) == ("ollama", "small")


def provider_of(clock: ManualClock, **changes) -> Provider:
    return Provider(get_adapter(config(**changes)), Connection(None), clock, Signal())


@pytest.mark.parametrize("moments", range(8))
async def test_a_slot_that_comes_as_the_deadline_passes(clock, moments):
    """However close the two are, either it is had or it is free for the next."""
    made = provider_of(clock, max_concurrent_requests=1)
    assert await made.take_slot(Deadline(clock))
    waiting = asyncio.create_task(made.take_slot(Deadline(clock, 30)))
    await clock.wait_for_sleepers(30)
    clock.advance(30)
    for _ in range(moments):
        await asyncio.sleep(0)
    made.free_slot()
    if await waiting:
        made.free_slot()
    assert not made._slots.locked()
    assert await asyncio.wait_for(made.take_slot(Deadline(clock)), 1)


async def test_slots_go_to_who_came_first(clock):
    """Those with and without a deadline stand in one line."""
    made = provider_of(clock, max_concurrent_requests=1)
    await made.take_slot(Deadline(clock))
    served: list[int] = []

    async def take(number: int, seconds: float | None) -> None:
        assert await made.take_slot(Deadline(clock, seconds))
        served.append(number)
        made.free_slot()

    taking = []
    for number, seconds in enumerate((None, 50, None, 60)):
        taking.append(asyncio.create_task(take(number, seconds)))
        for _ in range(3):
            await asyncio.sleep(0)
    made.free_slot()
    await asyncio.gather(*taking)
    assert served == [0, 1, 2, 3]


async def test_a_bug_under_way_leaves_no_probe_behind(clock):
    """What isn't one of our errors goes through, and the next one may ask."""
    calls = 0

    def handle(_: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ZeroDivisionError
        return httpx.Response(401) if calls == 1 else httpx.Response(200, json=chat_body())

    made = LLMClient(config(), clock=clock, transport=httpx.MockTransport(handle))
    async with made as client:
        for kind in (Exception, ZeroDivisionError):
            with pytest.raises(kind):
                await client.generate(request())
            clock.advance(300)
        assert (await client.generate(request())).content == "Hello"


async def test_a_rest_is_logged_when_it_begins_and_when_it_is_over(server, clock, caplog):
    """Once each, with the reason and the seconds; not for each failure within the rest."""
    caplog.set_level(logging.INFO)
    server.script(Answer(401), Answer(401), chat("Back."))
    made = config(base_url=f"{server.url}/v1", breaker_rejected_seconds=60)
    async with LLMClient(made, clock=clock) as client:
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                await client.generate(request())
            clock.advance(61)
        await client.generate(request())
    (rests,) = [each for each in caplog.records if each.message == "llm.provider_rests"]
    assert vars(rests)["provider"] == "openai"
    assert (vars(rests)["error"], vars(rests)["status"]) == ("authentication", 401)
    assert vars(rests)["seconds"] == 60
    assert [each.message for each in caplog.records].count("llm.provider_back") == 1
