"""Under flood: how fast lines are taken, and what each of them costs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from benchmarks.bot import Bot, configuration
from benchmarks.figures import Spread, beyond, per_round, quotient
from benchmarks.processes import BenchmarkError, Process, helper
from benchmarks.report import Section, Table, Target
from benchmarks.stage import Plan, stage

BARE, BUS, WHOLE, FASTSTREAM, STRIPPED = "bare", "bus", "whole", "faststream", "stripped"
WARM_UP = 5_000
WARM_UP_EACH = 600
LINES = {BARE: 100_000, BUS: 100_000, WHOLE: 60_000, FASTSTREAM: 12_000, STRIPPED: 12_000}
QUICK_SHARE = 0.1

NAMES = {
    BARE: "nats-py, bare",
    BUS: "our bus, empty handler",
    WHOLE: "whole daemon",
    FASTSTREAM: "FastStream, empty handler",
    STRIPPED: "FastStream, stripped",
}
LEAST_OF_BARE = 0.38
LEAST_OF_FASTSTREAM = 5.0

TEXT = """\
One process publishes chat lines that trigger nothing, in the connector's envelope, as fast as
nats-server takes them; each subscriber is a process of its own, flooded in its turn while the
others rest. The daemon is `python -m llm_bot` with the configuration that an operator has to write
and no more, its HTTP server and all dialects included; it must have decided about every line. A
rate is over the time from the first byte sent to the last CPU time used, CPU is that of all threads
as the kernel counts it. Every five seconds, each room in its own moment, the daemon looks at the
newest lines for changes of topic, which is part of what it costs; so are caches that don't hold
what a hundred rooms keep."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one subscriber did with one flood."""

    rate: float
    cpu_us: float


Runs = Mapping[str, Sequence[Run]]


class Hearer(Protocol):
    """Who is flooded. Its rooms are its own, so that the others rest meanwhile."""

    rooms: Sequence[str]
    process: Process

    def heard(self) -> int:
        """How many lines it has heard so far."""
        ...

    def end(self) -> None: ...


class Subscriber:
    """One of `benchmarks.subscribers`."""

    def __init__(self, kind: str, url: str, rooms: Sequence[str], python: str) -> None:
        self.rooms = rooms
        self.process = helper("subscribers", kind, "count", url, *rooms, python=python).ready()

    def heard(self) -> int:
        return int(self.process.ask()["count"])

    def end(self) -> None:
        self.process.end()


class WholeBot:
    """The daemon itself."""

    def __init__(self, url: str, rooms: Sequence[str], python: str) -> None:
        self.rooms = rooms
        self._bot = Bot(configuration(url, rooms), python)
        self.process = self._bot.process
        self._bot.ready()

    def heard(self) -> int:
        """It must have decided about every line, and found nothing to answer."""
        outcomes = self._bot.outcomes()
        if outcomes.keys() - {"no_match"}:
            raise BenchmarkError(f"lines ended otherwise than meant: {outcomes}")
        return sum(outcomes.values())

    def end(self) -> None:
        self._bot.end()


def flood(publisher: Process, hearer: Hearer, count: int) -> Run:
    """Send `count` lines to one of them, and wait until it has taken all."""
    before = hearer.heard()
    cpu = hearer.process.settle()[0]
    sent = publisher.ask(kind="flood", rooms=hearer.rooms, count=count)
    spent, ended = hearer.process.settle()
    if missing := count - (hearer.heard() - before):
        raise BenchmarkError(f"{hearer.process} missed {missing} of {count} lines")
    return Run(count / (ended - sent["started"]), (spent - cpu) / count * 1e6)


def compare(pythons: Mapping[str, str], rooms: int, rounds: int, share: float = 1.0) -> Runs:
    """Flood each kind of subscriber in turn. `pythons` names the kinds, and what runs them.

    `share` of the usual lines makes it shorter.
    """
    runs: dict[str, list[Run]] = {kind: [] for kind in pythons}
    with ExitStack() as stack:
        on = stack.enter_context(stage())
        hearers: dict[str, Hearer] = {}
        for kind, python in pythons.items():
            places = [f"{kind[:4]}{number:03}" for number in range(rooms)]
            if kind == WHOLE:
                hearers[kind] = WholeBot(on.url, places, python)
            else:
                hearers[kind] = Subscriber(kind, on.url, places, python)
            stack.callback(hearers[kind].end)
            # Of the daemon's rooms each is to remember all that it can.
            first = WARM_UP if kind != WHOLE else max(WARM_UP, WARM_UP_EACH * rooms)
            flood(on.publisher, hearers[kind], int(first * share))
        for _ in range(rounds):
            for kind, hearer in hearers.items():
                runs[kind].append(flood(on.publisher, hearer, int(LINES[kind] * share)))
    return runs


def measure(plan: Plan) -> Section:
    """All kinds, for each number of rooms."""
    pythons = dict.fromkeys((BARE, BUS, WHOLE), plan.own)
    if plan.other is not None:
        pythons |= dict.fromkeys((FASTSTREAM, STRIPPED), plan.other)
    tables, found = [], []
    for rooms in plan.rooms:
        runs = compare(pythons, rooms, plan.rounds, QUICK_SHARE if plan.is_quick else 1.0)
        tables.append(table(rooms, runs))
        found += targets(rooms, runs)
    return Section("Under flood", TEXT, tables, [*notes(pythons)], found)


def notes(kinds: Collection[str]) -> Iterator[str]:
    """What the tables don't say about these subscribers."""
    counts = ", ".join(f"{NAMES[kind]} {LINES[kind]:,}" for kind in kinds)
    yield f"Lines in each flood: {counts}."
    if FASTSTREAM in kinds:
        yield (
            "FastStream runs without its logger, which is on by default. Stripped, it neither "
            "decodes a body nor checks types nor injects anything; the target is about it as it is."
        )
    else:
        yield "FastStream could not be installed here; its rows and its target are left out."


def _place(rooms: int) -> str:
    return "1 room" if rooms == 1 else f"{rooms} rooms"


def table(rooms: int, runs: Runs) -> Table:
    """Medians over the rounds; ratios are those within each round."""
    bare = runs[BARE]
    rows = []
    for kind, each in runs.items():
        rates = per_round(quotient, [run.rate for run in each], [run.rate for run in bare])
        extra = per_round(beyond, [run.cpu_us for run in each], [run.cpu_us for run in bare])
        rows.append(
            (
                NAMES[kind],
                Spread.of(run.rate for run in each).shown(0),
                Spread.of(run.cpu_us for run in each).shown(2),
                "1" if kind == BARE else rates.shown(2),
                "0" if kind == BARE else extra.shown(2),
            )
        )
    head = (_place(rooms), "events/s", "CPU us/event", "rate / bare", "CPU beyond bare / bare")
    return Table(head, rows)


def targets(rooms: int, runs: Runs) -> list[Target]:
    """What was promised about a line that doesn't trigger."""
    bare, whole, place = runs[BARE], runs[WHOLE], _place(rooms)
    share = per_round(quotient, [run.rate for run in whole], [run.rate for run in bare])
    found = [
        Target.least(f"rate of idle lines, {place}", share, LEAST_OF_BARE, "bare"),
    ]
    if FASTSTREAM in runs:
        others = [run.rate for run in runs[FASTSTREAM]]
        faster = per_round(quotient, [run.rate for run in whole], others)
        what = f"rate of idle lines, {place}"
        found.append(Target.least(what, faster, LEAST_OF_FASTSTREAM, "FastStream"))
    return found
