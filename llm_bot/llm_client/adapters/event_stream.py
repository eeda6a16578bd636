"""A whole answer out of server-sent events, for servers that stream although nobody asked."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_LINE_END = re.compile(rb"\r\n|\r|\n")
_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")


def joined_chunks(body: bytes) -> dict[str, Any] | None:
    """The chunks of `body` as one answer; None if it holds none that can be read.

    Comment lines, and lines of other fields than `data`, are passed over; JSON behind them counts
    as well. Deltas of the first choice are joined; what comes last wins for everything else.

    >>> joined_chunks(b'data: {"choices": [{"delta": {"content": "Hi"}}]}\\n\\ndata: [DONE]')
    {'choices': [{'message': {'content': 'Hi'}}]}
    """
    whole: dict[str, Any] = {}
    choice: dict[str, Any] = {}
    texts: dict[str, list[str]] = {}
    for line in _LINE_END.split(body):
        chunk = _chunk(line)
        if chunk is None:
            continue
        choices = chunk.pop("choices", None)
        whole |= {name: value for name, value in chunk.items() if value is not None}
        first = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(first, dict):
            continue
        delta = first.pop("delta", None) or first.pop("message", None)
        choice |= {name: value for name, value in first.items() if value is not None}
        for name in _TEXTS:
            if isinstance(delta, dict) and isinstance(delta.get(name), str):
                texts.setdefault(name, []).append(delta[name])
    if choice or texts:
        message = {name: "".join(pieces) for name, pieces in texts.items()}
        whole["choices"] = [{**choice, "message": message or {"content": None}}]
    return whole or None


def _chunk(line: bytes) -> dict[str, Any] | None:
    data = line.removeprefix(b"data:").strip()
    if not data.startswith(b"{"):
        return None
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
