"""What a scrape of /metrics costs, and how long it holds up the event loop.

Run it with `.venv/bin/python benchmarks/scrape.py [ROUNDS]`. `daemon` is the daemon's own server,
which lets others go on after each family; `thread` and `inline` are two other ways to encode the
same numbers, served beside it. Whoever scrapes is a process of its own. In every round each way has
its turn, after one without any scrape (`idle`). `lag` is how late a task wakes up that wants to
sleep for a millisecond; of that, no more than the processor time that this process used meanwhile:
for the rest other programs had the core.
At 1,000 series no scrape may hold the loop up for more than 10 ms.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from aiohttp import web  # noqa: E402
from prometheus_client import CollectorRegistry  # noqa: E402
from prometheus_client.exposition import choose_encoder  # noqa: E402
from prometheus_client.metrics_core import Metric  # noqa: E402
from prometheus_client.registry import Collector  # noqa: E402

from llm_bot.bus import EventBus  # noqa: E402
from llm_bot.config import Config, HealthConfig, resolve_room  # noqa: E402
from llm_bot.decisions import Outcome  # noqa: E402
from llm_bot.health import HealthServer  # noqa: E402
from llm_bot.observability.metrics import Metrics  # noqa: E402
from llm_bot.ports import SystemClock  # noqa: E402
from llm_bot.rate_limiter import RateLimiter  # noqa: E402
from llm_bot.room import Room  # noqa: E402
from llm_bot.room.tally import Tally  # noqa: E402

ROUNDS = 7
SCRAPES = 20  # of one way in one round
PAUSE_SECONDS = 0.05  # between two scrapes
PROBE_SECONDS = 0.001
HOST = "127.0.0.1"

SCRAPER = """
import http.client, sys, time
port, path, count, pause = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
print("started", flush=True)
sys.stdin.readline()
for _ in range(count):
    time.sleep(pause)
    started = time.perf_counter()
    connection.request("GET", path, headers={"Accept": accept})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200 and body.endswith(b"# EOF\\n"), (answer.status, body[-100:])
    print(time.perf_counter() - started)
"""


@dataclass
class Measured:
    """Of one way: seconds of each scrape, seconds of each lag, and the worst lag of each round."""

    scrapes: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    worst: list[float] = field(default_factory=list)


def registry_of(series: int) -> tuple[CollectorRegistry, int]:
    """The metrics of a daemon with as many busy rooms as make `series`, and how many they are."""
    rooms: list[Room] = []
    metrics = Metrics(
        rooms=lambda: rooms,
        tally=Tally(),
        bus=EventBus(),
        limiter=RateLimiter(),
        clock=SystemClock(),
        outbound_depth=lambda: 0,
    )
    while (count := series_in(metrics.registry.collect())) < series:
        rooms.append(_busy_room(f"room{len(rooms)}"))
    return metrics.registry, count


def series_in(families: Iterable[Metric]) -> int:
    return sum(len(family.samples) for family in families)


def _busy_room(name: str) -> Room:
    """A room in which nearly everything has happened."""
    config = Config.model_validate(
        {
            "nats": {"servers": ["nats://localhost:4222"]},
            "channels": [{"name": name}],
            "bot": {"username": "MyBot"},
            "llm_api": {"provider": "ollama", "base_url": "http://localhost:11434", "model": "m"},
        }
    )
    room = Room(resolve_room(config, config.channels[0]), secrets=())
    tally = room.tally
    for event in ("chatmsg", "pm", "userlist", "adduser", "userleave", "changemedia", "other"):
        tally.events[event] = 12_345
    for outcome in Outcome:
        tally.decisions[outcome] = 1_234
    for trigger in ("mention", "keyword", "pm"):
        tally.triggers_evaluated[trigger] = 12_345
        tally.triggers_fired[trigger] = 123
        for reason in (Outcome.USER_LIMIT, Outcome.CHANNEL_LIMIT, Outcome.QUEUE_FULL):
            tally.triggers_suppressed[trigger, reason.value] = 12
    for histogram in (tally.relevance, tally.response_characters, tally.reply_seconds):
        for bound in histogram.bounds:
            histogram.observe(bound)
    return room


class OtherWays:
    """The same numbers, encoded in the loop or in a thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/inline", self._inline), web.get("/thread", self._thread)]

    async def close(self) -> None:
        """Nobody stays connected."""

    async def _inline(self, request: web.Request) -> web.Response:
        encode, _ = choose_encoder(request.headers["Accept"])
        return web.Response(body=encode(self._registry))

    async def _thread(self, request: web.Request) -> web.Response:
        encode, _ = choose_encoder(request.headers["Accept"])
        numbers = _Collected(tuple(self._registry.collect()))
        return web.Response(body=await asyncio.to_thread(encode, numbers))


class _Collected(Collector):
    def __init__(self, families: tuple[Metric, ...]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


WAYS = {"idle": None, "inline": "/inline", "thread": "/thread", "daemon": "/metrics"}


async def measure(
    series: int, *, rounds: int = ROUNDS, scrapes: int = SCRAPES
) -> dict[str, Measured]:
    """Each way in turn, `rounds` times over, at that many series."""
    registry, _ = registry_of(series)
    server = HealthServer(
        HealthConfig(host=HOST, port=0),
        status=dict,
        is_ready=lambda: True,
        registry=registry,
        parts=[OtherWays(registry)],
    )
    measured = {way: Measured() for way in WAYS}
    async with server:
        # What was made so far is looked through here, and not in the middle of the first scrapes:
        # a daemon that has run for a while has that behind it.
        gc.collect()
        gc.freeze()
        for _ in range(rounds):
            for way, path in WAYS.items():
                await _turn(measured[way], server.port, path, scrapes)
    return measured


async def _turn(measured: Measured, port: int, path: str | None, scrapes: int) -> None:
    scraper = None if path is None else await _start_scraper(port, path, scrapes)
    lags: list[float] = []
    probe = asyncio.create_task(_probe(lags))
    try:
        if scraper is None:
            await asyncio.sleep(scrapes * PAUSE_SECONDS)
        else:
            output, _ = await scraper.communicate(b"\n")
            measured.scrapes += [float(line) for line in output.split()]
    finally:
        probe.cancel()
    if scraper is not None and scraper.returncode:
        raise RuntimeError(f"the scraper ended with {scraper.returncode}")
    measured.lags += lags
    measured.worst.append(max(lags))


async def _probe(lags: list[float]) -> None:
    """Note how late the loop lets it go on, as far as this process is what held it up."""
    while True:
        worked = time.process_time()
        wanted = time.perf_counter() + PROBE_SECONDS
        await asyncio.sleep(PROBE_SECONDS)
        lag = time.perf_counter() - wanted
        lags.append(max(0.0, min(lag, time.process_time() - worked)))


async def _start_scraper(port: int, path: str, count: int) -> asyncio.subprocess.Process:
    """It waits for a line before it scrapes: its start, too, would hold up the loop."""
    scraper = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCRAPER,
        *(str(port), path, str(count), str(PAUSE_SECONDS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert scraper.stdout is not None
    await scraper.stdout.readline()
    return scraper


def main() -> None:
    """Print a row for each way at 1,000 and at 5,000 series."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    print("series  way      scrape p50    p99     lag p99   worst of a round: median     max (ms)")
    for series in (1000, 5000):
        for way, one in asyncio.run(measure(series, rounds=rounds)).items():
            scrape = f"{_at(one.scrapes, 50):10.1f} {_at(one.scrapes, 99):6.1f}"
            taken = scrape if one.scrapes else " " * len(scrape)
            lag = f"{_at(one.lags, 99):11.2f} {1000 * statistics.median(one.worst):26.1f}"
            print(f"{series:6}  {way:7}{taken} {lag} {1000 * max(one.worst):7.1f}")


def _at(seconds: list[float], percent: int) -> float:
    """That percentile, in milliseconds."""
    if len(seconds) < 2:
        return float("nan")
    return 1000 * statistics.quantiles(seconds, n=100)[percent - 1]


if __name__ == "__main__":
    main()
