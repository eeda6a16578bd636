"""Processes under measurement: started, spoken to by lines of JSON, and seen from outside."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

ROOT = Path(__file__).parents[1]
CAN_MEASURE = Path("/proc/self/schedstat").exists()
ANSWER_SECONDS = 60.0
END_SECONDS = 10.0
NANOSECONDS = 1e9

# Idle: less than so much CPU time within so long, and not waiting for a core either.
IDLE_SECONDS = 0.06
IDLE_CPU_SECONDS = 0.001
POLL_SECONDS = 0.004


class BenchmarkError(Exception):
    """A measurement can't be made; the text says which and why."""


def _environment() -> dict[str, str]:
    """Ours, but that modules are compiled only once, as when pip has installed them."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Process:
    """One process. The lines that it writes are kept with the time at which they were read."""

    def __init__(self, command: Sequence[str], *, says: str, **variables: str) -> None:
        """`says` is where its lines are read: stdout or stderr. The other is inherited."""
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            [*command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if says == "stdout" else None,
            stderr=subprocess.PIPE if says == "stderr" else None,
            cwd=ROOT,
            env={**_environment(), **variables},
        )
        stream = self._process.stdout or self._process.stderr
        assert stream is not None
        self._stream = stream
        self._lines: queue.Queue[tuple[float, bytes]] = queue.Queue()
        self._said: list[bytes] = []
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_there(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._lines.put((time.monotonic(), line))
        self._lines.put((time.monotonic(), b""))

    def line(self) -> tuple[float, dict[str, Any]]:
        """The next line, and when it came."""
        try:
            at, line = self._lines.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise BenchmarkError(f"no word within {ANSWER_SECONDS:g} s from {self}") from None
        if not line:
            said = b"".join(self._said[-20:]).decode(errors="replace")
            raise BenchmarkError(f"{self} ended with {self._process.wait()}\n{said}")
        self._said.append(line)
        try:
            return at, json.loads(line)
        except ValueError:
            return at, {}

    def until(self, wanted: Callable[[dict[str, Any]], object]) -> tuple[float, dict[str, Any]]:
        """The first line that is `wanted`, and when it came."""
        while True:
            at, line = self.line()
            if wanted(line):
                return at, line

    def tell(self, order: Mapping[str, Any]) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as exc:
            raise BenchmarkError(f"{self} has ended, with {self._process.poll()}") from exc

    def ask(self, **order: Any) -> dict[str, Any]:
        """Send it a line, and read the one that comes back."""
        self.tell(order)
        return self.line()[1]

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far."""
        total = 0
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                total += int((thread / "schedstat").read_text().split()[0])
            except OSError:
                continue  # it has just ended
        return total / NANOSECONDS

    @property
    def is_runnable(self) -> bool:
        """Whether any of its threads runs or waits for a core."""
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                if (thread / "stat").read_text().rpartition(")")[2].split()[0] == "R":
                    return True
            except OSError:
                continue
        return False

    @property
    def resident_bytes(self) -> int:
        """How much of it is in memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise BenchmarkError(f"{self} has no memory any more")

    def ready(self) -> Self:
        """Wait for its first line; one that ends instead, or says nothing, is gone."""
        try:
            self.line()
        except BaseException:
            self.end()
            raise
        return self

    def settle(self, limit: float = ANSWER_SECONDS) -> tuple[float, float]:
        """Wait until it does nothing: its CPU time then, and when it last did something."""
        deadline = time.monotonic() + limit
        spent, changed = self.cpu_seconds, time.monotonic()
        while (now := time.monotonic()) - changed < IDLE_SECONDS:
            if now > deadline:
                raise BenchmarkError(f"{self} was busy for more than {limit:g} s")
            time.sleep(POLL_SECONDS)
            fresh = self.cpu_seconds
            if fresh - spent > IDLE_CPU_SECONDS or self.is_runnable:
                spent, changed = fresh, time.monotonic()
        return self.cpu_seconds, changed

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self.is_there:
            self._process.terminate()
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(END_SECONDS)
        self._stream.close()

    def __str__(self) -> str:
        return " ".join(map(str, self._process.args))  # type: ignore[arg-type]


def helper(module: str, *arguments: str, python: str = sys.executable) -> Process:
    """A process that runs one of the benchmarks' own modules."""
    return Process([python, "-m", f"benchmarks.{module}", *arguments], says="stdout")
