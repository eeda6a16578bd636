"""How much memory the daemon takes, by rooms and by people."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.bot import LOOPBACK, NAME, NO_MODEL, Bot, answering, configuration, written
from benchmarks.figures import Spread, per_round, quotient
from benchmarks.processes import BenchmarkError, helper
from benchmarks.report import Section, Table, Target
from benchmarks.stage import Plan, Stage, stage

EMPTY = (1, 10, 100)
FULL_ROOMS, LINES, REPLIES = 10, 24_000, 240
REPLIES_PER_SECOND = 100
PEOPLE = 100_000
QUICK_PEOPLE = 1_000
MOST_OF_IMPORTS = 1.3
MIB = 1024 * 1024

TEXT = f"""\
Resident memory (RSS) of `python -m llm_bot` beside that of a process which only imports the same
libraries. A full room has its window, its decisions and its observations filled: {LINES:,} lines
and {REPLIES} replies went through {FULL_ROOMS} of them. People: each joins one of {FULL_ROOMS}
rooms and says a line. The last table takes the full daemon apart: the same steps, one after
another; where the target is missed, this is what stands in the way."""


@dataclass
class Found:
    """Bytes, a value for each round."""

    imports: list[float] = field(default_factory=list)
    empty: dict[int, list[float]] = field(default_factory=lambda: {count: [] for count in EMPTY})
    full: list[float] = field(default_factory=list)
    peopled: list[float] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=dict)


def _rooms(count: int) -> list[str]:
    return [f"mem{number:03}" for number in range(count)]


def imports(plan: Plan) -> float:
    with helper("imports", python=plan.own) as process:
        process.line()
        return process.resident_bytes


def footprint(on: Stage, plan: Plan) -> dict[str, float]:
    """What a process has after each step on its way to be the daemon."""
    with tempfile.TemporaryDirectory() as directory:
        path = written(configuration(on.url, _rooms(FULL_ROOMS)), directory)
        with helper("footprint", str(path), python=plan.own) as process:
            return process.line()[1]


def empty(on: Stage, rooms: int) -> float:
    """A daemon that has heard nothing."""
    with Bot(configuration(on.url, _rooms(rooms), llm_api={"base_url": NO_MODEL})) as bot:
        bot.process.settle()
        return bot.process.resident_bytes


def full(on: Stage, rooms: list[str]) -> float:
    """A daemon whose rooms have had a long evening."""
    with ExitStack() as stack:
        model = stack.enter_context(helper("model", "0"))
        url = f"http://{LOOPBACK}:{model.line()[1]['port']}/v1"
        connector = stack.enter_context(helper("connector", on.url))
        connector.line()
        bot = stack.enter_context(Bot(configuration(on.url, rooms, **answering(url))))
        on.publisher.ask(kind="flood", rooms=rooms, count=LINES)
        bot.process.settle()
        asked = {"count": REPLIES, "rate": REPLIES_PER_SECOND, "mention": f"{NAME}: "}
        on.publisher.ask(kind="pace", rooms=rooms, **asked)
        bot.process.settle()
        resident = bot.process.resident_bytes
        outcomes = bot.outcomes()
        if outcomes != {"no_match": LINES, "replied": REPLIES}:
            raise BenchmarkError(f"the rooms aren't as full as they should be: {outcomes}")
        return resident


def people(on: Stage, rooms: list[str], count: int) -> float:
    """What a daemon takes more after so many have come and spoken."""
    with Bot(configuration(on.url, rooms)) as bot:
        bot.process.settle()
        before = bot.process.resident_bytes
        on.publisher.ask(kind="newcomers", rooms=rooms, count=count)
        bot.process.settle()
        grown = bot.process.resident_bytes - before
        if (outcomes := bot.outcomes()) != {"no_match": count}:
            raise BenchmarkError(f"{count} people spoke, and the lines ended so: {outcomes}")
        return grown


def measure(plan: Plan) -> Section:
    """Everything once in each round."""
    found = Found()
    count = plan.some(PEOPLE, QUICK_PEOPLE)
    with stage() as on:
        for _ in range(plan.rounds):
            found.imports.append(imports(plan))
            for rooms in EMPTY:
                found.empty[rooms].append(empty(on, rooms))
            found.full.append(full(on, _rooms(FULL_ROOMS)))
            found.peopled.append(people(on, _rooms(FULL_ROOMS), count))
            for step, value in footprint(on, plan).items():
                found.steps.setdefault(step, []).append(value)
    return section(found, count)


def section(found: Found, people: int) -> Section:
    def row(name: str, values: list[float]) -> tuple[str, str, str]:
        ratio = per_round(quotient, values, found.imports)
        return name, Spread.of(values).shown(1, 1 / MIB), ratio.shown(2)

    few, many = found.empty[EMPTY[0]], found.empty[EMPTY[-1]]
    each_room = Spread.of(
        (more - less) / (EMPTY[-1] - EMPTY[0]) for more, less in zip(many, few, strict=True)
    )
    full_room = Spread.of(
        (more - less) / FULL_ROOMS
        for more, less in zip(found.full, found.empty[FULL_ROOMS], strict=True)
    )
    table = Table(
        ("", "RSS MiB", "ratio"),
        [
            row("its libraries imported", found.imports),
            *(row(f"ready, {rooms} empty", found.empty[rooms]) for rooms in EMPTY),
            row(f"{FULL_ROOMS} full rooms", found.full),
        ],
    )
    growth = Table(
        ("", "KiB each"),
        [
            ("an empty room", each_room.shown(1, 1 / 1024)),
            ("what fills a room", full_room.shown(1, 1 / 1024)),
            (
                f"a person, of {people:,}",
                Spread.of(each / people for each in found.peopled).shown(2, 1 / 1024),
            ),
        ],
    )
    steps = [
        ("the libraries, imported", found.steps["libraries"]),
        ("the daemon's own modules", found.steps["modules"]),
        ("the configuration, read and checked", found.steps["configuration"]),
        (f"started, with {FULL_ROOMS} empty rooms", found.empty[FULL_ROOMS]),
        ("the rooms, filled", found.full),
    ]
    before, parts = 0.0, []
    for name, values in steps:
        now = Spread.of(values).median
        parts.append((name, f"{(now - before) / MIB:.1f}", f"{now / MIB:.1f}"))
        before = now
    apart = Table(("step", "adds MiB", "RSS MiB"), parts)
    ratio = per_round(quotient, found.full, found.imports)
    target = Target.most(f"memory with {FULL_ROOMS} full rooms", ratio, MOST_OF_IMPORTS, "imports")
    return Section("Memory", TEXT, [table, growth, apart], targets=[target])
