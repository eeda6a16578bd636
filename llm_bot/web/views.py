"""What readers of the live page get to see of lines, decisions and rooms. Made when it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_bot.decisions import DecisionRecord, Outcome
from llm_bot.observability.record_view import record_view
from llm_bot.web.feed import EndEntry, Entry, InsightEntry, LineEntry

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
        case LineEntry(record, to, answers):
            view = _decision(number, record, shows_text=shows_text)
            is_own = record.outcome is Outcome.OWN_LINE
            return "line", {**view, "is_own": is_own, "to": to, "answers": answers}
        case EndEntry(record, line):
            return "decision", _decision(line, record, shows_text=shows_text)
        case InsightEntry(channel, insight):
            return "insight", _insight(channel, insight, shows_text=shows_text)


def _decision(number: int, record: DecisionRecord, *, shows_text: bool) -> dict[str, Any]:
    view = record_view(record, shows_text=shows_text)
    return {"id": number, "tone": TONES[record.outcome], **view}


def _insight(channel: str, insight: Mapping[str, Any], *, shows_text: bool) -> dict[str, Any]:
    """What an insight says in words may quote the chat; what it is about and numbers don't."""
    shown = {
        name: value
        for name, value in insight.items()
        if shows_text or name in ("kind", "time", "about") or isinstance(value, bool | int | float)
    }
    return {**shown, "channel": channel}
