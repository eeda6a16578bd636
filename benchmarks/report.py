"""What a measurement says, as values, and as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from benchmarks.figures import Spread


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head; every column but the first is set to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def lines(self) -> list[str]:
        columns = list(zip(self.head, *self.rows, strict=True))
        widths = [max(3, *map(len, column)) for column in columns]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        return [_row(row, widths) for row in (self.head, rule, *self.rows)]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "| " + " | ".join((first, *rest)) + " |"


@dataclass(frozen=True, slots=True)
class Target:
    """Something that was promised, and what was found. The median decides."""

    what: str
    wanted: str
    found: str
    is_met: bool

    @classmethod
    def most(cls, what: str, found: Spread, limit: float, unit: str) -> Self:
        """No more than `limit` times `unit`."""
        return cls(what, f"<= {limit:g} x {unit}", found.shown(2), found.median <= limit)

    @classmethod
    def least(cls, what: str, found: Spread, limit: float, unit: str) -> Self:
        """No less than `limit` times `unit`."""
        return cls(what, f">= {limit:g} x {unit}", found.shown(2), found.median >= limit)


@dataclass(frozen=True, slots=True)
class Section:
    """One measurement: how it was made, and what came out."""

    title: str
    text: str
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    targets: Sequence[Target] = ()

    def lines(self) -> list[str]:
        parts = [f"## {self.title}", "", self.text, ""]
        for table in self.tables:
            parts += [*table.lines(), ""]
        for note in self.notes:
            parts += [note, ""]
        return parts


def targets(sections: Iterable[Section]) -> list[str]:
    """The targets of all sections as one table."""
    found = [target for section in sections for target in section.targets]
    rows = [
        (target.what, target.wanted, target.found, "met" if target.is_met else "**missed**")
        for target in found
    ]
    return Table(("target", "wanted", "found", ""), rows).lines() if rows else []
