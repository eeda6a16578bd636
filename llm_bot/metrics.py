"""The Prometheus face of what is counted. Names and labels: spec/spec-observability.md."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client import Histogram as PrometheusHistogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llm_bot import __version__
from llm_bot.deciding import room_demand
from llm_bot.llm_client import Attempt, AttemptStatus, LLMRequest, LLMResponse
from llm_bot.ports import Clock, EventBus, Model
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room import Room
from llm_bot.tally import SECONDS, Histogram, Tally

PREFIX = "llm_bot_"

Rooms = Callable[[], Iterable[Room]]


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(
        self,
        *,
        rooms: Rooms,
        tally: Tally,
        bus: EventBus,
        limiter: RateLimiter,
        clock: Clock,
        outbound_depth: Callable[[], int],
    ) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_RoomCollector(rooms, limiter, clock))
        self.registry.register(_ProcessCollector(rooms, tally, bus, outbound_depth))
        self.is_model_available = True
        self._requests = Counter(
            f"{PREFIX}llm_requests",
            "Requests to a model, by how they ended.",
            ["provider", "model", "status"],
            registry=self.registry,
        )
        self._retries = Counter(
            f"{PREFIX}llm_retries",
            "Requests that were repeats with the same provider.",
            ["provider"],
            registry=self.registry,
        )
        self._fallbacks = Counter(
            f"{PREFIX}llm_fallbacks",
            "Times that a provider was turned to because those before it failed or rest.",
            ["provider"],
            registry=self.registry,
        )
        self._tokens = Counter(
            f"{PREFIX}llm_tokens",
            "Tokens as the servers counted them.",
            ["provider", "model", "kind"],
            registry=self.registry,
        )
        self._duration = PrometheusHistogram(
            f"{PREFIX}llm_request_duration_seconds",
            "Time of one request to a model.",
            ["provider", "model"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._reloads = Counter(
            f"{PREFIX}config_reloads",
            "Reloads of the configuration, by how they ended.",
            ["result"],
            registry=self.registry,
        )
        for result in ("ok", "failed"):
            self._reloads.labels(result)
        self._available = Gauge(
            f"{PREFIX}llm_api_available",
            "Whether the last request to a model got an answer (1 before the first).",
            registry=self.registry,
        )
        self._available.set(1)
        Gauge(
            f"{PREFIX}build_info",
            "Always 1; the labels tell the versions.",
            ["version", "python"],
            registry=self.registry,
        ).labels(__version__, platform.python_version()).set(1)

    def note_attempt(self, attempt: Attempt) -> None:
        """One request to a model has ended."""
        status = attempt.outcome
        self._requests.labels(attempt.provider, attempt.model, status.value).inc()
        self._duration.labels(attempt.provider, attempt.model).observe(attempt.seconds)
        if attempt.is_retry:
            self._retries.labels(attempt.provider).inc()
        if attempt.is_fallback:
            self._fallbacks.labels(attempt.provider).inc()
        self._note_availability(is_available=status is AttemptStatus.SUCCESS)

    def forget_failures(self) -> None:
        """Another client takes over, of which nothing is known."""
        self._note_availability(is_available=True)

    def _note_availability(self, *, is_available: bool) -> None:
        self.is_model_available = is_available
        self._available.set(is_available)

    def note_reload(self, *, succeeded: bool) -> None:
        """The configuration was read anew, for better or worse."""
        self._reloads.labels("ok" if succeeded else "failed").inc()

    def note_response(self, response: LLMResponse) -> None:
        """A model answered."""
        # The name that was asked for: what a server calls itself could be anything.
        model = response.attempt_log[-1].model if response.attempt_log else ""
        tokens = {
            "prompt": response.usage.prompt_tokens,
            "completion": response.usage.completion_tokens,
        }
        for kind, count in tokens.items():
            if count:
                self._tokens.labels(response.provider, model, kind).inc(count)


class CountedModel:
    """A model whose tokens are counted."""

    def __init__(self, model: Model, metrics: Metrics) -> None:
        self._model = model
        self._metrics = metrics

    async def generate(self, request: LLMRequest) -> LLMResponse:
        response = await self._model.generate(request)
        self._metrics.note_response(response)
        return response


class _RoomCollector(Collector):
    """Turns the numbers of every room into families when somebody scrapes."""

    def __init__(self, rooms: Rooms, limiter: RateLimiter, clock: Clock) -> None:
        self._rooms = rooms
        self._limiter = limiter
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        rooms = list(self._rooms())
        yield from self._counters(rooms)
        yield from self._gauges(rooms)
        yield _histogram(
            "response_length_characters",
            "Length of what was said.",
            {room.config.name: room.tally.response_characters for room in rooms},
        )
        yield _histogram(
            "reply_duration_seconds",
            "From the arrival of a line to the send of its reply.",
            {room.config.name: room.tally.reply_seconds for room in rooms},
        )
        yield _histogram(
            "response_relevance_score",
            "How much a reply that was sent has to do with the conversation, 0 to 1.",
            {room.config.name: room.tally.relevance for room in rooms},
        )

    def _counters(self, rooms: list[Room]) -> Iterator[Metric]:
        tables: list[tuple[str, str, list[str], Callable[[Room], Mapping[Any, int]]]] = [
            ("events_received", "Events heard.", ["event_type"], lambda r: r.tally.events),
            (
                "triggers_evaluated",
                "Lines that a trigger was asked about.",
                ["trigger_type"],
                lambda r: r.tally.triggers_evaluated,
            ),
            (
                "triggers_fired",
                "Lines that a trigger had admitted.",
                ["trigger_type"],
                lambda r: r.tally.triggers_fired,
            ),
            (
                "triggers_suppressed",
                "Lines that a trigger matched and something refused.",
                ["trigger_type", "reason"],
                lambda r: r.tally.triggers_suppressed,
            ),
            (
                "decisions",
                "Lines, private messages and ticks, by how they ended.",
                ["outcome"],
                lambda r: r.tally.decisions,
            ),
            ("responses_sent", "Lines said.", ["target_type"], lambda r: r.tally.sent),
            (
                "responses_filtered",
                "Answers that were not said.",
                ["reason"],
                lambda r: r.tally.filtered,
            ),
            (
                "deliveries",
                "Lines said, by what is known of their arrival.",
                ["result"],
                lambda r: r.tally.deliveries,
            ),
            ("insights", "Observations.", ["kind"], lambda r: r.tally.insights),
        ]
        for name, text, labels, table in tables:
            family = CounterMetricFamily(PREFIX + name, text, labels=[*labels, "channel"])
            for room in rooms:
                for key, count in table(room).items():
                    values = key if isinstance(key, tuple) else (key,)
                    family.add_metric([*map(str, values), room.config.name], count)
            yield family

    def _gauges(self, rooms: list[Room]) -> Iterator[Metric]:
        now = self._clock.monotonic()
        window = _gauge("context_window_size", "Lines remembered.", ["channel"])
        depth = _gauge("reply_queue_depth", "Replies that wait.", ["channel"])
        skew = _gauge(
            "clock_skew_seconds", "How far the connector's clock is ahead of CyTube's.", ["channel"]
        )
        remaining = _gauge(
            "rate_limit_remaining", "Lines that a limit still allows.", ["limit_type", "channel"]
        )
        for room in rooms:
            name = room.config.name
            window.add_metric([name], len(room.window))
            depth.add_metric([name], len(room.public_lane) + len(room.private_lane))
            skew.add_metric([name], room.replays.skew_seconds)
            demand = room_demand(room.key, room.config.rate_limits)
            for limit in demand.limits:
                left = self._limiter.remaining(demand.only(limit), now)
                remaining.add_metric([limit.name, name], left)
        yield from (window, depth, skew, remaining)


class _ProcessCollector(Collector):
    """What belongs to no room."""

    def __init__(
        self, rooms: Rooms, tally: Tally, bus: EventBus, outbound_depth: Callable[[], int]
    ) -> None:
        self._rooms = rooms
        self._tally = tally
        self._bus = bus
        self._outbound_depth = outbound_depth

    def collect(self) -> Iterator[Metric]:
        bus = self._bus
        dropped = CounterMetricFamily(
            f"{PREFIX}events_dropped",
            "Events that were not understood or came faster than they were handled.",
            labels=["reason"],
        )
        counts = {**self._tally.dropped, "slow_consumer": bus.dropped, "error": bus.handler_errors}
        for reason, count in counts.items():
            dropped.add_metric([reason], count)
        yield dropped
        yield _histogram(
            "event_processing_seconds",
            "From the arrival of an event to the end of its decision.",
            {"": self._tally.event_seconds},
            labels=[],
        )
        reconnects = CounterMetricFamily(
            f"{PREFIX}nats_reconnects", "How often the connection to NATS came back."
        )
        reconnects.add_metric([], bus.reconnects)
        yield reconnects
        for name, text, value in (
            ("nats_connected", "Whether the bus is connected.", int(bus.is_connected)),
            ("active_channels", "Rooms listened to.", len(list(self._rooms()))),
            ("outbound_buffer_depth", "Replies that wait for the bus.", self._outbound_depth()),
        ):
            family = _gauge(name, text, [])
            family.add_metric([], value)
            yield family


def _gauge(name: str, text: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)


def _histogram(
    name: str, text: str, histograms: Mapping[str, Histogram], labels: list[str] | None = None
) -> HistogramMetricFamily:
    names = ["channel"] if labels is None else labels
    family = HistogramMetricFamily(PREFIX + name, text, labels=names)
    for channel, histogram in histograms.items():
        cumulative = 0
        buckets = []
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            cumulative += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), cumulative))
        family.add_metric([channel] if names else [], buckets, histogram.total)
    return family
