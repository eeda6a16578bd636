"""What the bot knows of people, and what it tells of them."""

from __future__ import annotations

import logging

import msgspec
import pytest

from llm_bot.decisions import Outcome
from tests.unit.stage import Stage

ADDRESS, ALIAS = "203.0.113.77", "alice_in_disguise"
SEEN_BY_MODERATORS = {
    "name": "alice",
    "rank": 1,
    "profile": {"image": "", "text": ""},
    "meta": {"afk": False, "muted": False, "ip": ADDRESS, "aliases": ["alice", ALIAS]},
}


async def test_addresses_and_aliases_go_nowhere(caplog):
    """Neither stored with the roster nor logged nor prompted (REQ-12, HEAR-13)."""
    caplog.set_level(logging.DEBUG)
    async with Stage("Good evening.") as stage:
        stage.happen("userlist", [SEEN_BY_MODERATORS])
        stage.happen("addUser", SEEN_BY_MODERATORS)
        stage.happen("setUserMeta", {"name": "alice", "meta": SEEN_BY_MODERATORS["meta"]})
        record = stage.say("MyBot, who am I?", meta=SEEN_BY_MODERATORS["meta"])
        await stage.work()

    assert record.outcome is Outcome.REPLIED
    (alice,) = stage.room.roster
    known = [
        str(msgspec.structs.asdict(alice)),
        str(record),
        *(str(vars(one)) for one in caplog.records),
        *(str(message.content) for message in stage.model.requests[0].messages),
        *(str(line) for line in stage.room.window),
    ]
    assert not [text for text in known if ADDRESS in text or ALIAS in text]


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"text": "hello"}, Outcome.NO_MATCH),
        ({"user": "MyBot"}, Outcome.OWN_LINE),
        ({"user": "[server]"}, Outcome.IGNORED_USER),
        ({"text": "!skip MyBot"}, Outcome.IGNORED_PREFIX),
        ({}, Outcome.PROBABILITY),
    ],
)
def test_a_line_that_is_not_admitted_logs_nothing(said, outcome, caplog):
    """Its record and the counters have it (LOG-6)."""
    caplog.set_level(logging.DEBUG, logger="llm_bot")
    trigger = {"type": "mention", "fire_probability": 0.0}
    stage = Stage(triggers=[trigger])
    record = stage.say(**said)

    assert record.outcome == outcome
    assert stage.room.tally.decisions == {outcome.value: 1}
    assert caplog.records == []


@pytest.mark.parametrize("content", ["redacted", "full"])
async def test_chat_text_is_in_the_log_only_if_it_is_wanted(content, caplog):
    """`logging.content: full` adds the line and the reply to what is logged of a reply (LOG-4)."""
    caplog.set_level(logging.DEBUG, logger="llm_bot")
    async with Stage("Good evening.", logging={"content": content}) as stage:
        stage.say("MyBot, who am I?")
        await stage.work()

    logged = " ".join(str(vars(one)) for one in caplog.records)
    assert [one.message for one in caplog.records] == ["reply.sent"]
    assert ("who am I?" in logged, "Good evening." in logged) == (content == "full",) * 2
