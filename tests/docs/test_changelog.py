"""CHANGELOG.md has the form it says, and knows the version that this is."""

from __future__ import annotations

import re
from datetime import date

from llm_bot import __version__
from tests.docs.markdown import ROOT

TEXT = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
VERSIONS = re.findall(r"^## \[([\d.]+)\] - (\S+)$", TEXT, re.MULTILINE)
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_version_is_there_and_the_newest():
    """Versions go down the page, this one first, each with its day."""
    numbers = [tuple(map(int, number.split("."))) for number, _ in VERSIONS]
    assert numbers == sorted(set(numbers), reverse=True)
    assert VERSIONS[0][0] == __version__
    assert all(date.fromisoformat(day) for _, day in VERSIONS)


def test_what_comes_next_stands_on_top():
    """`Unreleased` is the first heading, and only the known kinds of change are below."""
    assert re.findall(r"^## (.+)$", TEXT, re.MULTILINE)[0] == "[Unreleased]"
    assert set(re.findall(r"^### (.+)$", TEXT, re.MULTILINE)) <= KINDS
