"""Signals: stop, stop at once, reload; and handlers that are as before afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest

from llm_bot import shutdown_handler
from llm_bot.shutdown_handler import EXIT_FORCED, ONE_ORDER_SECONDS, shutdown_signals
from tests.servers import eventually

STOP_SIGNALS = [signal.SIGTERM, signal.SIGINT]
ALL_SIGNALS = [*STOP_SIGNALS, signal.SIGHUP]
SECONDS = 20.0


def _handlers() -> list[object]:
    return [signal.getsignal(number) for number in ALL_SIGNALS]


def _own_handler(number: int, frame: FrameType | None) -> None:
    raise AssertionError("not meant for this one")


@pytest.fixture(autouse=True)
def _handlers_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ALL_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# --- in this process -----------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_an_order_sets_stop(number, times, monkeypatch):
    """SIGTERM and SIGINT set the event, and whoever waits for it goes on; `timeout` signals the
    process and its group, which is one order (LIFE-4)."""
    # On a busy machine the two may be further apart, and a second order would end the test run.
    monkeypatch.setattr(shutdown_handler, "ONE_ORDER_SECONDS", SECONDS)
    stop = asyncio.Event()
    with shutdown_signals(stop):
        assert not stop.is_set()
        for _ in range(times):
            os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), SECONDS)


def until_main_thread_sleeps() -> None:
    """Return when ten looks in a row, a millisecond apart, found it asleep: it has nothing to do,
    and isn't just waiting for its turn."""
    status = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat")
    ends, asleep = time.monotonic() + SECONDS, 0
    while asleep < 10:
        assert time.monotonic() < ends, "it never sleeps"
        state = status.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
        asleep = asleep + 1 if state == "S" else 0
        time.sleep(0.001)


async def test_loop_that_sleeps_is_woken() -> None:
    """A signal that interrupts no system call of the main thread is heard all the same.

    That is so for one that comes in the moment before the loop goes to sleep, and, as is easier
    to bring about, for one that the system gives to another thread.
    """
    stop = asyncio.Event()

    def signal_oneself_soon() -> None:
        waits.wait(SECONDS)
        until_main_thread_sleeps()
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    waits = threading.Event()
    sender = threading.Thread(target=signal_oneself_soon)
    with shutdown_signals(stop):
        sender.start()
        waits.set()
        started = time.monotonic()
        await asyncio.wait_for(stop.wait(), SECONDS)
        assert time.monotonic() - started < SECONDS / 2
    sender.join()


async def test_hangup_reloads_and_does_not_stop() -> None:
    """SIGHUP has `reload` called in the loop, each time (LIFE-7)."""
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    with shutdown_signals(stop, reload=lambda: loops.append(asyncio.get_running_loop())):
        for count in (1, 2):
            os.kill(os.getpid(), signal.SIGHUP)
            await eventually(lambda count=count: len(loops) == count)  # type: ignore[misc]
    assert loops == [asyncio.get_running_loop()] * 2
    assert not stop.is_set()


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN, _own_handler, None])
async def test_previous_handlers_come_back(handler, monkeypatch):
    """On leaving, also through an exception; the default for one that wasn't set from Python."""
    for number in ALL_SIGNALS:
        signal.signal(number, signal.SIG_IGN if handler is None else handler)
    with monkeypatch.context() as patched:
        if handler is None:
            patched.setattr(signal, "getsignal", lambda number: None)
        with shutdown_signals(asyncio.Event()):
            assert _handlers()[2] == handler  # without `reload` SIGHUP is left alone
        with suppress(LookupError), shutdown_signals(asyncio.Event(), reload=lambda: None):
            assert handler is None or handler not in _handlers()
            raise LookupError
    assert _handlers() == [signal.SIG_DFL if handler is None else handler] * 3


# --- in a process of its own ---------------------------------------------------------------

PROGRAM = """
    import asyncio, sys, time
    from llm_bot.shutdown_handler import shutdown_signals

    async def main():
        stop = asyncio.Event()
        with shutdown_signals(stop, reload=lambda: print("reload", flush=True)):
            print("ready", flush=True)
            await stop.wait()
            print("stopping", flush=True)
            sys.stdout.write("unflushed")
            {cleanup}

    asyncio.run(main())
    print("end", flush=True)
"""


class Program:
    """A Python program that ends on signals, with `cleanup` as its last act."""

    def __init__(self, cleanup: str) -> None:
        code = textwrap.dedent(PROGRAM).format(cleanup=cleanup)
        buffered = {key: os.environ[key] for key in os.environ if key != "PYTHONUNBUFFERED"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, bufsize=0, env=buffered
        )
        self.says("ready")

    def says(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{line}\n".encode()


@pytest.fixture
def program() -> Iterator[Callable[[str], Program]]:
    programs: list[Program] = []

    def start(cleanup: str) -> Program:
        programs.append(Program(cleanup))
        return programs[-1]

    yield start
    for started in programs:
        started.process.kill()
        started.process.communicate()


SWALLOWS = """while True:
                try: await asyncio.sleep(1000)
                except BaseException: pass"""
STUCK = [
    pytest.param("await asyncio.Event().wait()", id="waits for ever"),
    pytest.param("time.sleep(1000)", id="blocks the loop"),
    pytest.param("while True: pass", id="turns for ever"),
    pytest.param(SWALLOWS, id="swallows cancellation"),
    pytest.param('sys.stdout.write("x" * 10_000_000)', id="writes what nobody reads"),
]


@pytest.mark.parametrize("cleanup", STUCK)
@pytest.mark.parametrize("second", STOP_SIGNALS)
def test_second_signal_ends_a_stuck_process_at_once(program, cleanup, second):
    """A second signal ends the process with 130, stuck or not, and output isn't lost."""
    running = program(cleanup)
    running.process.send_signal(signal.SIGHUP)
    running.says("reload")
    running.process.send_signal(signal.SIGTERM)
    running.says("stopping")
    time.sleep(2 * ONE_ORDER_SECONDS)  # a second order, not the first one again
    running.process.send_signal(second)
    assert running.process.wait(SECONDS) == EXIT_FORCED
    if "10_000_000" not in cleanup:
        assert running.process.stdout.read() == b"unflushed"
