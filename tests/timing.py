"""How long something takes, told apart from how fast the machine is and who else uses it."""

from __future__ import annotations

import time
from collections.abc import Callable

TRIES = 3
"""Noise on a busy machine may spoil one measurement, not all of them."""


def _seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _reference() -> None:
    for number in range(1000):
        str(number)


def is_cheap(call: Callable[[], object], most: float) -> bool:
    """Whether `call` takes at most so many thousands of small steps, measured on this machine."""
    return any(_seconds(call) <= most * max(_seconds(_reference), 1e-5) for _ in range(TRIES))


def is_linear(call: Callable[[str], object], pattern: str, size: int) -> bool:
    """Whether twice the text takes some twice the time; four times it would be quadratic."""

    def best(length: int) -> float:
        text = pattern * (length // len(pattern) + 1)
        return min(_seconds(lambda: call(text)) for _ in range(TRIES))

    return any(best(2 * size) < 3.2 * best(size) for _ in range(TRIES))
