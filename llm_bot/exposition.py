"""What a scrape gets: the numbers of a registry as text, without holding up the event loop.

A thread would hold it up: whoever wakes up waits up to 5 ms for the interpreter, once for each
time that it wakes up. Here the loop gets its turn after each millisecond of writing; only to read a
family takes longer where there are hundreds of rooms (OBS-2).
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

SLICE_SECONDS = 0.001
"""How long it works before others get their turn: far below what anybody notices in a room."""

SAMPLES_AT_ONCE = 50
"""Some 0.4 ms of encoding. The clock is looked at after each."""

Encode = Callable[[Collector], bytes]


async def expose(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The text and its content type, in the format that the header `accept` asks for.

    Each family is read in one go, so that its samples fit each other; between families things may
    happen.
    """
    encode, content_type = _encoder(accept)
    ending = encode(_Only(None))
    texts: list[bytes] = []
    began = time.perf_counter()
    for family in registry.collect():
        for text in _encoded(family, encode, ending):
            texts.append(text)
            if time.perf_counter() - began > SLICE_SECONDS:
                await asyncio.sleep(0)
                began = time.perf_counter()
    return b"".join((*texts, ending)), content_type


def _encoder(accept: str) -> tuple[Encode, str]:
    """Plain text for whoever names a version that is no number, which the library raises at."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")


def _encoded(family: Metric, encode: Encode, ending: bytes) -> Iterator[bytes]:
    """Its head, then its samples, some at once. `ending` is what the encoder puts at the end."""
    # When a counter began is left out: Prometheus would keep it as one more series for each.
    samples = [one for one in family.samples if not one.name.endswith("_created")]
    part = copy.copy(family)
    part.samples = []
    head = encode(_Only(part)).removesuffix(ending)
    yield head
    for at in range(0, len(samples), SAMPLES_AT_ONCE):
        part.samples = samples[at : at + SAMPLES_AT_ONCE]
        yield encode(_Only(part)).removesuffix(ending).removeprefix(head)


class _Only(Collector):
    """A registry of one family, or of none."""

    def __init__(self, family: Metric | None) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return () if self._family is None else (self._family,)
