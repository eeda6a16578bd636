"""The generated pages are those that the code would make now, and complete."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from docs.generate.bus_part import HEARD, SENT, unexplained, unseen
from docs.generate.configuration_page import all_keys
from docs.generate.configuration_words import INTRODUCTIONS, NOTES
from docs.generate.http_part import ROUTES
from docs.generate.live_bot import PATHS, live_through
from docs.generate.pages import PAGES
from docs.generate.python_part import SURFACES
from docs.generate.python_source import exported
from llm_bot.config import NEEDS_RESTART, Config
from tests.docs.markdown import ROOT


@pytest.fixture(scope="module")
def evening():
    return live_through()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_is_fresh(path):
    """Whoever changed what it tells has made it anew."""
    wanted = PAGES[path]()
    found = path.read_text(encoding="utf-8") if path.is_file() else ""
    wrong = [
        f"line {number}: {old!r} should be {new!r}"
        for number, (old, new) in enumerate(
            zip(found.splitlines(), wanted.splitlines(), strict=False), start=1
        )
        if old != new
    ]
    first = wrong[0] if wrong else "it is longer or shorter"
    assert found == wanted, f"{path.name} is stale, run `make docs`: {first}"


# --- configuration ---


def test_every_key_is_told():
    """Each key of the example, which has all of them, is on the page with what it changes at."""
    text = (ROOT / "docs" / "CONFIGURATION.md").read_text(encoding="utf-8")
    paths = [key.path for key in all_keys()]
    assert len(paths) > 100
    for path in paths:
        change = "restart" if path.partition(".")[0] in NEEDS_RESTART else "reload"
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{path}` |")]
        assert f"| {change} |" in row
    assert {path.partition(".")[0].partition("[")[0] for path in paths} == set(Config.model_fields)


def test_notes_belong_to_keys():
    """No note outlives its key, and no introduction its section."""
    paths = {key.path for key in all_keys()}
    assert set(NOTES) <= paths
    sections = {path.rpartition(".")[0].removesuffix("[]") for path in paths}
    assert set(INTRODUCTIONS) <= sections


# --- HTTP ---


def routes() -> Iterator[tuple[str, str]]:
    """Every route that the code registers, by method and path."""
    for path in [ROOT / "llm_bot" / "health.py", *(ROOT / "llm_bot" / "web").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="get" | "post" | "add_get" | "add_post" as method),
                    args=[ast.Constant(value=str(route)), _, *_],
                ) if route.startswith("/"):
                    yield method.removeprefix("add_").upper(), route


def test_the_routes_are_those_of_the_code():
    """Every route is told, and every one that is told exists."""
    assert {(method, path) for method, path, _, _ in ROUTES} == set(routes())


def test_the_examples_are_real(evening):
    """Each path was asked for and answered as it should be."""
    statuses = {path: status for path, (status, _) in evening.pages.items()}
    assert statuses == {path: 400 if "nonsense" in path else 200 for path in PATHS}
    assert evening.pages["/health"][1]["status"] == "healthy"
    assert [each["outcome"] for each in evening.pages[PATHS[2]][1]["decisions"]] == [
        "user_limit",
        "replied",
    ]


# --- the bus ---


def test_the_subjects_are_those_of_the_bot(evening):
    """What it subscribes to and publishes is in the tables; what it hears is all there is."""
    assert not unexplained(evening)
    assert not unseen(evening)
    assert not set(HEARD) & set(SENT)


# --- Python ---


def test_the_surfaces_are_whole():
    """Each module of the page exists, and what it exports is on the page."""
    text = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
    for module, _, named in SURFACES:
        assert f"### `{module}`" in text
        for name in named or exported(module):
            assert f"{name.rpartition('.')[2]}" in text
