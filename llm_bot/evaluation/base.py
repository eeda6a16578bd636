"""The shape that the metrics of a reply share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Context = str | Sequence[str]
"""What was said: a text, or lines with the oldest first, each "user: text" or just text."""


class Metric(Protocol):
    """Judges a reply by what was said before it: 0 (not at all) to 1 (entirely).

    Neither empty nor huge nor odd input raises, and nothing is read or changed outside.
    """

    async def evaluate(self, context: Context, response: str) -> float:
        """The measure of `response` as a reply to `context`."""
        ...
