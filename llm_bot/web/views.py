"""What readers of the live page get to see of lines, decisions and rooms. Made when it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_bot.decisions import DecisionRecord, Gate, Outcome, ReplyRecord
from llm_bot.observability.sentences import sentence
from llm_bot.web.feed import EndEntry, Entry, InsightEntry, LineEntry

MAX_TEXT_CHARACTERS = 2000
"""CyTube takes 320; another chat server may take more."""

ANSWERED, WAITING, REFUSED, FAILED, QUIET = "answered", "waiting", "refused", "failed", "quiet"

TONES: Mapping[Outcome | None, str] = {
    None: WAITING,
    Outcome.REPLIED: ANSWERED,
    Outcome.NO_MATCH: QUIET,
    Outcome.OWN_LINE: QUIET,
    Outcome.IGNORED_USER: QUIET,
    Outcome.IGNORED_PREFIX: QUIET,
    Outcome.REPLAYED: QUIET,
    Outcome.STALE: QUIET,
    Outcome.LOOP: REFUSED,
    Outcome.SILENCED: REFUSED,
    Outcome.MEDIA_COOLDOWN: REFUSED,
    Outcome.TRIGGER_COOLDOWN: REFUSED,
    Outcome.CHANNEL_COOLDOWN: REFUSED,
    Outcome.PROBABILITY: REFUSED,
    Outcome.USER_LIMIT: REFUSED,
    Outcome.CHANNEL_LIMIT: REFUSED,
    Outcome.TRIGGER_LIMIT: REFUSED,
    Outcome.DECLINED: QUIET,
    Outcome.IDLE: QUIET,
    Outcome.QUEUE_FULL: REFUSED,
    Outcome.SUPERSEDED: REFUSED,
    Outcome.TOO_LATE: FAILED,
    Outcome.LLM_FAILED: FAILED,
    Outcome.EMPTY_REPLY: FAILED,
    Outcome.FILTERED: FAILED,
    Outcome.DELIVERY_FAILED: FAILED,
    Outcome.SHUTDOWN: FAILED,
    Outcome.DRY_RUN: ANSWERED,
    Outcome.ERROR: FAILED,
}
"""How an outcome looks. Complete, which a test sees to."""


def entry_view(number: int, entry: Entry, *, shows_text: bool) -> tuple[str, dict[str, Any]]:
    """The name of the event that tells of `entry`, and its data."""
    match entry:
        case LineEntry():
            return "line", _line(number, entry, shows_text=shows_text)
        case EndEntry(record, line):
            return "decision", {"id": line, "channel": record.channel, **_decision(record)}
        case InsightEntry(channel, insight):
            return "insight", _insight(channel, insight, shows_text=shows_text)


def _line(number: int, entry: LineEntry, *, shows_text: bool) -> dict[str, Any]:
    record = entry.record
    text = record.text
    view: dict[str, Any] = {
        "id": number,
        "channel": record.channel,
        "user": record.user,
        "kind": str(record.event),
        "time": record.time,
        "text": text[:MAX_TEXT_CHARACTERS] if shows_text else None,
        "length": len(text),
        "is_own": record.outcome is Outcome.OWN_LINE,
    }
    if entry.to:
        view["to"] = entry.to
    if entry.answers:
        view["answers"] = entry.answers
    return {**view, **_decision(record)}


def _decision(record: DecisionRecord) -> dict[str, Any]:
    view: dict[str, Any] = {
        "correlation_id": record.correlation_id,
        "outcome": record.outcome,
        "tone": TONES[record.outcome],
        "trigger": record.trigger,
        "sentence": sentence(record),
        "gates": [_gate(gate) for gate in record.gates],
    }
    if record.reply is not None:
        view["reply"] = _reply(record.reply)
    return view


def _gate(gate: Gate) -> dict[str, Any]:
    fields = {
        "value": gate.value,
        "threshold": gate.threshold,
        "window_seconds": gate.window_seconds,
        "frees_in_seconds": gate.frees_in_seconds,
        "trigger": gate.trigger or None,
    }
    known = {name: value for name, value in fields.items() if value is not None}
    return {"name": gate.name, "passed": gate.passed, **known}


def _reply(reply: ReplyRecord) -> dict[str, Any]:
    fields = {
        "provider": reply.provider,
        "model": reply.model,
        "attempts": reply.attempts,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "queued_seconds": reply.queued_seconds,
        "model_seconds": reply.model_seconds,
        "total_seconds": reply.total_seconds,
        "filters": list(reply.filters),
        "relevance": reply.relevance,
        "delivery": reply.delivery,
    }
    return {name: value for name, value in fields.items() if value not in (None, "", [])}


def _insight(channel: str, insight: Mapping[str, Any], *, shows_text: bool) -> dict[str, Any]:
    """What an insight says in words may quote the chat; what it is about and numbers don't."""
    shown = {
        name: value
        for name, value in insight.items()
        if shows_text or name in ("kind", "time", "about") or isinstance(value, bool | int | float)
    }
    return {**shown, "channel": channel}
