"""What a scrape of /metrics does to whoever talks meanwhile: `benchmarks.scrape` as a section."""

from __future__ import annotations

import asyncio

from benchmarks import scrape
from benchmarks.figures import Spread, percentile
from benchmarks.report import Section, Table, Target
from benchmarks.stage import Plan

SERIES = 1_000
QUICK_SCRAPES = 3
MOST_MS = 10.0
OWN = "/metrics"

TEXT = f"""\
The daemon's own HTTP server with the metrics of as many busy rooms as make {SERIES:,} series,
scraped by another process; the daemon's way of encoding them beside doing it in the loop or in a
thread. Held up: how late a task of the same loop goes on that wants to sleep for a millisecond, as
far as this process used the CPU meanwhile; the worst of each round."""


def measure(plan: Plan) -> Section:
    """Each way in turn."""
    scrapes = plan.some(scrape.SCRAPES, QUICK_SCRAPES)
    measured = asyncio.run(scrape.measure(SERIES, rounds=plan.rounds, scrapes=scrapes))
    rows = []
    found = []
    for way, one in measured.items():
        worst = Spread.of(one.worst)
        rows.append(
            (
                way,
                *(
                    f"{percentile(one.scrapes, part) * 1000:.1f}" if one.scrapes else "-"
                    for part in (0.5, 0.99)
                ),
                f"{percentile(one.lags, 0.99) * 1000:.2f}",
                worst.shown(1, 1000),
            )
        )
        if scrape.WAYS[way] == OWN:
            most = worst.high * 1000
            what = f"longest that a scrape holds the loop up, {SERIES:,} series"
            shown = worst.shown(1, 1000)
            found.append(Target(what, f"<= {MOST_MS:g} ms at worst", shown, most <= MOST_MS))
    head = ("way", "scrape p50 ms", "scrape p99 ms", "held up p99 ms", "held up at worst, ms")
    return Section("A scrape", TEXT, [Table(head, rows)], targets=found)
