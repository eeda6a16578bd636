"""The Prometheus face of what is counted. Names and labels: spec/spec-observability.md."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llm_bot import __version__
from llm_bot.llm_client import Attempt, AttemptStatus, LLMResponse
from llm_bot.observability.families import Values, counter, gauge, histogram
from llm_bot.observability.room_metrics import room_families
from llm_bot.ports import Bus, Clock
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room import Room
from llm_bot.room.tally import SECONDS, Histogram, Tally


class Metrics(Collector):
    """All metrics of one process, in a `registry` of their own.

    What a line of chat changes is counted in plain numbers elsewhere, and so is what the model
    cost, here: a bound counter of the library costs more than all else that a line does.
    """

    def __init__(
        self,
        *,
        rooms: Callable[[], Iterable[Room]],
        tally: Tally,
        bus: Bus,
        limiter: RateLimiter,
        clock: Clock,
        outbound_depth: Callable[[], int],
        log_lines_lost: Callable[[], int] = lambda: 0,
    ) -> None:
        self._rooms = rooms
        self._tally = tally
        self._bus = bus
        self._limiter = limiter
        self._clock = clock
        self._outbound_depth = outbound_depth
        self._log_lines_lost = log_lines_lost
        self.is_model_available = True
        self._requests: Counter[Values] = Counter()
        self._retries: Counter[Values] = Counter()
        self._fallbacks: Counter[Values] = Counter()
        self._tokens: Counter[Values] = Counter()
        self._request_seconds: dict[Values, Histogram] = {}
        self._reloads: dict[Values, int] = {("ok",): 0, ("failed",): 0}
        self._is_last_reload_ok = True
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)  # memory, processor time, files: where /proc is

    def note_attempt(self, attempt: Attempt) -> None:
        """One request to a model has ended."""
        provider, model = attempt.provider, attempt.model
        self._requests[provider, model, attempt.outcome.value] += 1
        seconds = self._request_seconds.setdefault((provider, model), Histogram(SECONDS))
        seconds.observe(attempt.seconds)
        if attempt.is_retry:
            self._retries[(provider,)] += 1
        if attempt.is_fallback:
            self._fallbacks[(provider,)] += 1
        self.is_model_available = attempt.outcome is AttemptStatus.SUCCESS

    def note_response(self, response: LLMResponse) -> None:
        """A model answered."""
        # The name that was asked for: what a server calls itself could be anything.
        model = response.attempt_log[-1].model if response.attempt_log else ""
        for kind in ("prompt", "completion"):
            if count := getattr(response.usage, f"{kind}_tokens"):
                self._tokens[response.provider, model, kind] += count

    def forget_failures(self) -> None:
        """Another client takes over, of which nothing is known."""
        self.is_model_available = True

    def note_reload(self, *, succeeded: bool) -> None:
        """The configuration was read anew, for better or worse."""
        self._reloads[("ok" if succeeded else "failed",)] += 1
        self._is_last_reload_ok = succeeded

    def collect(self) -> Iterator[Metric]:
        """All families, as things stand."""
        rooms = list(self._rooms())
        yield from room_families(rooms, self._limiter, self._clock.monotonic())
        yield from self._model_families()
        yield from self._bus_families()
        yield histogram(
            "event_processing_seconds",
            "From the arrival of an event to the end of its decision.",
            {(): self._tally.event_seconds},
        )
        yield gauge("active_channels", "Rooms listened to.", {(): len(rooms)})
        yield counter(
            "log_lines_lost",
            "Lines of the log that nobody took in time.",
            {(): self._log_lines_lost()},
        )
        yield counter(
            "config_reloads",
            "Reloads of the configuration, by how they ended.",
            self._reloads,
            ["result"],
        )
        yield gauge(
            "config_last_reload_successful",
            "Whether the last reload took effect (1 before the first).",
            {(): self._is_last_reload_ok},
        )
        yield gauge(
            "build_info",
            "Always 1; the labels tell the versions.",
            {(__version__, platform.python_version()): 1},
            ["version", "python"],
        )

    def _model_families(self) -> Iterator[Metric]:
        yield counter(
            "llm_requests",
            "Requests to a model, by how they ended.",
            self._requests,
            ["provider", "model", "status"],
        )
        yield counter(
            "llm_retries",
            "Requests that were repeats with the same provider.",
            self._retries,
            ["provider"],
        )
        yield counter(
            "llm_fallbacks",
            "Times that a provider was turned to because those before it failed or rest.",
            self._fallbacks,
            ["provider"],
        )
        yield counter(
            "llm_tokens",
            "Tokens as the servers counted them.",
            self._tokens,
            ["provider", "model", "kind"],
        )
        yield histogram(
            "llm_request_duration_seconds",
            "Time of one request to a model.",
            self._request_seconds,
            ["provider", "model"],
        )
        yield gauge(
            "llm_api_available",
            "Whether the last request to a model got an answer (1 before the first).",
            {(): self.is_model_available},
        )

    def _bus_families(self) -> Iterator[Metric]:
        bus = self._bus
        dropped = {**self._tally.dropped, "slow_consumer": bus.dropped, "error": bus.handler_errors}
        yield counter(
            "events_dropped",
            "Events that were not understood or came faster than they were handled.",
            {(reason,): count for reason, count in dropped.items()},
            ["reason"],
        )
        yield counter(
            "nats_reconnects", "How often the connection to NATS came back.", {(): bus.reconnects}
        )
        yield gauge("nats_connected", "Whether the bus is connected.", {(): bus.is_connected})
        yield gauge(
            "outbound_buffer_depth", "Replies that wait for the bus.", {(): self._outbound_depth()}
        )
