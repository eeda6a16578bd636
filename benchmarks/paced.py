"""At the pace of real rooms: what a line costs, and how long until it is decided about."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.bot import configuration, written
from benchmarks.figures import Spread, per_round, percentile, quotient
from benchmarks.processes import BenchmarkError, Process, helper
from benchmarks.report import Section, Table
from benchmarks.stage import Plan, Stage, stage

BARE, WHOLE, FASTSTREAM = "nats-py, bare", "whole daemon", "FastStream, empty handler"
ON_UVLOOP = " on uvloop"
SECONDS = {100: 2.0, 1_000: 1.5, 5_000: 1.0}  # events a second, and for how long
QUICK_SECONDS = 0.2
MANY_ROOMS, MANY_RATE, MANY_SECONDS = 100, 1_000, 6.0
WARM_UP = 200

TEXT = """\
Here it is waking up for each message that costs, more than what is then done with it. The daemon is
the same as above in a process of the benchmark, for a hook on its decisions: a latency is from just
before the line is written to NATS's socket until the decision has fallen, or a subscriber's handler
is called. Latencies are those of all rounds together, the rest is the median of the rounds. One
room, but for the last table: there the daemon looks for changes of topic in all of them every five
seconds, which each round sees once."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one of them did with one stretch; `pace` is the one that the publisher kept."""

    pace: float
    cpu_us: float
    latencies: Sequence[int]


@dataclass(frozen=True, slots=True)
class Hearer:
    """One of them, and its room."""

    process: Process
    rooms: Sequence[str]

    def run(self, publisher: Process, rate: float, seconds: float) -> Run:
        """Let it hear lines at `rate` for so long."""
        count = max(1, int(rate * seconds))
        self.process.ask()
        cpu = self.process.settle()[0]
        sent = publisher.ask(kind="pace", rooms=self.rooms, count=count, rate=rate)
        spent = self.process.settle()[0]
        latencies = self.process.ask()["latencies"]
        if len(latencies) != count:
            raise BenchmarkError(f"{self.process} heard {len(latencies)} of {count} lines")
        pace = count / (sent["finished"] - sent["started"])
        return Run(pace, (spent - cpu) / count * 1e6, latencies)


def hearers(on: Stage, plan: Plan, stack: ExitStack) -> dict[str, Hearer]:
    """All that can be started here, ready to hear."""
    python = plan.other or plan.own  # one environment for all, so that the libraries are the same
    found: dict[str, Hearer] = {}

    def add(name: str, module: str, *arguments: str) -> None:
        process = stack.enter_context(helper(module, *arguments, python=python))
        process.line()
        found[name] = Hearer(process, [f"pace{len(found):03}"])

    loops = {"": []} if plan.other is None else {"": [], ON_UVLOOP: ["--uvloop"]}
    for loop, option in loops.items():
        room = f"pace{len(found):03}"
        add(BARE + loop, "subscribers", "bare", "time", on.url, room, *option)
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-bot-benchmark-"))
        own = configuration(on.url, [f"pace{len(found):03}"], log_level="WARNING")
        config = written(own, directory)
        add(WHOLE + loop, "hooked_bot", "time", str(config), *option)
    if plan.other is not None:
        room = f"pace{len(found):03}"
        add(FASTSTREAM, "subscribers", "faststream", "time", on.url, room)
    return found


def compare(plan: Plan) -> dict[int, dict[str, list[Run]]]:
    """Every one of them at every pace, in turn."""
    with ExitStack() as stack:
        on = stack.enter_context(stage())
        heard = hearers(on, plan, stack)
        runs: dict[int, dict[str, list[Run]]] = {rate: {k: [] for k in heard} for rate in SECONDS}
        for one in heard.values():
            one.run(on.publisher, 1_000, WARM_UP / 1_000)
        for _ in range(plan.rounds):
            for rate, seconds in SECONDS.items():
                for kind, one in heard.items():
                    stretch = QUICK_SECONDS if plan.is_quick else seconds
                    runs[rate][kind].append(one.run(on.publisher, rate, stretch))
    return runs


def many(plan: Plan) -> list[Run]:
    """The daemon with many rooms, each stretch long enough for its look at all of them."""
    rooms = [f"many{number:03}" for number in range(MANY_ROOMS)]
    with stage() as on, tempfile.TemporaryDirectory(prefix="llm-bot-benchmark-") as directory:
        config = written(configuration(on.url, rooms, log_level="WARNING"), directory)
        with helper("hooked_bot", "time", str(config), python=plan.other or plan.own) as process:
            process.line()
            hearer = Hearer(process, rooms)
            hearer.run(on.publisher, MANY_RATE, QUICK_SECONDS)
            seconds = QUICK_SECONDS if plan.is_quick else MANY_SECONDS
            return [hearer.run(on.publisher, MANY_RATE, seconds) for _ in range(plan.rounds)]


def many_table(runs: Sequence[Run]) -> Table:
    head = (f"{MANY_RATE:,} events/s", "CPU us/event", "p50 ms", "p99 ms", "max ms")
    cpu = Spread.of(run.cpu_us for run in runs).shown(0)
    return Table(head, [(f"whole daemon, {MANY_ROOMS} rooms", cpu, *_latencies(runs))])


def _latencies(runs: Iterable[Run]) -> list[str]:
    """p50, p99 and the longest of all runs together, in milliseconds."""
    latencies = [nanoseconds for run in runs for nanoseconds in run.latencies]
    return [f"{percentile(latencies, part) / 1e6:.2f}" for part in (0.5, 0.99, 1.0)]


def measure(plan: Plan) -> Section:
    """A table for each pace, and one for many rooms."""
    runs = compare(plan)
    tables = [table(rate, each) for rate, each in runs.items()]
    tables.append(many_table(many(plan)))
    kept = ", ".join(
        f"{rate:,}: " + Spread.of(run.pace for each in kinds.values() for run in each).shown(0)
        for rate, kinds in runs.items()
    )
    notes = [f"Events a second that the publisher kept to: {kept}."]
    if any(kind.endswith(ON_UVLOOP) for kind in runs[min(runs)]):
        notes.append(uvloop_note(runs))
    return Section("At the pace of real rooms", TEXT, tables, notes)


def table(rate: int, runs: dict[str, list[Run]]) -> Table:
    bare = [run.cpu_us for run in runs[BARE]]
    rows = []
    for kind, each in runs.items():
        ratio = per_round(quotient, [run.cpu_us for run in each], bare)
        rows.append(
            (
                kind,
                Spread.of(run.cpu_us for run in each).shown(0),
                "1" if kind == BARE else ratio.shown(2),
                *_latencies(each),
            )
        )
    head = (f"{rate:,} events/s", "CPU us/event", "CPU / bare", "p50 ms", "p99 ms", "max ms")
    return Table(head, rows)


def uvloop_note(runs: dict[int, dict[str, list[Run]]]) -> str:
    """What uvloop saves the daemon."""
    saved = []
    for rate, each in runs.items():
        other = [run.cpu_us for run in each[WHOLE + ON_UVLOOP]]
        own = [run.cpu_us for run in each[WHOLE]]
        saved.append(f"{per_round(quotient, other, own).shown(2)} at {rate:,} a second")
    return f"The daemon's CPU on uvloop, as a share of that on asyncio's loop: {', '.join(saved)}."
