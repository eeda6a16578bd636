"""From an admitted line to a reply: what the model is asked, and what becomes of its answer."""

from __future__ import annotations

from typing import Any

import pytest

from llm_bot import llm_client
from llm_bot.agents.chat import ChatAgent, NoReply, reply_fields
from llm_bot.context_window import WindowLine
from llm_bot.decisions import DecisionRecord, Outcome, ReplyRecord
from llm_bot.llm_client import LLMError, LLMRequest, LLMResponse
from llm_bot.models import ChatLine, Media
from llm_bot.rate_limiter import Permit, RateLimiter
from llm_bot.room import Room
from llm_bot.room.lane import Job
from llm_bot.triggers.configured import room_demand, user_demand
from tests.fakes import ManualClock, ScriptedLLM, llm_failure
from tests.unit import builders

DEADLINE = 45.0


class SlowLLM(ScriptedLLM):
    """Takes two seconds of the clock for each answer."""

    def __init__(self, clock: ManualClock, *answers: str | BaseException) -> None:
        super().__init__(*answers)
        self._clock = clock

    async def generate(self, request: LLMRequest) -> LLMResponse:
        self._clock.advance(2)
        return await super().generate(request)


class Scene:
    """One line that was admitted in one room."""

    def __init__(
        self,
        *answers: str | LLMResponse | BaseException,
        line: ChatLine | None = None,
        secrets: tuple[str, ...] = (),
        **sections: Any,
    ) -> None:
        self.clock = ManualClock()
        self.model = ScriptedLLM(*answers)
        self.room = Room(builders.room_config(**sections), secrets=secrets)
        self.line = line or builders.line("MyBot: which film is it?")
        self.limiter = RateLimiter()
        self.record = ReplyRecord()

    def used(self) -> list[int]:
        """How much the histories of the room and the user hold, long after every held permit."""
        limits = self.room.config.rate_limits
        demands = [room_demand(self.room.key, limits), user_demand("alice", limits)]
        now = self.clock.monotonic()
        return [max(n for _, _, n in self.limiter.usage([one], now)) for one in demands]

    def job(self, *, within: float = DEADLINE) -> Job:
        limits = self.room.config.rate_limits
        demands = [room_demand(self.room.key, limits), user_demand("alice", limits)]
        now = self.clock.monotonic()
        permit = self.limiter.admit(demands, now)
        assert isinstance(permit, Permit)
        record = DecisionRecord("id-1", "MyChannel", "alice", 0.0, "chat", None)
        return Job(self.line, permit, record, now + within)

    async def ask(self, model: ScriptedLLM | None = None, **job: float) -> str | NoReply:
        agent = ChatAgent(model or self.model, self.clock)
        taken = self.job(**job)
        result = await agent.reply(self.room, taken, self.record)
        taken.permit.give_back()
        return result

    def remember(self, text: str, *, user: str = "bob", **changes: Any) -> None:
        self.room.window.add(WindowLine(user, text, builders.HEARD_AT, **changes))

    @property
    def asked(self) -> tuple[str, str]:
        """The system message and the user message of the last request."""
        system, user = self.model.requests[-1].messages
        assert (system.role, user.role) == ("system", "user")
        assert isinstance(system.content, str)
        assert isinstance(user.content, str)
        return system.content, user.content


# --- what is asked ---


async def test_prompt_holds_conversation_film_and_line():
    """The conversation in fences, what plays, who asked, and the line, which isn't in it twice."""
    scene = Scene("A thriller.")
    scene.remember("I like this scene")
    scene.remember("MyBot: which film is it?", user="alice", correlation_id="id-1")
    scene.room.media = Media("x", "yt", "The Third Man")
    await scene.ask()
    _, user = scene.asked
    assert "bob: I like this scene" in user
    assert "On the screen: The Third Man" in user
    assert "alice says to you: MyBot: which film is it?" in user
    assert user.count("which film is it?") == 1


async def test_request_carries_deadline_and_correlation_id():
    """What is left of the deadline bounds the request; the correlation id goes along."""
    scene = Scene()
    await scene.ask(within=30)
    (request,) = scene.model.requests
    assert request.deadline_seconds == pytest.approx(30)
    assert request.correlation_id == "id-1"
    assert request.model is None


async def test_room_may_have_a_model_and_a_prompt_of_its_own():
    """`llm_model` and `system_prompt` of the channel are what the model hears."""
    scene = Scene(channel={"llm_model": "special", "system_prompt": "Talk like a pirate."})
    await scene.ask()
    assert scene.model.requests[0].model == "special"
    assert scene.asked[0].startswith("Talk like a pirate.")


async def test_system_message_stays_the_same_and_the_fence_does_not():
    """The system message is byte-stable for a room; each request has a tag of its own (ASK-2)."""
    scene = Scene("One thing.", "Another thing.", rate_limits={"global_cooldown_seconds": 0})
    scene.remember("hello all")
    await scene.ask()
    first = scene.asked
    scene.clock.advance(60)
    await scene.ask()
    assert scene.asked[0] == first[0]
    assert scene.asked[1] != first[1]


async def test_private_line_is_asked_with_its_own_conversation():
    """What the room says never appears in a private prompt, nor the other way round."""
    scene = Scene(line=builders.pm("are you there?"))
    scene.remember("for everybody")
    window = scene.room.private.of("alice").window
    window.add(WindowLine("alice", "between us", builders.HEARD_AT))
    await scene.ask()
    _, user = scene.asked
    assert "between us" in user
    assert "for everybody" not in user


async def test_nobody_is_asked_after_the_deadline():
    """A deadline that passed while the job waited: too late, without a request."""
    scene = Scene()
    result = await scene.ask(within=0)
    assert isinstance(result, NoReply)
    assert result.outcome is Outcome.TOO_LATE
    assert scene.model.requests == []
    assert scene.used() == [0, 0]


# --- what becomes of the answer ---


async def test_answer_becomes_a_reply_and_its_cost_is_noted():
    """Provider, model, attempts, tokens and time stand in the record; the user's part is spent."""
    scene = Scene("It is a classic.")
    result = await scene.ask(SlowLLM(scene.clock, "It is a classic."))
    assert result == "It is a classic."
    record = scene.record
    assert (record.provider, record.model, record.attempts) == ("fake", "asked", 1)
    assert (record.prompt_tokens, record.completion_tokens) == (7, 3)
    assert record.model_seconds == pytest.approx(2)
    assert record.filters == ()
    assert scene.used() == [0, 1]
    assert reply_fields(record)["model_seconds"] == 2.0


@pytest.mark.parametrize(
    ("answer", "said", "step"),
    [
        pytest.param("**Great** film", "Great film", "markdown", id="markdown"),
        pytest.param("MyBot: Great film", "Great film", "own_name", id="own_name"),
        pytest.param("/kick alice", "kick alice", "guard:start", id="guard"),
        pytest.param("see example.com", "see example. com", "guard:links", id="link"),
    ],
)
async def test_steps_that_changed_the_answer_are_recorded(answer, said, step):
    """Each step of the processor and the guard that changed something has its name noted."""
    scene = Scene(answer)
    result = await scene.ask()
    assert result == said
    assert step in scene.record.filters


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        pytest.param("https://a.b", Outcome.FILTERED, "blocked_pattern", id="pattern"),
        pytest.param("which film is it?", Outcome.FILTERED, "echo", id="echo"),
        pytest.param("I said that", Outcome.FILTERED, "duplicate", id="duplicate"),
        pytest.param("ok", Outcome.FILTERED, "low_quality", id="low_quality"),
        pytest.param("it is hunter2-hunter2", Outcome.FILTERED, "secret", id="secret"),
        pytest.param("<think>hm", Outcome.EMPTY_REPLY, "empty", id="empty"),
        pytest.param("///", Outcome.FILTERED, "low_quality", id="nothing_but_slashes"),
    ],
)
async def test_answer_that_is_not_said_names_its_reason(answer, outcome, reason):
    """Refused by the processor or the guard: outcome, counter and record; the user's part spent."""
    scene = Scene(answer, secrets=("hunter2-hunter2",))
    scene.room.own_lines.append("I said that!")
    assert await scene.ask() == NoReply(outcome, reason)
    assert scene.record.filters[-1] == f"refused:{reason}"
    assert scene.room.tally.filtered == {reason: 1}
    assert scene.used() == [0, 1]


@pytest.mark.parametrize(
    ("answer", "is_said"),
    [("The film is a classic.", True), ("My cat sleeps on the radiator.", False)],
)
async def test_answer_without_relevance_is_not_said(answer, is_said):
    """Below `min_relevance` it says nothing about what was asked; the value is noted (INS-3)."""
    scene = Scene(answer, response_processing={"min_relevance": 0.3})
    refused = NoReply(Outcome.FILTERED, "irrelevant")
    assert await scene.ask() == (answer if is_said else refused)
    assert scene.record.relevance is not None
    assert (scene.record.relevance >= 0.3) is is_said


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (llm_client.ConnectionError("x"), Outcome.LLM_FAILED),
        (llm_client.TimeoutError("x"), Outcome.LLM_FAILED),
        (llm_client.AuthenticationError("x"), Outcome.LLM_FAILED),
        (llm_client.ModelNotFoundError("x"), Outcome.LLM_FAILED),
        (llm_client.RateLimitError("x"), Outcome.LLM_FAILED),
        (llm_client.ValidationError("x"), Outcome.LLM_FAILED),
        (llm_client.GenerationError("x", code="bad_json"), Outcome.LLM_FAILED),
        (llm_client.GenerationError("x", code="empty"), Outcome.EMPTY_REPLY),
        (llm_client.GenerationError("x", code="length"), Outcome.EMPTY_REPLY),
        (llm_client.DeadlineExceededError("x"), Outcome.TOO_LATE),
        (llm_client.AllProvidersFailedError("x"), Outcome.LLM_FAILED),
    ],
    ids=lambda value: value.code if isinstance(value, LLMError) else None,
)
async def test_errors_of_the_model_have_an_outcome(error, outcome):
    """Every error of the client is an outcome, with what it took; the user's part is spent."""
    scene = Scene(llm_failure(error, attempts=3))
    assert await scene.ask() == NoReply(outcome, "x")
    record = scene.record
    assert (record.provider, record.model, record.attempts) == ("fake", "asked", 3)
    assert record.model_seconds is not None
    assert scene.used() == [0, 1]


async def test_error_before_any_request_spends_nothing():
    """No request went out: the user's and the trigger's parts come back too."""
    scene = Scene(llm_failure(llm_client.DeadlineExceededError("no slot"), attempts=0))
    await scene.ask()
    assert scene.record.attempts == 0
    assert scene.record.provider == ""
    assert scene.used() == [0, 0]


async def test_failure_is_logged_without_what_was_said(caplog):
    """The log says code and attempts, and nothing of the prompt (LOG-4)."""
    scene = Scene(llm_failure(llm_client.RateLimitError("slow down", status=429), attempts=2))
    await scene.ask()
    (told,) = [one for one in caplog.records if one.message == "llm.failed"]
    fields = vars(told)
    assert (fields["code"], fields["attempts"], fields["channel"]) == (
        "rate_limited",
        2,
        "MyChannel",
    )
    assert "which film" not in str(fields)


@pytest.mark.parametrize("content", ["redacted", "full"])
async def test_the_words_of_a_server_are_told(content, caplog):
    """They are the cure, and the client has blacked out what they quote of the chat (LOG-4)."""
    words = "'top_k' is no parameter of '…'"
    error = llm_client.ValidationError(words, provider="openai", status=400)
    scene = Scene(llm_failure(error), logging={"content": content})
    result = await scene.ask()
    assert isinstance(result, NoReply)
    assert result.detail == f"openai: {words} (HTTP 400)"
    (logged,) = [one for one in caplog.records if one.message == "llm.failed"]
    assert vars(logged)["error"] == result.detail


def test_every_error_of_the_client_is_tried_here():
    """A new kind of error fails this test until somebody says what outcome it is."""
    (marks,) = [
        mark
        for mark in test_errors_of_the_model_have_an_outcome.pytestmark
        if mark.name == "parametrize"
    ]
    tried = {type(error) for error, _ in marks.args[1]}
    kinds = {
        kind
        for name in llm_client.__all__
        if isinstance(kind := getattr(llm_client, name), type) and issubclass(kind, LLMError)
    }
    assert kinds - tried == {LLMError, llm_client.ConfigurationError}


async def test_nothing_from_every_provider_is_an_empty_reply():
    """Several that answered with nothing are no failure of the model, as one isn't."""
    empty = llm_client.GenerationError("nothing", provider="x", status=200, code="empty")
    cut = llm_client.GenerationError("nothing", provider="y", status=200, code="length")
    scene = Scene(llm_failure(llm_client.AllProvidersFailedError(errors=[empty, cut])))
    result = await scene.ask()
    assert isinstance(result, NoReply)
    assert result.outcome is Outcome.EMPTY_REPLY
