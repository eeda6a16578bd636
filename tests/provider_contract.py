"""What the client promises of every provider, as tests against its public face.

    class TestThatServer(ProviderContract):
        can = Capabilities(wrong_key=None)

        @pytest.fixture
        def config(self) -> LLMConfig: ...

The server may be a real one or a scripted one that answers by itself; whatever servers differ in
is said in `can` and in the fixtures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from llm_bot.llm_client import (
    AuthenticationError,
    ConnectionError,
    DeadlineExceededError,
    LLMClient,
    LLMConfig,
    LLMError,
    LLMRequest,
    LLMResponse,
    Message,
    ModelNotFoundError,
    TimeoutError,
    ValidationError,
)

USER = Message("user", "Which film is this?")
SYSTEM = Message("system", "Be kind and brief.")
ASSISTANT = Message("assistant", "One with a lighthouse.")
CONVERSATIONS = {
    "user": [USER],
    "system and user": [SYSTEM, USER],
    "several turns": [SYSTEM, USER, ASSISTANT, USER],
    "user twice": [USER, USER],
    "assistant first": [ASSISTANT, USER],
    "all odd at once": [SYSTEM, ASSISTANT, ASSISTANT, USER, USER],
}
CAP = 20
DEADLINE_SECONDS = 0.02
# How much later than its deadline an error may come on a busy machine.
SLACK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a server does, where servers differ.

    Attributes:
        lists_models: `config.model` is in its list; otherwise the list is empty.
        counts_usage: Says how many tokens there were.
        honours_cap: Ends an answer at `max_tokens`, and says so.
        honours_stop: Ends an answer before a stop text.
        unknown_model: The error for a model it hasn't got; None if it answers all the same.
        wrong_key: The error for a wrong key; None if it checks no keys.
        embeds: Makes embeddings.
    """

    lists_models: bool = True
    counts_usage: bool = True
    honours_cap: bool = True
    honours_stop: bool = True
    unknown_model: type[LLMError] | None = ModelNotFoundError
    wrong_key: type[LLMError] | None = AuthenticationError
    embeds: bool = False


@dataclass(frozen=True)
class Doomed:
    """A server that a test may end."""

    config: LLMConfig
    stop: Callable[[], Awaitable[None]]


class ProviderContract:
    """Subclasses give `can` and two fixtures, and `slow` where it differs: `config`, which works,
    and `doomed`, a server of the test's own."""

    can: ClassVar[Capabilities] = Capabilities()

    @pytest.fixture
    def slow(self) -> LLMRequest:
        """A request that takes the server far longer than `DEADLINE_SECONDS`."""
        return LLMRequest([USER], max_tokens=450)

    async def test_an_answer_has_text_and_says_where_it_is_from(self, config: LLMConfig) -> None:
        """One request, one attempt, one answer."""
        async with LLMClient(config) as client:
            response = await client.generate(LLMRequest([SYSTEM, USER], max_tokens=CAP))
        assert response.content.strip()
        assert response.model
        assert response.provider == config.provider
        assert response.attempts == len(response.attempt_log) == 1
        assert response.attempt_log[0].status == 200
        assert response.attempt_log[0].error is None
        assert (response.retries, response.fallback_used) == (0, False)
        assert response.latency_seconds > 0

    async def test_max_tokens_bounds_the_answer(self, config: LLMConfig) -> None:
        """The cap of the request reaches the server, and its word on the end comes back."""
        async with LLMClient(config) as client:
            response = await client.generate(LLMRequest([USER], max_tokens=5, temperature=0))
        if not self.can.honours_cap:
            assert response.finish_reason
            return
        assert response.finish_reason == "length"
        if self.can.counts_usage:
            assert response.usage.completion_tokens is not None
            assert response.usage.completion_tokens <= 5

    async def test_usage_is_what_the_server_counted(self, config: LLMConfig) -> None:
        """Whole numbers that add up, or nothing at all."""
        async with LLMClient(config) as client:
            usage = (await client.generate(LLMRequest([USER], max_tokens=CAP))).usage
        if not self.can.counts_usage:
            assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (None,) * 3
            return
        assert usage.prompt_tokens
        assert usage.completion_tokens
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens

    async def test_a_stop_text_ends_the_answer(self, config: LLMConfig) -> None:
        """What the server is sure to say next isn't said when it is a stop text."""
        request = LLMRequest([USER], max_tokens=CAP, temperature=0)
        async with LLMClient(config) as client:
            whole = (await client.generate(request)).content
            stop = whole[len(whole) // 2 :][:2]
            cut = (await client.generate(replace(request, stop=[stop, "\n\n"]))).content
        if self.can.honours_stop:
            assert len(cut) < len(whole)
            assert stop not in cut
        else:
            assert cut

    @pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
    async def test_conversations_of_all_shapes_are_answered(
        self, config: LLMConfig, messages: list[Message]
    ) -> None:
        """Whatever a model's template refuses, the caller gets an answer, each time anew."""
        async with LLMClient(config) as client:
            for _ in range(2):
                response = await client.generate(LLMRequest(messages, max_tokens=CAP))
                assert response.content
                assert response.attempts == 1

    async def test_usual_parameters_are_taken(self, config: LLMConfig) -> None:
        """The bot's own parameters don't stand in the way of an answer."""
        parameters = {
            "temperature": 0.7,
            "top_p": 0.9,
            "frequency_penalty": 0.5,
            "presence_penalty": 0.3,
            "max_tokens": CAP,
        }
        async with LLMClient(replace(config, parameters=parameters)) as client:
            stops = ["\n\n", "User:", "Assistant:"]
            assert (await client.generate(LLMRequest([USER], stop=stops))).content

    async def test_an_unknown_parameter_does_no_harm(self, config: LLMConfig) -> None:
        """A field that the server has never heard of costs no answer."""
        parameters = {"no_such_parameter": 1}
        async with LLMClient(config) as client:
            request = LLMRequest([USER], max_tokens=CAP, parameters=parameters)
            assert (await client.generate(request)).content

    async def test_an_unknown_model_is_an_error_of_its_own(self, config: LLMConfig) -> None:
        """It is told apart, and not tried again; unless the server doesn't care for names."""
        request = LLMRequest([USER], model="no-such-model", max_tokens=CAP)
        async with LLMClient(config) as client:
            if self.can.unknown_model is None:
                assert (await client.generate(request)).content
                return
            with pytest.raises(self.can.unknown_model) as caught:
                await client.generate(request)
        _check_is_final(caught.value, config)

    async def test_a_wrong_key_is_an_error_of_its_own(self, config: LLMConfig) -> None:
        """It is told apart, tried once and never shown; without keys at the server it is none."""
        wrong = replace(config, api_key="sk-wrong-0123456789")
        async with LLMClient(wrong) as client:
            request = LLMRequest([USER], max_tokens=CAP)
            if self.can.wrong_key is None:
                assert (await client.generate(request)).content
                return
            with pytest.raises(self.can.wrong_key) as caught:
                await client.generate(request)
            health = (await client.health_check())[config.provider]
        _check_is_final(caught.value, config)
        assert "sk-wrong-0123456789" not in f"{caught.value!r} {health}"
        assert not health.available

    async def test_models_are_listed(self, config: LLMConfig) -> None:
        """The list holds the model or is empty; it is the same when asked for anew."""
        async with LLMClient(config) as client:
            models = await client.list_models()
            client.invalidate_cache()
            again = await client.list_models()
            refreshed = await client.list_models(refresh=True)
        ids = [model.id for model in models]
        assert (config.model in ids) is self.can.lists_models
        assert self.can.lists_models or ids == []
        assert {model.provider for model in models} <= {config.provider}
        assert [model.id for model in again] == [model.id for model in refreshed] == ids

    async def test_embeddings_are_vectors_or_an_error(self, config: LLMConfig) -> None:
        """A server that makes none says so in the client's words."""
        texts = ["a lighthouse", "the sea"]
        async with LLMClient(replace(config, max_attempts=1)) as client:
            if not self.can.embeds:
                with pytest.raises(LLMError):
                    await client.embed(texts)
                return
            vectors = await client.embed(texts)
        assert len(vectors) == 2
        assert len({len(vector) for vector in vectors}) == 1

    async def test_many_at_once_are_all_answered(self, config: LLMConfig) -> None:
        """Eight concurrent requests each get an answer, at the first attempt."""
        async with LLMClient(config) as client:
            request = LLMRequest([SYSTEM, USER], max_tokens=CAP)
            responses = await asyncio.gather(*(client.generate(request) for _ in range(8)))
        assert all(response.content for response in responses)
        assert [response.attempts for response in responses] == [1] * 8

    @pytest.mark.parametrize("moment", [0.0, 0.01, 0.05], ids="after {} s".format)
    async def test_a_cancelled_request_does_no_harm(
        self, config: LLMConfig, slow: LLMRequest, moment: float
    ) -> None:
        """However far it got, the next request is answered, even with one slot."""
        async with LLMClient(replace(config, max_concurrent_requests=1)) as client:
            task = asyncio.create_task(client.generate(slow))
            await asyncio.wait({task}, timeout=moment)
            assert not task.done(), "the slow request was too quick"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await client.generate(LLMRequest([USER], max_tokens=CAP))).content

    async def test_a_deadline_is_kept(self, config: LLMConfig, slow: LLMRequest) -> None:
        """A tiny deadline ends in its error within its bound, and the server stays usable."""
        hasty = replace(slow, deadline_seconds=DEADLINE_SECONDS)
        async with LLMClient(config) as client:
            assert (await _answer(client)).content  # else the model might have to be loaded
            started = time.monotonic()
            with pytest.raises((DeadlineExceededError, TimeoutError)) as caught:
                await client.generate(hasty)
            assert time.monotonic() - started < DEADLINE_SECONDS + SLACK_SECONDS
            assert caught.value.attempts == len(caught.value.attempt_log) <= 1
            assert (await client.generate(LLMRequest([USER], max_tokens=CAP))).content

    async def test_a_timeout_is_kept(self, config: LLMConfig, slow: LLMRequest) -> None:
        """The bound of one request holds as well, and is named as what it is."""
        hasty = replace(slow, timeout_seconds=DEADLINE_SECONDS)
        async with LLMClient(replace(config, max_attempts=1)) as client:
            with pytest.raises(TimeoutError) as caught:
                await client.generate(hasty)
        assert caught.value.retryable
        assert caught.value.attempts == 1

    async def test_health_says_whether_the_server_is_there(self, doomed: Doomed) -> None:
        """Available while it runs; gone when it has ended, for health and requests alike."""
        config = replace(doomed.config, max_attempts=1)
        async with LLMClient(config) as client:
            before = (await client.health_check())[config.provider]
            assert (await _answer(client)).content
            await doomed.stop()
            after = (await client.health_check())[config.provider]
            with pytest.raises(ConnectionError):
                await _answer(client)
        assert (before.available, before.error) == (True, None)
        assert before.latency_seconds is not None
        assert (after.available, after.latency_seconds) == (False, None)
        assert after.error


class BoundedContextContract:
    """For servers that refuse a prompt that is too long for the model."""

    async def test_a_prompt_that_is_too_long_is_refused_once(self, config: LLMConfig) -> None:
        """It isn't tried again, and the next request is answered as if nothing had been."""
        async with LLMClient(config) as client:
            with pytest.raises(ValidationError) as caught:
                await client.generate(LLMRequest([Message("user", "word " * 4000)]))
            _check_is_final(caught.value, config)
            assert (await client.generate(LLMRequest([USER], max_tokens=CAP))).content


async def _answer(client: LLMClient) -> LLMResponse:
    return await client.generate(LLMRequest([USER], max_tokens=CAP))


def _check_is_final(error: LLMError, config: LLMConfig) -> None:
    assert error.provider == config.provider
    assert error.status is not None
    assert not error.retryable
    assert error.attempts == len(error.attempt_log) == 1
