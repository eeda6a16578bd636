"""What is imported, by the names that are installed: `yaml` comes with `PyYAML`."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import packages_distributions


def distributions(imported: Iterable[str]) -> set[str]:
    """The distributions of top-level packages, dashes in their names as indexes write them."""
    known = packages_distributions()
    return {known[each][0].replace("_", "-") for each in imported}
