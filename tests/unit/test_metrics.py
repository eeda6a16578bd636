"""The metrics: names, types and labels as promised, and nothing of users in them."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from llm_bot import __version__
from llm_bot.bus import EventBus
from llm_bot.decisions import Outcome
from llm_bot.event_handler import EventHandler
from llm_bot.llm_client import AttemptStatus, LLMRequest, Message
from llm_bot.models import Dialect
from llm_bot.observability.metrics import Metrics
from llm_bot.ports import Event
from llm_bot.rate_limiter import RateLimiter
from llm_bot.response_processor import FilterReason
from llm_bot.room.tally import Histogram, Tally
from tests.fakes import ManualClock, llm_attempt, llm_response
from tests.unit import builders

PREFIX = "llm_bot_"
REQUEST = LLMRequest([Message("user", "hello")])


class Scene:
    """One room, its numbers, and their metrics."""

    def __init__(self) -> None:
        self.bus = EventBus()
        self.clock = ManualClock()
        self.room = builders.room()
        self.limiter = RateLimiter()
        self.tally = Tally()
        self.waiting = 0
        self.metrics = Metrics(
            rooms=lambda: [self.room],
            tally=self.tally,
            bus=self.bus,
            limiter=self.limiter,
            clock=self.clock,
            outbound_depth=lambda: self.waiting,
        )
        self.handler = EventHandler(
            self.room,
            limiter=self.limiter,
            tally=self.tally,
            clock=self.clock,
            rng=lambda: 0.5,
        )

    def hear(self, event: Event) -> None:
        self.handler.handle(event, Dialect.KRYTEN)

    def live_through_everything(self) -> None:
        """Something happens for every metric."""
        self.hear(builders.event("MyBot: hello from me", user="zaphod"))
        self.hear(builders.event("MyBot: me too", user="trillian"))
        self.hear(builders.event("just talking", user="marvin"))
        self.hear(builders.room_event("chatMsg", [1, 2]))
        self.hear(builders.room_event("madeUpByZaphod", {}))
        tally = self.room.tally
        tally.sent["chat"] += 1
        tally.filtered["echo"] += 1
        tally.deliveries["echoed"] += 1
        tally.insights["topic.change.noticed"] += 1
        tally.relevance.observe(0.4)
        tally.response_characters.observe(30)
        tally.reply_seconds.observe(1.5)
        for outcome in AttemptStatus:
            self.metrics.note_attempt(llm_attempt(outcome))
        self.metrics.note_attempt(replace(llm_attempt(), is_retry=True))
        self.metrics.note_attempt(replace(llm_attempt(), is_fallback=True))

    def families(self) -> dict[str, Metric]:
        text = generate_latest(self.metrics.registry).decode()
        return {family.name: family for family in parse_plain(text)}

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(PREFIX + name, labels)


@pytest.fixture
async def scene():
    scene = Scene()
    yield scene
    await scene.bus.close()


async def test_labels_never_hold_what_users_said_or_are_called(scene):
    """Label values come from closed sets or the configuration, never from users or the network."""
    # OBS-1
    scene.live_through_everything()
    text = generate_latest(scene.metrics.registry).decode().lower()
    for word in ("zaphod", "trillian", "marvin", "hello", "talking"):
        assert word not in text


async def test_output_is_valid_openmetrics(scene):
    """A strict parser reads the OpenMetrics output, before anything happened and after."""
    assert list(parse_openmetrics(generate_openmetrics(scene.metrics.registry).decode()))
    scene.live_through_everything()
    families = list(parse_openmetrics(generate_openmetrics(scene.metrics.registry).decode()))
    assert {family.name for family in families} >= {f"{PREFIX}decisions", f"{PREFIX}deliveries"}


async def test_buckets_are_cumulative_and_end_with_all(scene):
    """A bucket counts all values up to its bound; `+Inf` is the count."""
    for seconds in (0.1, 0.1001, 0.3, 7, 31):
        scene.room.tally.reply_seconds.observe(seconds)
    samples = scene.families()[f"{PREFIX}reply_duration_seconds"].samples
    buckets = {one.labels["le"]: one.value for one in samples if one.name.endswith("_bucket")}
    assert buckets == {
        "0.1": 1,
        "0.25": 2,
        "0.5": 3,
        "1.0": 3,
        "2.0": 3,
        "5.0": 3,
        "10.0": 4,
        "30.0": 4,
        "+Inf": 5,
    }
    assert scene.value("reply_duration_seconds_count", channel="MyChannel") == 5
    total = scene.value("reply_duration_seconds_sum", channel="MyChannel")
    assert total == pytest.approx(38.5001)


def test_value_on_a_bound_belongs_to_its_bucket():
    """`le` is "less or equal"."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 2.0, 2.1):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1]
    assert histogram.total == pytest.approx(5.6)


async def test_closed_sets_are_there_from_the_start(scene):
    """What may be counted is there with 0: a counter that comes with its first event hides it
    (OBS-17)."""
    room = {"channel": "MyChannel"}
    for outcome in Outcome:
        assert scene.value("decisions_total", outcome=outcome.value, **room) == 0
    for reason in FilterReason:
        assert scene.value("responses_filtered_total", reason=reason.value, **room) == 0
    for result in ("echoed", "unconfirmed", "refused"):
        assert scene.value("deliveries_total", result=result, **room) == 0
    for kind in ("mention", "pm"):
        assert scene.value("triggers_fired_total", trigger_type=kind, **room) == 0
    assert scene.value("triggers_fired_total", trigger_type="contextual", **room) is None


async def test_tick_is_counted_under_the_trigger_that_the_room_has(scene):
    """A room whose trigger is asked by a timer has its counters as well."""
    scene.room = builders.room(
        triggers=[{"type": "mention"}, {"type": "contextual", "enabled": True}]
    )
    samples = scene.families()[f"{PREFIX}triggers_evaluated"].samples
    found = {sample.labels["trigger_type"]: sample.value for sample in samples}
    assert found == {"mention": 0, "contextual": 0}


async def test_units_are_told_in_openmetrics(scene):
    """Whatever is measured in seconds or characters says so."""
    text = generate_openmetrics(scene.metrics.registry).decode()
    told = dict(re.findall(r"^# UNIT llm_bot_(\S+) (\S+)$", text, re.MULTILINE))
    assert told == {
        "clock_skew_seconds": "seconds",
        "event_processing_seconds": "seconds",
        "llm_request_duration_seconds": "seconds",
        "reply_duration_seconds": "seconds",
        "response_length_characters": "characters",
    }


async def test_last_reload_is_told(scene):
    """1 before the first; then whether the latest took effect."""
    assert scene.value("config_last_reload_successful") == 1
    scene.metrics.note_reload(succeeded=False)
    assert scene.value("config_last_reload_successful") == 0
    scene.metrics.note_reload(succeeded=True)
    assert scene.value("config_last_reload_successful") == 1


async def test_decisions_are_counted_by_outcome(scene):
    """Each line has one outcome, counted when it is final."""
    scene.live_through_everything()
    assert scene.value("decisions_total", outcome="no_match", channel="MyChannel") == 1
    suppressed = {
        "trigger_type": "mention",
        "reason": "trigger_cooldown",
        "channel": "MyChannel",
    }
    assert scene.value("triggers_suppressed_total", **suppressed) == 1
    assert scene.value("triggers_fired_total", trigger_type="mention", channel="MyChannel") == 1
    assert scene.value("reply_queue_depth", channel="MyChannel") == 1
    assert scene.value("context_window_size", channel="MyChannel") == 3


async def test_remaining_limits_are_computed_when_scraped(scene):
    """What a limit still allows changes with the clock, without anything happening (OBS-2)."""
    labels = {"limit_type": "max_per_channel_per_minute", "channel": "MyChannel"}
    assert scene.value("rate_limit_remaining", **labels) == 5
    scene.hear(builders.event("MyBot: hello"))
    assert scene.value("rate_limit_remaining", **labels) == 4
    job = scene.room.public_lane.take()
    assert job is not None
    job.permit.send(scene.clock.monotonic())
    scene.clock.advance(59)
    assert scene.value("rate_limit_remaining", **labels) == 4
    scene.clock.advance(1)
    assert scene.value("rate_limit_remaining", **labels) == 5


async def test_drops_are_counted_by_reason(scene):
    """Events that were not understood, came too fast, or met a bug, each under its reason."""
    scene.live_through_everything()
    scene.bus.dropped = 4
    scene.bus.handler_errors = 2
    assert scene.value("events_dropped_total", reason="slow_consumer") == 4
    assert scene.value("events_dropped_total", reason="error") == 2
    assert sum(scene.tally.dropped.values()) > 0


async def test_connection_and_buffer_are_gauges_of_this_moment(scene):
    """Connected or not, how often it came back, how many replies wait for it."""
    assert scene.value("nats_connected") == 1
    scene.bus.disconnect()
    scene.waiting = 3
    assert scene.value("nats_connected") == 0
    assert scene.value("outbound_buffer_depth") == 3
    scene.bus.reconnect()
    assert scene.value("nats_reconnects_total") == 1
    assert scene.value("active_channels") == 1


async def test_model_is_available_until_a_request_fails(scene):
    """`llm_api_available`: true until a request fails, and again after the next success (OBS-5)."""
    assert scene.value("llm_api_available") == 1
    scene.metrics.note_attempt(llm_attempt(AttemptStatus.TIMEOUT))
    assert scene.value("llm_api_available") == 0
    scene.metrics.note_attempt(llm_attempt())
    assert scene.value("llm_api_available") == 1
    labels = {"provider": "fake", "model": "asked"}
    assert scene.value("llm_requests_total", status="timeout", **labels) == 1
    assert scene.value("llm_request_duration_seconds_count", **labels) == 2


async def test_answer_is_counted_with_its_tokens_under_the_name_asked_for(scene):
    """Tokens by kind; the label is the configured model, whatever the server calls itself."""
    scene.metrics.note_response(llm_response("Hi."))
    labels = {"provider": "fake", "model": "asked"}
    assert scene.value("llm_tokens_total", kind="prompt", **labels) == 7
    assert scene.value("llm_tokens_total", kind="completion", **labels) == 3
    assert scene.value("llm_retries_total", provider="fake") is None


async def test_repeats_and_fallbacks_are_counted_apart(scene):
    """A repeat counts for the provider that is asked again, a fallback for the one turned to."""
    for _ in range(2):
        scene.metrics.note_attempt(replace(llm_attempt(), is_retry=True))
    scene.metrics.note_attempt(replace(llm_attempt(), provider="other", is_fallback=True))
    scene.metrics.note_attempt(replace(llm_attempt(), provider="other", is_retry=True))
    assert scene.value("llm_retries_total", provider="fake") == 2
    assert scene.value("llm_retries_total", provider="other") == 1
    assert scene.value("llm_fallbacks_total", provider="fake") is None
    assert scene.value("llm_fallbacks_total", provider="other") == 1


async def test_build_info_tells_the_version(scene):
    """One gauge that is always 1, with the version as its label."""
    (sample,) = scene.families()[f"{PREFIX}build_info"].samples
    assert sample.labels["version"] == __version__
    assert sample.value == 1


async def test_each_process_has_a_registry_of_its_own(scene):
    """Two sets of metrics in one process don't see each other's numbers."""
    other = Scene()
    other.room.tally.sent["chat"] += 1
    labels = {"target_type": "chat", "channel": "MyChannel"}
    assert other.value("responses_sent_total", **labels) == 1
    assert scene.value("responses_sent_total", **labels) == 0
    await asyncio.wait_for(other.bus.close(), 5)
