"""`llm-bot why`: why did the running bot answer that, and why did it stay silent?"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from llm_bot.cli.arguments import DEFAULT_CONFIG
from llm_bot.cli.output import ExitCode, fail, printable
from llm_bot.cli.running import Address, NoAnswerError
from llm_bot.config import ConfigFileError, load_config

Record = Mapping[str, Any]
"""A decision record as /decisions tells it."""

_DELIVERIES: Mapping[str, str] = {
    "echoed": "the room has shown it",
    "unconfirmed": "the room hasn't shown it",
    "refused": "it was refused",
    "unknown": "nobody said whether it arrived",
    "not_sent": "it wasn't sent",
}
_REFUSALS: Mapping[int, str] = {
    http.client.UNAUTHORIZED: "wants the token that is health.token there",
    http.client.FORBIDDEN: "wants the token that is health.token there",
    http.client.TOO_MANY_REQUESTS: "too many wrong tokens; it looks at none for a minute",
}
_MAX_NAME = 20
_NARROWEST = 60


def run(
    config_path: Path = DEFAULT_CONFIG,
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
        return fail(exc)
    if as_json:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
        return ExitCode.OK
    records = answer["decisions"][::-1]
    if not records:
        print("nothing was decided yet" if correlation_id is None else "no such decision is known")
        return ExitCode.OK if correlation_id is None else ExitCode.CONFIG
    width = max(_NARROWEST, shutil.get_terminal_size((100, 24)).columns)
    try:
        if correlation_id is None:
            text = "\n".join(_table(records, width))
        else:
            text = "\n\n".join("\n".join(_paragraph(record, width)) for record in records)
    except (KeyError, TypeError, ValueError, AttributeError):
        return fail("what came back are no decisions of this version of llm-bot")
    print(text)
    return ExitCode.OK


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
    if status in _REFUSALS:
        raise NoAnswerError(f"{address.url}: {_REFUSALS[status]}")
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    match answer:
        case {"decisions": list(decisions)} if status == http.client.OK:
            if all(isinstance(one, dict) for one in decisions):
                return dict(answer)
        case {"error": error}:
            raise NoAnswerError(f"{address.url}/decisions: {error}")
    raise NoAnswerError(f"{address.url}/decisions: answered {status}, and no decisions")


def _table(records: Sequence[Record], width: int) -> Iterator[str]:
    """A line or more for each record: when, where, who, what came of it, and why."""
    is_one_room = len({record["channel"] for record in records}) == 1
    rows = [
        (
            f"{_moment(record):%H:%M:%S}",
            *(() if is_one_room else (_fit(record["channel"]),)),
            _fit(_who(record)),
            str(record["outcome"] or "under way"),
        )
        for record in records
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    indent = sum(widths) + 2 * len(widths)
    for row, record in zip(rows, records, strict=True):
        start = "  ".join(map(str.ljust, row, widths))
        told = textwrap.wrap(printable(record["sentence"]), max(width - indent, 30)) or [""]
        yield f"{start}  {told[0]}".rstrip()
        yield from (" " * indent + line for line in told[1:])


def _paragraph(record: Record, width: int) -> Iterator[str]:
    """All that is known of one record."""
    yield printable(
        f"{_who(record)} in {record['channel']}, {_moment(record):%Y-%m-%d %H:%M:%S},"
        f" id {record['correlation_id']}"
    )
    if record.get("text"):
        yield from _wrapped(f"said: {record['text']}", width)
    yield from _wrapped(f"{record['outcome'] or 'under way'}: {record['sentence']}", width)
    if record["gates"]:
        names = max(len(gate["name"]) for gate in record["gates"])
        yield "asked, in this order:"
        for gate in record["gates"]:
            verdict = "passed " if gate["passed"] else "refused"
            yield f"  {verdict}  {gate['name'].ljust(names)}  {_measured(gate)}".rstrip()
    if record.get("reply"):
        effort = "; ".join(_effort(record["reply"])) or "nothing is known yet"
        yield from _wrapped(f"the reply: {effort}", width)


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
    return printable(", ".join(parts))


def _effort(reply: Mapping[str, Any]) -> Iterator[str]:
    """What it took, as far as it is known."""
    if reply["provider"]:
        attempts = f"{reply['attempts']} attempt{'' if reply['attempts'] == 1 else 's'}"
        yield f"{reply['provider']}, {reply['model']}, {attempts}"
    tokens = (reply["prompt_tokens"], reply["completion_tokens"])
    for value, words in (
        (reply["queued_seconds"], "waited {} s"),
        (reply["model_seconds"], "the model took {} s"),
        (reply["total_seconds"], "{} s in all"),
        (None if tokens == (None, None) else f"{tokens[0]} + {tokens[1]}", "{} tokens"),
        (", ".join(reply["filters"]) or None, "changed or refused by {}"),
        (reply["relevance"], "relevance {}"),
    ):
        if value is not None:
            yield words.format(_number(value))
    if reply["delivery"]:
        yield _DELIVERIES.get(reply["delivery"], reply["delivery"])


def _who(record: Record) -> str:
    match record["event"]:
        case "tick":
            return "(timer)"
        case "pm":
            return f"{record['user']} (pm)"
        case _:
            return str(record["user"])


def _moment(record: Record) -> datetime:
    return datetime.fromisoformat(record["time"]).astimezone()


def _number(value: object) -> str:
    return f"{round(value, 3):g}" if isinstance(value, int | float) else str(value)


def _fit(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _MAX_NAME else f"{shown[: _MAX_NAME - 1]}…"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(printable(text), width)
