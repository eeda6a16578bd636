"""Where the CPU time of a line goes that triggers nothing."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass

from benchmarks.bot import configuration, written
from benchmarks.processes import BenchmarkError, helper
from benchmarks.report import Section, Table
from benchmarks.stage import Plan, stage

LINES = 100_000
QUICK_LINES = 20_000
WARM_UP = 5_000
ROOM = "prof000"
MODULES_SHOWN = 10
FUNCTIONS_SHOWN = 16

TEXT = """\
The daemon under flood in 1 room, asked about every millisecond of CPU time (as far as the kernel's
tick allows) which Python function it is in; what a function written in C takes counts for its
caller. The samples are spread over the CPU time per event of the same run, which the asking makes a
little longer. Where a target above is missed, this is what stands in the way."""


@dataclass(frozen=True, slots=True)
class Found:
    """Samples by module and function, and what an event took."""

    samples: Counter[tuple[str, str]]
    cpu_us: float

    def row(self, name: str, count: int) -> tuple[str, str, str]:
        part = count / self.samples.total()
        return name, f"{100 * part:.0f} %", f"{part * self.cpu_us:.2f}"


def sample(plan: Plan) -> Found:
    """Flood one daemon as often as there are rounds."""
    count = plan.some(LINES, QUICK_LINES)
    samples: Counter[tuple[str, str]] = Counter()
    with stage() as on, tempfile.TemporaryDirectory(prefix="llm-bot-benchmark-") as directory:
        config = written(configuration(on.url, [ROOM], log_level="WARNING"), directory)
        with helper("hooked_bot", "count", str(config), "--profile", python=plan.own) as bot:
            bot.line()
            on.publisher.ask(kind="flood", rooms=[ROOM], count=WARM_UP)
            cpu = bot.settle()[0]
            before = bot.ask()["count"]  # and what was sampled so far is gone
            for _ in range(plan.rounds):
                on.publisher.ask(kind="flood", rooms=[ROOM], count=count)
                spent = bot.settle()[0]
            told = bot.ask()
    lines = plan.rounds * count
    if told["count"] - before != lines:
        raise BenchmarkError(f"{told['count'] - before} of {lines} lines were decided about")
    for module, function, times in told["samples"]:
        samples[module, function] += times
    if not samples:
        raise BenchmarkError("the timer of CPU time never rang")
    return Found(samples, (spent - cpu) / lines * 1e6)


def measure(plan: Plan) -> Section:
    """By module, and by function."""
    found = sample(plan)
    modules: Counter[str] = Counter()
    for (module, _), count in found.samples.items():
        modules[module] += count
    functions = Counter(
        {f"{module}: {name}": count for (module, name), count in found.samples.items()}
    )
    tables = [
        _table("module", modules, MODULES_SHOWN, found),
        _table("function", functions, FUNCTIONS_SHOWN, found),
    ]
    note = f"{found.samples.total():,} samples, {found.cpu_us:.2f} us of CPU an event."
    return Section("Where an idle line's CPU goes", TEXT, tables, [note])


def _table(kind: str, counts: Counter[str], shown: int, found: Found) -> Table:
    rows = [found.row(name, count) for name, count in counts.most_common(shown)]
    if rest := sum(counts.values()) - sum(count for _, count in counts.most_common(shown)):
        rows.append(found.row("others", rest))
    return Table((kind, "share", "us/event"), rows)
