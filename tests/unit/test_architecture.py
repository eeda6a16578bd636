"""The code keeps to the tables of spec/spec-architecture-design.md: wings, layers, libraries."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.distributions import distributions

ROOT = Path(__file__).parents[2]
PACKAGE = "llm_bot"
PAGE = ROOT / "spec" / "spec-architecture-design.md"
WORDS = {"errors", "models", "decisions", "ports", "context_window", "rate_limiter"}
MAX_MODULES_AT_THE_ROOT = 14
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
COMES_WITH = {"pydantic-core": "pydantic"}

_ROW = re.compile(r"^\| (\d+) \| `(\w+)` \| (.+?) \| (.+?) \| (pure|-) \|$", re.MULTILINE)


class Row(NamedTuple):
    layer: int
    targets: frozenset[str]
    is_pure: bool


class Import(NamedTuple):
    """One name that a module imports: `target` is the module it is in, `line` where that stands."""

    target: str
    line: int


@cache
def table() -> dict[str, Row]:
    """The rows of the table of wings by their names."""
    return {
        wing: Row(int(layer), frozenset(re.findall(r"`(\w+)`", targets)), pure == "pure")
        for layer, wing, _question, targets, pure in _ROW.findall(PAGE.read_text())
    }


@cache
def paths() -> dict[str, Path]:
    """The files of all modules by their names, without `llm_bot.`; the package itself is ""."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(paths()[module].read_text())


def wing(module: str) -> str:
    return module.partition(".")[0]


def place(module: str, line: int) -> str:
    return f"{paths()[module].relative_to(ROOT)}:{line}"


def imported(module: str) -> Iterator[Import]:
    """Full names of what a module imports, modules and the names taken from them alike."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(module, node.lineno)}: a relative import"
            yield from (Import(f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def own(module: str) -> Iterator[Import]:
    """What a module imports of this package: the modules themselves, without `llm_bot.`."""
    for target, line in imported(module):
        head, _, name = target.partition(".")
        if head == PACKAGE:
            yield Import(name if name in paths() else name.rpartition(".")[0], line)


def libraries(module: str) -> set[str]:
    tops = {wing(target) for target, _ in imported(module)}
    return tops - set(sys.stdlib_module_names) - {PACKAGE}


def homes() -> dict[str, set[str]]:
    """The page's block of libraries: `library: wing, wing`, continued on indented lines."""
    (block,) = re.findall(r"^```libraries\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    rows = re.sub(r"\n +", " ", str(block)).splitlines()
    return {
        name: {part.strip() for part in wings.split(",")}
        for name, _, wings in (row.partition(":") for row in rows)
    }


def test_each_wing_has_a_row_and_each_row_a_wing():
    """ARCH-1: the table is about what exists."""
    assert set(table()) == {wing(module) for module in paths()} - WORDS - {""}


@pytest.mark.parametrize("name", sorted({wing(module) for module in paths()} - {""}))
def test_a_wing_imports_what_its_row_names(name):
    """ARCH-1: the wings of its row, and the words; ARCH-3: for `llm_client` neither."""
    if name in WORDS:
        allowed = {*WORDS, "llm_client"}
    else:
        allowed = {*table()[name].targets, name, *(WORDS if name != "llm_client" else ()), ""}
    offending = [
        f"{place(module, line)} imports {target}: a wing that the row of `{name}` doesn't name. "
        f"Move the code, or add `{wing(target)}` to the row in {PAGE.relative_to(ROOT)}"
        for module in paths()
        if wing(module) == name
        for target, line in own(module)
        if wing(target) not in allowed
    ]
    assert not offending, "\n".join(offending)


def test_no_row_names_a_wing_that_nothing_imports():
    """ARCH-1: what the table allows is what there is."""
    used = {(wing(module), wing(target)) for module in paths() for target, _ in own(module)}
    named = {(name, target) for name, row in table().items() for target in row.targets}
    assert named <= used, f"take out of {PAGE.relative_to(ROOT)}: {sorted(named - used)}"


@pytest.mark.parametrize("name", table())
def test_rows_point_down(name):
    """ARCH-2: a wing knows only those of lower layers."""
    row = table()[name]
    assert not {target for target in row.targets if table()[target].layer >= row.layer}


def test_there_are_no_import_cycles():
    """ARCH-2: `prepare` raises where there is one, and names it."""
    TopologicalSorter(
        {module: {target for target, _ in own(module)} for module in paths()}
    ).prepare()


@pytest.mark.parametrize("name", table())
def test_a_wing_does_not_use_its_own_face(name):
    """ARCH-2: modules of a wing import each other by their own names."""
    offending = [
        place(module, line)
        for module in paths()
        if wing(module) == name
        for target, line in own(module)
        if target == name
    ]
    assert not offending


def test_few_modules_stand_at_the_root():
    """What answers a question of its own has a wing."""
    at_root = [path.name for path in (ROOT / PACKAGE).glob("*.py")]
    assert len(at_root) <= MAX_MODULES_AT_THE_ROOT, at_root


@pytest.mark.parametrize(
    "module",
    [module for module in paths() if wing(module) in table() and table()[wing(module)].is_pure]
    + ["context_window", "rate_limiter", "models", "decisions", "errors"],
)
def test_the_core_is_pure(module):
    """ARCH-4: what decides has no clock, chance, log or I/O of its own."""
    assert not {wing(target) for target, _ in imported(module)} & IMPURE
    calls = {
        node.func.attr
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not calls & {"now", "utcnow", "today"}


def test_nothing_is_imported_inside_functions():
    """ARCH-5: what a module needs stands at its top."""
    inside = [
        place(module, node.lineno)
        for module in paths()
        for function in ast.walk(tree(module))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not inside


def test_three_wings_import_by_name():
    """ARCH-5: imports that this test can't see exist in three places."""
    users = {
        wing(module)
        for module in paths()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id)
        in {"import_module", "__import__"}
    }
    assert users == {"__main__", "bus", "cli"}


def test_libraries_stay_in_their_homes():
    """ARCH-6: each library is imported by the wings that the page names, and by all of them."""
    found: dict[str, set[str]] = {}
    for module in paths():
        for library in libraries(module):
            found.setdefault(library, set()).add(wing(module))
    assert found == homes()


def test_each_dependency_has_a_home_and_its_reason():
    """Each library with a home is a declared dependency, and the page says why each is one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entries = [*project["dependencies"], *project["optional-dependencies"]["redis"]]
    declared = [re.match(r"[\w-]+", entry)[0] for entry in entries]  # type: ignore[index]
    assert {COMES_WITH.get(each, each) for each in distributions(homes())} == set(declared)
    reasons = PAGE.read_text().partition("Why each is a dependency")[2]
    for name in declared:
        assert f"\n| {name}" in reasons
