"""The parts of docs/API.md about the log and the metrics.

Names, types and helps of metrics come from the registry of a running bot. Labels, and what there
is to say of log events, stand in spec/spec-observability.md, which tests hold to the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from docs.generate.evening import Evening
from docs.generate.markdown import json_block, table

SPEC = Path(__file__).parents[2] / "spec" / "spec-observability.md"
_RULE = re.compile(r"\b[A-Z]+-\d+\b")

LOG = """\
## Log

One JSON object a line on standard error; `message` is one of the names below. `correlation_id`
ties together what belongs to one line of chat, on the bus, in the log and in `/decisions`. [The
rules](../spec/spec-observability.md#log); [what to do about
warnings](TROUBLESHOOTING.md#log-events)."""

METRICS = """\
## Metrics

`channel` is a room as configured, `model` the name that was asked for, `provider` as `/health`
names it. [The closed sets](../spec/spec-observability.md#metrics) of the other labels."""


def log_part(evening: Evening) -> Iterator[str]:
    """The paragraphs about the log."""
    yield LOG
    yield json_block(evening.log["reply.sent"])
    rows = ((name, level, what) for name, level, what in _rows("## Log"))
    yield table(("message", "level", "when"), rows)


def metrics_part(evening: Evening) -> Iterator[str]:
    """The paragraphs about the metrics."""
    yield METRICS
    labels = {name.strip("`"): labels for name, _, labels, _ in _rows("## Metrics")}
    rows = []
    for name, (kind, what) in evening.metrics.items():
        if name not in labels:
            raise KeyError(f"{name} isn't in the table of metrics of {SPEC.name}")
        told = ", ".join(f"`{label.strip()}`" for label in labels[name].split(",") if label.strip())
        rows.append((f"`{name}`", kind, told, what))
    yield table(("name", "type", "labels", "help"), sorted(rows))


def _linked(rule: re.Match[str]) -> str:
    """A rule's number, as a link to the page that has it."""
    for page in sorted(SPEC.parent.glob("*.md")):
        if f"**{rule[0]}**" in page.read_text(encoding="utf-8"):
            return f"[{rule[0]}](../spec/{page.name})"
    return rule[0]


def _rows(heading: str) -> Iterator[list[str]]:
    """The rows of the first table below a heading of the spec; links lead there from docs/."""
    text = SPEC.read_text(encoding="utf-8").partition(f"\n{heading}\n")[2]
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("|--"):
            break
    for line in lines:
        if not line.startswith("|"):
            return
        moved = _RULE.sub(_linked, line.replace("](spec-", "](../spec/spec-"))
        yield [cell.strip() for cell in moved.strip("|").split("|")]
