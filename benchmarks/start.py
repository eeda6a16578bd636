"""From the launch of the daemon until it hears its rooms."""

from __future__ import annotations

from benchmarks.bot import Bot, configuration
from benchmarks.figures import Spread, per_round, quotient
from benchmarks.processes import Process, helper
from benchmarks.report import Section, Table, Target
from benchmarks.stage import Plan, stage

ROUNDS = 11
QUICK_ROUNDS = 2
MOST_OF_IMPORTS = 1.6

TEXT = """\
From the launch of `python -m llm_bot` until the line `app.ready` of its log is read, beside a
process that only imports the same libraries (`benchmarks/imports.py`) and says so. Compiled files
and the file cache are warm: each was started once before."""


def imports(plan: Plan) -> float:
    """Seconds until the libraries alone are there."""
    with helper("imports", python=plan.own) as process:
        return process.line()[0] - process.started


def ready(url: str, plan: Plan) -> float:
    """Seconds until the daemon is ready, as /ready says, too."""
    bot = Bot(configuration(url, ["start000"]), plan.own)
    try:
        at = bot.ready()
        bot.get("/ready")
        return at - bot.process.started
    finally:
        bot.end()


def nothing(plan: Plan) -> float:
    """Seconds until an interpreter does anything."""
    command = [plan.own, "-c", "print('{}', flush=True)"]
    with Process(command, says="stdout") as process:
        return process.line()[0] - process.started


def measure(plan: Plan) -> Section:
    """In turn, after one unmeasured start of each."""
    bare: list[float] = []
    libraries: list[float] = []
    daemon: list[float] = []
    rounds = plan.some(max(ROUNDS, plan.rounds), QUICK_ROUNDS)
    with stage() as on:
        imports(plan)
        ready(on.url, plan)
        for _ in range(rounds):
            bare.append(nothing(plan))
            libraries.append(imports(plan))
            daemon.append(ready(on.url, plan))
    ratio = per_round(quotient, daemon, libraries)
    rows = [
        ("an interpreter that does nothing", Spread.of(bare).shown(0, 1000), ""),
        ("its libraries imported", Spread.of(libraries).shown(0, 1000), "1"),
        ("daemon ready, 1 room", Spread.of(daemon).shown(0, 1000), ratio.shown(2)),
    ]
    table = Table((f"{rounds} rounds", "ms", "ratio"), rows)
    target = Target.most("start to ready", ratio, MOST_OF_IMPORTS, "imports alone")
    return Section("From launch to ready", TEXT, [table], targets=[target])
