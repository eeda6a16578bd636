"""Fixtures for all tests."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import NatsServer, RedisServer

# In a fresh checkout hypothesis needs a second for its table of characters, before the first text.
settings.register_profile("patient", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

UNIT_TESTS = Path(__file__).parent / "unit"
CAPTURED_LINES_SHOWN = 15


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows its message; of what was captured meanwhile the end is enough."""
    report = yield
    report.sections = [
        (title, "\n".join(text.splitlines()[-CAPTURED_LINES_SHOWN:]))
        for title, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """One nats-server for all tests that neither end nor configure it."""
    server = NatsServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def own_nats_server() -> Iterator[Callable[..., NatsServer]]:
    """Makes and starts servers that belong to one test: `own_nats_server(config=..., ...)`."""
    servers: list[NatsServer] = []

    def make(*, config: str = "", jetstream: bool = False) -> NatsServer:
        server = NatsServer(config=config, jetstream=jetstream)
        servers.append(server)
        return server.start()

    try:
        yield make
    finally:
        for server in servers:
            server.remove()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One redis-server for all tests that neither end nor configure it."""
    server = RedisServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def own_redis_server() -> Iterator[Callable[..., RedisServer]]:
    """Makes and starts servers that belong to one test: `own_redis_server(config=...)`."""
    servers: list[RedisServer] = []

    def make(*, config: str = "") -> RedisServer:
        server = RedisServer(config=config)
        servers.append(server)
        return server.start()

    try:
        yield make
    finally:
        for server in servers:
            server.remove()


@pytest.fixture(autouse=True)
def _no_network_in_unit_tests(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In unit tests only this machine can be reached: a forgotten fake shows at once.

    The error is one that client libraries expect, so that they translate it.
    """
    if not request.path.is_relative_to(UNIT_TESTS):
        return
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if not _is_local(address):
            raise ConnectionRefusedError(f"a unit test may not connect to {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _is_local(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # the path of a Unix socket
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return bool(address[0] == "localhost")
