"""The image as fixture. Nothing here is collected unless `-m image` is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.image.building import Builder, BuildError, obstacle
from tests.image.container import Engine

MARKER = "image"
REVISION = "0123456789abcdef0123456789abcdef01234567"


def pytest_configure(config: pytest.Config) -> None:
    """The marker is known wherever these tests are."""
    config.addinivalue_line("markers", f"{MARKER}: builds the image and runs it.")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder out of every run that doesn't ask for it by its marker."""
    return None if str(config.getoption("markexpr", "")) == MARKER else True


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Writes a line between those of pytest: what takes long, and what was measured."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")

    def write(text: str) -> None:
        with nullcontext() if capture is None else capture.global_and_fixture_disabled():
            if reporter is not None:
                reporter.ensure_newline()
                reporter.write_line(text)

    return write


@pytest.fixture(scope="session")
def builder(say: Callable[[str], None]) -> Builder:
    """Builds images on a base that is made once and kept in `.image`."""
    if reason := obstacle():
        pytest.fail(reason, pytrace=False)
    return Builder(say)


@pytest.fixture(scope="session")
def image(builder: Builder) -> str:
    """The image as everybody builds it; its name."""
    try:
        return builder.build("llm-bot:test", REVISION=REVISION)
    except BuildError as exc:
        pytest.fail(str(exc), pytrace=False)


@pytest.fixture
def engine(builder: Builder) -> Iterator[Engine]:
    """Starts containers; afterwards they are gone."""
    running = Engine(builder)
    yield running
    running.remove_all()
