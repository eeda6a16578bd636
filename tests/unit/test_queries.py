"""What operators can ask, and how a record is told."""

from __future__ import annotations

import msgspec
import pytest

from llm_bot.decisions import Gate, ReplyRecord
from llm_bot.observability.queries import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    DecisionFilter,
    DecisionQueries,
    QueryError,
)
from llm_bot.observability.record_view import record_view
from tests.unit.stage import Stage


@pytest.fixture
async def stage():
    async with Stage("Good evening.", "Again?") as stage:
        yield stage


def asked(stage: Stage, **wanted: object):
    return DecisionQueries(lambda: [stage.room]).decisions(DecisionFilter.of(wanted))


async def test_the_newest_comes_first(stage):
    """In the order of /decisions, at most as many as wanted."""
    for number in range(5):
        stage.say(f"line {number}", user=f"user{number}")
    assert [each["user"] for each in asked(stage, limit="3")] == ["user4", "user3", "user2"]


async def test_filters_go_together(stage):
    """By user in any case, by outcome, by id; what fits none of them isn't told."""
    stage.say("nothing of interest", user="Bob")
    stage.say("something else", user="carol")
    record = stage.say("hey MyBot", user="bob")
    assert len(asked(stage, user="BOB")) == 2
    assert [each["user"] for each in asked(stage, user="bob", outcome="no_match")] == ["Bob"]
    (found,) = asked(stage, id=record.correlation_id)
    assert (found["outcome"], found["trigger"]) == (None, "mention")
    assert asked(stage, user="bob", outcome="loop") == []


async def test_rooms_are_merged_by_time():
    """Of two rooms the newest of both; a room alone is named without regard to case."""
    async with Stage() as one, Stage() as other:
        other.room.key = "attic"
        one.say("first", user="a")
        other.clock.advance(1)
        other.say("second", user="b")
        one.clock.advance(2)
        one.say("third", user="c")
        both = DecisionQueries(lambda: [one.room, other.room])
        assert [each["user"] for each in both.decisions(DecisionFilter())] == ["c", "b", "a"]
        assert [each["user"] for each in both.decisions(DecisionFilter(channel="ATTIC"))] == ["b"]
        assert [each["user"] for each in both.decisions(DecisionFilter(limit=2))] == ["c", "b"]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"limit": "0"}, "limit must be a whole number from 1 to 1000"),
        ({"limit": 1001}, "limit must be"),
        ({"limit": "many"}, "limit must be"),
        ({"limit": True}, "limit must be"),
        ({"limit": [1]}, "limit must be"),
        ({"limit": 1.5}, "limit must be"),
        ({"channel": 7}, "channel must be a text"),
        ({"outcome": "maybe"}, "no such outcome; there are channel_cooldown"),
        ({"channel": "nowhere"}, "no room 'nowhere' is heard"),
        ({"chanel": "x"}, "'chanel' isn't known; known are channel, id, limit, outcome, user"),
    ],
)
async def test_what_cannot_be_meant_is_told(stage, wanted, why):
    """The text says what is wrong and what would be right (OBS-11)."""
    with pytest.raises(QueryError) as caught:
        asked(stage, **wanted)
    assert why in str(caught.value)


def test_bounds_of_the_number():
    """The default, and a limit that goes by another name."""
    assert DecisionFilter.of({}).limit == DEFAULT_LIMIT
    assert DecisionFilter.of({"last": MAX_LIMIT}, limit="last").limit == MAX_LIMIT


async def test_a_record_in_full(stage):
    """Every field that the design promises, as JSON can carry it; gates as they were asked."""
    record = stage.say("hey MyBot", user="alice")
    await stage.work()
    view = record_view(record, shows_text=True)
    assert msgspec.json.decode(msgspec.json.encode(view)) == view
    assert view["outcome"] == "replied"
    assert view["time"].endswith("Z")
    assert view["sentence"] == "alice named the bot and got an answer."
    assert (view["text"], view["length"]) == ("hey MyBot", 9)
    assert view["reply"].keys() == set(ReplyRecord.__struct_fields__)
    assert view["gates"]
    assert all(gate.keys() == set(Gate.__struct_fields__) for gate in view["gates"])


async def test_what_was_said_is_told_only_where_it_may_be(stage):
    """By default a record has the length of a line and nothing of its words (OBS-12)."""
    stage.say("a secret about marmalade")
    (told,) = asked(stage)
    assert "text" not in told
    assert "marmalade" not in str(told)
    assert told["length"] == len("a secret about marmalade")
    async with Stage(logging={"content": "full"}) as open_stage:
        open_stage.say("a secret about marmalade")
        (told,) = asked(open_stage)
        assert told["text"] == "a secret about marmalade"
