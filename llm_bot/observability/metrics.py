"""The Prometheus face of what is counted. Names and labels: spec/spec-observability.md."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llm_bot import __version__
from llm_bot.llm_client import Attempt, AttemptStatus, LLMResponse
from llm_bot.observability.families import PREFIX, counter, gauge, histogram
from llm_bot.observability.room_metrics import RoomCollector, Rooms
from llm_bot.ports import Bus, Clock
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room.tally import SECONDS, Tally


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(
        self,
        *,
        rooms: Rooms,
        tally: Tally,
        bus: Bus,
        limiter: RateLimiter,
        clock: Clock,
        outbound_depth: Callable[[], int],
        log_lines_lost: Callable[[], int] = lambda: 0,
    ) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, processor time, files: where /proc is
        self.registry.register(RoomCollector(rooms, limiter, clock))
        self.registry.register(_DaemonCollector(rooms, tally, bus, outbound_depth, log_lines_lost))
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
        self._duration = Histogram(
            f"{PREFIX}llm_request_duration_seconds",
            "Time of one request to a model.",
            ["provider", "model"],
            unit="seconds",
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
        self._last_reload = Gauge(
            f"{PREFIX}config_last_reload_successful",
            "Whether the last reload took effect (1 before the first).",
            registry=self.registry,
        )
        self._last_reload.set(1)
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
        self._last_reload.set(succeeded)

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


class _DaemonCollector(Collector):
    """What belongs to no room."""

    def __init__(
        self,
        rooms: Rooms,
        tally: Tally,
        bus: Bus,
        outbound_depth: Callable[[], int],
        log_lines_lost: Callable[[], int],
    ) -> None:
        self._rooms = rooms
        self._tally = tally
        self._bus = bus
        self._outbound_depth = outbound_depth
        self._log_lines_lost = log_lines_lost

    def collect(self) -> Iterator[Metric]:
        bus = self._bus
        dropped = counter(
            "events_dropped",
            "Events that were not understood or came faster than they were handled.",
            ["reason"],
        )
        counts = {**self._tally.dropped, "slow_consumer": bus.dropped, "error": bus.handler_errors}
        for reason, count in counts.items():
            dropped.add_metric([reason], count)
        yield dropped
        yield histogram(
            "event_processing_seconds",
            "From the arrival of an event to the end of its decision.",
            {(): self._tally.event_seconds},
        )
        reconnects = counter("nats_reconnects", "How often the connection to NATS came back.")
        reconnects.add_metric([], bus.reconnects)
        yield reconnects
        lost = counter("log_lines_lost", "Lines of the log that nobody took in time.")
        lost.add_metric([], self._log_lines_lost())
        yield lost
        for name, text, value in (
            ("nats_connected", "Whether the bus is connected.", int(bus.is_connected)),
            ("active_channels", "Rooms listened to.", len(list(self._rooms()))),
            ("outbound_buffer_depth", "Replies that wait for the bus.", self._outbound_depth()),
        ):
            family = gauge(name, text)
            family.add_metric([], value)
            yield family
