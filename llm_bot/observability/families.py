"""Families of samples under this program's prefix, made of plain numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from llm_bot.room.tally import Histogram

PREFIX = "llm_bot_"


def counter(name: str, text: str, labels: Sequence[str] = ()) -> CounterMetricFamily:
    """Without samples yet; `_total` is added to its name when it is written."""
    return CounterMetricFamily(PREFIX + name, text, labels=labels)


def gauge(name: str, text: str, labels: Sequence[str] = ()) -> GaugeMetricFamily:
    """Without samples yet."""
    return GaugeMetricFamily(PREFIX + name, text, labels=labels, unit=_unit(name))


def histogram(
    name: str,
    text: str,
    histograms: Mapping[tuple[str, ...], Histogram],
    labels: Sequence[str] = (),
) -> HistogramMetricFamily:
    """With a histogram for each tuple of label values."""
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels, unit=_unit(name))
    for values, one in histograms.items():
        cumulative = 0
        buckets = []
        for bound, count in zip((*one.bounds, float("inf")), one.counts, strict=True):
            cumulative += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), cumulative))
        family.add_metric(values, buckets, one.total)
    return family


def _unit(name: str) -> str:
    """OpenMetrics tells the unit apart from the name that ends with it."""
    last = name.rpartition("_")[2]
    return last if last in ("seconds", "characters") else ""
