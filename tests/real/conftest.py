"""Real model servers as fixtures. Nothing here is collected unless `-m integration_real` is given.

A server that can't be installed or started skips its tests and says why (`-rs` shows it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.install import InstallError, installed
from tests.real.servers import ModelServer, StartError

MARKER = "integration_real"

StartServer = Callable[[type[ModelServer]], ModelServer]


def pytest_configure(config: pytest.Config) -> None:
    """The marker is known wherever these tests are."""
    config.addinivalue_line("markers", f"{MARKER}: against real model servers; installs them.")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder out of every run that doesn't ask for it by its marker."""
    return None if MARKER in str(config.getoption("markexpr", "")) else True


@pytest.fixture(scope="session")
def start_server(request: pytest.FixtureRequest) -> Iterator[StartServer]:
    """Starts a server of the given kind, each kind once: for tests that leave it as it is."""
    servers: dict[type[ModelServer], ModelServer] = {}

    def start(kind: type[ModelServer]) -> ModelServer:
        if kind not in servers:
            servers[kind] = _started(kind, request)
        return servers[kind]

    yield start
    for server in servers.values():
        server.remove(keep_log=bool(request.session.testsfailed))


@pytest.fixture
def start_own_server(request: pytest.FixtureRequest) -> Iterator[StartServer]:
    """Starts a server that belongs to one test."""
    servers: list[ModelServer] = []

    def start(kind: type[ModelServer]) -> ModelServer:
        servers.append(_started(kind, request))
        return servers[-1]

    yield start
    for server in servers:
        server.remove(keep_log=bool(request.session.testsfailed))


# what failed -> why, so that it is tried and told at length once in a session
_FAILURES = pytest.StashKey[dict[object, str]]()


def _started(kind: type[ModelServer], request: pytest.FixtureRequest) -> ModelServer:
    failures = request.config.stash.setdefault(_FAILURES, {})
    for failed in (kind.name, kind):
        if failed in failures:
            pytest.skip(failures[failed])
    try:
        python = installed(kind.name, lambda text: _say(request.config, text))
    except InstallError as exc:
        failures[kind.name] = f"{kind.name} can't be installed, as told at the first such test"
        pytest.skip(f"{kind.name} can't be installed: {exc}")
    server = kind(python)
    try:
        server.start()
    except StartError as exc:
        server.remove(keep_log=True)
        failures[kind] = f"{kind.__name__} doesn't start, as told at the first such test"
        pytest.skip(str(exc))
    return server


def _say(config: pytest.Config, text: str) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(text)
