"""Why a line was answered or wasn't: one sentence for each record, made when somebody reads. Pure.

A sentence says what happened and names the setting that an operator could change. It holds names of
users, keywords of the configuration and what a server said when it failed, never the line itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil

from llm_bot.decisions import DecisionRecord, Delivery, Gate, IgnoredBecause, Outcome
from llm_bot.response_processor import FilterReason

MAX_DETAIL_CHARACTERS = 200
"""Servers that fail can be talkative; the record has the rest."""

# Where `detail` tells of the end of the record; elsewhere it is what the trigger matched.
_DETAIL_IS_THE_END = frozenset(
    {
        Outcome.TOO_LATE,
        Outcome.LLM_FAILED,
        Outcome.EMPTY_REPLY,
        Outcome.FILTERED,
        Outcome.DELIVERY_FAILED,
        Outcome.ERROR,
    }
)


def sentence(record: DecisionRecord) -> str:
    """What became of a line, private message or tick, and what would change that."""
    rule = SENTENCES[record.outcome]
    if callable(rule):
        return rule(record)
    gate = _refusing(record)
    return rule.format(
        cause=_cause(record),
        user=record.user,
        trigger=gate.trigger or record.trigger,
        rest=_for(gate),
        end=_end(record),
    )


def _under_way(record: DecisionRecord) -> str:
    if record.event == "tick":
        return "The bot is about to join in, if the model wants to."
    return f"{_cause(record)}; a reply is under way."


def _replied(record: DecisionRecord) -> str:
    if record.event == "tick":
        said = "The model wanted to join in, and the bot spoke up"
    else:
        said = f"{_cause(record)} and got an answer"
    reply = record.reply
    if reply is None:
        return f"{said}."
    if reply.attempts > 1:
        said += f" at the {_ordinal(reply.attempts)} attempt"
    if reply.filters:
        said += f" (changed on the way: {', '.join(dict.fromkeys(reply.filters))})"
    if reply.delivery == Delivery.UNCONFIRMED:
        return f"{said}, but the room hasn't shown the line (replies.confirm_seconds)."
    if reply.delivery == Delivery.UNKNOWN:
        return f"{said}, but the connector didn't say in time whether it took the line."
    return f"{said}."


def _no_match(record: DecisionRecord) -> str:
    if record.event == "pm":
        return "No trigger is set for private messages (triggers, type pm)."
    return "It names neither the bot nor a keyword."


def _ignored_user(record: DecisionRecord) -> str:
    if record.user == "[server]":
        return "A notice of the chat server, which is no person."
    known = record.detail in {each.value for each in IgnoredBecause}
    why = record.detail if known else "in bot.ignored_users, or muted in the room"
    return f"{record.user} is ignored: {why}."


def _loop(record: DecisionRecord) -> str:
    if record.event == "tick":
        return "Nobody has said anything since its own last lines (bot.max_unanswered_own_lines)."
    return (
        f"{record.user} answers the bot again and again within seconds, as another bot would;"
        " a pause of more than 3 s ends that (for good: bot.ignored_users)."
    )


def _probability(record: DecisionRecord) -> str:
    gate = _refusing(record)
    if gate.threshold is None:
        return f"{_cause(record)}, but chance was against it (fire_probability)."
    met = f"fire_probability {_value(gate.threshold)} wasn't met (drew {_value(gate.value)})"
    return f"{_cause(record)}; {met}."


def _user_limit(record: DecisionRecord) -> str:
    gate = _refusing(record)
    return f"{record.user} has had {_count(gate, 'reply', 'replies')}; {_frees(gate)}."


def _channel_limit(record: DecisionRecord) -> str:
    gate = _refusing(record)
    return f"The room has had {_count(gate, 'line', 'lines')}; {_frees(gate)}."


def _trigger_limit(record: DecisionRecord) -> str:
    gate = _refusing(record)
    of_user = f" for {record.user}" if "_user_" in gate.name else ""
    fired = (
        f"The trigger {gate.trigger or record.trigger} has fired {_count(gate, 'time', 'times')}"
    )
    return f"{fired}{of_user}; {_frees(gate)}."


def _idle(record: DecisionRecord) -> str:
    gate = next((gate for gate in record.gates if not gate.passed), None)
    if gate is None:
        return "The timer found nothing to join in on (evaluation_interval_seconds)."
    why = IDLE_REASONS[gate.name].format(_value(gate.value), _value(gate.threshold))
    return f"The timer found nothing to join in on: {why}."


IDLE_REASONS: Mapping[str, str] = {
    "new_line": "nobody has said anything since its last look (evaluation_interval_seconds)",
    "somebody_present": "nobody else is here",
    "min_messages_since_last_bot_message": (
        "lines of others since the bot's own last one: {}, wanted {}"
        " (min_messages_since_last_bot_message)"
    ),
    "nothing_waiting": "replies that wait to be said first: {}",
}
"""Which gate of a tick didn't pass; the values are what was found and what was wanted."""


def _llm_failed(record: DecisionRecord) -> str:
    attempts = record.reply.attempts if record.reply is not None else 0
    tries = f" after {attempts} attempts" if attempts > 1 else ""
    return f"{_cause(record)}, but no model answered{tries} (llm_api){_end(record)}"


def _empty_reply(record: DecisionRecord) -> str:
    said = f"{_cause(record)}, but the model's answer was empty"
    if record.detail == FilterReason.EMPTY:
        return f"{said} once cleaned (parameters.max_tokens, if it was cut short)."
    return f"{said} (parameters.max_tokens, if it was cut short){_end(record)}"


_FILTER_WORDS = {reason.value: reason.words for reason in FilterReason}


def _filtered(record: DecisionRecord) -> str:
    why = _FILTER_WORDS.get(record.detail, "was refused by a filter (response_processing)")
    return f"{_cause(record)}, but the answer {why}, so nothing is said."


def _error(record: DecisionRecord) -> str:
    kind = f" ({_detail(record)})" if record.detail else ""
    return f"A fault of this program{kind} ended the reply; the log has all of it."


SENTENCES: Mapping[Outcome | None, str | Callable[[DecisionRecord], str]] = {
    None: _under_way,
    Outcome.REPLIED: _replied,
    Outcome.NO_MATCH: _no_match,
    Outcome.OWN_LINE: "The bot's own line, which never triggers it.",
    Outcome.IGNORED_USER: _ignored_user,
    Outcome.IGNORED_PREFIX: "It begins like a command for another bot (bot.ignored_prefixes).",
    Outcome.REPLAYED: "Said earlier and shown again by the chat server: context, never answered.",
    Outcome.STALE: (
        "It was old when it arrived (bot.max_event_age_seconds), so the moment has passed;"
        " if it was said just then, a clock is wrong."
    ),
    Outcome.LOOP: _loop,
    Outcome.SILENCED: "{cause}, but the bot is silenced in this room (channels, silenced).",
    Outcome.MEDIA_COOLDOWN: "{cause}, but another film has just begun; the bot is quiet {rest}.",
    Outcome.TRIGGER_COOLDOWN: "{cause}, but the trigger {trigger} rests {rest}.",
    Outcome.CHANNEL_COOLDOWN: "{cause}, but the bot has just spoken; the room rests {rest}.",
    Outcome.PROBABILITY: _probability,
    Outcome.USER_LIMIT: _user_limit,
    Outcome.CHANNEL_LIMIT: _channel_limit,
    Outcome.TRIGGER_LIMIT: _trigger_limit,
    Outcome.DECLINED: "Asked whether to join in, the model said no (participation_prompt).",
    Outcome.IDLE: _idle,
    Outcome.QUEUE_FULL: "{cause}, but too many replies wait already (replies.queue_size).",
    Outcome.SUPERSEDED: (
        "{user} said something newer while this waited for its turn, which is answered in its"
        " place."
    ),
    Outcome.TOO_LATE: "{cause}, but a reply would come too late (replies.deadline_seconds){end}",
    Outcome.LLM_FAILED: _llm_failed,
    Outcome.EMPTY_REPLY: _empty_reply,
    Outcome.FILTERED: _filtered,
    Outcome.DELIVERY_FAILED: "{cause}, but the room didn't take the reply{end}",
    Outcome.SHUTDOWN: "{cause}, but the bot was stopped first (shutdown_grace_seconds).",
    Outcome.DRY_RUN: "{cause}; a reply was made and not said (dry_run).",
    Outcome.ERROR: _error,
}
"""Templates, and functions where a template isn't enough. Complete, which a test sees to. None is a
reply under way."""


def _cause(record: DecisionRecord) -> str:
    """What the trigger saw, as the beginning of a sentence."""
    match record.trigger:
        case "mention":
            return f"{record.user} named the bot"
        case "pm":
            return f"{record.user} wrote to the bot privately"
        case "keyword":
            return f"{record.user} used {_keyword(record)}"
        case "contextual":
            return "The bot looked whether to join in"
        case _:
            return "It was to be answered"


def _keyword(record: DecisionRecord) -> str:
    if record.outcome in _DETAIL_IS_THE_END or not record.detail:
        return "a keyword"
    if record.reply is not None and record.reply.delivery == Delivery.UNKNOWN:
        return "a keyword"  # `detail` tells of the delivery
    return f"the keyword '{record.detail}'"


_NO_GATE = Gate("a limit", passed=False)


def _refusing(record: DecisionRecord) -> Gate:
    """The gate that made the outcome: the first that refused, whatever was tried after it."""
    return next((gate for gate in record.gates if not gate.passed), _NO_GATE)


def _for(gate: Gate) -> str:
    """`for 7 s more (cooldown_seconds 10)`; where a reply is under way, nobody knows how long."""
    setting = f"({gate.name} {_value(gate.window_seconds)})" if gate.window_seconds else ""
    if gate.frees_in_seconds is None:
        return f"until the reply under way has ended {setting}".rstrip()
    return f"for {_duration(gate.frees_in_seconds)} more {setting}".rstrip()


def _count(gate: Gate, one: str, many: str) -> str:
    """`5 lines in 60 s (max_per_channel_per_minute)`."""
    if gate.threshold is None or gate.window_seconds is None:
        return f"all the {many} that it may ({gate.name})"
    noun = one if gate.threshold == 1 else many
    span = _duration(gate.window_seconds)
    return f"{_value(gate.threshold)} {noun} in {span} ({gate.name})"


def _frees(gate: Gate) -> str:
    if gate.frees_in_seconds is None:
        return "it frees up once a reply under way has ended"
    return f"it frees up in {_duration(gate.frees_in_seconds)}"


def _duration(seconds: float) -> str:
    """Rounded up, so that whoever waits so long has waited long enough."""
    if seconds <= 10:
        return f"{max(0.1, ceil(seconds * 10) / 10):g} s"
    if seconds <= 120:
        return f"{ceil(seconds)} s"
    return f"{ceil(seconds / 60)} min"


def _value(value: float | str | None) -> str:
    return f"{round(value, 3):g}" if isinstance(value, int | float) else str(value)


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


def _end(record: DecisionRecord) -> str:
    """The end of a sentence: what `detail` tells, if anything."""
    detail = _detail(record)
    return f": {detail.rstrip('.')}." if detail else "."


def _detail(record: DecisionRecord) -> str:
    """`detail` on one line; a server's complaint may quote what it was asked."""
    detail = " ".join(record.detail.split())
    if record.text and record.text in detail:
        detail = detail.replace(record.text, "[the line]")
    if len(detail) > MAX_DETAIL_CHARACTERS:
        return f"{detail[:MAX_DETAIL_CHARACTERS]}..."
    return detail
