"""Signals, as the rest of the program sees them: an event that says stop, a call that says reload.

The handlers are plain ones, which work when the loop is stuck, be it in the very cleanup that the
first order began. Where the loop has handlers of its own (not on Windows), there is one of these
besides: it wakes a loop that is about to sleep, which a plain one doesn't.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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

    SIGHUP, where there is one, has `reload` called in the running loop, also if it was sent while
    it was blocked; without `reload` SIGHUP is left as it is. The same signal once more within 50 ms
    counts as one. To be entered in the main thread, in a coroutine; on leaving, all handlers are as
    before.
    """
    loop = asyncio.get_running_loop()
    orders: list[tuple[int, float]] = []

    def take_order(number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop.set)
        orders.append((number, time.monotonic()))
        (first, first_time), (_, now) = orders[0], orders[-1]
        if number != first or now - first_time > ONE_ORDER_SECONDS:
            _end_at_once()

    with ExitStack() as stack:
        for number in STOP_SIGNALS:
            stack.enter_context(_handled(number, stop.set, take_order))
        if reload is not None and hasattr(signal, "SIGHUP"):
            stack.enter_context(_handled(signal.SIGHUP, reload))
            blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
            stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, blocked)
        yield


@contextmanager
def _handled(
    number: signal.Signals,
    in_loop: Callable[[], None],
    at_once: Callable[[int, FrameType | None], None] | None = None,
) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = signal.getsignal(number)
    try:
        with suppress(NotImplementedError):  # on Windows, where the plain handler does alone
            loop.add_signal_handler(number, in_loop)
        if at_once is not None:
            # Takes the place of a handler that does nothing: the loop learns of the signal through
            # the descriptor that the interpreter writes to.
            signal.signal(number, at_once)
        yield
    finally:
        with suppress(NotImplementedError):  # on Windows
            loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL if before is None else before)


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
