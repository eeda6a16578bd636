"""`llm-bot why`: why did the running bot answer that, and why did it stay silent?"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from llm_bot.cli.running import Address, NoAnswerError
from llm_bot.config.loader import ConfigFileError, load_config

Record = Mapping[str, Any]
"""A decision record as /decisions tells it."""

DELIVERIES: Mapping[str, str] = {
    "echoed": "the room has shown it",
    "unconfirmed": "the room hasn't shown it",
    "refused": "it was refused",
    "unknown": "nobody said whether it arrived",
    "not_sent": "it wasn't sent",
}
_MAX_NAME = 20
_NARROWEST = 60


def run(
    config_path: Path,
    *,
    channel: str | None,
    last: int,
    correlation_id: str | None,
    url: str | None,
    as_json: bool,
) -> int:
    """Print what was decided, oldest first, as one reads a chat. 0, or 1 and a line why not.

    `url` is asked instead of the address in the configuration, which then needn't be there; its
    token is sent along all the same if it is.
    """
    try:
        answer = _asked(_address(config_path, url), channel, last, correlation_id)
    except NoAnswerError as exc:
        print(_printable(str(exc)), file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
        return 0
    records = list(reversed(answer["decisions"]))
    width = max(_NARROWEST, shutil.get_terminal_size((100, 24)).columns)
    if not records:
        print("nothing was decided yet" if correlation_id is None else "no such decision is known")
        return 0 if correlation_id is None else 1
    try:
        if correlation_id is None:
            text = "\n".join(table(records, width))
        else:
            text = "\n\n".join("\n".join(paragraph(record, width)) for record in records)
    except (KeyError, TypeError, ValueError, AttributeError):
        print("what came back are no decisions of this version of llm-bot", file=sys.stderr)
        return 1
    print(text)
    return 0


def _address(config_path: Path, url: str | None) -> Address:
    try:
        health = load_config(config_path, os.environ).config.health
    except ConfigFileError as exc:
        if url is not None:
            return Address(url)
        raise NoAnswerError(
            f"{exc.source}: not usable, see llm-bot check --config {exc.source};"
            " or name the bot with --url"
        ) from exc
    if url is None:
        return Address.of(health)
    return Address(url, health.token.get_secret_value() if health.token else None)


def _asked(
    address: Address, channel: str | None, last: int, correlation_id: str | None
) -> dict[str, Any]:
    wanted = {"channel": channel, "limit": last, "id": correlation_id}
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    status, body = address.get(f"/decisions?{query}")
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        raise NoAnswerError(f"{address.url}: wants the token that is health.token there")
    if status == http.client.TOO_MANY_REQUESTS:
        raise NoAnswerError(f"{address.url}: too many wrong tokens; it looks at none for a minute")
    if status == http.client.OK and isinstance(answer, dict):
        decisions = answer.get("decisions")
        if isinstance(decisions, list) and all(isinstance(one, dict) for one in decisions):
            return answer
    told = answer.get("error") if isinstance(answer, dict) else None
    raise NoAnswerError(
        f"{address.url}/decisions: {told or f'answered {status}, and no decisions'}"
    )


def table(records: Sequence[Record], width: int) -> Iterator[str]:
    """A line or more for each record: when, where, who, what came of it, and why."""
    rooms = {record["channel"] for record in records}
    columns = [
        [_clock(record["time"]) for record in records],
        [_fit(record["channel"]) for record in records] if len(rooms) > 1 else [],
        [_fit(_who(record)) for record in records],
        [str(record["outcome"] or "under way") for record in records],
    ]
    widths = [max(map(len, column)) for column in columns if column]
    indent = sum(widths) + 2 * len(widths)
    for number, record in enumerate(records):
        cells = [column[number] for column in columns if column]
        start = "  ".join(cell.ljust(size) for cell, size in zip(cells, widths, strict=True))
        sentence = textwrap.wrap(_printable(record["sentence"]), max(width - indent, 30))
        yield f"{start}  {sentence[0] if sentence else ''}".rstrip()
        yield from (" " * indent + line for line in sentence[1:])


def paragraph(record: Record, width: int) -> Iterator[str]:
    """All that is known of one record."""
    moment = datetime.fromisoformat(record["time"]).astimezone()
    yield _printable(
        f"{_who(record)} in {record['channel']}, {moment:%Y-%m-%d %H:%M:%S},"
        f" id {record['correlation_id']}"
    )
    if record.get("text"):
        yield from textwrap.wrap(f"said: {_printable(record['text'])}", width)
    yield from textwrap.wrap(
        f"{record['outcome'] or 'under way'}: {_printable(record['sentence'])}", width
    )
    if record["gates"]:
        names = max(len(gate["name"]) for gate in record["gates"])
        yield "asked, in this order:"
        for gate in record["gates"]:
            verdict = "passed " if gate["passed"] else "refused"
            yield f"  {verdict}  {gate['name'].ljust(names)}  {_measured(gate)}".rstrip()
    if record.get("reply"):
        yield from textwrap.wrap(f"the reply: {_printable(_effort(record['reply']))}", width)


def _measured(gate: Mapping[str, Any]) -> str:
    """`2 of 3 in 60 s, frees in 12 s`."""
    parts = []
    if gate["value"] is not None:
        of = "" if gate["threshold"] is None else f" of {_number(gate['threshold'])}"
        window = f" in {_number(gate['window_seconds'])} s" if gate["window_seconds"] else ""
        parts.append(f"{_number(gate['value'])}{of}{window}")
    if gate["frees_in_seconds"]:
        parts.append(f"frees in {_number(gate['frees_in_seconds'])} s")
    if gate["trigger"]:
        parts.append(f"of the trigger {gate['trigger']}")
    return _printable(", ".join(parts))


def _effort(reply: Mapping[str, Any]) -> str:
    """What it took, as far as it is known."""
    parts = []
    if reply["provider"]:
        attempts = reply["attempts"]
        tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        parts.append(f"{reply['provider']}, {reply['model']}, {tries}")
    for name, words in (
        ("queued_seconds", "waited {} s"),
        ("model_seconds", "the model took {} s"),
        ("total_seconds", "{} s in all"),
    ):
        if reply[name] is not None:
            parts.append(words.format(_number(reply[name])))
    if reply["prompt_tokens"] is not None or reply["completion_tokens"] is not None:
        parts.append(f"{reply['prompt_tokens']} + {reply['completion_tokens']} tokens")
    if reply["filters"]:
        parts.append(f"changed or refused by {', '.join(reply['filters'])}")
    if reply["relevance"] is not None:
        parts.append(f"relevance {_number(reply['relevance'])}")
    if reply["delivery"]:
        parts.append(DELIVERIES.get(reply["delivery"], reply["delivery"]))
    return "; ".join(parts) or "nothing is known yet"


def _who(record: Record) -> str:
    match record["event"]:
        case "tick":
            return "(timer)"
        case "pm":
            return f"{record['user']} (pm)"
        case _:
            return str(record["user"])


def _clock(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%H:%M:%S}"


def _number(value: object) -> str:
    return f"{round(value, 3):g}" if isinstance(value, int | float) else str(value)


def _fit(text: str) -> str:
    printable = _printable(text)
    return printable if len(printable) <= _MAX_NAME else f"{printable[: _MAX_NAME - 1]}…"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
