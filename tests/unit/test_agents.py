"""Agents: what they are told, what they answer, and what is observed beside the conversation."""

from __future__ import annotations

import asyncio
import doctest
import importlib
import json
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pydantic
import pytest

import llm_bot.demo
from llm_bot.agents.base import AgentRegistry, BaseAgent
from llm_bot.agents.chat import ChatAgent
from llm_bot.agents.insight import (
    LINES_A_TICK,
    LINES_AT_ONCE,
    TICK_SECONDS,
    InsightAgent,
    InsightSettings,
)
from llm_bot.agents.publishing import insights_subject, publish_insights
from llm_bot.agents.schemas import AgentResponse, Insight, UserMessage
from llm_bot.bus import EventBus
from llm_bot.context_window import WindowLine
from llm_bot.decisions import DecisionRecord, ReplyRecord
from llm_bot.errors import BusError
from llm_bot.insights.questions import is_question
from llm_bot.insights.stream_buffer import StreamBuffer, StreamTrack
from llm_bot.insights.topics import InsightKind
from llm_bot.llm_client import LLMError
from llm_bot.ports import Event
from llm_bot.room import Room
from tests.fakes import ManualClock, ScriptedLLM, llm_failure
from tests.unit import builders
from tests.unit.test_insights import SHARKS, SOUP

CONVERSATION, INSIGHTS = StreamTrack
FILM_NIGHT = Path(llm_bot.demo.__file__).parent / "film_night.jsonl"


def message(content: str = "MyBot: which film is it?", **fields: Any) -> UserMessage:
    return UserMessage(
        **{"user_id": "alice", "content": content, "conversation_id": "MyChannel", **fields}
    )


# --- schemas ---


def test_ids_are_generated():
    """Each message and response has an id of its own, and a conversation where none was named."""
    moment = datetime(2026, 9, 21, tzinfo=UTC)
    first, second = (UserMessage(user_id="a", content="b", timestamp=moment) for _ in range(2))
    assert first.id != second.id
    assert first.conversation_id != second.conversation_id
    assert first.timestamp == moment
    assert AgentResponse(agent_name="chat", content="b").timestamp.tzinfo is not None


@pytest.mark.parametrize("stamp", [1790000000, 1790000000.0, "2026-09-21T14:13:20+00:00"])
def test_a_message_from_json(stamp):
    """Times come as numbers or text; fields that are not known are ignored."""
    body = json.dumps({"user_id": "a", "content": "b", "timestamp": stamp, "mood": "good"})
    read = UserMessage.model_validate_json(body)
    assert read.timestamp.timestamp() == 1790000000
    told = json.loads(read.model_dump_json())
    assert (told["event"], told["role"]) == ("conversation.message.received", "user")
    assert UserMessage.model_validate(told) == read


def test_messages_read_like_dictionaries():
    """Fields by name; a name that is no field is a `KeyError`."""
    said = message()
    assert (said["role"], said["content"], said["user_id"]) == ("user", said.content, "alice")
    with pytest.raises(KeyError):
        said["model_config"]


@pytest.mark.parametrize(
    "fields",
    [{"user_id": ""}, {"content": "x" * 20_000}, {"timestamp": "soon"}, {"conversation_id": ""}],
    ids=lambda fields: next(iter(fields)),
)
def test_a_message_is_checked(fields):
    """Nobody, a novel, no time, no conversation."""
    with pytest.raises(pydantic.ValidationError):
        message(**fields)


# --- base and registry ---


class Parrot(BaseAgent):
    """Says what it hears, if anything."""

    async def process_message(self, message: UserMessage) -> AgentResponse | None:
        return self.answer(message, f"{self.name}: {message.content}") if message.content else None


def test_an_agent_has_a_name():
    """It tells agents apart, so it can't be empty."""
    with pytest.raises(ValueError, match="name"):
        Parrot("")


def test_registry_holds_each_name_once():
    """Another of the same name is refused; the same again changes nothing."""
    polly = Parrot("polly")
    registry = AgentRegistry(polly, Parrot("jack"))
    registry.register(polly)
    with pytest.raises(ValueError, match="polly"):
        registry.register(Parrot("polly"))
    assert [agent.name for agent in registry] == ["polly", "jack"]
    assert registry.get("polly") is polly
    registry.unregister("polly")
    registry.unregister("polly")
    assert ("polly" in registry, registry.get("polly"), len(registry)) == (False, None, 1)


async def test_registry_tells_all_agents(caplog):
    """Answers in their order; who has nothing to say or fails keeps no other from answering."""

    class Broken(Parrot):
        async def process_message(self, message: UserMessage) -> AgentResponse | None:
            raise RuntimeError("no words")

    registry = AgentRegistry(Parrot("one"), Broken("two"), Parrot("three"))
    answers = await registry.process_message(message("hello"))
    assert [answer.content for answer in answers] == ["one: hello", "three: hello"]
    assert {answer.conversation_id for answer in answers} == {"MyChannel"}
    (told,) = caplog.records
    assert (told.message, vars(told)["agent"]) == ("agent.failed", "two")
    assert await registry.process_message(message("")) == []


async def test_registry_does_not_swallow_cancellation():
    """Whoever ends the waiting ends it."""

    class Sleeper(Parrot):
        async def process_message(self, message: UserMessage) -> AgentResponse | None:
            await asyncio.Event().wait()
            return None

    task = asyncio.create_task(AgentRegistry(Sleeper("s")).process_message(message()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- chat agent ---


def chat_agent(*answers: str | BaseException, **sections: Any) -> tuple[ChatAgent, ScriptedLLM]:
    room: Room = builders.room(**sections)
    model = ScriptedLLM(*answers)
    agent = ChatAgent(model, ManualClock(), room_of={"MyChannel": room}.get)
    return agent, model


async def test_chat_agent_answers_like_the_room():
    """Prompt, processor and guard of the room that the conversation is."""
    agent, model = chat_agent("**It** is on example.com", channel={"system_prompt": "Be a pirate."})
    asked = message()
    response = await agent.process_message(asked)
    assert response is not None
    assert (response.agent_name, response.content) == ("chat", "It is on example. com")
    assert response.conversation_id == "MyChannel"
    (request,) = model.requests
    assert request.correlation_id == asked.id
    assert str(request.messages[0].content).startswith("Be a pirate.")
    assert "alice says to you: MyBot: which film is it?" in str(request.messages[1].content)


async def test_chat_agent_has_nothing_to_say():
    """A refused answer or a failing model is no response."""
    agent, _ = chat_agent("https://a.b", llm_failure(LLMError("x")))
    assert await agent.process_message(message()) is None
    assert await agent.process_message(message()) is None


async def test_chat_agent_answers_only_where_it_may():
    """No such room, a silenced one, or no rooms at all: the model isn't even asked."""
    agent, model = chat_agent(channel={"silenced": True})
    assert await agent.process_message(message()) is None
    assert await agent.process_message(message(conversation_id="elsewhere")) is None
    assert await ChatAgent(model, ManualClock()).process_message(message()) is None
    assert model.requests == []


# --- insight agent ---


class Observed:
    """An insight agent with all that it told."""

    def __init__(self, *, size: int = 200, **settings: Any) -> None:
        self.buffer = StreamBuffer(size)
        self.clock = ManualClock()
        self.told: list[Insight] = []
        self.settings = InsightSettings(
            **{"channel": "MyChannel", "names": ("MyBot",), "topic_interval": 10, **settings}
        )
        self.agent = InsightAgent(
            self.buffer, self.settings, clock=self.clock, on_insight=self.told.append
        )

    def say(self, *texts: str, user: str = "", **fields: Any) -> None:
        for i, text in enumerate(texts):
            who = user or ("ann", "bob", "cleo")[i % 3]
            self.buffer.add(CONVERSATION, WindowLine(who, text, self.clock.time(), **fields))

    def later(self, seconds: float) -> list[Insight]:
        self.clock.advance(seconds)
        return self.agent.tick(self.clock.time())


@asynccontextmanager
async def running(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run them beside the block, begun already; none of them may have ended."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    await settle()
    yield
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def settle(turns: int = 20) -> None:
    """Give others so many turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)


def replied(correlation_id: str = "id-1", *, event: str = "chat", **reply: Any) -> DecisionRecord:
    record = DecisionRecord(correlation_id, "MyChannel", "alice", 0.0, event, None)
    record.reply = ReplyRecord(**reply)
    return record


def test_relevance_of_a_reply():
    """The value that the record has, with the number of the line that was answered."""
    scene = Observed()
    line = WindowLine("alice", "what year is the car from?", 1.0, False, "id-1")
    scene.say("nice shark")
    scene.buffer.add(CONVERSATION, line)
    scene.say("what a night")
    (insight,) = scene.agent.note_reply(replied(relevance=0.7))
    assert scene.told == [insight] == scene.buffer.read(INSIGHTS)
    assert (insight.kind, insight.sequence, insight.correlation_id) == (
        InsightKind.RELEVANCE,
        2,
        "id-1",
    )
    assert insight.value == 0.7
    assert (insight.channel, insight.time, insight.words) == ("MyChannel", scene.clock.time(), ())


def test_relevance_that_is_not_known():
    """A line that is gone has no number, a reply that nobody measured no value."""
    scene = Observed()
    (insight,) = scene.agent.note_reply(replied(relevance=0.25))
    assert (insight.value, insight.sequence) == (0.25, 0)
    record = replied()
    record.reply = None
    (insight,) = scene.agent.note_reply(record)
    assert insight.value is None


def test_private_reply_tells_a_number_only():
    """No text, no user, no id of the line; and nothing of it stands in the conversation
    (STREAM-3).
    """
    scene = Observed(shows_text=True)
    (insight,) = scene.agent.note_reply(replied(event="pm"))
    assert insight.is_private
    assert (insight.sequence, insight.correlation_id, insight.words) == (0, "", ())
    assert not {"alice"} & set(insight.model_dump_json().split('"'))
    assert scene.buffer.read(CONVERSATION) == []


@pytest.mark.parametrize("shows_text", [True, False])
def test_change_of_topic(shows_text):
    """Told at the next tick, about its first line; its words only where text may be shown."""
    scene = Observed(shows_text=shows_text)
    scene.say(*SHARKS)
    assert scene.later(TICK_SECONDS) == []
    scene.say(*SOUP)
    (insight,) = scene.later(TICK_SECONDS)
    assert (insight.kind, insight.sequence) == (InsightKind.TOPIC, len(SHARKS) + 1)
    assert insight.value is not None
    assert insight.value >= 0.7
    assert ("soup" in insight.words) is shows_text
    assert bool(insight.words) is shows_text


def test_topics_may_be_left_alone():
    """`topic_interval_messages: 0`: never looked for; questions are."""
    scene = Observed(topic_interval=0)
    scene.say(*SHARKS, *SOUP)
    assert InsightKind.TOPIC not in {one.kind for one in scene.later(500)}


def test_unanswered_question():
    """Told once nobody has answered; commands for other programs are no questions."""
    scene = Observed()
    scene.say("!quote who is it?", user="bob")
    scene.say("who is the tall one?", user="alice", correlation_id="q")
    assert scene.later(60) == []
    (insight,) = scene.later(60)
    assert (insight.kind, insight.correlation_id) == (InsightKind.QUESTION, "q")
    assert (insight.sequence, insight.value) == (2, None)


def test_question_that_the_bot_answered():
    """Its reply ends it, also when the question was not looked at yet."""
    scene = Observed()
    scene.say("who is the tall one?", user="alice", correlation_id="q")
    scene.agent.note_reply(replied("q"))
    assert scene.later(500) == []


def test_nothing_is_told_where_lines_were_missed():
    """More lines than the buffer holds since the last look: the answer may be among them."""
    scene = Observed(size=5)
    scene.say("who is the tall one?", user="alice")
    assert scene.later(1) == []
    scene.say(*["it rains again"] * 20)
    assert scene.later(500) == []


def test_disabled_it_only_keeps_the_conversation():
    """Lines are kept, no insights are made; enabled again it begins anew."""
    scene = Observed(is_enabled=False)
    scene.say("who is the tall one?", user="alice")
    assert scene.later(500) == []
    assert scene.agent.note_reply(replied()) == []
    assert len(scene.buffer.read(CONVERSATION)) == 1
    scene.agent.settings = InsightSettings("MyChannel")
    assert scene.later(500) == []


def test_settings_change_under_way():
    """What is watched goes on where only the text rule changes; other names begin anew."""
    scene = Observed()
    scene.say("who is the tall one?", user="alice")
    scene.later(1)
    scene.agent.settings = InsightSettings(
        "MyChannel", names=("MyBot",), topic_interval=10, shows_text=True
    )
    assert scene.agent.settings.shows_text
    (insight,) = scene.later(500)
    assert insight.words == ("tall",)
    scene.say("who is the small one?", user="alice")
    scene.later(1)
    scene.agent.settings = InsightSettings("MyChannel", names=("Other",))
    assert scene.later(500) == []


def test_settings_of_a_room():
    """Each comes from the configuration of the room."""
    config = builders.room_config(
        insights={"enabled": False, "topic_interval_messages": 7},
        logging={"content": "full"},
        bot={"aliases": ["Bo"]},
    )
    assert InsightSettings.of(config) == InsightSettings(
        "MyChannel",
        is_enabled=False,
        shows_text=True,
        topic_interval=7,
        names=("MyBot", "Bo"),
        ignored_prefixes=("!",),
    )


async def test_insight_agent_as_an_agent():
    """It never answers; the message is in the conversation, and what others add is left alone."""
    scene = Observed()
    first = message("who is the tall one?", timestamp=1000)
    scene.buffer.add(CONVERSATION, {"role": "user", "content": "who is the small one?"})
    assert await scene.agent.process_message(first) is None
    await scene.buffer.add_to_track(
        CONVERSATION, AgentResponse(agent_name="chat", content="who knows?", timestamp=1001)
    )
    await scene.agent.process_message(message("look at that", user_id="bob", timestamp=2000))
    items = await scene.buffer.read_track(CONVERSATION)
    assert [item["role"] for item in items] == ["user", "user", "assistant", "user"]
    (insight,) = scene.told
    assert (insight.sequence, insight.correlation_id) == (2, first.id)
    record = replied("nobody said that")
    assert scene.agent.note_reply(record)[0].sequence == 0


def test_nothing_that_goes_wrong_gets_out(caplog):
    """A failing observer is logged once of each kind, and breaks neither reply nor timer
    (INS-1).
    """
    scene = Observed()
    agent = InsightAgent(scene.buffer, scene.settings, on_insight=lambda _: 1 / 0)  # type: ignore[arg-type]
    for _ in range(3):
        assert agent.note_reply(replied()) == []
        scene.say("who is the tall one?", user="alice")
        assert agent.tick(1.0) == []
        assert agent.tick(1e12) == []
    (told,) = caplog.records
    assert (told.message, told.levelno) == ("insight.error", logging.ERROR)
    assert told.exc_info is not None


async def test_it_runs_beside_the_room(caplog):
    """`run` looks every few seconds; a failing look is logged once, and the next one comes
    (INS-1)."""
    scene = Observed()
    failing = InsightAgent(scene.buffer, scene.settings, clock=scene.clock, on_insight=fail)
    async with running(scene.agent.run(), failing.run()):
        for _ in range(3):
            scene.say("who is the tall one?", user="alice")
            for _ in range(4):
                scene.clock.advance(100)
                await settle()
    assert [one.kind for one in scene.told] == [InsightKind.QUESTION] * 3
    assert [one.message for one in caplog.records] == ["insight.error"]


def hostile_line(i: int) -> str:
    """A long line: unspaced and new words, or nothing that any word ends in."""
    unspaced = "".join(chr(0x3400 + (i * 977 + n * 131) % 25_000) for n in range(999))
    return ("a b " * 250, unspaced + "?", "a b " + "?" * 990 + "x", "@@," * 330)[i % 4]


@pytest.mark.parametrize("lines", [hostile_line, lambda i: hostile_line(1 + 4 * i)])
async def test_it_looks_at_portions(lines):
    """However much was said, others get their turn after each few lines, and all is looked at."""
    scene = Observed(size=400)
    scene.say("who is the tall one?", user="alice", correlation_id="q")
    scene.say("silence", *[lines(i) for i in range(300)], user="alice")
    turns = 0
    async with running(scene.agent.run()):
        scene.clock.advance(500)
        while turns < 3 or not scene.told:
            await settle(1)
            turns += 1
    assert turns > LINES_A_TICK / LINES_AT_ONCE
    assert [one.kind for one in scene.told][-1:] == [InsightKind.QUESTION]


async def test_what_changes_between_portions():
    """Forgotten, or turned off, while it looks: the rest isn't looked at, nothing twice."""
    scene = Observed()
    async with running(scene.agent.run()):
        for change in (scene.agent.forget, partial(setattr, scene.agent, "settings", off())):
            scene.say(*["silence"] * 50, "who is the tall one?", user="alice")
            scene.clock.advance(TICK_SECONDS)
            await settle(2)
            change()
            await settle()
    assert scene.later(500) == []


def test_of_a_flood_the_newest_lines_are_looked_at():
    """Who reads along at such a pace? A look costs far more than the line itself (INS-1)."""
    scene = Observed()
    scene.say("who is the tall one?", user="alice")
    scene.say(*["silence"] * LINES_A_TICK, user="bob")
    assert scene.later(TICK_SECONDS) == scene.later(500) == []

    scene.say("who is the tall one?", user="alice")
    scene.say(*["silence"] * (LINES_A_TICK - 1), user="bob")
    assert [one.kind for one in scene.later(TICK_SECONDS)] == [InsightKind.QUESTION]


async def test_rooms_do_not_look_in_step():
    """With a phase the first look comes earlier, and each later one a whole pause after it."""
    early, late = Observed(), Observed()
    looks: list[tuple[int, int]] = []
    async with running(early.agent.run(phase=0.6), late.agent.run()):
        for _ in range(2 * int(TICK_SECONDS)):
            for scene in (early, late):
                scene.say("one more line", user="alice")
                scene.clock.advance(1)
            await settle()
            looks.append((early.agent._seen, late.agent._seen))
    changes = [
        [n for n, (a, b) in enumerate(pairwise(side), 1) if a != b]
        for side in zip(*looks, strict=True)
    ]
    assert changes == [[1, 6], [4, 9]]


def off() -> InsightSettings:
    return InsightSettings("MyChannel", is_enabled=False)


def fail(_: object) -> None:
    raise RuntimeError("no room for insights")


def test_film_night_has_one_topic():
    """The demo's recording, all about films, holds no change of topic by this measure, and each
    question that is told of was asked in it."""
    scene = Observed(size=300, topic_interval=20, names=("Reel",))
    lines = [json.loads(text) for text in FILM_NIGHT.read_text().splitlines()]
    said = [
        (line["t"], line["data"]["payload"])
        for line in lines
        if line["subject"].endswith(".chatmsg")
    ]
    for at, payload in said:
        scene.buffer.add(CONVERSATION, WindowLine(payload["username"], payload["msg"], at))
        scene.agent.tick(at)
    assert {one.kind for one in scene.told} == {InsightKind.QUESTION}
    said_at = scene.buffer.read(CONVERSATION)
    texts = dict(zip(said_at.sequences, (line.text for line in said_at), strict=True))
    assert all(is_question(texts[one.sequence]) for one in scene.told)


# --- publishing ---


async def test_insights_are_published():
    """One message each, in order, on the room's subject; none about a private message, and none
    while nobody wants them (STREAM-3)."""
    scene = Observed(shows_text=True)
    bus = EventBus()
    heard: asyncio.Queue[Event] = asyncio.Queue()
    await bus.subscribe("llm_bot.insights.>", heard.put_nowait)
    scene.agent.note_reply(replied("before it began"))
    send = partial(bus.publish, insights_subject("MyChannel"))
    wanted = [True]
    async with running(publish_insights(scene.buffer, send, is_wanted=lambda: wanted[0])):
        scene.agent.note_reply(replied("private", event="pm"))
        scene.buffer.add(INSIGHTS, {"from": "another agent"})
        scene.agent.note_reply(replied("one", relevance=0.5))
        first = await heard.get()
        wanted[0] = False
        scene.agent.note_reply(replied("unwanted"))
        await settle()
        wanted[0] = True
        scene.agent.note_reply(replied("two"))
        second = await heard.get()
    told = json.loads(first.data)
    assert first.subject == "llm_bot.insights.mychannel"
    del told["id"], told["time"]
    assert told == {
        "conversation_id": "MyChannel",
        "channel": "MyChannel",
        "kind": "reply.relevance.measured",
        "sequence": 0,
        "correlation_id": "one",
        "value": 0.5,
        "words": [],
    }
    assert second["correlation_id"] == "two"
    await bus.close()


async def test_publishing_outlives_any_error(caplog):
    """An outage of the bus is logged once until something was sent, a bug once of each kind; what
    can't be sent isn't kept, and what comes afterwards is sent (INS-1)."""
    caplog.set_level(logging.INFO)
    scene = Observed()
    sent: list[str] = []
    bugs: list[Exception] = [RuntimeError("a"), ValueError("b"), RuntimeError("c"), ValueError("d")]
    errors = [BusError("away"), BusError("away"), None, BusError("again"), *bugs]

    async def send(data: bytes) -> None:
        if errors and (error := errors.pop(0)) is not None:
            raise error
        sent.append(json.loads(data)["correlation_id"])

    async with running(publish_insights(scene.buffer, send, is_wanted=lambda: True)):
        for name in "abcdefghi":
            scene.agent.note_reply(replied(name))
            await settle()
    assert sent == ["c", "i"]
    told = ["insight.not_published"] * 2 + ["insight.error"] * 2
    assert [one.message for one in caplog.records] == told
    assert {vars(one)["channel"] for one in caplog.records} == {"MyChannel"}


@pytest.mark.parametrize("name", ["base", "schemas", "insight", "publishing"])
def test_examples(name):
    """Each example in the docstrings gives what it says."""
    failed, tried = doctest.testmod(importlib.import_module(f"llm_bot.agents.{name}"))
    assert (failed, bool(tried)) == (0, True)
