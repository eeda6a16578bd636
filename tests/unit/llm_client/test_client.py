"""Rules of the client: bounds, slots, cancelling, its life, over a real socket."""

from __future__ import annotations

import asyncio
import json
import traceback
from dataclasses import replace

import pytest

from llm_bot.llm_client import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    DeadlineExceededError,
    GenerationError,
    LLMClient,
    LLMError,
    LLMRequest,
    TimeoutError,
)
from llm_bot.llm_client.connection import MAX_BODY_BYTES
from tests.servers import eventually
from tests.unit.llm_client.scripted_server import Answer, Flood, Reset, Stall, chat, chat_body
from tests.unit.llm_client.support import KEY, config, request, warm

SHORT = 0.05  # seconds of a time-out or deadline that is meant to pass


async def failure_of(client: LLMClient, **options) -> LLMError:
    with pytest.raises(LLMError) as caught:
        await client.generate(request(**options))
    return caught.value


async def test_an_answer(server, make):
    """One request goes out, and everything about it is in the response."""
    server.script(chat("Hello there."))
    async with make() as client:
        response = await client.generate(request("Hi", correlation_id="c-1", max_tokens=7))
    (received,) = server.requests
    assert (received.method, received.path) == ("POST", "/v1/chat/completions")
    assert received.headers["x-correlation-id"] == "c-1"
    assert received.json["messages"] == [{"role": "user", "content": "Hi"}]
    assert received.json["max_tokens"] == 7
    assert (response.content, response.provider) == ("Hello there.", "openai")
    assert (response.attempts, response.retries, response.fallback_used) == (1, 0, False)
    (attempt,) = response.attempt_log
    assert (attempt.provider, attempt.model, attempt.status) == ("openai", "asked-model", 200)
    assert (attempt.error, attempt.outcome) == (None, "success")


@pytest.mark.parametrize("stall", [Stall(), Stall((b"{", b'"choices"'))], ids=["silent", "slow"])
async def test_the_time_out_bounds_the_whole_request(server, make, stall):
    """However the answer trickles; the request's own goes before the configured one (LLM-17,
    ASK-6).
    """
    server.script(stall, stall)
    async with make(timeout_seconds=SHORT, max_attempts=1) as client:
        assert type(await failure_of(client)) is TimeoutError
    async with make(max_attempts=1) as client:
        error = await failure_of(client, timeout_seconds=SHORT)
        await server.wait_for_no_connection()
    assert str(error) == f"openai: no whole answer within {SHORT:g} s"
    assert (error.attempts, error.attempt_log[0].outcome) == (1, "timeout")


async def test_the_deadline_cuts_a_request_short(server, make):
    """It counts as one that went out; one that has passed already lets nothing go out."""
    server.script(Stall())
    async with make() as client:
        error = await failure_of(client, deadline_seconds=SHORT)
        await server.wait_for_no_connection()
        assert (type(error), error.attempts, error.retryable) == (DeadlineExceededError, 1, False)
        for seconds in (0, -1):
            error = await failure_of(client, deadline_seconds=seconds)
            assert (type(error), error.attempts) == (DeadlineExceededError, 0)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout_seconds": 0}, ValueError),
        ({"timeout_seconds": float("nan")}, ValueError),
        ({"deadline_seconds": float("inf")}, ValueError),
        ({"temperature": 2.1}, ValueError),
        ({"temperature": True}, ValueError),
        ({"max_tokens": 0}, ValueError),
        ({"max_tokens": 1.5}, ValueError),
        ({"messages": [{"role": "bot", "content": "x"}]}, ValueError),
        ({"messages": [("user", "x")]}, TypeError),
        ({"messages": 3}, TypeError),
    ],
)
def test_a_request_that_makes_no_sense(options, error):
    """It is refused when it is made."""
    with pytest.raises(error):
        LLMRequest(**{"messages": "Hello", **options})


async def test_complete(server, make):
    """A text for a text, or for messages as mappings; None, and a log line, where it fails."""
    server.script(chat("one"), chat("two"), Answer(401))
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    async with make() as client:
        assert await client.complete("Hello") == "one"
        assert await client.complete(turns, "id-7") == "two"
        assert await client.complete("Hello") is None
    assert server.requests[0].json["messages"] == turns[1:]
    assert server.requests[1].json["messages"] == turns
    assert server.requests[1].headers["x-correlation-id"] == "id-7"


async def test_slots_bound_the_requests_on_the_wire(server, make):
    """No more than `max_concurrent_requests` at a time; who came first is served first, who can't
    wait or is cancelled takes nobody's slot (ASK-6).
    """
    gate = asyncio.Event()
    server.script(*[Answer(200, chat_body(), gate=gate)] * 4)
    async with make(max_concurrent_requests=2) as client:
        asking = [asyncio.create_task(client.generate(request(f"{n}"))) for n in range(5)]
        await server.wait_for_requests(2)
        hasty = await failure_of(client, deadline_seconds=SHORT)
        assert (type(hasty), hasty.attempts) == (DeadlineExceededError, 0)
        assert len(server.requests) == 2
        asking[2].cancel()
        gate.set()
        await asyncio.gather(*asking, return_exceptions=True)
    said = [each.json["messages"][0]["content"] for each in server.requests]
    assert (sorted(said[:2]), said[2:]) == (["0", "1"], ["3", "4"])


async def test_no_slot_for_the_repeat(server, make):
    """When none comes before the deadline, the last error is raised."""
    gate = asyncio.Event()
    server.script(Answer(503), Answer(200, chat_body(), gate=gate))
    async with make(max_concurrent_requests=1, clock=None, retry_delay_seconds=0.1) as client:
        first = asyncio.create_task(failure_of(client, deadline_seconds=0.5))
        await server.wait_for_requests(1)
        second = asyncio.create_task(client.generate(request()))
        error = await first
        assert (error.status, error.attempts) == (503, 1)
        gate.set()
        await second


@pytest.mark.parametrize("is_warm", [False, True], ids=["new connection", "kept connection"])
async def test_cancelling_at_any_moment(server, make, is_warm):
    """Whenever the cancellation comes, the slot is free again and no connection piles up."""
    async with make(max_concurrent_requests=1) as client:
        for steps in range(80):
            server.script(*[chat()] * 3)
            if is_warm:
                await client.generate(request())
            asking = asyncio.create_task(client.generate(request()))
            for _ in range(steps):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            assert (await client.generate(request())).content == "Hello"
            assert server.open_connections <= 2  # the server may not have seen the end of one yet
            server.script_is_over()


@pytest.mark.parametrize("pieces", [(), (b"{",)])
async def test_cancelling_closes_the_connection(server, make, pieces):
    """A request that nobody waits for any more isn't left to the server."""
    server.script(Stall(pieces))
    async with make() as client:
        asking = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(1)
        asking.cancel()
        await asyncio.wait([asking])
        await server.wait_for_no_connection()


async def test_a_kept_connection_is_used_again(server, make):
    """And one that the server closed, or closes as we write, costs no attempt (LLM-22)."""
    server.script(chat(), chat(), Answer(200, chat_body(), {"connection": "close"}), chat())
    async with make(max_attempts=1) as client:
        for number in range(2):
            await client.generate(request(f"{number}"))
            assert server.open_connections == 1
        await client.generate(request())
        await server.wait_for_no_connection()
        assert (await client.generate(request())).attempts == 1
        server.script(Reset(), chat("on another"))
        response = await client.generate(request())
        assert (response.content, response.attempts) == ("on another", 1)


@pytest.mark.parametrize(
    ("status", "kind"), [(200, GenerationError), (401, AuthenticationError), (500, GenerationError)]
)
async def test_reading_stops_at_a_megabyte(server, make, status, kind):
    """A body without end is read as far as the bound; a status that says enough still counts."""
    # ASK-6
    server.script(Flood(status))
    async with make(max_attempts=1) as client:
        error = await failure_of(client)
        await server.wait_for_no_connection()
    assert (type(error), error.status) == (kind, status)
    assert error.code == {200: "too_large"}.get(status, error.code)


async def test_a_megabyte_is_read(server, make):
    """An answer of exactly the bound is an answer."""
    body = {**chat_body("x"), "padding": ""}
    body["padding"] = " " * (MAX_BODY_BYTES - len(json.dumps(body)))
    server.script(Answer(body=body))
    async with make() as client:
        assert (await client.generate(request())).content == "x"


async def test_its_life(make):
    """Entered once; closed as often as one likes, also before; asked only while it is open."""
    client = make()
    await client.aclose()
    for ask in (client.list_models, client.health_check, lambda: client.embed(["a"])):
        with pytest.raises(RuntimeError, match="open"):
            await ask()
    async with client:
        with pytest.raises(RuntimeError, match="once"):
            await client.__aenter__()
        await client.aclose()
    with pytest.raises(RuntimeError, match="once"):
        await client.__aenter__()
    with pytest.raises(RuntimeError, match="open"):
        await client.generate(request())


async def test_closing_during_a_pause(server, make):
    """A repeat after the client was closed is a ConnectionError, at once."""
    server.script(Answer(503))
    closing: list[asyncio.Task[None]] = []
    client = make()
    client._on_attempt = lambda _: closing.append(asyncio.create_task(client.aclose()))
    async with client:
        error = await failure_of(client)
        await asyncio.gather(*closing)
    assert type(error) is ConnectionError
    assert "closed" in str(error)


async def test_a_model_that_has_to_load(server, caplog):
    """On this machine a request that is cut short after a quiet time stays on the wire: its answer
    is thrown away, others wait for it as long as they can, and are answered then (LLM-21).
    """
    gate = asyncio.Event()
    server.script(replace(chat("loaded at last"), gate=gate), chat("warm"))
    made = config(base_url=f"{server.url}/v1", max_attempts=1)
    async with LLMClient(made) as client:
        assert type(await failure_of(client, timeout_seconds=SHORT)) is TimeoutError
        for seconds in (None, SHORT):
            error = await failure_of(client, deadline_seconds=seconds)
            assert (error.code, error.attempts) == ("loading", 0)
            assert "the model seems to be loading" in str(error)
        assert client.states == {"openai": "cooling"}
        assert [each.message for each in caplog.records].count("llm.model_loading") == 1
        waiting = asyncio.create_task(client.generate(request(deadline_seconds=60)))
        gate.set()
        assert (await waiting).content == "warm"
        assert len(server.requests) == 2
        server.script(Stall())
        await failure_of(client, timeout_seconds=SHORT)
        assert client.states == {"openai": "down"}


async def test_a_model_that_is_given_up(server, monkeypatch):
    """After ten minutes it is loading no longer; whoever closes the client waits for none."""
    monkeypatch.setattr("llm_bot.llm_client.exchange.LOADING_SECONDS", SHORT)
    server.script(Stall())
    made = config(base_url=f"{server.url}/v1", max_attempts=1)
    async with LLMClient(made) as client:
        await failure_of(client, timeout_seconds=SHORT)
        await eventually(lambda: client.states == {"openai": "down"})
        await server.wait_for_no_connection()
    monkeypatch.undo()
    server.script(Stall())
    async with LLMClient(made) as client:
        await failure_of(client, deadline_seconds=SHORT)
    await server.wait_for_no_connection()


async def test_a_server_elsewhere_is_hung_up_on(server, make, monkeypatch):
    """Nobody waits for a model of a server in the world, nor after a cancelled request."""
    server.script(Stall(), Stall())
    client = make(max_attempts=1)
    client._providers[0]._exchange._answered_at = float("-inf")
    async with client:
        asking = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(1)
        asking.cancel()
        await server.wait_for_no_connection()
        monkeypatch.setattr(type(client._providers[0].adapter), "may_have_to_load", False)
        await failure_of(client, timeout_seconds=SHORT)
        await server.wait_for_no_connection()


async def test_a_first_provider_that_never_answers_is_told(server, other, make, caplog):
    """Three lines in a row went to its fallback: one warning, and word when it is back (LLM-20)."""
    caplog.set_level("INFO", "llm_bot")
    server.script(*[Answer(413, "no")] * 4, chat("back"))
    other.script(*[chat("other")] * 4)
    async with make(other=other) as client:
        for number in range(4):
            assert (await client.generate(request())).content == "other"
            assert bool(client.problems) is (number >= 2)
        assert client.problems == {"openai": "openai: no (HTTP 413)"}
        await client.generate(request())
        assert client.problems == {}
    told = [each.message for each in caplog.records if each.message.startswith("llm.provider")]
    assert told == ["llm.provider_failing", "llm.provider_back"]


async def test_construction_names_what_is_missing():
    """A provider without its key is refused before anything is opened, and named."""
    with pytest.raises(ConfigurationError, match="api_key"):
        LLMClient(config(api_key=None))
    with pytest.raises(ConfigurationError, match="openai-2: api_key") as caught:
        LLMClient(config(fallbacks=[config(api_key=None)]))
    assert (caught.value.provider, caught.value.field) == ("openai-2", "api_key")


async def test_secrets_are_nowhere(server, clock, caplog):
    """Neither errors, causes, reprs nor logs show key, headers or password (LLM-18)."""
    caplog.set_level("INFO")
    caplog.set_level("DEBUG", "llm_bot")
    secrets = (KEY, "hunter22", "header-secret-1")
    address = server.url.replace("http://", "http://me:hunter22@")
    made = config(
        base_url=f"{address}/v1",
        extra_headers={"x-token": "header-secret-1"},
        max_attempts=9,
        breaker_failures=20,
    )
    echo = " ".join(secrets)
    server.script(
        Answer(500, {"error": {"message": echo}}),
        Answer(503, echo),
        Reset(),
        Answer(200, f"<html>{echo}"),
        Answer(200, {"error": echo}),
        Answer(200, "{", {"content-type": f"text/{KEY}"}),
        chat("", finish_reason=echo),
        Answer(401, {"detail": echo}),
    )
    heard: list[object] = []
    client = warm(LLMClient(made, clock=clock, on_attempt=heard.append))
    async with client:
        error = await failure_of(client)
    assert error.attempts == 7  # the reset one is repeated at once
    assert "llm.retry" in caplog.text
    shown = "".join(traceback.format_exception(error))
    shown += f"{error!r} {vars(error)} {client!r} {made!r} {heard} {caplog.text}"
    shown += " ".join(str(vars(record)) for record in caplog.records)
    for secret in secrets:
        assert secret not in shown
