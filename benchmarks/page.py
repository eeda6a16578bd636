"""docs/PERFORMANCE.md, from what was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.report import Section, Table, targets

HEAD = """\
# Performance

Written by `make bench`; what stands here by hand is lost with its next run. Ratios are worth more
than the figures that they are made of: whatever is compared was measured in turn, in the same run,
so that the machine's other work hits all alike. A figure such as `2.10 (2.05-2.31)` is the median
of the rounds, the least and the greatest. Every server is on loopback, on the same cores as what is
measured."""


def page(
    sections: Sequence[Section],
    facts: Iterable[tuple[str, str]],
    *,
    date: str,
    rounds: int,
    seconds: float,
) -> str:
    """The whole page."""
    machine = Table(("", "value"), [*facts])
    parts = [
        HEAD,
        "",
        f"Measured on {date}, {rounds} rounds unless it says otherwise, in {seconds / 60:.0f} min.",
        "",
        "## Targets",
        "",
        "The median decides, unless it says otherwise.",
        "",
        *targets(sections),
        "",
    ]
    for section in sections:
        parts += section.lines()
    parts += ["## Measured on", "", *machine.lines()]
    return "\n".join(parts) + "\n"
