"""Families of samples under this program's prefix, made of plain numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from llm_bot.room.tally import Histogram

PREFIX = "llm_bot_"

Values = tuple[str, ...]
"""Of the labels of one sample, in their order."""


def counter(
    name: str, text: str, counts: Mapping[Values, float], labels: Sequence[str] = ()
) -> CounterMetricFamily:
    """`_total` is added to its name when it is written."""
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def gauge(
    name: str, text: str, numbers: Mapping[Values, float], labels: Sequence[str] = ()
) -> GaugeMetricFamily:
    """A number for each tuple of label values."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels, unit=_unit(name))
    for values, number in numbers.items():
        family.add_metric(values, number)
    return family


def histogram(
    name: str, text: str, histograms: Mapping[Values, Histogram], labels: Sequence[str] = ()
) -> HistogramMetricFamily:
    """A histogram for each tuple of label values."""
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels, unit=_unit(name))
    for values, one in histograms.items():
        bounds = map(floatToGoString, (*one.bounds, float("inf")))
        buckets = list(zip(bounds, accumulate(one.counts), strict=True))
        family.add_metric(values, buckets, one.total)
    return family


def _unit(name: str) -> str:
    """OpenMetrics tells the unit apart from the name that ends with it."""
    last = name.rpartition("_")[2]
    return last if last in ("seconds", "characters") else ""
