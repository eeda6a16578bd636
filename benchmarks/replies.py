"""From a line that names the bot to the command that has it answered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.bot import LOOPBACK, NAME, Bot, answering, configuration
from benchmarks.figures import Spread, percentile
from benchmarks.processes import Process, helper
from benchmarks.report import Section, Table
from benchmarks.stage import Plan, Stage, stage

DELAYS = (0.0, 0.5)
RATE = 100
SECONDS = 4.0
QUICK_SECONDS = 0.5
ROOMS = 100  # one reply at a time in each: with half a second each, half of what they could do
HEAD = ("model", "asked/s", "replies / asked", "p50 ms", "p99 ms", "max ms", "CPU ms/reply")
PATIENCE_SECONDS = 5.0
POLL_SECONDS = 0.05

TEXT = f"""\
{RATE} lines a second, over {ROOMS} rooms, each from somebody else and each naming the bot; the
model is a server that answers with another line each time, at once or after 500 ms. Limits and
pauses are set so that nothing is refused. A latency is from just before the line is written to
NATS's socket until the reply's command is in the hands of a connector on nats-py; between them are
two ways through NATS, one request over HTTP, and everything that the bot does. Latencies are those
of all rounds together."""


@dataclass(frozen=True, slots=True)
class Run:
    """One stretch: what was asked, how fast it was answered, and what an answer cost the bot."""

    asked: int
    pace: float
    latencies: Sequence[int]
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Talk:
    """A bot, its model and its connector."""

    publisher: Process
    bot: Bot
    connector: Process
    rooms: Sequence[str]

    def run(self, count: int) -> Run:
        """Ask so many times, and wait for the answers as long as they come."""
        before = int(self.connector.ask()["count"])
        cpu = self.bot.process.settle()[0]
        sent = self.publisher.ask(
            kind="pace", rooms=self.rooms, count=count, rate=RATE, mention=f"{NAME}: "
        )
        latencies: list[int] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            told = self.connector.ask()
            latencies += told["latencies"]
            if told["count"] - before >= count or time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        spent = self.bot.process.settle()[0]
        pace = count / (sent["finished"] - sent["started"])
        return Run(count, pace, latencies, (spent - cpu) / count * 1e6)


def talk(on: Stage, delay: float, prefix: str, stack: ExitStack) -> Talk:
    """Start what belongs to one delay. Both hear one connector's subject, so one at a time."""
    model = stack.enter_context(helper("model", str(delay)))
    url = f"http://{LOOPBACK}:{model.line()[1]['port']}/v1"
    connector = stack.enter_context(helper("connector", on.url))
    connector.line()
    rooms = [f"{prefix}{number:03}" for number in range(ROOMS)]
    bot = stack.enter_context(Bot(configuration(on.url, rooms, **answering(url))))
    return Talk(on.publisher, bot, connector, rooms)


def measure(plan: Plan) -> Section:
    """Both delays in turn, each on a server of its own."""
    count = int(RATE * (QUICK_SECONDS if plan.is_quick else SECONDS))
    runs: dict[float, list[Run]] = {delay: [] for delay in DELAYS}
    with ExitStack() as stack:
        talks = {
            delay: talk(stack.enter_context(stage()), delay, f"talk{number}", stack)
            for number, delay in enumerate(DELAYS)
        }
        for each in talks.values():
            each.run(ROOMS)  # connections are opened, caches filled
        for _ in range(plan.rounds):
            for delay, each in talks.items():
                runs[delay].append(each.run(count))
        outcomes = {delay: each.bot.outcomes() for delay, each in talks.items()}
    notes = [
        f"Outcomes with a model of {delay * 1000:.0f} ms, those of the unmeasured first "
        f"{ROOMS} lines among them: "
        + ", ".join(f"{name} {number}" for name, number in sorted(found.items()))
        + "."
        for delay, found in outcomes.items()
    ]
    return Section("From a line to its reply", TEXT, [table(runs)], notes)


def table(runs: dict[float, list[Run]]) -> Table:
    rows = []
    for delay, each in runs.items():
        latencies = [one for run in each for one in run.latencies]
        shown = (
            [f"{percentile(latencies, part) / 1e6:.1f}" for part in (0.5, 0.99, 1.0)]
            if latencies
            else ["-"] * 3
        )
        rows.append(
            (
                f"{delay * 1000:.0f} ms",
                Spread.of(run.pace for run in each).shown(0),
                f"{len(latencies)} / {sum(run.asked for run in each)}",
                *shown,
                Spread.of(run.cpu_us / 1000 for run in each).shown(2),
            )
        )
    return Table(HEAD, rows)
