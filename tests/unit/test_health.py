"""The HTTP server: health, readiness and metrics over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest as generate_plain
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_plain
from prometheus_client.registry import Collector

from benchmarks.scrape import registry_of
from llm_bot import health
from llm_bot.config import HealthConfig
from llm_bot.health import HealthServer, Part
from tests.servers import LOOPBACK

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Scene:
    """A server on a free port, and what it is told to say."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.is_ready = True
        self.status: dict[str, Any] = {"status": "healthy", "channels": {"a": "active"}}
        self.server = self.serve(0)

    def serve(self, port: int, *parts: Part) -> HealthServer:
        return HealthServer(
            HealthConfig(host=LOOPBACK, port=port),
            status=lambda: self.status,
            is_ready=lambda: self.is_ready,
            registry=self.registry,
            parts=parts,
        )

    async def get(self, path: str, **headers: str) -> tuple[int, str, Any]:
        """Status, body and headers of an answer."""
        url = f"http://{LOOPBACK}:{self.server.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
            return answer.status, await answer.text(), answer.headers


@pytest.fixture
async def scene():
    scene = Scene()
    async with scene.server:
        yield scene


async def test_health_is_the_status_as_json(scene):
    """`GET /health`: 200 and the status, made anew for each request, even when not ready."""
    scene.is_ready = False
    scene.status["status"] = "degraded"
    status, body, headers = await scene.get("/health")
    assert status == 200
    assert body == '{"status":"degraded","channels":{"a":"active"}}'
    assert headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(("is_ready", "expected"), [(True, 200), (False, 503)])
async def test_ready_says_by_its_status_whether_lines_are_heard(scene, is_ready, expected):
    """`GET /ready`: 200 or 503, with the same JSON as `/health` (OBS-4)."""
    scene.is_ready = is_ready
    status, body, _ = await scene.get("/ready")
    assert status == expected
    assert body == (await scene.get("/health"))[1]


async def test_metrics_are_prometheus_text(scene):
    """`GET /metrics` without wishes: the plain format."""
    Counter("seen", "What was seen.", registry=scene.registry).inc(3)
    status, body, headers = await scene.get("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = [sample for family in parse_plain(body) for sample in family.samples]
    assert ("seen_total", 3) in [(sample.name, sample.value) for sample in samples]


async def test_metrics_are_openmetrics_when_asked_for(scene):
    """An `Accept` of OpenMetrics gets OpenMetrics, to its closing mark."""
    Counter("seen", "What was seen.", registry=scene.registry).inc(3)
    status, body, headers = await scene.get("/metrics", Accept=f"{OPENMETRICS},text/plain;q=0.5")
    assert status == 200
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")
    assert "seen" in [family.name for family in parse_openmetrics(body)]


class ManySamples(Collector):
    """Four families of 500 samples each."""

    def collect(self) -> Iterator[Metric]:
        for name in ("first", "second", "third", "fourth"):
            family = GaugeMetricFamily(name, "One of many.", labels=["room", "reason"])
            for number in range(500):
                family.add_metric([f"room {number}", "some"], number)
            yield family


async def test_scrape_says_what_the_library_would(scene):
    """Family by family it is, byte for byte, what the encoder makes of the whole."""
    scene.registry.register(ManySamples())
    for accept, encode in (("", generate_plain), (OPENMETRICS, generate_openmetrics)):
        _, body, _ = await scene.get("/metrics", Accept=accept)
        assert body.encode() == encode(scene.registry)


class Watched(ManySamples):
    """Tells of each family that is read."""

    def __init__(self, note: Callable[[], None]) -> None:
        self._note = note

    def collect(self) -> Iterator[Metric]:
        for family in super().collect():
            self._note()
            yield family


async def test_scrape_lets_the_loop_go_on(scene):
    """Between two families of a scrape other tasks have their turn (OBS-2). Counted in turns and
    not in time, since others may have the processor."""
    turns: list[int] = []
    turn = 0
    scene.registry.register(Watched(lambda: turns.append(turn)))
    scraping = asyncio.create_task(scene.get("/metrics"))
    while not scraping.done():
        turn += 1
        await asyncio.sleep(0)
    assert len(turns) == 4
    assert sorted(set(turns)) == turns


async def test_no_family_of_1000_series_is_large(scene):
    """What holds the loop up is one family, of which the largest has a third of 1,000 series: less
    than the 10 ms which all of them together take (OBS-2, benchmarks/scrape.py)."""
    registry, series = registry_of(1000)
    assert series >= 1000
    assert max(len(family.samples) for family in registry.collect()) < 0.4 * series


class Overlapping(ManySamples):
    """Notes how many read it at the same time."""

    def __init__(self) -> None:
        self.readers = self.most = 0

    def collect(self) -> Iterator[Metric]:
        self.readers += 1
        self.most = max(self.most, self.readers)
        yield from super().collect()
        self.readers -= 1


async def test_scrapes_take_turns(scene):
    """Two at a time would hold the loop up for two families (OBS-2)."""
    collector = Overlapping()
    scene.registry.register(collector)
    collector.readers = collector.most = 0  # to be registered it was asked for its names
    await asyncio.gather(*(scene.get("/metrics") for _ in range(3)))
    assert collector.most == 1


@pytest.mark.parametrize(
    "accept", ["text/plain;version=x", "application/openmetrics-text;version=1.x"]
)
async def test_odd_accept(scene, accept):
    """What the library can't make out gets plain text."""
    status, body, _ = await scene.get("/metrics", Accept=accept)
    assert (status, body) == (200, (await scene.get("/metrics"))[1])


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics/x"])
async def test_unknown_path_is_not_found(scene, path):
    """Anything else is 404."""
    assert (await scene.get(path))[0] == 404


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/nothing"])
async def test_answers_are_neither_stored_nor_guessed_at(scene, path):
    """Every answer, errors included, says that it isn't to be kept and that its type is meant."""
    # OBS-7
    _, _, headers = await scene.get(path)
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_taken_port_is_an_error(scene):
    """A port that can't be had: `OSError`, and the server that has it goes on."""
    with pytest.raises(OSError, match=str(scene.server.port)):
        async with scene.serve(scene.server.port):
            raise AssertionError("unreachable")
    assert (await scene.get("/health"))[0] == 200


async def test_port_is_free_after_the_end():
    """Left, it listens no more, and the port can be had again."""
    scene = Scene()
    async with scene.server:
        port = scene.server.port
    with pytest.raises(aiohttp.ClientConnectionError):
        await scene.get("/health")
    async with scene.serve(port):
        assert (await scene.get("/health"))[0] == 200


async def test_idle_connections_do_not_hold_up_the_end(monkeypatch):
    """A client that keeps its connection open doesn't delay the stop."""
    monkeypatch.setattr(health, "SHUTDOWN_SECONDS", 600.0)
    scene = Scene()
    async with aiohttp.ClientSession() as session, asyncio.timeout(60), scene.server:
        await session.get(f"http://{LOOPBACK}:{scene.server.port}/health")


class WaitingPart:
    """A page that answers once the server is about to end."""

    def __init__(self) -> None:
        self.is_waited_for = asyncio.Event()
        self.is_over = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/wait", self._wait)]

    async def close(self) -> None:
        self.is_over.set()

    async def _wait(self, _: web.Request) -> web.Response:
        self.is_waited_for.set()
        await self.is_over.wait()
        return web.Response(text="over")


async def test_parts_are_served_and_told_of_the_end(monkeypatch):
    """More pages can be plugged in; whoever waits for one of them is let go when it ends."""
    monkeypatch.setattr(health, "SHUTDOWN_SECONDS", 600.0)
    scene = Scene()
    part = WaitingPart()
    scene.server = scene.serve(0, part)
    async with asyncio.timeout(60):
        async with scene.server:
            waiting = asyncio.create_task(scene.get("/wait"))
            await part.is_waited_for.wait()
        status, body, headers = await waiting
    assert (status, body, headers["Cache-Control"]) == (200, "over", "no-store")
