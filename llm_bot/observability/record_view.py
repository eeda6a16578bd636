"""A decision record as JSON has it: /decisions, the bus, the page. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from llm_bot.decisions import DecisionRecord, Gate, ReplyRecord
from llm_bot.observability.sentences import sentence
from llm_bot.wire.commands import iso_time


def record_view(record: DecisionRecord, *, shows_text: bool) -> dict[str, Any]:
    """`record` with its sentence; `outcome` is None while a reply is under way.

    What was said is there only if `shows_text`; its length always is.
    """
    view: dict[str, Any] = {
        "correlation_id": record.correlation_id,
        "channel": record.channel,
        "user": record.user,
        "time": iso_time(record.time),
        "event": str(record.event),
        "outcome": None if record.outcome is None else record.outcome.value,
        "trigger": record.trigger or None,
        "sentence": sentence(record),
        "gates": [_gate(gate) for gate in record.gates],
        "length": len(record.text),
    }
    if record.reply is not None:
        view["reply"] = _reply(record.reply)
    if shows_text:
        view["text"] = record.text
    return view


def _gate(gate: Gate) -> dict[str, Any]:
    """A gate; what isn't known of it is None."""
    view = msgspec.structs.asdict(gate)
    view["trigger"] = gate.trigger or None
    view["frees_in_seconds"] = _rounded(gate.frees_in_seconds)
    return view


def _reply(reply: ReplyRecord) -> dict[str, Any]:
    """What it took to answer; seconds to the millisecond."""
    view = msgspec.structs.asdict(reply)
    view["filters"] = list(reply.filters)
    for name in ("queued_seconds", "model_seconds", "total_seconds", "relevance"):
        view[name] = _rounded(view[name])
    return view


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
