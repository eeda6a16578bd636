"""Rules of the attempts: repeats, fallbacks, rests and probes, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from typing import Any

import pytest

from llm_bot.llm_client import (
    AllProvidersFailedError,
    Attempt,
    AttemptStatus,
    AuthenticationError,
    ConnectionError,
    DeadlineExceededError,
    LLMClient,
    LLMError,
    LLMResponse,
    ProviderState,
    RateLimitError,
    ValidationError,
)
from tests.fakes import ManualClock
from tests.servers import eventually
from tests.unit.llm_client.scripted_server import (
    Answer,
    Reset,
    ScriptedServer,
    Stall,
    Step,
    chat,
    chat_body,
)
from tests.unit.llm_client.support import KEY, request

SHORT = 0.05  # seconds of a time-out or deadline that is meant to pass
QUOTA = Answer(429, {"error": {"code": "insufficient_quota"}})
NO_MODEL = Answer(404, {"error": "no such model: asked-model, other-model"})
UP, DOWN, COOLING = ProviderState.UP, ProviderState.DOWN, ProviderState.COOLING
# What the first provider does -> requests to it of two that are allowed, seconds that it rests
# afterwards, how it then stands.
TABLE = [
    pytest.param(Answer(301, headers={"location": "/x"}), 1, 0, DOWN, id="301"),
    pytest.param(Answer(304), 1, 0, DOWN, id="304"),
    pytest.param(Answer(400), 1, 0, UP, id="400"),
    pytest.param(Answer(401), 1, 300, COOLING, id="401"),
    pytest.param(Answer(402), 1, 300, COOLING, id="402"),
    pytest.param(Answer(403), 1, 300, COOLING, id="403"),
    pytest.param(Answer(403, {"error": "flagged"}), 1, 0, UP, id="403 moderated"),
    pytest.param(Answer(404), 1, 0, UP, id="404"),
    pytest.param(NO_MODEL, 1, 300, COOLING, id="404 model"),
    pytest.param(Answer(404, {"error": "out of memory"}), 1, 0, UP, id="404 of something"),
    pytest.param(Answer(408), 2, 0, DOWN, id="408"),
    pytest.param(Answer(409), 2, 0, DOWN, id="409"),
    pytest.param(Answer(413), 1, 0, UP, id="413"),
    pytest.param(Answer(422), 1, 0, UP, id="422"),
    pytest.param(Answer(425), 2, 0, DOWN, id="425"),
    pytest.param(Answer(429), 2, 0, DOWN, id="429"),
    pytest.param(QUOTA, 1, 300, COOLING, id="429 quota"),
    pytest.param(Answer(500), 2, 0, DOWN, id="500"),
    pytest.param(Answer(503), 2, 0, DOWN, id="503"),
    pytest.param(Answer(504), 2, 0, DOWN, id="504"),
    pytest.param(Answer(529), 2, 0, DOWN, id="529"),
    pytest.param(Reset(), 2, 0, DOWN, id="reset"),
    pytest.param(Reset((b'{"choices":',)), 2, 0, DOWN, id="half an answer"),
    pytest.param(Answer(200, "{"), 2, 0, DOWN, id="bad JSON"),
    pytest.param(Answer(200, b"\x1f", {"content-encoding": "gzip"}), 2, 0, DOWN, id="bad gzip"),
    pytest.param(Answer(200, {"error": "no"}), 2, 0, DOWN, id="no choices"),
    pytest.param(chat(""), 2, 0, UP, id="empty"),
    pytest.param(chat("", finish_reason="content_filter"), 1, 0, UP, id="filtered"),
    pytest.param(Answer(200, {"error": "flagged"}), 1, 0, UP, id="200 moderated"),
    pytest.param(chat("", finish_reason="length"), 2, 0, UP, id="length"),
    pytest.param(Stall(), 2, 0, DOWN, id="silence"),
    pytest.param(Stall((b"{",)), 2, 0, DOWN, id="half an answer and silence"),
]


def rest_of(client: LLMClient, clock: ManualClock) -> float:
    return client._providers[0].breaker.free_at(clock.now) - clock.now


async def rested(client: LLMClient, server: ScriptedServer, clock: ManualClock) -> None:
    """The provider refused a request, and its rest is over: the next is the probe."""
    server.script(Answer(401))
    await asyncio.gather(client.generate(request()), return_exceptions=True)
    clock.advance(300)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("is_alone", [False, True], ids=["of two", "alone"])
@pytest.mark.parametrize(("step", "requests", "rest", "state"), TABLE)
async def test_what_a_provider_does(
    server, other, clock, make, step, requests, rest, state, is_alone
):
    """It is asked again if that may help, and rests as it should; then the next is asked, or its
    last error is raised as it was (LLM-9).
    """
    server.script(*[step] * requests)
    other.script(chat("from the other"))
    seconds = SHORT if isinstance(step, Stall) else 30
    made = make(other=None if is_alone else other, max_attempts=2, timeout_seconds=seconds)
    async with made as client:
        end: Any = (await asyncio.gather(client.generate(request()), return_exceptions=True))[0]
        assert (len(server.requests), rest_of(client, clock)) == (requests, rest)
        assert client.states["openai"] is state
    assert clock.slept == [1.0] * (requests - 1)
    assert end.attempts == len(end.attempt_log) == requests + (not is_alone)
    asked = [(each.provider, each.is_retry, each.is_fallback) for each in end.attempt_log]
    assert asked[:requests] == [("openai", number > 0, False) for number in range(requests)]
    if is_alone:
        assert isinstance(end, LLMError)
        assert not isinstance(end, AllProvidersFailedError)
        assert (end.provider, end.retryable) == ("openai", requests == 2)
        return
    assert isinstance(end, LLMResponse)
    assert (end.content, end.provider, end.fallback_used) == ("from the other", "openai-2", True)
    assert end.retries == requests - 1
    assert asked[requests:] == [("openai-2", False, True)]


async def test_both_fail(server, other, make):
    """The errors of both are there in order, without the secrets of either; any hope makes it
    retryable (LLM-8, LLM-18).
    """
    server.script(Answer(400, f"you sent {KEY}"))
    other.script(Answer(503, "you sent sk-other"), Answer(500, "no"))
    async with make(other=other, fallback={"max_attempts": 2}) as client:
        with pytest.raises(AllProvidersFailedError) as caught:
            await client.generate(request())
    error = caught.value
    assert type(error.errors[0]) is ValidationError
    assert str(error) == "openai: you sent *** (HTTP 400); openai-2: no (HTTP 500)"
    assert (error.attempts, error.retryable) == (3, True)
    assert [each.outcome for each in error.attempt_log] == ["rejected", "error", "error"]


async def test_pauses_grow_and_the_server_s_wish_is_their_floor(server, clock, make):
    """In seconds, until a date, or doubled each time (LLM-5, ASK-5)."""
    clock.epoch = 1_700_000_990.0 - clock.now  # 22:29:50
    steps = [
        Answer(503),
        Answer(500),
        Answer(429, headers={"retry-after": "7"}),
        Answer(503, headers={"retry-after": "Tue, 14 Nov 2023 22:30:20 GMT"}),
    ]
    server.script(*steps, chat("at last"))
    async with make(max_attempts=5, max_retry_delay_seconds=30) as client:
        response = await client.generate(request())
    assert clock.slept == [1.0, 2.0, 7.0, 20.0]
    assert (response.content, response.latency_seconds) == ("at last", 30.0)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_asked_for(server, other, clock, make, status):
    """Where another can be asked meanwhile, that one is."""
    server.script(Answer(status, headers={"retry-after": "7"}))
    other.script(chat("from the other"))
    async with make(other=other) as client:
        assert (await client.generate(request())).attempts == 2
        assert (client.states["openai"], clock.slept) == (COOLING, [])


async def test_a_pause_that_does_not_fit_is_not_begun(server, other, clock, make):
    """The other is asked at once, or the error is raised (LLM-6)."""
    server.script(*[Answer(429, headers={"retry-after": "50"})] * 2)
    other.script(chat("from the other"))
    async with make(other=other) as client:
        response = await client.generate(request(deadline_seconds=45))
    async with make() as client:
        with pytest.raises(RateLimitError):
            await client.generate(request(deadline_seconds=45))
    assert (response.content, clock.slept) == ("from the other", [])


async def test_nobody_there(clock, make, unused_port):
    """A refused connection names the address, and is repeated."""
    async with make(base_url=f"http://127.0.0.1:{unused_port}/v1") as client:
        with pytest.raises(ConnectionError, match=f"127.0.0.1:{unused_port}") as caught:
            await client.generate(request())
        assert client.states["openai"] is DOWN
    assert [each.error for each in caught.value.attempt_log] == ["connection"] * 3
    assert clock.slept == [1.0, 2.0]


async def test_the_fallback_has_its_own_words(server, other, make):
    """Key, model and parameters are the fallback's; the request's own options go to both
    (LLM-2).
    """
    server.script(Answer(400), Answer(400))
    other.script(chat())
    fallback = {"parameters": {"top_p": 0.5}}
    async with make(other=other, fallback=fallback, parameters={"temperature": 1.5}) as client:
        response = await client.generate(request(model="only-for-the-first", max_tokens=9))
    sent, resent = server.requests[0].json, other.requests[0].json
    assert (sent["model"], resent["model"]) == ("only-for-the-first", "other-model")
    assert (sent["temperature"], "temperature" in resent) == (1.5, False)
    assert ("top_p" in sent, resent["top_p"]) == (False, 0.5)
    assert sent["max_tokens"] == resent["max_tokens"] == 9
    assert other.requests[0].headers["authorization"] == "Bearer sk-other"
    assert [each.model for each in response.attempt_log] == ["only-for-the-first", "other-model"]


async def test_a_request_that_nobody_can_be_sent(server, clock, make):
    """It is refused as it is, asks nobody, and says nothing about a provider."""
    async with make() as client:
        await rested(client, server, clock)
        with pytest.raises(ValidationError) as caught:
            await client.generate(request(parameters={"stream": True}))
        assert (caught.value.attempts, client.states["openai"]) == (0, DOWN)
        server.script(chat("the probe"))
        assert (await client.generate(request())).content == "the probe"
        assert client.states["openai"] is UP


async def test_each_attempt_is_reported(server, make):
    """The hook hears of each request, with the word that a metric counts it under."""
    heard: list[Attempt] = []
    server.script(Answer(500), Answer(429), chat(), Answer(401))
    async with make(on_attempt=heard.append) as client:
        response = await client.generate(request())
        with pytest.raises(AuthenticationError):
            await client.generate(request())
    assert [each.outcome for each in heard] == ["error", "rate_limited", "success", "rejected"]
    assert tuple(heard[:3]) == response.attempt_log
    assert heard[0] == Attempt(
        "openai", "asked-model", 500, "server_error", 0.0, AttemptStatus.ERROR
    )


async def test_who_comes_during_a_rest(server, clock, make):
    """Without a deadline that allows it one is told why not, with an error of one's own; else one
    waits for its end (LLM-7).
    """
    server.script(Answer(401), chat("after the rest"))
    async with make() as client:
        with pytest.raises(AuthenticationError):
            await client.generate(request())
        clock.advance(270)
        for seconds in (None, 29, 30):
            with pytest.raises(AuthenticationError, match="; not asked again for 30 s") as caught:
                await client.generate(request(deadline_seconds=seconds))
            assert (caught.value.attempts, caught.value.retry_after) == (0, 30)
        assert (await client.generate(request(deadline_seconds=60))).content == "after the rest"
    assert (clock.slept, len(server.requests)) == ([30.0], 2)


async def test_the_first_to_come_free_is_asked(server, other, clock, make):
    """Whatever its place; when the deadline is over before, the errors of both are told."""
    server.script(Answer(401))
    other.script(Answer(401), chat("from the other"))
    async with make(other=other, fallback={"breaker_rejected_seconds": 50}) as client:
        for seconds in (None, 50, 0):
            with pytest.raises(LLMError) as caught:
                await client.generate(request(deadline_seconds=seconds))
            expected = DeadlineExceededError if seconds == 0 else AllProvidersFailedError
            assert type(caught.value) is expected or seconds == 0
        assert (await client.generate(request(deadline_seconds=90))).content == "from the other"
    assert (clock.slept, len(server.requests)) == ([50.0], 1)


async def test_failures_in_a_row_open_it_for_all(server, other, clock, make):
    """The run counts over all callers; then the repeat goes to the other at once."""
    server.script(*[Answer(500)] * 3)
    other.script(*[chat("from the other")] * 3)
    async with make(other=other, breaker_failures=3) as client:
        responses = [await client.generate(request()) for _ in range(3)]
        assert rest_of(client, clock) == 30
    assert [each.attempts for each in responses] == [3, 2, 1]
    assert clock.slept == [1.0]  # of the first; what opened it is no reason to wait


async def test_cooling_and_backoff(server, clock, make):
    """The repeat waits for the longer of the two, and is then the probe; without any cooling the
    backoff is waited all the same.
    """
    options = {"breaker_failures": 1, "max_attempts": 4}
    server.script(Answer(500), chat("after the cooling"))
    async with make(breaker_cooling_seconds=40, **options) as client:
        response = await client.generate(request(deadline_seconds=90))
    assert (response.attempts, response.retries, sum(clock.slept)) == (2, 1, 40.0)
    clock.slept.clear()
    server.script(*[Answer(500)] * 3, chat("at last"))
    async with make(breaker_cooling_seconds=0, **options) as client:
        assert (await client.generate(request())).attempts == 4
    assert clock.slept == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("step", "contents"),
    [(chat("probe"), ["probe", "waited"]), (Answer(500), [None, None])],
    ids=["answered", "failed"],
)
async def test_one_probe_goes_and_the_others_wait(server, clock, make, step, contents):
    """At half-open one request goes out; those who wait go after its success, or are told."""
    gate = asyncio.Event()
    async with make(max_attempts=1) as client:
        await rested(client, server, clock)
        server.script(Answer(step.status, step.body, gate=gate), chat("waited"))
        probe = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(2)
        waiting = asyncio.create_task(client.generate(request(deadline_seconds=29)))
        await settled()
        with pytest.raises(AuthenticationError, match="another request is finding out"):
            await client.generate(request())
        with pytest.raises(AuthenticationError, match="another request is finding out"):
            await client.generate(request(deadline_seconds=SHORT))
        assert len(server.requests) == 2
        gate.set()
        ends = await asyncio.gather(probe, waiting, return_exceptions=True)
    assert [getattr(end, "content", None) for end in ends] == contents
    if contents[0] is None:
        assert isinstance(ends[1], LLMError)
        assert "not asked again for 30 s" in str(ends[1])
        assert ends[1].attempts == 0


async def test_during_a_probe_the_fallback_answers(server, other, clock, make):
    """Who has somebody else to ask doesn't wait for the probe."""
    other.script(chat("before"), chat("from the other"))
    async with make(other=other) as client:
        await rested(client, server, clock)
        server.script(Stall())
        probe = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(2)
        response = await client.generate(request(deadline_seconds=60))
        assert (response.content, response.attempts) == ("from the other", 1)
        probe.cancel()


@pytest.mark.parametrize("seconds", [None, SHORT], ids=["cancelled", "cut by its deadline"])
async def test_a_probe_without_a_result(server, clock, make, seconds):
    """Then the next of those who wait is the probe, at once."""
    async with make(max_attempts=1) as client:
        await rested(client, server, clock)
        warm_again = client._providers[0]._exchange.note_answer
        warm_again()
        server.script(Stall(), chat("second probe"))
        probe = asyncio.create_task(client.generate(request(deadline_seconds=seconds)))
        await server.wait_for_requests(2)
        waiting = asyncio.create_task(client.generate(request(deadline_seconds=90)))
        await settled()
        if seconds is None:
            probe.cancel()
        assert (await waiting).content == "second probe"
        assert client.states == {"openai": UP}
        end = (await asyncio.gather(probe, return_exceptions=True))[0]
    assert isinstance(end, (asyncio.CancelledError, DeadlineExceededError))


async def test_no_herd_after_a_probe(server, clock, make):
    """However many wait: one probe, then no more at a time than there are slots."""
    gate, rest = asyncio.Event(), asyncio.Event()
    async with make(max_concurrent_requests=3) as client:
        await rested(client, server, clock)
        probe, later = (Answer(body=chat_body(), gate=each) for each in (gate, rest))
        server.script(probe, *[later] * 19)
        asking = [
            asyncio.create_task(client.generate(request(deadline_seconds=1000))) for _ in range(20)
        ]
        await server.wait_for_requests(2)
        await settled()
        assert len(server.requests) == 2
        gate.set()
        await server.wait_for_requests(5)
        await settled()
        assert len(server.requests) == 5
        rest.set()
        assert len(await asyncio.gather(*asking)) == 20


async def test_who_waits_for_a_slot_of_one_that_trips(server, other, make):
    """He gets the slot, sends nothing with it, and goes on to the other."""
    gate = asyncio.Event()
    server.script(Answer(401, gate=gate))
    other.script(chat("a"), chat("b"))
    async with make(other=other, max_concurrent_requests=1) as client:
        asking = [asyncio.create_task(client.generate(request())) for _ in range(2)]
        await server.wait_for_requests(1)
        await settled()
        gate.set()
        contents = {response.content for response in await asyncio.gather(*asking)}
    assert contents == {"a", "b"}
    assert len(server.requests) == 1


async def test_what_changes_during_a_backoff(server, other, make):
    """No slot is held meanwhile; who wakes and may not ask goes on to the other."""
    clock = ManualClock()
    server.script(Answer(500), chat("meanwhile"), Answer(401))
    other.script(chat("a"), chat("b"))
    async with make(other=other, clock=clock, max_concurrent_requests=1) as client:
        waking = asyncio.create_task(client.generate(request()))
        await eventually(lambda: clock.sleeping)
        assert (await client.generate(request())).content == "meanwhile"
        assert (await client.generate(request())).content == "a"
        clock.advance(1)
        assert (await waking).content == "b"
    assert len(server.requests) == 3


async def test_the_deadline_leaves_nothing_for_the_fallback(server, other, make):
    """The first has used it up: the other isn't asked."""
    server.script(Answer(500), Stall())
    async with make(other=other, clock=None, retry_delay_seconds=0) as client:
        with pytest.raises(DeadlineExceededError) as caught:
            await client.generate(request(deadline_seconds=10 * SHORT))
    assert other.requests == []
    assert [each.error for each in caught.value.attempt_log] == ["server_error", "deadline"]
    assert caught.value.attempt_log[1].outcome is AttemptStatus.TIMEOUT


async def test_the_client_is_closed_under_way(server, other, make):
    """Nobody hangs: each provider's error says that the client was closed, or that it broke."""
    server.script(Stall(), Stall())
    client = make(other=other)
    async with client:
        asking = [asyncio.create_task(client.generate(request())) for _ in range(2)]
        await server.wait_for_requests(2)
    ends = await asyncio.gather(*asking, return_exceptions=True)
    for end in ends:
        assert isinstance(end, AllProvidersFailedError)
        assert [type(each) for each in end.errors] == [ConnectionError] * 2
        assert "the client was closed" in str(end)
    assert other.requests == []


@pytest.mark.parametrize("is_alone", [False, True], ids=["two", "alone"])
@pytest.mark.parametrize("status", [400, 500, 401])
async def test_errors_keep_nothing_alive(server, other, make, status, is_alone):
    """An error that is let go is gone at once, and with it the conversation in its frames."""
    server.script(*[Answer(status)] * 3)
    other.script(Answer(500))
    async with make(other=None if is_alone else other) as client:
        gc.collect()
        gc.disable()
        try:
            try:
                await client.generate(request())
            except LLMError as exc:
                gone = [weakref.ref(each) for each in (exc, *getattr(exc, "errors", ()))]
            await settled()
            assert {each() for each in gone} == {None}
        finally:
            gc.enable()


@pytest.mark.parametrize("seed", range(6))
async def test_a_hundred_at_once_leave_nothing_behind(server, other, clock, make, seed):
    """Whatever fails, hangs or is cancelled: slots and probes come back, no task is left
    (LLM-16).
    """
    rng = random.Random(seed)
    steps: list[Step] = [
        chat(),
        chat(),
        Answer(400),
        Answer(429, headers={"retry-after": "3"}),
        Answer(500),
        Answer(503, headers={"retry-after": "1"}),
        Reset(),
        Reset((b"{",)),
        Stall(),
        Answer(200, "{"),
    ]
    for one in (server, other):
        one.script(*rng.choices(steps, k=400))
    limits = {
        "max_concurrent_requests": 4,
        "breaker_cooling_seconds": 2,
        "timeout_seconds": SHORT,
    }
    async with make(other=other, fallback=limits, **limits) as client:
        before = asyncio.all_tasks()
        asking = [
            asyncio.create_task(
                client.generate(request(deadline_seconds=rng.choice([None, 4 * SHORT, 400])))
            )
            for _ in range(100)
        ]
        while not all(task.done() for task in asking):
            await asyncio.wait(asking, timeout=SHORT / 10)
            rng.choice(asking).cancel()
        for end in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(end, (LLMResponse, LLMError, asyncio.CancelledError))
        await eventually(lambda: asyncio.all_tasks() - before - server_tasks() <= set())
        clock.advance(4000)
        for provider in client._providers:
            assert provider.free_at(clock.now) == clock.now
            assert provider._slots._value == 4
        for one in (server, other):
            one.script_is_over()
        server.script(chat("well again"))
        patient = request(timeout_seconds=30)
        assert (await client.generate(patient)).content == "well again"
    await server.wait_for_no_connection()
    await other.wait_for_no_connection()


def server_tasks() -> set[asyncio.Task[object]]:
    """Those of the scripted servers, which run in the same loop."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" in str(task.get_coro())}
