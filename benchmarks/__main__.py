"""Measures the daemon, and writes docs/PERFORMANCE.md.

python -m benchmarks                        # everything, and the page
python -m benchmarks --only flood --rooms 1 # one part, without the page
python -m benchmarks --quick --rounds 1     # does it all still work?
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from benchmarks import (
    environment,
    flood,
    memory,
    paced,
    profile_of_line,
    replies,
    scrapes,
    start,
)
from benchmarks.machine import facts
from benchmarks.page import page
from benchmarks.processes import CAN_MEASURE, ROOT, BenchmarkError
from benchmarks.report import Section, targets
from benchmarks.stage import Plan

PAGE = ROOT / "docs" / "PERFORMANCE.md"
ROUNDS = 5
ROOMS = (1, 10, 100)

# In the order of the page.
PARTS: dict[str, Callable[[Plan], Section]] = {
    "flood": flood.measure,
    "profile": profile_of_line.measure,
    "paced": paced.measure,
    "replies": replies.measure,
    "memory": memory.measure,
    "start": start.measure,
    "scrape": scrapes.measure,
}


def say(text: str) -> None:
    print(text, flush=True)


def extras() -> str | None:
    """The interpreter that has what we compare with, None if it can't be had."""
    try:
        return environment.python(say)
    except environment.InstallError as exc:
        say(f"FastStream and uvloop can't be installed, their rows are left out:\n{exc}\n")
        return None


def measured(names: Sequence[str], plan: Plan) -> list[Section]:
    """The sections of these parts, each told as soon as it is there; a part that fails has none."""
    sections = []
    for name in names:
        started = time.monotonic()
        try:
            section = PARTS[name](plan)
        except BenchmarkError as exc:
            say(f"{name} failed: {exc}\n")
            continue
        sections.append(section)
        say("\n".join([*section.lines(), f"({name}: {time.monotonic() - started:.0f} s)", ""]))
    return sections


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measures the daemon.")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=_count, default=ROUNDS, metavar="N")
    parser.add_argument("--rooms", type=_count, nargs="+", default=ROOMS, metavar="N")
    parser.add_argument("--quick", action="store_true", help="far shorter, and no page is written")
    parser.add_argument("--date", type=date.fromisoformat, default=date.today(), metavar="DATE")  # noqa: DTZ011
    parser.add_argument("--page", type=Path, default=PAGE, metavar="PATH", help="where it goes")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of anything")
    return number


def main() -> int:
    chosen = options()
    if not CAN_MEASURE:
        say("CPU time and memory are read from Linux's /proc, with schedstat in it; not here")
        return 2
    other = extras()
    machine = [*facts(other)]
    plan = Plan(chosen.rounds, tuple(chosen.rooms), other, chosen.quick, sys.executable)
    started = time.monotonic()
    names = chosen.only or [*PARTS]
    sections = measured(names, plan)
    say("\n".join(targets(sections)))
    if len(sections) < len(names):
        say("\na part failed, so nothing is written")
        return 1
    if chosen.only or chosen.quick:
        return 0
    text = page(
        sections,
        machine,
        date=chosen.date.isoformat(),
        rounds=chosen.rounds,
        seconds=time.monotonic() - started,
    )
    chosen.page.write_text(text, encoding="utf-8")
    say(f"\nwritten: {chosen.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
