"""Signals, as the rest of the program sees them: an event that says stop, a call that says reload.

The handlers are those of `signal.signal`, not of the event loop: the second order to stop has to
work when the loop is stuck, be it in the very cleanup that the first order began.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
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
    stopping = _Stopping(asyncio.get_running_loop(), stop)
    with _handling(STOP_SIGNALS, stopping.signalled):
        if reload is None:
            yield
            return
        with _handling((signal.SIGHUP,), _soon(stopping.loop, reload)):
            yield


_SignalHandler = Callable[[int, FrameType | None], None]


class _Stopping:
    """How far it has come: nothing asked, asked once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        self.loop = loop
        self._stop = stop
        self._first: tuple[int, float] | None = None

    def signalled(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = (number, now)
            self.loop.call_soon_threadsafe(self._stop.set)
            return
        first_number, first_time = self._first
        if number != first_number or now - first_time > ONE_ORDER_SECONDS:
            _end_at_once()


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> _SignalHandler:
    def signalled(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)

    return signalled


@contextmanager
def _handling(signals: tuple[signal.Signals, ...], handler: _SignalHandler) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, before in previous.items():
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
