"""Ticks: from the timer to a line that nobody asked for, or to the reason why there is none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_bot import llm_client
from llm_bot.agents.prompts import TICK_TEMPLATE
from llm_bot.config.triggers import PARTICIPATION_PROMPT
from llm_bot.decisions import Outcome
from llm_bot.models import Dialect, LineKind
from llm_bot.observability.sentences import sentence
from llm_bot.ports import Event
from tests.fakes import llm_failure
from tests.servers import eventually
from tests.unit import builders
from tests.unit.builders import HEARD_AT, event
from tests.unit.stage import TICKS, UNLIMITED, Stage

FILM = {"id": "x", "type": "yt", "title": "Metropolis", "currentTime": 0}


def ticking(**settings: Any) -> dict[str, Any]:
    return {"triggers": [{"type": "mention"}, {**TICKS, **settings}]}


def lively(*answers: Any, **sections: Any) -> Stage:
    """A room where somebody has just said something."""
    stage = Stage(*(answers or ("Yes.", "What a scene!")), **sections)
    stage.say("what a film")
    return stage


def people(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "rank": 1, "meta": {}, "profile": {}} for name in names]


async def asking(stage: Stage) -> asyncio.Task[None]:
    """A tick at the moment in which the model thinks about the question."""
    stage.model.gate.clear()
    task = asyncio.create_task(stage.service.ticker.tick())
    await eventually(lambda: bool(stage.model.requests))
    return task


async def answered(stage: Stage, task: asyncio.Task[None]) -> None:
    stage.model.gate.set()
    await asyncio.wait_for(task, 5)


# --- from the question to a line ---


async def test_a_yes_becomes_a_line_like_any_reply():
    """Question, job in the public lane, line: told as `tick`, counted like a reply (TICK-5)."""
    async with lively() as stage:
        record = await stage.tick()
        assert record.outcome is None
        assert sentence(record) == "The bot is about to join in, if the model wants to."
        assert [job.line.kind for job in stage.room.public_lane._jobs] == [LineKind.TICK]
        await stage.work()

        assert stage.said == ["What a scene!"]
    assert (record.event, record.user, str(record.outcome)) == ("tick", "", "replied")
    assert sentence(record) == "The model wanted to join in, and the bot spoke up."
    assert stage.recorder.ticks == [record]
    assert stage.held == 0
    tally = stage.room.tally
    assert (tally.triggers_evaluated["contextual"], tally.triggers_fired["contextual"]) == (1, 1)
    assert tally.sent == {"chat": 1}


async def test_question_and_line_have_prompts_of_their_own():
    """The question ends with `participation_prompt`; the line is asked for by the tick's own
    template, never by `user_prompt_template` (TICK-5) (ASK-4)."""
    async with lively(llm_api={"user_prompt_template": "Answer {username}."}) as stage:
        stage.happen("changeMedia", {**FILM, "currentTime": 60})
        await stage.tick()
        await stage.work()

    question, line = stage.model.requests
    asked, wanted = (str(request.messages[1].content) for request in (question, line))
    assert question.messages[0] == line.messages[0]
    assert asked.endswith(f"On the screen: Metropolis\n\n{PARTICIPATION_PROMPT}")
    assert wanted.endswith(TICK_TEMPLATE.rpartition("\n")[2])
    for prompt in (asked, wanted):
        assert "alice: what a film" in prompt
        assert "Answer" not in prompt.replace(PARTICIPATION_PROMPT, "")


async def test_question_is_short_and_bounded():
    """5 tokens, `participation_timeout_seconds`, the tick's own correlation id (TICK-5)."""
    async with lively("no", **ticking(participation_timeout_seconds=3.0)) as stage:
        record = await stage.tick()

    (request,) = stage.model.requests
    assert (request.max_tokens, request.timeout_seconds, request.deadline_seconds) == (5, 3.0, 3.0)
    assert request.correlation_id == record.correlation_id


async def test_question_of_the_operator_is_no_template():
    """Braces in `participation_prompt` stay as they are."""
    async with lively("no", **ticking(participation_prompt="Join {username}?")) as stage:
        await stage.tick()

    assert str(stage.model.requests[0].messages[1].content).endswith("Join {username}?")


async def test_line_goes_out_in_the_dialect_last_heard():
    """What is said unasked goes the way the room was last heard (TICK-6)."""
    stage = Stage("Yes.", "What a scene!")
    body = b'{"username": "bob", "msg": "what a film", "meta": {}}'
    heard: list[Event] = []
    stage.service.handler.handle(event("and before", user="bob"), Dialect.KRYTEN)
    stage.service.handler.handle(Event("cytube.events.mychannel.chatMsg", body), Dialect.PLAIN)
    async with stage:
        await stage.bus.subscribe("cytube.commands.mychannel.chat", heard.append)
        await stage.tick()
        await stage.work()
        await eventually(lambda: bool(heard))

    assert stage.said == []
    assert b"What a scene!" in heard[0].data


async def test_deadline_counts_from_the_tick():
    """The time in which the model makes up its mind counts (TICK-6)."""
    async with lively() as stage:
        task = await asking(stage)
        stage.clock.advance(40)
        await answered(stage, task)
        stage.clock.advance(6)
        await stage.work()

    assert stage.ticks[-1].outcome is Outcome.TOO_LATE


async def test_no_canned_line_where_nobody_asked():
    """A tick whose reply fails isn't made up for with one of `fallback_responses` (LANE-6)."""
    canned = {"fallback_responses_enabled": True, "fallback_responses": ["I am asleep."]}
    down = llm_failure(llm_client.GenerationError("down", code="server_error"))
    async with lively("yes", down, response_processing=canned) as stage:
        record = await stage.tick()
        await stage.work()

    assert record.outcome is Outcome.LLM_FAILED
    assert stage.said == []


# --- what keeps it silent ---


@pytest.mark.parametrize(
    ("sections", "outcome"),
    [
        pytest.param({"channel": {"silenced": True}}, Outcome.SILENCED, id="silenced"),
        pytest.param(ticking(fire_probability=0.5), Outcome.PROBABILITY, id="probability"),
        pytest.param(ticking(min_messages_since_last_bot_message=2), Outcome.IDLE, id="idle"),
    ],
)
async def test_silence_costs_no_request(sections, outcome):
    """Where a gate refuses the model isn't asked (TICK-2, TICK-4)."""
    async with lively(**sections) as stage:
        record = await stage.tick()

    assert record.outcome == outcome
    assert stage.model.requests == []
    assert stage.room.tally.triggers_suppressed == {("contextual", outcome.value): 1}
    assert stage.recorder.ticks == [record]
    assert stage.held == 0


async def test_chance_below_the_probability_asks():
    """`fire_probability` holds for ticks as for lines (TICK-4)."""
    async with lively("no", **ticking(fire_probability=0.5)) as stage:
        stage.rng = 0.49
        record = await stage.tick()

    assert record.outcome is Outcome.DECLINED


async def test_new_film_silences_ticks():
    """The media pause is for whatever is public (TICK-4, TRIG-8)."""
    async with lively() as stage:
        stage.happen("changeMedia", FILM)
        record = await stage.tick()

    assert record.outcome is Outcome.MEDIA_COOLDOWN
    assert stage.model.requests == []


async def test_cooldown_of_the_trigger_counts_from_the_reply():
    """`cooldown_seconds` keeps it silent after it has spoken (TICK-4, LIMIT-5)."""
    async with lively("yes", "What a scene!", **ticking(cooldown_seconds=60.0)) as stage:
        await stage.tick()
        await stage.work()
        stage.clock.advance(59)
        stage.say("and then?")
        assert (await stage.tick()).outcome is Outcome.TRIGGER_COOLDOWN
        stage.clock.advance(1)
        stage.say("and now?")
        assert (await stage.tick()).outcome is Outcome.DECLINED


@pytest.mark.parametrize(
    ("limits", "trigger", "outcome"),
    [
        pytest.param({"max_per_channel_per_minute": 1}, {}, Outcome.CHANNEL_LIMIT, id="room"),
        pytest.param({"global_cooldown_seconds": 9.0}, {}, Outcome.CHANNEL_COOLDOWN, id="pause"),
        pytest.param({}, {"rate_limit": {"max_per_hour": 1}}, Outcome.TRIGGER_LIMIT, id="trigger"),
    ],
)
async def test_limits_of_room_and_trigger_hold(limits, trigger, outcome):
    """What it says unasked counts like any line, and is limited so (TICK-4, LIMIT-3)."""
    async with lively(limits=limits, **ticking(**trigger)) as stage:
        await stage.tick()
        await stage.work()
        stage.say("and then?")
        record = await stage.tick()

    assert record.outcome == outcome
    assert len(stage.model.requests) == 2


async def test_a_tick_has_no_user_to_limit():
    """Neither the limits of users nor the trigger's for each user are asked (TICK-1)."""
    one = {"max_per_user_per_minute": 1, "max_per_user_per_hour": 1}
    answers = ("yes", "What a scene!", "yes", "Look at the light.")
    async with lively(*answers, limits=one, **ticking(rate_limit=one)) as stage:
        for text in ("and then?", "and now?"):
            stage.say(text)
            await stage.tick()
            await stage.work()

    assert stage.said == ["What a scene!", "Look at the light."]
    names = {gate.name for tick in stage.ticks for gate in tick.gates}
    assert not [name for name in names if "_user_" in name]


async def test_own_lines_that_nobody_answered_silence_it():
    """After `max_unanswered_own_lines` own lines it waits for somebody (TICK-3)."""
    async with lively("no", **ticking(min_messages_since_last_bot_message=0)) as stage:
        for number in range(3):
            stage.say(f"line {number}", user="MyBot")
        record = await stage.tick()
        assert record.outcome is Outcome.LOOP
        stage.say("ha")
        assert (await stage.tick()).outcome is Outcome.DECLINED


@pytest.mark.parametrize(
    ("names", "outcome"),
    [
        pytest.param(None, Outcome.DECLINED, id="unknown"),
        pytest.param(["mybot", "alice"], Outcome.DECLINED, id="somebody"),
        pytest.param(["mybot"], Outcome.IDLE, id="the-bot-alone"),
        pytest.param([], Outcome.IDLE, id="nobody"),
    ],
)
async def test_somebody_else_must_be_there(names, outcome):
    """An unknown roster counts as present, the bot itself doesn't (TICK-2)."""
    async with lively("no") as stage:
        if names is not None:
            stage.happen("userlist", people(*names))
        assert (await stage.tick()).outcome == outcome


async def test_lines_are_counted_anew_after_each_tick():
    """A second tick needs another line than the first (TICK-2)."""
    async with lively("no") as stage:
        assert (await stage.tick()).outcome is Outcome.DECLINED
        assert (await stage.tick()).outcome is Outcome.IDLE


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"said_at": HEARD_AT - 60, "forwarded_at": HEARD_AT}, id="replayed"),
        pytest.param({"said_at": HEARD_AT - 60}, id="stale"),
        pytest.param({"user": "otherbot"}, id="ignored"),
        pytest.param({"user": "[server]"}, id="server"),
        pytest.param({"user": "MyBot"}, id="own"),
        pytest.param({"to": "MyBot"}, id="private"),
        pytest.param({"meta": {"shadow": True}}, id="shadowed"),
        pytest.param({"msg": "<img src='x'>"}, id="empty"),
    ],
)
async def test_only_fresh_public_lines_of_others_count(said):
    """What isn't context, or isn't new, is nothing to join in on (TICK-2)."""
    async with Stage(bot={"ignored_users": ["otherbot"]}) as stage:
        stage.say("what a film", **said)
        assert (stage.room.lines_since_tick, stage.room.lines_since_own) == (0, 0)
        assert (await stage.tick()).outcome is Outcome.IDLE


async def test_a_line_heard_twice_counts_once():
    """A duplicate is no new line (TICK-2, WHO-3)."""
    async with lively("no") as stage:
        stage.say("what a film")
        assert stage.room.lines_since_own == 1


async def test_waiting_replies_come_first():
    """Whatever waits, in public or privately, keeps it silent (TICK-2)."""
    async with lively(triggers=[{"type": "pm"}, TICKS]) as stage:
        stage.say("psst", to="MyBot")
        record = await stage.tick()
        await stage.work()

    assert record.outcome is Outcome.IDLE
    assert "replies that wait to be said first: 1" in sentence(record)


async def test_nothing_happens_before_the_room_was_heard():
    """There is nothing to say, and nowhere to say it (TICK-1)."""
    stage = Stage()
    await stage.service.ticker.tick()

    assert stage.ticks == []


# --- while the model thinks ---


async def test_question_holds_no_permit():
    """A mention meanwhile is admitted and answered (TICK-5)."""
    replies = {"min_interval_seconds": 0, "queue_size": 4}
    async with lively(limits={"max_per_channel_per_minute": 1}, replies=replies) as stage:
        task = await asking(stage)
        assert stage.held == 0
        mention = stage.say("hey MyBot")
        assert mention.outcome is None
        await answered(stage, task)
        await stage.work()

    assert mention.outcome is Outcome.REPLIED
    tick = stage.ticks[-1]
    assert tick.outcome is Outcome.CHANNEL_LIMIT
    assert sentence(tick) == (
        "The room has had 1 line in 60 s (max_per_channel_per_minute);"
        " it frees up once a reply under way has ended."
    )
    assert stage.held == 0


async def test_a_yes_that_finds_the_lane_full_is_dropped():
    """A place in the lane is asked for again after the question (TICK-5, LANE-2)."""
    async with lively() as stage:
        task = await asking(stage)
        stage.say("hey MyBot", user="bob")
        await answered(stage, task)
        await stage.work()

    assert stage.ticks[-1].outcome is Outcome.QUEUE_FULL
    assert stage.held == 0


async def test_a_film_that_begins_meanwhile_silences_it():
    """The media pause is asked for again after the question (TICK-5)."""
    async with lively() as stage:
        task = await asking(stage)
        stage.happen("changeMedia", FILM)
        await answered(stage, task)

    tick = stage.ticks[-1]
    assert tick.outcome is Outcome.MEDIA_COOLDOWN
    assert sentence(tick) == (
        "The bot looked whether to join in, but another film has just begun; the bot is quiet"
        " for 30 s more (media_change_cooldown_seconds 30)."
    )


async def test_a_room_silenced_meanwhile_stays_silent():
    """A reload that silences the room holds for what was asked before it (TICK-5)."""
    async with lively() as stage:
        task = await asking(stage)
        stage.room.adopt(builders.room(rate_limits=UNLIMITED, channel={"silenced": True}))
        await answered(stage, task)

    assert stage.ticks[-1].outcome is Outcome.SILENCED


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("No.", id="no"),
        pytest.param("Yesterday was better.", id="other-word"),
        pytest.param(llm_failure(llm_client.TimeoutError("slow")), id="time-out"),
        pytest.param(llm_failure(llm_client.DeadlineExceededError("slow")), id="deadline"),
    ],
)
async def test_whatever_is_no_yes_in_time_is_a_no(answer):
    """`declined`, nothing said, no permit spent (TICK-5)."""
    async with lively(answer) as stage:
        record = await stage.tick()

    assert record.outcome is Outcome.DECLINED
    assert stage.held == len(stage.room.public_lane) == 0
    assert not any(len(history) for history in stage.limiter._histories.values())


async def test_a_model_that_fails_is_told(caplog):
    """`llm_failed` with the code of the error; the log has it too (TICK-5)."""
    error = llm_failure(llm_client.AuthenticationError("wrong key"))
    async with lively(error) as stage:
        record = await stage.tick()

    assert (record.outcome, record.detail) == (Outcome.LLM_FAILED, "authentication")
    assert sentence(record) == (
        "The bot looked whether to join in, but no model answered (llm_api): authentication."
    )
    assert [one.message for one in caplog.records] == ["tick.failed"]


# --- the timer ---


async def sleeping(stage: Stage) -> float:
    """The seconds for which the timer has gone to sleep."""
    await eventually(lambda: bool(stage.clock._sleepers))
    ((until, _),) = stage.clock._sleepers
    return until - stage.clock.now


@pytest.mark.parametrize(
    ("seconds", "rng", "slept"),
    [(120.0, 0.0, 96.0), (120.0, 0.5, 120.0), (120.0, 0.75, 132.0), (0.0, 0.5, 5.0)],
)
async def test_the_timer_sleeps_for_the_interval(seconds, rng, slept):
    """`evaluation_interval_seconds`, a fifth earlier or later, 5 s at least (TICK-1)."""
    async with lively("no", **ticking(evaluation_interval_seconds=seconds)) as stage:
        stage.rng = rng
        task = asyncio.create_task(stage.service.ticker.run())
        assert await sleeping(stage) == pytest.approx(slept)
        assert stage.ticks == []
        stage.clock.advance(slept)
        await sleeping(stage)
        assert [tick.outcome for tick in stage.ticks] == [Outcome.DECLINED]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    "bug", [ValueError("a bug"), asyncio.CancelledError()], ids=["exception", "cancelled-within"]
)
async def test_a_bug_in_one_tick_does_not_end_the_timer(bug, caplog):
    """`error`, told in full, and the next tick comes (TICK-7)."""
    async with lively(bug, "no") as stage:
        task = asyncio.create_task(stage.service.ticker.run())
        for text in ("and then?", "and now?"):
            await sleeping(stage)
            stage.say(text)
            stage.clock.advance(120)
        await sleeping(stage)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert [tick.outcome for tick in stage.ticks] == [Outcome.ERROR, Outcome.DECLINED]
    assert stage.ticks[0].detail == type(bug).__name__
    assert [one.message for one in caplog.records if one.exc_info] == ["tick.error"]
    assert stage.room.tally.decisions["error"] == 1


async def test_a_bug_in_deciding_does_not_end_the_timer_either(monkeypatch, caplog):
    """Whatever breaks within a look, its record ends as `error` (TICK-7)."""
    async with lively() as stage:
        monkeypatch.setattr("llm_bot.replies.ticker.decide_tick", lambda *_, **__: 1 / 0)
        record = await stage.tick()

    assert (record.outcome, record.detail) == (Outcome.ERROR, "ZeroDivisionError")


async def test_cancelled_while_the_model_thinks():
    """`shutdown`: nothing said, no permit held, the cancellation goes on (TICK-7)."""
    async with lively() as stage:
        task = await asking(stage)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert [tick.outcome for tick in stage.ticks] == [Outcome.SHUTDOWN]
    assert stage.held == len(stage.room.public_lane) == 0


async def test_the_timer_ends_with_its_trigger():
    """A reload that takes the trigger away ends the timer at its next look."""
    async with lively() as stage:
        task = asyncio.create_task(stage.service.ticker.run())
        await sleeping(stage)
        stage.room.adopt(builders.room(triggers=[{"type": "mention"}]))
        stage.clock.advance(200)
        await asyncio.wait_for(task, 5)

    assert stage.ticks == []
