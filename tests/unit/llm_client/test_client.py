"""Rules of asking: retries, bounds, slots and the life of the client, over a real socket."""

from __future__ import annotations

import asyncio
import gc
import json
from dataclasses import replace

import pytest

from llm_bot.llm_client import (
    Attempt,
    AttemptStatus,
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    DeadlineExceededError,
    GenerationError,
    LLMClient,
    LLMError,
    LLMRequest,
    RateLimitError,
    SystemClock,
    TimeoutError,
)
from llm_bot.llm_client.connection import MAX_BODY_BYTES
from tests.servers import eventually
from tests.unit.llm_client.scripted_server import (
    Answer,
    Flood,
    Reset,
    ScriptedServer,
    Stall,
    chat,
    chat_body,
)
from tests.unit.llm_client.support import ManualClock, config, request, warm


@pytest.fixture
def make(server: ScriptedServer, clock: ManualClock):
    """Makes a client of the scripted server whose jitter is always the whole pause."""

    def make_client(on_attempt=None, **changes) -> LLMClient:
        made = config(**{"base_url": f"{server.url}/v1", **changes})
        return warm(LLMClient(made, clock=clock, rng=lambda: 1.0, on_attempt=on_attempt))

    return make_client


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
    assert response.content == "Hello there."
    assert (response.attempts, response.retries, response.fallback_used) == (1, 0, False)
    assert response.attempt_log == (Attempt("openai", "asked-model", 200, None, 0.0),)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(Answer(status), id=str(status))
        for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)
    ]
    + [
        pytest.param(Answer(200, "<html>"), id="no JSON"),
        pytest.param(Answer(200, {"choices": None}), id="null choices"),
        pytest.param(chat(""), id="empty"),
        pytest.param(chat("", finish_reason="length"), id="length"),
        pytest.param(Answer(200, b"\x1f", {"content-encoding": "gzip"}), id="bad gzip"),
        pytest.param(Reset(), id="reset before the answer"),
        pytest.param(Reset((b'{"choices":',)), id="reset within the answer"),
    ],
)
async def test_what_may_pass_is_asked_again(server, clock, make, step):
    """After what may pass, the same provider is asked again, with a growing pause."""
    server.script(step, step, chat("at last"))
    async with make() as client:
        response = await client.generate(request())
    assert response.content == "at last"
    assert (response.attempts, response.retries) == (3, 2)
    assert clock.slept == [1.0, 2.0]
    assert response.latency_seconds == 3.0
    assert len(response.attempt_log) == len(server.requests) == 3


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 402, 403, 404, 413, 422])
async def test_what_never_passes_is_asked_once(server, clock, make, status):
    """After any other status nothing is asked again, and a redirect isn't followed."""
    server.script(Answer(status, headers={"location": f"{server.url}/other"}), chat())
    async with make() as client:
        error = await failure_of(client)
    assert (error.status, error.attempts, len(server.requests)) == (status, 1, 1)
    assert clock.slept == []
    assert error.attempt_log[0].outcome in (AttemptStatus.REJECTED, AttemptStatus.RATE_LIMITED)


async def test_spent_quota_is_asked_once(server, make):
    """429 with a spent quota isn't retried."""
    server.script(Answer(429, {"error": {"code": "insufficient_quota"}}))
    async with make() as client:
        error = await failure_of(client)
    assert (type(error), error.code, len(server.requests)) == (RateLimitError, "quota", 1)


async def test_the_last_error_is_raised_as_it_is(server, make):
    """When the attempts are spent, the last error says what it was, and all are in its log."""
    server.script(Answer(503), Answer(500, "x"), Answer(429, "slow down", {"retry-after": "3"}))
    async with make() as client:
        error = await failure_of(client)
    assert type(error) is RateLimitError
    assert (error.retry_after, error.attempts) == (3.0, 3)
    assert [attempt.status for attempt in error.attempt_log] == [503, 500, 429]
    assert [attempt.error for attempt in error.attempt_log] == [
        "server_error",
        "server_error",
        "rate_limited",
    ]


async def test_retry_after_is_the_floor(server, clock, make):
    """A pause is at least what the server asks for, in seconds or until a date (ASK-5)
    (LLM-5).
    """
    server.script(
        Answer(429, headers={"retry-after": "7"}),
        Answer(503, headers={"retry-after": "Tue, 14 Nov 2023 22:30:20 GMT"}),
        chat(),
    )
    clock.epoch = 1_700_001_000.0 - 1000.0 - 7.0  # 22:30:00, once seven seconds have passed
    async with make() as client:
        await client.generate(request())
    assert clock.slept == [7.0, 20.0]


async def test_a_pause_that_does_not_fit_is_not_begun(server, clock, make):
    """When the deadline leaves no room for the pause, the last error is raised at once."""
    server.script(Answer(429, headers={"retry-after": "50"}))
    async with make() as client:
        error = await failure_of(client, deadline_seconds=45)
    assert type(error) is RateLimitError
    assert (clock.slept, error.attempts) == ([], 1)


async def test_no_retry_where_only_one_attempt_is_allowed(server, make):
    """`max_attempts` 1 means one request."""
    server.script(Answer(500))
    async with make(max_attempts=1) as client:
        error = await failure_of(client)
    assert (error.attempts, len(server.requests)) == (1, 1)


@pytest.mark.parametrize(
    "stall", [Stall(), Stall((b"{",)), Stall((b"{", b'"choices"'))], ids=["silent", "1", "2"]
)
async def test_the_time_out_bounds_the_whole_request(server, clock, make, stall):
    """However the answer trickles, after `timeout_seconds` the request is over, then repeated
    (LLM-17).
    """
    # ASK-6
    server.script(stall, chat("second"))
    async with make(timeout_seconds=30) as client:
        asking = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(1)
        clock.advance(29)
        await asyncio.sleep(0)
        assert not asking.done()
        clock.advance(1)
        response = await asking
    assert response.content == "second"
    assert response.attempt_log[0] == Attempt(
        "openai", "asked-model", None, "timeout", 30.0, AttemptStatus.TIMEOUT
    )


async def test_a_time_out_of_the_request_itself(server, clock, make):
    """The request's own `timeout_seconds` goes before the configured one."""
    server.script(Stall())
    async with make(max_attempts=1) as client:
        asking = asyncio.create_task(client.generate(request(timeout_seconds=25)))
        await server.wait_for_requests(1)
        clock.advance(25)
        with pytest.raises(TimeoutError, match="within 25 s"):
            await asking
        await server.wait_for_no_connection()


async def test_the_deadline_cuts_a_request_short(server, clock, make):
    """The deadline bounds a request that is on its way; it counts as one that went out."""
    server.script(Stall())
    async with make(timeout_seconds=60) as client:
        asking = asyncio.create_task(client.generate(request(deadline_seconds=45)))
        await server.wait_for_requests(1)
        clock.advance(45)
        with pytest.raises(DeadlineExceededError) as caught:
            await asking
        await server.wait_for_no_connection()
    assert caught.value.attempts == 1
    assert caught.value.attempt_log[0].outcome is AttemptStatus.TIMEOUT
    assert not caught.value.retryable


@pytest.mark.parametrize("seconds", [0, -1])
async def test_a_deadline_that_has_passed(server, make, seconds):
    """Nothing is sent when the deadline has passed already."""
    async with make() as client:
        error = await failure_of(client, deadline_seconds=seconds)
    assert type(error) is DeadlineExceededError
    assert (error.attempts, server.requests) == (0, [])


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
    async with make() as client:
        assert await client.complete("Hello") == "one"
        turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
        assert await client.complete(turns, "id-7") == "two"
        assert await client.complete("Hello") is None
    assert server.requests[0].json["messages"] == [{"role": "user", "content": "Hello"}]
    assert server.requests[1].json["messages"] == turns
    assert server.requests[1].headers["x-correlation-id"] == "id-7"


async def test_slots_bound_the_requests_on_the_wire(server, make):
    """No more than `max_concurrent_requests` are asked at a time; the rest wait their turn."""
    # ASK-6
    gate = asyncio.Event()
    server.script(*[Answer(200, chat_body(), gate=gate)] * 5)
    async with make(max_concurrent_requests=2) as client:
        asking = [asyncio.create_task(client.generate(request())) for _ in range(5)]
        await server.wait_for_requests(2)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(server.requests) == 2
        gate.set()
        await asyncio.gather(*asking)
    assert len(server.requests) == 5


async def test_no_slot_is_held_during_a_pause(server, clock, make):
    """While one waits to ask again, another may ask: a backoff is the caller's own."""
    server.script(Answer(503), chat("other"), chat("first"))
    async with make(max_concurrent_requests=1, retry_delay_seconds=25) as client:
        first = asyncio.create_task(client.generate(request()))
        await clock.wait_for_sleepers(25)
        assert (await client.generate(request())).content == "other"
        clock.advance(25)
        assert (await first).content == "first"


async def test_waiting_for_a_slot_counts_against_the_deadline(server, clock, make):
    """A slot that doesn't come in time: DeadlineExceededError, and nothing was sent."""
    gate = asyncio.Event()
    server.script(Answer(200, chat_body(), gate=gate))
    async with make(max_concurrent_requests=1, timeout_seconds=100) as client:
        first = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(1)
        second = asyncio.create_task(client.generate(request(deadline_seconds=45)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        clock.advance(45)
        with pytest.raises(DeadlineExceededError) as caught:
            await second
        assert caught.value.attempts == 0
        gate.set()
        await first
    assert len(server.requests) == 1


async def test_a_slot_that_comes_in_time(server, make):
    """Who waits within the deadline is served when the slot is free."""
    gate = asyncio.Event()
    server.script(Answer(200, chat_body(), gate=gate), chat("second"))
    async with make(max_concurrent_requests=1) as client:
        first = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(1)
        second = asyncio.create_task(client.generate(request(deadline_seconds=45)))
        await asyncio.sleep(0)
        gate.set()
        await first
        assert (await second).content == "second"


async def test_no_slot_for_the_repeat(server, clock, make):
    """When no slot for the repeat comes before the deadline, the last error is raised."""
    gate = asyncio.Event()
    server.script(Answer(503), Answer(200, chat_body(), gate=gate))
    async with make(
        max_concurrent_requests=1, timeout_seconds=100, retry_delay_seconds=21
    ) as client:
        first = asyncio.create_task(client.generate(request(deadline_seconds=45)))
        await clock.wait_for_sleepers(21)
        second = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(2)
        clock.advance(21)  # the pause of the first is over, the slot is the second's
        await clock.wait_for_sleepers(24)
        clock.advance(24)
        with pytest.raises(GenerationError) as caught:
            await first
        assert (caught.value.status, caught.value.attempts) == (503, 1)
        gate.set()
        await second


async def test_cancelling_leaves_nothing_behind(server, clock, make):
    """A cancelled request closes its connection and gives its slot back."""
    server.script(Stall(), Stall((b"{",)), chat("free"))
    async with make(max_concurrent_requests=1) as client:
        for number in (1, 2):
            asking = asyncio.create_task(client.generate(request()))
            await server.wait_for_requests(number)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await server.wait_for_no_connection()
        assert (await client.generate(request())).content == "free"


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


async def test_closing_while_asking(server, make):
    """Who is asking when the client is closed gets an LLMError, and nothing hangs."""
    server.script(Stall())
    client = make(max_attempts=1)
    async with client:
        asking = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(1)
    error = await asyncio.wait_for(asyncio.gather(asking, return_exceptions=True), 5)
    assert isinstance(error[0], LLMError)


async def test_a_kept_connection_that_the_server_closed(server, make):
    """A connection that went away while idle costs nothing but a new one."""
    server.script(Answer(200, chat_body(), {"connection": "close"}), chat("second"))
    async with make() as client:
        await client.generate(request())
        await server.wait_for_no_connection()
        assert (await client.generate(request())).attempts == 1


async def test_cancelling_while_waiting_for_a_slot(server, make):
    """Who is cancelled in the queue takes nobody's slot."""
    gate = asyncio.Event()
    server.script(Answer(200, chat_body(), gate=gate), chat("third"))
    async with make(max_concurrent_requests=1) as client:
        first = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(1)
        second = asyncio.create_task(client.generate(request(deadline_seconds=45)))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()
        await first
        assert (await client.generate(request())).content == "third"


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
    assert type(error) is kind
    assert error.status == status
    assert error.code == {200: "too_large"}.get(status, error.code)


async def test_a_megabyte_is_read(server, make):
    """An answer of exactly the bound is an answer."""
    body = chat_body("x")
    body["padding"] = ""
    short = len(json.dumps(body))
    body["padding"] = " " * (MAX_BODY_BYTES - short)
    server.script(Answer(body=body))
    async with make() as client:
        assert (await client.generate(request())).content == "x"


async def test_no_server(clock, unused_port):
    """A refused connection is a ConnectionError that names the address, and is retried."""
    made = config(base_url=f"http://127.0.0.1:{unused_port}/v1")
    async with LLMClient(made, clock=clock, rng=lambda: 0.5) as client:
        error = await failure_of(client)
    assert type(error) is ConnectionError
    assert f"127.0.0.1:{unused_port}" in str(error)
    assert (error.attempts, error.status) == (3, None)
    assert clock.slept == [0.75, 1.5]


@pytest.fixture
async def unused_port() -> int:
    async with ScriptedServer() as gone:
        return int(gone.url.rpartition(":")[2])


async def test_each_attempt_is_reported(server, make):
    """The hook hears of each request, with the word that a metric counts it under."""
    heard: list[Attempt] = []
    server.script(Answer(500), Answer(429), chat())
    async with make(on_attempt=heard.append) as client:
        response = await client.generate(request())
        server.script(Answer(401))
        await failure_of(client)
    assert [attempt.outcome for attempt in heard] == [
        "error",
        "rate_limited",
        "success",
        "rejected",
    ]
    assert tuple(heard[:3]) == response.attempt_log


async def test_entering_twice(make):
    """A client is entered once, even after it was closed."""
    client = make()
    async with client:
        with pytest.raises(RuntimeError, match="once"):
            await client.__aenter__()
    with pytest.raises(RuntimeError, match="once"):
        await client.__aenter__()


async def test_closing_twice(make):
    """Closing again does nothing, nor does closing what was never opened."""
    client = make()
    await client.aclose()
    async with client:
        await client.aclose()
        await client.aclose()


async def test_asking_a_closed_client(make):
    """Who isn't open can't be asked."""
    client = make()
    with pytest.raises(RuntimeError, match="open"):
        await client.generate(request())
    async with client:
        pass
    with pytest.raises(RuntimeError, match="open"):
        await client.generate(request())


async def test_closing_during_a_pause(server, make):
    """A repeat after the client was closed is a ConnectionError, at once."""
    server.script(Answer(503, headers={"retry-after": "0"}))
    client = make()
    async with client:

        def close(_: Attempt) -> None:
            closing.append(asyncio.create_task(client.aclose()))

        closing: list[asyncio.Task[None]] = []
        client._on_attempt = close
        error = await failure_of(client)
        await asyncio.gather(*closing)
    assert type(error) is ConnectionError
    assert "closed" in str(error)


async def test_nothing_is_left_for_the_collector(server, make):
    """Neither answers nor errors leave open sockets or pending tasks behind."""
    server.script(chat(), Answer(400), Stall())
    async with make() as client:
        await client.generate(request())
        await failure_of(client)
        asking = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(3)
        asking.cancel()
        await asyncio.wait([asking])
    await server.wait_for_no_connection()
    gc.collect()
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    assert "_ring" not in names


async def test_construction_names_what_is_missing():
    """A provider without its key is refused before anything is opened."""
    with pytest.raises(ConfigurationError, match="api_key"):
        LLMClient(config(api_key=None))


async def test_the_machine_s_clock():
    """The default clock goes forward and sleeps."""
    machine = SystemClock()
    before = machine.monotonic()
    await machine.sleep(0)
    assert machine.monotonic() >= before
    assert machine.time() > 1_700_000_000


async def test_a_model_that_has_to_load(server, clock, caplog):
    """On this machine a request that is cut short after a quiet time stays on the wire: its answer
    is thrown away, others fail at once meanwhile, and the next is answered (LLM-21).
    """
    gate = asyncio.Event()
    server.script(replace(chat("loaded at last"), gate=gate), chat("warm"))
    made = config(base_url=f"{server.url}/v1", max_attempts=1)
    async with LLMClient(made, clock=clock) as client:
        asking = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(1)
        clock.advance(30)
        with pytest.raises(TimeoutError):
            await asking
        with pytest.raises(GenerationError, match="seems to be loading"):
            await client.generate(request())
        assert [each.message for each in caplog.records].count("llm.model_loading") == 1
        gate.set()
        await eventually(lambda: client._providers[0]._loading is None)
        assert (await client.generate(request())).content == "warm"
    assert len(server.requests) == 2


async def test_closing_while_a_model_loads(server, clock):
    """Whoever closes the client waits for no model."""
    server.script(Stall())
    async with LLMClient(config(base_url=f"{server.url}/v1"), clock=clock) as client:
        asking = asyncio.create_task(client.generate(request(deadline_seconds=5)))
        await server.wait_for_requests(1)
        clock.advance(5)
        with pytest.raises(DeadlineExceededError):
            await asking
    await server.wait_for_no_connection()


async def test_a_first_provider_that_never_answers_is_told(server, clock, caplog):
    """Three lines in a row went to its fallback: one warning, and word when it is back (LLM-20)."""
    async with ScriptedServer() as other:
        fallback = config(base_url=f"{other.url}/v1")
        made = config(base_url=f"{server.url}/v1", fallbacks=(fallback,), max_attempts=1)
        server.script(*[Answer(413, "no")] * 4, chat("back"))
        other.script(*[chat("other")] * 4)
        caplog.set_level("INFO", "llm_bot")
        async with warm(LLMClient(made, clock=clock)) as client:
            for number in range(4):
                assert (await client.generate(request())).content == "other"
                assert bool(client.problems) is (number >= 2)
            assert client.problems == {"openai": "openai: no (HTTP 413)"}
            await client.generate(request())
            assert client.problems == {}
    told = [each.message for each in caplog.records if each.message.startswith("llm.provider")]
    assert told == ["llm.provider_failing", "llm.provider_back"]
