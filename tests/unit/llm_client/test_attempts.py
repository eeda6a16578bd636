"""Rules of the course of a question: fallbacks, rests and probes, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref

import pytest

from llm_bot.llm_client import (
    AllProvidersFailedError,
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
from llm_bot.llm_client.clock import Deadline
from tests.unit.llm_client.scripted_server import (
    Answer,
    Reset,
    ScriptedServer,
    Stall,
    Step,
    chat,
    chat_body,
)
from tests.unit.llm_client.support import ManualClock, config, request, warm

HELD = 40.0  # a rest that the clock doesn't pass by itself
QUOTA = Answer(429, {"error": {"code": "insufficient_quota"}})
UP, DOWN, COOLING = ProviderState.UP, ProviderState.DOWN, ProviderState.COOLING
# What the first provider does -> requests to it of two that are allowed, seconds that it rests
# afterwards, how it then stands.
TABLE = [
    pytest.param(Answer(300), 1, 0, DOWN, id="300"),
    pytest.param(Answer(301, headers={"location": "/x"}), 1, 0, DOWN, id="301"),
    pytest.param(Answer(304), 1, 0, DOWN, id="304"),
    pytest.param(Answer(400), 1, 0, UP, id="400"),
    pytest.param(Answer(401), 1, 300, COOLING, id="401"),
    pytest.param(Answer(402), 1, 300, COOLING, id="402"),
    pytest.param(Answer(403), 1, 300, COOLING, id="403"),
    pytest.param(Answer(403, {"error": "flagged"}), 1, 0, UP, id="403 moderated"),
    pytest.param(Answer(404), 1, 0, UP, id="404"),
    pytest.param(
        Answer(404, {"error": "no such model: asked-model, other-model"}),
        1,
        300,
        COOLING,
        id="404 model",
    ),
    pytest.param(Answer(404, {"error": "out of memory"}), 1, 0, UP, id="404 of something"),
    pytest.param(Answer(408), 2, 0, DOWN, id="408"),
    pytest.param(Answer(409), 2, 0, DOWN, id="409"),
    pytest.param(Answer(413), 1, 0, UP, id="413"),
    pytest.param(Answer(418), 1, 0, UP, id="418"),
    pytest.param(Answer(422), 1, 0, UP, id="422"),
    pytest.param(Answer(425), 2, 0, DOWN, id="425"),
    pytest.param(Answer(429), 2, 0, DOWN, id="429"),
    pytest.param(QUOTA, 1, 300, COOLING, id="429 quota"),
    pytest.param(Answer(500), 2, 0, DOWN, id="500"),
    pytest.param(Answer(502), 2, 0, DOWN, id="502"),
    pytest.param(Answer(503), 2, 0, DOWN, id="503"),
    pytest.param(Answer(504), 2, 0, DOWN, id="504"),
    pytest.param(Answer(529), 2, 0, DOWN, id="529"),
    pytest.param(Reset(), 2, 0, DOWN, id="reset"),
    pytest.param(Reset((b'{"choices":',)), 2, 0, DOWN, id="half an answer"),
    pytest.param(Answer(200, "{"), 2, 0, DOWN, id="bad JSON"),
    pytest.param(Answer(200, {"error": "no"}), 2, 0, DOWN, id="no choices"),
    pytest.param(chat(""), 2, 0, UP, id="empty"),
    pytest.param(chat("", finish_reason="content_filter"), 1, 0, UP, id="filtered"),
    pytest.param(Answer(200, {"error": "flagged"}), 1, 0, UP, id="200 moderated"),
    pytest.param(chat("", finish_reason="length"), 2, 0, UP, id="length"),
    pytest.param(Stall(), 2, 0, DOWN, id="silence"),
    pytest.param(Stall((b"{",)), 2, 0, DOWN, id="half an answer and silence"),
]


@pytest.fixture
def make(server: ScriptedServer, other: ScriptedServer, clock: ManualClock):
    """Makes a client of one or two scripted servers that waits no backoff."""

    def make_client(*, alone=False, fallback=(), transport=None, **changes) -> LLMClient:
        second = config(
            base_url=f"{other.url}/v1",
            **{"model": "other-model", "api_key": "sk-other", "max_attempts": 1, **dict(fallback)},
        )
        first = config(
            **{
                "base_url": f"{server.url}/v1",
                "fallbacks": () if alone else (second,),
                "max_attempts": 2,
                **changes,
            }
        )
        return warm(LLMClient(first, clock=clock, rng=lambda: 0.0, transport=transport))

    return make_client


async def outcome(client: LLMClient, server: ScriptedServer, clock: ManualClock, step: Step):
    """An answer or an error; time-outs come as soon as a silent server has the request."""
    asking = asyncio.create_task(client.generate(request()))
    expected = 0
    while isinstance(step, Stall) and expected < 2:
        expected += 1
        await server.wait_for_requests(expected)
        clock.advance(30)
    try:
        return await asking
    except LLMError as exc:
        return exc


def rest_of(client: LLMClient, clock: ManualClock, number: int = 0) -> float:
    return client._providers[number].breaker.rest_seconds(clock.now)


async def tripped(client: LLMClient, server: ScriptedServer) -> None:
    """The first provider refused a request, and rests."""
    server.script(Answer(401))
    with pytest.raises(LLMError):
        await client.generate(request())


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("step", "requests", "rest", "state"), TABLE)
async def test_the_first_of_two(server, other, clock, make, step, requests, rest, state):
    """Whatever the first does, the second answers; the first was asked and rests as it should
    (LLM-9).
    """
    server.script(*[step] * requests)
    other.script(chat("from the other"))
    async with make() as client:
        response = await outcome(client, server, clock, step)
        assert response.content == "from the other"
        assert (len(server.requests), rest_of(client, clock)) == (requests, rest)
        assert client.states == {"openai": state, "openai-2": UP}
    assert (response.provider, response.fallback_used) == ("openai-2", True)
    assert response.attempts == len(response.attempt_log) == requests + 1
    assert response.retries == requests - 1
    asked = [(each.provider, each.is_retry, each.is_fallback) for each in response.attempt_log]
    assert asked == [
        *[("openai", number > 0, False) for number in range(requests)],
        ("openai-2", False, True),
    ]


@pytest.mark.parametrize(("step", "requests", "rest", "state"), TABLE)
async def test_the_only_one(server, clock, make, step, requests, rest, state):
    """Alone, its last error is raised as it is."""
    server.script(*[step] * requests)
    async with make(alone=True) as client:
        error = await outcome(client, server, clock, step)
        assert (len(server.requests), rest_of(client, clock)) == (requests, rest)
        assert client.states == {"openai": state}
    assert isinstance(error, LLMError)
    assert not isinstance(error, AllProvidersFailedError)
    assert (error.attempts, len(error.attempt_log)) == (requests, requests)
    assert error.provider == "openai"
    assert error.retryable == (requests == 2)


@pytest.mark.parametrize(("step", "requests", "rest", "state"), TABLE)
async def test_the_second_of_two(server, other, clock, make, step, requests, rest, state):
    """When both fail, the errors of both are there in order, and the second rests on its own."""
    server.script(Answer(400, "the first's words"))
    other.script(*[step] * requests)
    async with make(fallback={"max_attempts": 2}) as client:
        error = await outcome(client, other, clock, step)
        assert (len(other.requests), rest_of(client, clock, 1)) == (requests, rest)
        assert client.states == {"openai": UP, "openai-2": state}
    assert type(error) is AllProvidersFailedError
    assert [each.provider for each in error.errors] == ["openai", "openai-2"]
    assert type(error.errors[0]) is ValidationError
    assert "the first's words" in str(error)
    assert error.attempts == 1 + requests
    assert error.retryable == (requests == 2)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_asked_for(server, other, clock, make, status):
    """Alone it is waited for; where another can be asked meanwhile, that one is."""
    step = Answer(status, headers={"retry-after": "7"})
    server.script(step, step, step)
    other.script(chat("from the other"))
    async with make() as client:
        assert (await client.generate(request())).attempts == 2
        assert (client.states["openai"], clock.slept) == (COOLING, [])
    async with make(alone=True) as client:
        with pytest.raises(LLMError):
            await client.generate(request(deadline_seconds=60))
        assert (clock.slept, client.states["openai"]) == ([7.0], COOLING)


async def test_a_refused_connection(other, clock, make, unused_port):
    """Nobody there: repeated like any other failure, then the other answers."""
    other.script(chat("from the other"))
    async with make(base_url=f"http://127.0.0.1:{unused_port}/v1") as client:
        response = await client.generate(request())
        assert client.states["openai"] is DOWN
    assert [each.error for each in response.attempt_log] == ["connection", "connection", None]


@pytest.fixture
async def unused_port() -> int:
    async with ScriptedServer() as gone:
        return int(gone.url.rpartition(":")[2])


async def test_the_fallback_has_its_own_words(server, other, make):
    """Key, model and parameters are the fallback's; the request's own options go to both
    (LLM-2).
    """
    server.script(Answer(400), Answer(400))
    other.script(chat())
    fallback = {"parameters": {"top_p": 0.5}}
    async with make(fallback=fallback, parameters={"temperature": 1.5}) as client:
        response = await client.generate(request(model="only-for-the-first", max_tokens=9))
    sent, resent = server.requests[0].json, other.requests[0].json
    assert (sent["model"], resent["model"]) == ("only-for-the-first", "other-model")
    assert (sent["temperature"], "temperature" in resent) == (1.5, False)
    assert ("top_p" in sent, resent["top_p"]) == (False, 0.5)
    assert sent["max_tokens"] == resent["max_tokens"] == 9
    assert other.requests[0].headers["authorization"] == "Bearer sk-other"
    assert [each.model for each in response.attempt_log] == ["only-for-the-first", "other-model"]


async def test_no_error_shows_a_secret_of_any(server, other, make):
    """With several providers, the text of the error holds the secrets of none (LLM-18)."""
    server.script(Answer(400, "you sent sk-very-secret-0123456789"))
    other.script(Answer(400, "you sent sk-other"))
    async with make() as client:
        with pytest.raises(AllProvidersFailedError) as caught:
            await client.generate(request())
    assert "you sent ***" in str(caught.value)
    for secret in ("sk-very-secret-0123456789", "sk-other"):
        assert secret not in str(caught.value)


async def test_a_request_that_nobody_can_be_sent(server, other, make):
    """It is refused as it is, asks nobody, and says nothing about a provider."""
    async with make() as client:
        await tripped_and_rested(client, server, other)
        with pytest.raises(ValidationError) as caught:
            await client.generate(request(parameters={"stream": True}))
        assert (caught.value.attempts, client.states["openai"]) == (0, DOWN)
        server.script(chat("the probe"))
        assert (await client.generate(request())).content == "the probe"
        assert client.states["openai"] is UP


async def tripped_and_rested(client, server, other):
    server.script(Answer(401))
    other.script(chat())
    await client.generate(request())
    client._clock.advance(300)


async def test_a_wait_that_does_not_fit_goes_to_the_next(server, other, clock, make):
    """When the pause asked for passes the deadline, the other is asked at once (LLM-6)."""
    server.script(Answer(429, headers={"retry-after": "50"}))
    other.script(chat("from the other"))
    async with make() as client:
        response = await client.generate(request(deadline_seconds=45))
    assert (response.content, clock.slept) == ("from the other", [])


async def test_who_comes_during_a_pause_waits_for_its_end(server, clock, make):
    """With a deadline that allows it; without one, or with a shorter one, he is told why not."""
    server.script(Answer(429, "slow down", {"retry-after": f"{HELD:g}"}), chat("a"), chat("b"))
    async with make(alone=True) as client:
        first = asyncio.create_task(client.generate(request(deadline_seconds=90)))
        await clock.wait_for_sleepers(HELD)
        clock.advance(10)
        for seconds in (None, 29, 30):
            with pytest.raises(RateLimitError, match="; not asked again for 30 s") as e:
                await client.generate(request(deadline_seconds=seconds))
            assert (e.value.attempts, e.value.retry_after, e.value.retryable) == (0, 30, True)
        second = asyncio.create_task(client.generate(request(deadline_seconds=60)))
        await clock.wait_for_sleepers(HELD, 30)
        clock.advance(30)
        contents = {(await first).content, (await second).content}
    assert contents == {"a", "b"}
    assert len(server.requests) == 3


async def test_a_pause_of_days_is_an_hour(server, clock, make):
    """After an hour one asks again, whatever the server said."""
    server.script(Answer(429, headers={"retry-after": "864000"}), chat("changed its mind"))
    async with make(alone=True) as client:
        with pytest.raises(RateLimitError):
            await client.generate(request())
        assert rest_of(client, clock) == 3600
        clock.advance(3600)
        assert (await client.generate(request())).content == "changed its mind"


async def test_a_refused_key_is_not_tried_again(server, clock, make):
    """Each of those who come later is told why, with an error of his own, and nothing is sent."""
    async with make(alone=True) as client:
        await tripped(client, server)
        clock.advance(100)
        seen = []
        for _ in range(2):
            with pytest.raises(AuthenticationError, match="not asked again for 200 s") as caught:
                await client.generate(request())
            seen.append(caught.value)
            assert (caught.value.attempts, caught.value.attempt_log) == (0, ())
    assert seen[0] is not seen[1]
    assert len(server.requests) == 1


async def test_failures_in_a_row_open_it_for_all(server, other, clock, make):
    """The run counts over all callers; then the repeat goes to the other at once."""
    server.script(*[Answer(500)] * 3)
    other.script(*[chat("from the other")] * 3)
    made = make(breaker_failures=3)
    made._rng = lambda: 1.0
    async with made as client:
        responses = [await client.generate(request()) for _ in range(3)]
        assert rest_of(client, clock) == 30
    assert [each.attempts for each in responses] == [3, 2, 1]
    assert clock.slept == [1.0]  # of the first; what opened it is no reason to wait
    assert len(server.requests) == 3


async def test_a_run_that_is_interrupted(server, make):
    """A success between makes the count begin anew."""
    server.script(Answer(500), chat(), Answer(500), chat())
    async with make(alone=True, breaker_failures=2) as client:
        for _ in range(2):
            assert (await client.generate(request())).retries == 1


async def test_all_rest_and_there_is_no_deadline(server, other, make):
    """Then each one's reason is told at once, and nothing is sent."""
    async with make() as client:
        server.script(Answer(401))
        other.script(QUOTA)
        with pytest.raises(AllProvidersFailedError):
            await client.generate(request())
        with pytest.raises(AllProvidersFailedError) as caught:
            await client.generate(request())
    assert [type(each) for each in caught.value.errors] == [AuthenticationError, RateLimitError]
    assert (caught.value.attempts, caught.value.retryable) == (0, False)
    assert len(server.requests) == len(other.requests) == 1


async def test_all_rest_and_the_first_to_come_free_is_asked(server, other, clock, make):
    """With a deadline, the one that frees first is waited for, whatever its place (LLM-7)."""
    server.script(Answer(401))
    other.script(Answer(401), chat("from the other"))
    fallback = {"breaker_rejected_seconds": 50}
    async with make(fallback=fallback) as client:
        with pytest.raises(AllProvidersFailedError):
            await client.generate(request())
        with pytest.raises(AllProvidersFailedError):
            await client.generate(request(deadline_seconds=50))
        asking = asyncio.create_task(client.generate(request(deadline_seconds=90)))
        await clock.wait_for_sleepers(50)
        clock.advance(50)
        assert (await asking).content == "from the other"
    assert len(server.requests) == 1


async def test_one_that_came_free_while_another_was_asked(server, other, clock, make):
    """It is asked at once, though nothing tells of it any more."""
    gate = asyncio.Event()
    async with make() as client:
        await tripped_and_rested(client, server, other)
        server.script(Answer(200, chat_body("probe"), gate=gate), chat("first is back"))
        probe = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(2)
        late = asyncio.Event()
        other.script(Answer(400, gate=late))
        asking = asyncio.create_task(client.generate(request()))
        await other.wait_for_requests(2)
        gate.set()
        await probe
        late.set()
        assert (await asking).content == "first is back"


@pytest.mark.parametrize(
    ("step", "contents"),
    [(chat("probe"), ["probe", "waited"]), (Answer(500), [None, None])],
    ids=["answered", "failed"],
)
async def test_one_probe_goes_and_the_others_wait(server, clock, make, step, contents):
    """At half-open one request goes out; those who wait go after its success, or rest again."""
    gate = asyncio.Event()
    async with make(alone=True, max_attempts=1) as client:
        await tripped(client, server)
        clock.advance(300)
        server.script(Answer(step.status, step.body, gate=gate), chat("waited"))
        probe = asyncio.create_task(client.generate(request(deadline_seconds=25)))
        await server.wait_for_requests(2)
        waiting = asyncio.create_task(client.generate(request(deadline_seconds=28)))
        await clock.wait_for_sleepers(28)
        with pytest.raises(AuthenticationError, match="another request is finding out"):
            await client.generate(request())
        assert len(server.requests) == 2
        gate.set()
        ends = await asyncio.gather(probe, waiting, return_exceptions=True)
        assert rest_of(client, clock) == (0 if contents[0] else 30)
    assert [getattr(end, "content", None) for end in ends] == contents
    if contents[0] is None:
        assert isinstance(ends[1], LLMError)
        assert "not asked again for 30 s" in str(ends[1])
        assert ends[1].attempts == 0


async def test_during_a_probe_the_fallback_answers(server, other, make):
    """Who has somebody else to ask doesn't wait for the probe."""
    async with make() as client:
        await tripped_and_rested(client, server, other)
        server.script(Stall())
        probe = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(2)
        other.script(chat("from the other"))
        response = await client.generate(request(deadline_seconds=60))
        assert (response.content, response.attempts) == ("from the other", 1)
        probe.cancel()


@pytest.mark.parametrize("how", ["cancelled", "cut by its deadline"])
async def test_a_probe_without_a_result(server, clock, make, how):
    """Then the next of those who wait is the probe, at once."""
    async with make(alone=True, max_attempts=1) as client:
        await tripped(client, server)
        clock.advance(300)
        server.script(Stall(), chat("second probe"))
        probe = asyncio.create_task(client.generate(request(deadline_seconds=25)))
        await server.wait_for_requests(2)
        waiting = asyncio.create_task(client.generate(request(deadline_seconds=90)))
        await clock.wait_for_sleepers(25, 90)
        if how == "cancelled":
            probe.cancel()
        else:
            clock.advance(25)
        assert (await waiting).content == "second probe"
        assert client.states == {"openai": UP}
        ends = await asyncio.gather(probe, return_exceptions=True)
    assert isinstance(ends[0], (asyncio.CancelledError, DeadlineExceededError))


async def test_the_deadline_passes_during_somebody_s_probe(server, clock, make):
    """Then one is told why the provider wasn't asked."""
    async with make(alone=True) as client:
        await tripped(client, server)
        clock.advance(300)
        server.script(Stall())
        probe = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(2)
        waiting = asyncio.create_task(client.generate(request(deadline_seconds=25)))
        await clock.wait_for_sleepers(25)
        clock.advance(25)
        with pytest.raises(AuthenticationError, match="another request is finding out"):
            await waiting
        probe.cancel()


async def test_no_herd_after_a_probe(server, clock, make):
    """However many wait: one probe, then no more at a time than there are slots."""
    gate, rest = asyncio.Event(), asyncio.Event()
    async with make(alone=True, max_concurrent_requests=3) as client:
        await tripped(client, server)
        clock.advance(270)
        server.script(
            Answer(body=chat_body(), gate=gate), *[Answer(body=chat_body(), gate=rest)] * 19
        )
        asking = [
            asyncio.create_task(client.generate(request(deadline_seconds=1000))) for _ in range(20)
        ]
        await clock.wait_for_sleepers(*[30.0] * 20)
        clock.advance(30)
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
    async with make(max_concurrent_requests=1) as client:
        asking = [asyncio.create_task(client.generate(request())) for _ in range(2)]
        await server.wait_for_requests(1)
        await settled()
        gate.set()
        contents = {response.content for response in await asyncio.gather(*asking)}
    assert contents == {"a", "b"}
    assert len(server.requests) == 1


@pytest.mark.parametrize("late", [Answer(500), chat("late")], ids=["failure", "success"])
async def test_what_was_sent_before_the_trip(server, clock, make, late):
    """Its end neither closes the breaker nor makes its rest longer."""
    gate = asyncio.Event()
    async with make(alone=True, max_attempts=1, timeout_seconds=1000) as client:
        server.script(Answer(late.status, late.body, gate=gate))
        first = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(1)
        await tripped(client, server)
        clock.advance(100)
        gate.set()
        await asyncio.gather(first, return_exceptions=True)
        assert (rest_of(client, clock), client.states["openai"]) == (200, COOLING)


async def test_a_cooling_of_zero_still_waits_the_backoff(server, clock, make):
    """Without any cooling there are repeats with pauses, and no spinning."""
    server.script(*[Answer(500)] * 3, chat("at last"))
    made = make(alone=True, max_attempts=4, breaker_failures=1, breaker_cooling_seconds=0)
    made._rng = lambda: 1.0
    async with made as client:
        response = await client.generate(request())
    assert (response.attempts, clock.slept) == (4, [1.0, 2.0, 4.0])


async def test_the_breaker_cools_longer_than_the_backoff(server, clock, make):
    """The repeat waits for the end of the cooling, within the deadline, and is then the probe."""
    server.script(Answer(500), chat("after the cooling"))
    made = make(alone=True, breaker_failures=1, breaker_cooling_seconds=HELD)
    async with made as client:
        asking = asyncio.create_task(client.generate(request(deadline_seconds=90)))
        await clock.wait_for_sleepers(HELD)
        clock.advance(HELD)
        response = await asking
    assert (response.content, response.attempts, response.retries) == ("after the cooling", 2, 1)


async def test_another_is_probing_when_the_backoff_is_over(server, other, clock, make):
    """Who wakes from a backoff and may not ask goes on to the other."""
    server.script(Answer(500))
    other.script(chat("a"), chat("b"))
    made = make(retry_delay_seconds=25)
    made._rng = lambda: 1.0
    async with made as client:
        first = asyncio.create_task(client.generate(request()))
        await clock.wait_for_sleepers(25)
        server.script(Answer(401))
        await client.generate(request())
        clock.advance(25)
        assert (await first).content == "b"
    assert len(server.requests) == 2


async def test_a_rest_is_found_out_without_a_slot(server, other, clock, make):
    """Who wakes from a backoff doesn't stand in line for a provider that rests."""
    server.script(Answer(500))
    other.script(chat("a"), chat("b"))
    made = make(retry_delay_seconds=25, max_concurrent_requests=2, timeout_seconds=1000)
    made._rng = lambda: 1.0
    async with made as client:
        waking = asyncio.create_task(client.generate(request()))
        await clock.wait_for_sleepers(25)
        server.script(Stall(), Answer(401))
        holding = asyncio.create_task(client.generate(request()))
        await server.wait_for_requests(2)
        await client.generate(request())
        assert await client._providers[0].take_slot(Deadline(clock))  # the last one
        clock.advance(25)
        assert (await asyncio.wait_for(waking, 5)).content == "b"
        holding.cancel()


async def test_the_deadline_leaves_nothing_for_the_fallback(server, other, clock, make):
    """The first's time-out has used it up: the errors of both, and the other wasn't asked."""
    server.script(Answer(500), Stall())
    async with make(timeout_seconds=60) as client:
        asking = asyncio.create_task(client.generate(request(deadline_seconds=45)))
        await server.wait_for_requests(2)
        clock.advance(45)
        with pytest.raises(DeadlineExceededError) as caught:
            await asking
    assert (caught.value.attempts, other.requests) == (2, [])
    assert [each.error for each in caught.value.attempt_log] == ["server_error", "deadline"]


async def test_a_deadline_that_passed_while_all_rest(server, other, make):
    """Nothing is sent, and each one's reason is told."""
    async with make() as client:
        await tripped_and_rested(client, server, other)
        with pytest.raises(DeadlineExceededError):
            await client.generate(request(deadline_seconds=0))
    assert len(server.requests) == 1


async def test_the_client_is_closed_under_way(server, other, make):
    """Nobody hangs: each provider's error says that the client was closed, or that it broke."""
    server.script(Stall(), Stall())
    client = make()
    async with client:
        asking = [asyncio.create_task(client.generate(request())) for _ in range(2)]
        await server.wait_for_requests(2)
    ends = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 5)
    for end in ends:
        assert isinstance(end, AllProvidersFailedError)
        assert [type(each) for each in end.errors] == [ConnectionError] * 2
        assert "the client was closed" in str(end)
    assert other.requests == []


@pytest.mark.parametrize("alone", [False, True], ids=["two", "alone"])
@pytest.mark.parametrize("status", [400, 500, 401])
async def test_errors_keep_nothing_alive(server, other, make, status, alone):
    """An error that is let go is gone at once, and with it the conversation in its frames."""
    server.script(*[Answer(status)] * 2)
    other.script(Answer(500))
    async with make(alone=alone) as client:
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
    limits = {"max_concurrent_requests": 4, "breaker_cooling_seconds": 2}
    async with make(fallback=limits, max_attempts=3, **limits) as client:
        before = asyncio.all_tasks()
        asking = [
            asyncio.create_task(
                client.generate(request(deadline_seconds=rng.choice([None, 40, 400])))
            )
            for _ in range(100)
        ]
        while not all(task.done() for task in asking):
            await settled()
            if rng.random() < 0.2:
                rng.choice(asking).cancel()
            clock.advance(rng.choice([0, 1, 30]))
        ends = await asyncio.gather(*asking, return_exceptions=True)
        for end in ends:
            assert isinstance(end, (LLMResponse, LLMError, asyncio.CancelledError))
        await settled()
        assert asyncio.all_tasks() - before - server_tasks() <= set()
        clock.advance(4000)
        for provider in client._providers:
            assert provider.admits
            assert not provider._slots.locked()
            assert provider._slots._value == 4
        for one in (server, other):
            one.script_is_over()
        server.script(chat("well again"))
        assert (await client.generate(request())).content == "well again"
    await server.wait_for_no_connection()
    await other.wait_for_no_connection()


def server_tasks() -> set[asyncio.Task[object]]:
    """Those of the scripted servers, which run in the same loop."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" in str(task.get_coro())}
