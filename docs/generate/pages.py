"""Which pages are generated, and by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate.api_page import api_page
from docs.generate.configuration_page import configuration_page

DOCS = Path(__file__).parents[1]

PAGES: Mapping[Path, Callable[[], str]] = {
    DOCS / "API.md": api_page,
    DOCS / "CONFIGURATION.md": configuration_page,
}
"""Each page with what makes its text; the same text on every supported Python."""
