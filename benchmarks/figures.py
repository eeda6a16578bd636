"""Medians, spreads and percentiles of what was measured. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several rounds, and the least and the greatest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1])

    def shown(self, digits: int = 2, scale: float = 1.0) -> str:
        """`2.10 (2.05-2.31)`, with so many digits after the point."""
        median, low, high = (
            f"{value * scale:,.{digits}f}" for value in (self.median, self.low, self.high)
        )
        return f"{median} ({low}-{high})"


def per_round(
    ratio: Callable[[float, float], float], values: Sequence[float], reference: Sequence[float]
) -> Spread:
    """`ratio` of each round's value to the reference of the same round."""
    return Spread.of(ratio(*pair) for pair in zip(values, reference, strict=True))


def quotient(value: float, reference: float) -> float:
    return value / reference


def beyond(value: float, reference: float) -> float:
    """What comes on top of the reference, as a share of it."""
    return (value - reference) / reference


def percentile(values: Sequence[float], part: float) -> float:
    """The least value that `part` (0 to 1) of all values don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
