"""Signals, as the rest of the program sees them: an event that says stop, a call that says reload.

Two handlers share each signal to stop. That of the loop sets the event: it wakes a loop that is
about to sleep, which a plain one doesn't. The plain one counts: it works when the loop is stuck,
be it in the very cleanup that the first order began.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

EXIT_FORCED = 130
"""Exit code after a second order to stop."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

# `timeout` and some launchers send a signal to the process and to its group: one order, twice.
ONE_ORDER_SECONDS = 0.05
# Output that nobody takes doesn't keep the process alive.
_FLUSH_SECONDS = 0.5


@contextmanager
def shutdown_signals(
    stop: asyncio.Event, *, reload: Callable[[], None] | None = None
) -> Iterator[None]:
    """Within it SIGTERM or SIGINT sets `stop`, a second one ends the process at once with 130.

    SIGHUP has `reload` called in the running loop; without `reload` SIGHUP is left as it is. The
    same signal once more within 50 ms counts as one. To be entered in the main thread, in a
    coroutine; on leaving, all handlers are as before.
    """
    with _handling(STOP_SIGNALS, stop.set, _Orders().received):
        if reload is None:
            yield
            return
        with _handling((signal.SIGHUP,), reload):
            yield


async def unless_stopped(stop: asyncio.Event, work: Awaitable[object]) -> bool:
    """Let `work` end; false if `stop` was set first, which cancels it. Raises what `work` does."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


class _Orders:
    """The orders to stop that have come so far."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def received(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = (number, now)
            return
        first_number, first_time = self._first
        if number != first_number or now - first_time > ONE_ORDER_SECONDS:
            _end_at_once()


@contextmanager
def _handling(
    signals: tuple[signal.Signals, ...],
    in_loop: Callable[[], None],
    at_once: Callable[[int, FrameType | None], None] | None = None,
) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    previous = {number: signal.getsignal(number) for number in signals}
    try:
        for number in signals:
            loop.add_signal_handler(number, in_loop)
            if at_once is not None:
                # Takes the place of a handler that does nothing: the loop learns of the signal
                # through the descriptor that the interpreter writes to.
                signal.signal(number, at_once)
        yield
    finally:
        for number, before in previous.items():
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL if before is None else before)


def _end_at_once() -> NoReturn:
    # In a thread, as the main one may have been interrupted in the middle of a write.
    flusher = threading.Thread(target=_flush, daemon=True)
    flusher.start()
    flusher.join(_FLUSH_SECONDS)
    os._exit(EXIT_FORCED)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
