"""Signatures and first paragraphs of docstrings, read from the source.

Not by `inspect`: how it writes annotations and defaults differs from one Python to the next.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Described:
    """Something that can be imported, or a member of it."""

    signature: str
    what: str
    members: tuple[Described, ...] = ()


def module_tree(module: str) -> ast.Module:
    """The source of a module of the project, as a tree."""
    path = ROOT / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def homes(package: str) -> dict[str, str]:
    """For each name that a package gives on: the module that has it."""
    return {
        alias.asname or alias.name: node.module
        for node in module_tree(package).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def exported(module: str) -> list[str]:
    """The names of `__all__`."""
    for node in module_tree(module).body:
        if isinstance(node, ast.Assign) and _target(node) == "__all__":
            return list(ast.literal_eval(node.value))
    raise LookupError(f"{module} has no __all__")


def describe(module: str, name: str) -> Described:
    """What `module` calls `name`."""
    body = module_tree(module).body
    for at, node in enumerate(body):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _class(node)
        if isinstance(node, Function) and node.name == name:
            return _function(node, prefix="")
        if isinstance(node, ast.Assign | ast.AnnAssign) and _target(node) == name:
            return _assigned(node, body[at + 1] if at + 1 < len(body) else None)
    raise LookupError(f"{module} has no {name}")


def _class(node: ast.ClassDef) -> Described:
    bases = [ast.unparse(base) for base in node.bases]
    shown = f"({', '.join(bases)})" if bases else ""
    members = tuple(_members(node))
    return Described(f"class {node.name}{shown}", _first_paragraph(node), members)


def _members(node: ast.ClassDef) -> Iterator[Described]:
    for each in node.body:
        match each:
            case ast.AnnAssign() if not _target(each).startswith("_"):
                if "ClassVar" not in ast.unparse(each.annotation):
                    yield Described(ast.unparse(each), "")
            case ast.Assign() if any("Enum" in ast.unparse(base) for base in node.bases):
                yield Described(ast.unparse(each), "")
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if any(ast.unparse(one).endswith(".setter") for one in each.decorator_list):
                    continue
                if each.name == "__init__":
                    yield _function(each, prefix="", name=node.name)
                elif not each.name.startswith("_"):
                    yield _function(each, prefix=".")
            case _:
                pass


def _function(node: Function, *, prefix: str, name: str = "") -> Described:
    what = _first_paragraph(node)
    decorators = {ast.unparse(each) for each in node.decorator_list}
    arguments = node.args
    if prefix or name:
        is_static = "staticmethod" in decorators
        arguments = _without_self(arguments) if not is_static else arguments
    result = f" -> {ast.unparse(node.returns)}" if node.returns is not None and not name else ""
    if "property" in decorators:
        return Described(f"{prefix}{node.name}{result.replace(' ->', ':')}", what)
    awaited = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    called = name or node.name
    return Described(f"{awaited}{prefix}{called}({ast.unparse(arguments)}){result}", what)


def _without_self(arguments: ast.arguments) -> ast.arguments:
    return ast.arguments(
        posonlyargs=arguments.posonlyargs,
        args=arguments.args[1:],
        vararg=arguments.vararg,
        kwonlyargs=arguments.kwonlyargs,
        kw_defaults=arguments.kw_defaults,
        kwarg=arguments.kwarg,
        defaults=arguments.defaults,
    )


def _assigned(node: ast.Assign | ast.AnnAssign, following: ast.stmt | None) -> Described:
    what = ""
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        what = _paragraph(str(following.value.value))
    return Described(ast.unparse(node), what)


def _target(node: ast.Assign | ast.AnnAssign) -> str:
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
    return target.id if isinstance(target, ast.Name) else ""


def _first_paragraph(node: ast.ClassDef | Function) -> str:
    return _paragraph(ast.get_docstring(node) or "")


def _paragraph(text: str) -> str:
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
