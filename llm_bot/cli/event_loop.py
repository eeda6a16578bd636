"""Which event loop the daemon runs on."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where the extra `speed` is installed, else None, which is asyncio's own.

    At the rates of real rooms it takes a tenth to a quarter off the CPU time (docs/PERFORMANCE.md).
    """
    if importlib.util.find_spec("uvloop") is None:
        return None
    new_loop: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
        "uvloop"
    ).new_event_loop
    return new_loop
