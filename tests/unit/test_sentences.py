"""Each outcome has a sentence that says what happened and what would change it."""

from __future__ import annotations

import pytest

from llm_bot.decisions import DecisionRecord, Gate, Outcome, ReplyRecord
from llm_bot.observability.sentences import (
    MAX_DETAIL_CHARACTERS,
    SENTENCES,
    sentence,
)

LINE = "Reel, what about that xyzzy?"


def record(
    outcome, *, trigger="mention", user="Bob", event="chat", gates=(), detail="", reply=None
):
    return DecisionRecord(
        "c1",
        "FilmNight",
        user,
        1000.0,
        event,
        outcome,
        trigger=trigger,
        gates=tuple(gates),
        detail=detail,
        text=LINE,
        reply=reply,
    )


def refused(name, *, value=1.0, threshold=1.0, window=None, frees=None, trigger=""):
    return Gate(name, False, value, threshold, window, frees, trigger)


COOLDOWN = refused("cooldown_seconds", window=10, frees=6.94, trigger="mention")
ROOM_MINUTE = refused("max_per_channel_per_minute", value=5, threshold=5, window=60, frees=11.2)
USER_MINUTE = refused("max_per_user_per_minute", value=3, threshold=3, window=60, frees=38)
TRIGGER_HOUR = refused(
    "max_per_hour", value=20, threshold=20, window=3600, frees=1000, trigger="keyword"
)

EXAMPLES = [
    (record(None), "Bob named the bot; a reply is under way."),
    (
        record(None, trigger="keyword", detail="movie"),
        "Bob used the keyword 'movie'; a reply is under way.",
    ),
    (record(Outcome.REPLIED), "Bob named the bot and got an answer."),
    (
        record(Outcome.REPLIED, trigger="pm", event="pm", reply=ReplyRecord(attempts=2)),
        "Bob wrote to the bot privately and got an answer at the second attempt.",
    ),
    (
        record(Outcome.REPLIED, reply=ReplyRecord(attempts=1, filters=("markdown", "guard:start"))),
        "Bob named the bot and got an answer (changed on the way: markdown, guard:start).",
    ),
    (
        record(Outcome.REPLIED, reply=ReplyRecord(delivery="unconfirmed")),
        "Bob named the bot and got an answer, but the room hasn't shown the line"
        " (replies.confirm_seconds).",
    ),
    (
        record(Outcome.REPLIED, reply=ReplyRecord(delivery="unknown"), detail="no answer"),
        "Bob named the bot and got an answer, but the connector didn't say in time whether it took"
        " the line.",
    ),
    (
        record(Outcome.REPLIED, trigger="contextual", event="tick", user=""),
        "The model wanted to join in, and the bot spoke up.",
    ),
    (record(Outcome.NO_MATCH, trigger=""), "It names neither the bot nor a keyword."),
    (
        record(Outcome.NO_MATCH, trigger="", event="pm"),
        "No trigger is set for private messages (triggers, type pm).",
    ),
    (
        record(Outcome.IGNORED_USER, trigger="", event="pm"),
        "Bob is ignored: in bot.ignored_users, or muted in the room.",
    ),
    (
        record(Outcome.IGNORED_USER, trigger="", user="[server]"),
        "A notice of the chat server, which is no person.",
    ),
    (
        record(Outcome.LOOP),
        "Bob answers the bot again and again within seconds, as another bot would; a pause of more"
        " than 3 s ends that (for good: bot.ignored_users).",
    ),
    (
        record(Outcome.LOOP, event="tick", user=""),
        "Nobody has said anything since its own last lines (bot.max_unanswered_own_lines).",
    ),
    (
        record(
            Outcome.MEDIA_COOLDOWN,
            gates=[refused("media_change_cooldown_seconds", window=30, frees=25.4)],
        ),
        "Bob named the bot, but another film has just begun; the bot is quiet for 26 s more"
        " (media_change_cooldown_seconds 30).",
    ),
    (
        record(Outcome.TRIGGER_COOLDOWN, gates=[COOLDOWN]),
        "Bob named the bot, but the trigger mention rests for 7 s more (cooldown_seconds 10).",
    ),
    (
        record(
            Outcome.TRIGGER_COOLDOWN,
            gates=[refused("cooldown_seconds", window=10, trigger="mention")],
        ),
        "Bob named the bot, but the trigger mention rests until the reply under way has ended"
        " (cooldown_seconds 10).",
    ),
    (
        record(
            Outcome.PROBABILITY,
            trigger="keyword",
            detail="movie",
            gates=[refused("fire_probability", value=0.6174, threshold=0.3, trigger="keyword")],
        ),
        "Bob used the keyword 'movie'; fire_probability 0.3 wasn't met (drew 0.617).",
    ),
    (
        record(Outcome.USER_LIMIT, gates=[USER_MINUTE]),
        "Bob has had 3 replies in 60 s (max_per_user_per_minute); it frees up in 38 s.",
    ),
    (
        record(Outcome.CHANNEL_LIMIT, gates=[ROOM_MINUTE]),
        "The room has had 5 lines in 60 s (max_per_channel_per_minute); it frees up in 12 s.",
    ),
    (
        record(Outcome.TRIGGER_LIMIT, trigger="keyword", gates=[TRIGGER_HOUR]),
        "The trigger keyword has fired 20 times in 60 min (max_per_hour); it frees up in 17 min.",
    ),
    (
        record(
            Outcome.TRIGGER_LIMIT,
            gates=[refused("max_per_user_per_minute", threshold=1, window=60, trigger="mention")],
        ),
        "The trigger mention has fired 1 time in 60 s (max_per_user_per_minute) for Bob; it frees"
        " up once a reply under way has ended.",
    ),
    (
        record(
            Outcome.IDLE,
            event="tick",
            user="",
            gates=[refused("min_messages_since_last_bot_message", value=2, threshold=5)],
        ),
        "The timer found nothing to join in on: lines of others since the bot's own last one: 2,"
        " wanted 5 (min_messages_since_last_bot_message).",
    ),
    (
        record(Outcome.IDLE, event="tick", user=""),
        "The timer found nothing to join in on (evaluation_interval_seconds).",
    ),
    (
        record(Outcome.TOO_LATE, detail="the deadline passed while it waited"),
        "Bob named the bot, but a reply would come too late (replies.deadline_seconds):"
        " the deadline passed while it waited.",
    ),
    (
        record(
            Outcome.LLM_FAILED, detail="lmstudio: busy (HTTP 503)", reply=ReplyRecord(attempts=3)
        ),
        "Bob named the bot, but no model answered after 3 attempts (llm_api):"
        " lmstudio: busy (HTTP 503).",
    ),
    (
        record(Outcome.EMPTY_REPLY, detail="empty"),
        "Bob named the bot, but the model's answer was empty once cleaned"
        " (parameters.max_tokens, if it was cut short).",
    ),
    (
        record(Outcome.EMPTY_REPLY, detail="openai: no content"),
        "Bob named the bot, but the model's answer was empty"
        " (parameters.max_tokens, if it was cut short): openai: no content.",
    ),
    (
        record(Outcome.FILTERED, trigger="keyword", detail="too_long"),
        "Bob used a keyword, but the answer has too many words (content_filter.max_word_count),"
        " so nothing is said.",
    ),
    (
        record(Outcome.DELIVERY_FAILED, detail="noflood: you are muted."),
        "Bob named the bot, but the room didn't take the reply: noflood: you are muted.",
    ),
    (
        record(Outcome.ERROR, detail="KeyError"),
        "A fault of this program (KeyError) ended the reply; the log has all of it.",
    ),
]


def test_every_outcome_has_a_sentence():
    """The table is total, with a line for a reply under way."""
    assert set(SENTENCES) == {None, *Outcome}


@pytest.mark.parametrize(("example", "expected"), EXAMPLES)
def test_the_sentence_says_what_happened_and_what_would_change_it(example, expected):
    """Word by word, as an operator reads it."""
    assert sentence(example) == expected


@pytest.mark.parametrize("outcome", [None, *Outcome], ids=str)
@pytest.mark.parametrize("event", ["chat", "pm", "tick"])
def test_a_bare_record_has_a_sentence_too(outcome, event):
    """Without gates, reply or detail there are still words, and one full stop at the end."""
    words = sentence(record(outcome, trigger="", event=event))
    assert words.endswith(".")
    assert not words.endswith("..")
    assert "None" not in words


@pytest.mark.parametrize("outcome", [None, *Outcome], ids=str)
def test_the_line_itself_is_never_told(outcome):
    """Not even where a server that fails quotes what it was asked."""
    detail = f"HTTP 400: can't parse '{LINE}'\nat 1"
    words = sentence(record(outcome, trigger="mention", detail=detail))
    assert "xyzzy" not in words
    assert "\n" not in words


def test_a_long_detail_is_cut():
    """A sentence stays one, however talkative a server is."""
    words = sentence(record(Outcome.LLM_FAILED, detail="x" * 5000))
    assert len(words) < MAX_DETAIL_CHARACTERS + 100


def test_the_first_refusal_counts():
    """What a further trigger was refused by didn't make the outcome."""
    gates = [COOLDOWN, refused("fire_probability", value=0.9, threshold=0.1, trigger="keyword")]
    words = sentence(record(Outcome.TRIGGER_COOLDOWN, gates=gates))
    assert "the trigger mention rests" in words
