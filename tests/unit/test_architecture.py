"""The code keeps to the tables of spec/spec-architecture-design.md: arrows, layers, libraries."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "llm_bot"
PAGE = ROOT / "spec" / "spec-architecture-design.md"
PURE_LAYERS = {3, 4}
IMPURE = {
    "asyncio",
    "logging",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
}
# Distributions whose package has another name.
PACKAGES = {"nats-py": "nats", "PyYAML": "yaml", "prometheus-client": "prometheus_client"}
COMES_WITH = {"pydantic_core": "pydantic"}

Rows = dict[str, list[str]]


def fenced(name: str) -> list[str]:
    """The lines of the page's block of that name."""
    (block,) = re.findall(rf"^```{name}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(block).splitlines()


def rows(lines: list[str]) -> Rows:
    """`name: a, b`, continued on indented lines."""
    found: Rows = {}
    name = ""
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith(" "):
            name, _, line = line.partition(":")
            assert name not in found, f"{name} has two rows"
            found[name] = []
        found[name] += [part.strip() for part in line.split(",") if part.strip()]
    return found


@cache
def table() -> Rows:
    return rows(fenced("arrows"))


@cache
def layers() -> dict[str, int]:
    found: dict[str, int] = {}
    layer = 0
    for line in fenced("arrows"):
        if heading := re.fullmatch(r"# (\d) .+", line):
            layer = int(heading[1])
        elif line and not line.startswith(" "):
            found[line.partition(":")[0]] = layer
    return found


@cache
def modules() -> dict[str, ast.Module]:
    """The syntax trees of all modules by their names, without `llm_bot.`."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        found[short(".".join(parts))] = ast.parse(path.read_text())
    return found


def short(name: str) -> str:
    return name.removeprefix(f"{PACKAGE}.")


def imported(tree: ast.Module) -> Iterator[str]:
    """Full names of what a module imports, modules and the names taken from them alike."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top(name: str) -> str:
    return name.partition(".")[0]


def arrows(name: str) -> list[str]:
    found = set()
    for target in imported(modules()[name]):
        if top(target) == PACKAGE:
            is_module = short(target) in modules()
            found.add(short(target if is_module else target.rpartition(".")[0]))
    return sorted(found)


def libraries(name: str) -> set[str]:
    tops = {top(target) for target in imported(modules()[name])}
    return tops - set(sys.stdlib_module_names) - {PACKAGE}


def distribution(requirement: str) -> str:
    """`nats-py` of `nats-py[nkeys]>=2.16`."""
    (name,) = re.findall(r"^[\w-]+", requirement)
    return str(name)


def test_every_module_has_a_row_and_every_row_a_module():
    """ARCH-1: the table is about the modules that exist."""
    assert set(table()) == set(modules())


@pytest.mark.parametrize("name", modules())
def test_a_module_imports_what_its_row_names(name):
    """ARCH-1: no arrow that isn't in the table, and none in the table that nothing uses."""
    assert arrows(name) == sorted(table().get(name, []))


@pytest.mark.parametrize("name", table())
def test_arrows_point_down(name):
    """ARCH-2: a layer knows only itself and those below."""
    above = {target for target in table()[name] if layers()[target] > layers()[name]}
    assert not above


def test_there_are_no_cycles():
    """ARCH-2: `prepare` raises where there is one."""
    TopologicalSorter(table()).prepare()


def test_the_client_library_stands_alone():
    """ARCH-3: `llm_client` can be used without the bot."""
    outside = {
        target
        for name in modules()
        if top(name) == "llm_client"
        for target in arrows(name)
        if top(target) != "llm_client"
    }
    assert not outside


@pytest.mark.parametrize("name", [name for name, layer in layers().items() if layer in PURE_LAYERS])
def test_the_core_is_pure(name):
    """ARCH-4: what decides has no clock, chance, log or I/O of its own."""
    assert not {top(target) for target in imported(modules()[name])} & IMPURE
    calls = {
        node.func.attr
        for node in ast.walk(modules()[name])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not calls & {"now", "utcnow", "today"}


@pytest.mark.parametrize("name", modules())
def test_nothing_is_imported_inside_functions(name):
    """ARCH-5: what a module needs stands at its top."""
    inside = [
        f"line {node.lineno}"
        for function in ast.walk(modules()[name])
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not inside


def test_three_modules_import_by_name():
    """ARCH-5: imports that this test can't see exist in three places."""
    users = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id)
        in {"import_module", "__import__"}
    }
    assert users == {"__main__", "bus_choice", "event_loop"}


def test_libraries_stay_in_their_homes():
    """ARCH-6: each library is imported by the modules that the page names, and by all of them."""
    homes: dict[str, set[str]] = {}
    for name in modules():
        for library in libraries(name):
            homes.setdefault(library, set()).add(name)
    assert homes == {name: set(at) for name, at in rows(fenced("libraries")).items()}


def test_the_dependencies_are_those_of_the_page():
    """Each library with a home is a declared dependency, and each dependency has a home."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entries = [*project["dependencies"], *project["optional-dependencies"]["redis"]]
    declared = {distribution(entry) for entry in entries}
    used = {COMES_WITH.get(name, name) for name in rows(fenced("libraries"))}
    assert used == {PACKAGES.get(name, name) for name in declared}


def test_each_dependency_has_its_reason():
    """The page says of each why it is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    reasons = PAGE.read_text().partition("Why each is a dependency")[2]
    for entry in project["dependencies"]:
        assert f"\n| {distribution(entry)}" in reasons
