"""Rules of `embed`: portions, order, errors, over a real socket."""

from __future__ import annotations

import asyncio

import pytest

from llm_bot.llm_client import (
    AuthenticationError,
    GenerationError,
    ModelNotFoundError,
    ValidationError,
)
from tests.unit.llm_client.scripted_server import Answer, Stall, chat
from tests.unit.llm_client.support import request


def vectors(*numbers: float) -> Answer:
    """As servers may: out of order, with the index to tell."""
    entries = [{"index": index, "embedding": [number]} for index, number in enumerate(numbers)]
    return Answer(body={"data": entries[::-1]})


async def test_portions_and_order(server, make):
    """Many texts go in portions of 16, and their vectors come back in their order."""
    texts = [f"text {number}" for number in range(40)]
    server.script(vectors(*range(16)), vectors(*range(16, 32)), vectors(*range(32, 40)))
    async with make() as client:
        assert await client.embed(texts) == [[float(number)] for number in range(40)]
        assert await client.embed([]) == []
    sent = [each.json["input"] for each in server.requests]
    assert [len(portion) for portion in sent] == [16, 16, 8]
    assert [text for portion in sent for text in portion] == texts
    assert {each.path for each in server.requests} == {"/v1/embeddings"}


async def test_the_model(server, make):
    """The configured one, or the one that is named."""
    server.script(vectors(1), vectors(1))
    async with make() as client:
        await client.embed(["a"])
        await client.embed(["a"], model="embedding-model")
    assert [each.json["model"] for each in server.requests] == ["asked-model", "embedding-model"]


async def test_a_single_text_is_refused(server, make):
    """Or each of its characters would be one."""
    async with make() as client:
        with pytest.raises(ValidationError, match="sequence"):
            await client.embed("text")
    assert server.requests == []


async def test_it_is_repeated_but_never_elsewhere(server, other, make):
    """What may pass is repeated; the fallback's vectors would mean something else (LLM-19)."""
    heard: list[object] = []
    server.script(Answer(503), vectors(1), Answer(401))
    async with make(other=other, on_attempt=heard.append) as client:
        assert await client.embed(["a"]) == [[1.0]]
        with pytest.raises(AuthenticationError):
            await client.embed(["a"])
    assert (len(heard), other.requests) == (3, [])


async def test_all_or_nothing(server, make):
    """When a portion fails there is nothing, and the error knows the requests of all portions."""
    server.script(vectors(*range(16)), *[Answer(200, {"data": []})] * 3)
    async with make() as client:
        with pytest.raises(GenerationError) as caught:
            await client.embed(["a"] * 20)
    assert caught.value.code == "bad_shape"
    assert caught.value.attempts == len(caught.value.attempt_log) == 4


@pytest.mark.parametrize("body", [b"", {"error": "model asked-model does not exist"}])
async def test_a_server_without_embeddings_still_chats(server, make, body):
    """That it knows no such path, or its model makes none, says nothing about its answers."""
    server.script(Answer(404, body), chat("still here"))
    async with make() as client:
        with pytest.raises(ModelNotFoundError):
            await client.embed(["a"])
        assert client.states == {"openai": "up"}
        assert (await client.generate(request())).provider == "openai"


async def test_cancelling(server, make):
    """It leaves no connection and no slot behind."""
    server.script(Stall(), vectors(1))
    async with make(max_concurrent_requests=1) as client:
        asking = asyncio.create_task(client.embed(["a"]))
        await server.wait_for_requests(1)
        asking.cancel()
        await asyncio.wait([asking])
        await server.wait_for_no_connection()
        assert await client.embed(["a"]) == [[1.0]]
