"""The smallest story that leads to each outcome, and what an operator reads about it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from llm_bot import llm_client
from llm_bot.decisions import DecisionRecord, Outcome
from llm_bot.observability.sentences import sentence
from tests.fakes import llm_failure
from tests.servers import eventually
from tests.unit.builders import HEARD_AT
from tests.unit.stage import Stage

SERVER_ERROR = llm_failure(llm_client.GenerationError("down", code="server_error"), attempts=2)
NO_TEXT = llm_failure(llm_client.GenerationError("nothing in the answer", code="empty"))
Story = Callable[[Stage], Awaitable[DecisionRecord]]


def saying(text: str = "hey MyBot", **changes: Any) -> Story:
    """Somebody says something, and it is answered if it is to be."""

    async def story(stage: Stage) -> DecisionRecord:
        record = stage.say(text, **changes)
        await stage.work()
        return record

    return story


def twice(text: str = "hey MyBot", *, second: str = "alice") -> Story:
    """alice is answered, and 3 s later somebody wants to be."""

    async def story(stage: Stage) -> DecisionRecord:
        stage.say(text)
        await stage.work()
        stage.clock.advance(3)
        return stage.say(text, user=second)

    return story


async def another_bot(stage: Stage) -> DecisionRecord:
    """Somebody answers whatever the bot says within a second; the first time it wasn't so quick."""
    for number in range(7):
        record = stage.say(f"MyBot, {number}?", user="otherbot")
        await stage.work()
        stage.clock.advance(1)
    return record


async def new_film(stage: Stage) -> DecisionRecord:
    stage.happen("changeMedia", {"id": "x", "type": "yt", "title": "X", "currentTime": 0})
    stage.clock.advance(4.5)
    return stage.say()


async def lively_room(stage: Stage) -> DecisionRecord:
    stage.say("what a film")
    return await stage.tick()


async def quiet_room(stage: Stage) -> DecisionRecord:
    stage.happen("login", {"name": "MyBot", "success": True})
    return await stage.tick()


async def busy_room(stage: Stage) -> DecisionRecord:
    stage.say()
    record = stage.say(user="bob")
    await stage.work()
    return record


async def impatient_user(stage: Stage) -> DecisionRecord:
    record = stage.say("MyBot, what")
    stage.say("MyBot, what is on?")
    await stage.work()
    return record


async def busy_model(stage: Stage) -> DecisionRecord:
    record = stage.say()
    stage.clock.advance(46)
    await stage.work()
    return record


async def refusing_connector(stage: Stage) -> DecisionRecord:
    stage.refusal = "no such channel"
    return await saying()(stage)


async def stopped_while_it_thinks(stage: Stage) -> DecisionRecord:
    stage.model.gate.clear()
    record = stage.say()
    task = asyncio.create_task(stage.service.workers[0].run())
    await eventually(lambda: bool(stage.model.requests))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return record


def mention(**settings: Any) -> dict[str, Any]:
    return {"triggers": [{"type": "mention", **settings}]}


OUTCOMES: list[tuple[Outcome, dict[str, Any], Story, str]] = [
    (Outcome.REPLIED, {}, saying(), "alice named the bot and got an answer."),
    (
        Outcome.NO_MATCH,
        {},
        saying("hello bots"),
        "It names neither the bot nor a keyword.",
    ),
    (
        Outcome.OWN_LINE,
        {},
        saying(user="mybot"),
        "The bot's own line, which never triggers it.",
    ),
    (
        Outcome.IGNORED_USER,
        {"bot": {"ignored_users": ["OtherBot"]}},
        saying(user="otherbot"),
        "otherbot is ignored: in bot.ignored_users.",
    ),
    (
        Outcome.IGNORED_PREFIX,
        {},
        saying("!skip MyBot"),
        "It begins like a command for another bot (bot.ignored_prefixes).",
    ),
    (
        Outcome.REPLAYED,
        {},
        saying(said_at=HEARD_AT - 7, forwarded_at=HEARD_AT),
        "Said earlier and shown again by the chat server: context, never answered.",
    ),
    (
        Outcome.STALE,
        {},
        saying(said_at=HEARD_AT - 31),
        "It was old when it arrived (bot.max_event_age_seconds), so the moment has passed; if it"
        " was said just then, a clock is wrong.",
    ),
    (
        Outcome.LOOP,
        {"answers": [f"One more thing, number {number}." for number in range(7)]},
        another_bot,
        "otherbot answers the bot again and again within seconds, as another bot would; a pause of"
        " more than 3 s ends that (for good: bot.ignored_users).",
    ),
    (
        Outcome.SILENCED,
        {"channel": {"silenced": True}},
        saying(),
        "alice named the bot, but the bot is silenced in this room (channels, silenced).",
    ),
    (
        Outcome.MEDIA_COOLDOWN,
        {},
        new_film,
        "alice named the bot, but another film has just begun; the bot is quiet for 26 s more"
        " (media_change_cooldown_seconds 30).",
    ),
    (
        Outcome.TRIGGER_COOLDOWN,
        mention(cooldown_seconds=10.0),
        twice(),
        "alice named the bot, but the trigger mention rests for 7 s more (cooldown_seconds 10).",
    ),
    (
        Outcome.CHANNEL_COOLDOWN,
        {"limits": {"global_cooldown_seconds": 5.0}},
        twice(second="bob"),
        "bob named the bot, but the bot has just spoken; the room rests for 2 s more"
        " (global_cooldown_seconds 5).",
    ),
    (
        Outcome.PROBABILITY,
        mention(fire_probability=0.3),
        saying(),
        "alice named the bot; fire_probability 0.3 wasn't met (drew 0.5).",
    ),
    (
        Outcome.USER_LIMIT,
        {"limits": {"max_per_user_per_minute": 1}},
        twice(),
        "alice has had 1 reply in 60 s (max_per_user_per_minute); it frees up in 57 s.",
    ),
    (
        Outcome.CHANNEL_LIMIT,
        {"limits": {"max_per_channel_per_hour": 1}},
        twice(second="bob"),
        "The room has had 1 line in 60 min (max_per_channel_per_hour); it frees up in 60 min.",
    ),
    (
        Outcome.TRIGGER_LIMIT,
        mention(rate_limit={"max_per_user_per_minute": 1}),
        twice(),
        "The trigger mention has fired 1 time in 60 s (max_per_user_per_minute) for alice; it"
        " frees up in 57 s.",
    ),
    (
        Outcome.DECLINED,
        {"answers": ["No."]},
        lively_room,
        "Asked whether to join in, the model said no (participation_prompt).",
    ),
    (
        Outcome.IDLE,
        {},
        quiet_room,
        "The timer found nothing to join in on: nobody has said anything since its last look"
        " (evaluation_interval_seconds).",
    ),
    (
        Outcome.QUEUE_FULL,
        {},
        busy_room,
        "bob named the bot, but too many replies wait already (replies.queue_size).",
    ),
    (
        Outcome.SUPERSEDED,
        {},
        impatient_user,
        "alice said something newer while this waited for its turn, which is answered in its"
        " place.",
    ),
    (
        Outcome.TOO_LATE,
        {},
        busy_model,
        "alice named the bot, but a reply would come too late (replies.deadline_seconds): the"
        " deadline passed while it waited.",
    ),
    (
        Outcome.LLM_FAILED,
        {"answers": [SERVER_ERROR]},
        saying(),
        "alice named the bot, but no model answered after 2 attempts (llm_api): down.",
    ),
    (
        Outcome.EMPTY_REPLY,
        {"answers": [NO_TEXT]},
        saying(),
        "alice named the bot, but the model's answer was empty (parameters.max_tokens, if it was"
        " cut short): nothing in the answer.",
    ),
    (
        Outcome.FILTERED,
        {"answers": ["see https://example.com"]},
        saying(),
        "alice named the bot, but the answer fits a pattern of content_filter.block_patterns, so"
        " nothing is said.",
    ),
    (
        Outcome.DELIVERY_FAILED,
        {},
        refusing_connector,
        "alice named the bot, but the room didn't take the reply: no such channel.",
    ),
    (
        Outcome.SHUTDOWN,
        {},
        stopped_while_it_thinks,
        "alice named the bot, but the bot was stopped first (shutdown_grace_seconds).",
    ),
    (
        Outcome.DRY_RUN,
        {"dry_run": True},
        saying(),
        "alice named the bot; a reply was made and not said (dry_run).",
    ),
    (
        Outcome.ERROR,
        {"answers": [ZeroDivisionError("a bug")]},
        saying(),
        "A fault of this program (ZeroDivisionError) ended the reply; the log has all of it.",
    ),
]


@pytest.mark.parametrize(
    ("outcome", "scene", "story", "told"),
    OUTCOMES,
    ids=[outcome.value for outcome, *_ in OUTCOMES],
)
async def test_the_smallest_story_and_its_sentence(outcome, scene, story, told):
    """One record, counted once when it is final; no permit is left held; what is told of it."""
    # REQ-5
    stage = Stage(*scene.get("answers", ()), **{k: v for k, v in scene.items() if k != "answers"})

    async with stage:
        record = await story(stage)

    records = list(stage.room.decisions)
    assert outcome == record.outcome
    assert told == sentence(record)
    assert [record] == [one for one in records if one.outcome is outcome]
    assert Counter(str(one.outcome) for one in records) == stage.room.tally.decisions
    assert len({one.correlation_id for one in records}) == len(records)
    assert stage.held == 0
    assert len(stage.room.public_lane) == 0


def test_every_outcome_has_a_story():
    """The set is closed, and the table has each member once, in its order."""
    assert [outcome for outcome, *_ in OUTCOMES] == list(Outcome)
