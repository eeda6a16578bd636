"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

COMPARED = ("faststream", "uvloop")
LIBRARIES = ("nats-py", "aiohttp", "httpx", "pydantic", "prometheus-client", "msgspec", "regex")


def facts(other: str | None) -> Iterator[tuple[str, str]]:
    """Names and values. `other` is the interpreter with what the daemon is compared with."""
    yield "processor", f"{_processor()}, {len(os.sched_getaffinity(0))} cores to be used"
    yield "memory", f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    yield "kernel", f"{platform.system()} {platform.release()}"
    yield "load when it began", f"{os.getloadavg()[0]:.2f}"
    yield "Python", f"{platform.python_implementation()} {platform.python_version()}"
    yield "nats-server", _said("nats-server", "--version").removeprefix("nats-server: ")
    for name in LIBRARIES:
        yield name, _version(name)
    # The daemon takes uvloop where it is installed beside it, a bare subscriber never does.
    yield "the daemon's event loop", "uvloop" if find_spec("uvloop") else "asyncio"
    for name in COMPARED:
        yield name, "not installed" if other is None else _version_in(other, name)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _version_in(python: str, name: str) -> str:
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return _said(python, "-c", code)


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return "not found"
    return done.stdout.strip() or "unknown"
