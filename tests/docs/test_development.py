"""What docs/DEVELOPMENT.md shows can be done works exactly as it is printed.

A worked example names a file before each block: that file's name alone for a whole new one, or "In
FILE, below `ANCHOR`:" for lines that go below the first one with the anchor ("in place of": that
replace it). "In FILE, `OLD` becomes `NEW`." is what it says; `sh` is run at the root.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "DEVELOPMENT.md").read_text()
NEEDED = (
    "llm_bot",
    "tests",
    "spec",
    "docs",
    "benchmarks",
    "deploy",
    "config.example.yaml",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Makefile",
)
"""What the commands of the page look at; the rest of the tree isn't copied."""

COMMAND_SECONDS = 300
"""A command takes some seconds; the machine may be busy with much else."""

_STEP = re.compile(
    r"^In `(?P<changed>[\w./-]+)`, `(?P<old>[^`]+)` becomes `(?P<new>[^`]+)`\."
    r"|^(?:In )?`(?P<file>[\w./-]+)`(?:, (?P<where>below|in place of) `(?P<anchor>[^`]+)`)?:"
    r"\n\n```\w+\n(?P<text>.*?)^```$"
    r"|^```sh\n(?P<command>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


def section(heading: str) -> str:
    """What stands under a heading, up to the next of the same or a higher level."""
    _, found, rest = PAGE.partition(f"\n{heading}\n")
    assert found, f"no heading {heading!r}"
    level = heading.count("#", 0, heading.index(" "))
    blocks = re.split(r"(^```.*?^```$)", rest, flags=re.DOTALL | re.MULTILINE)
    kept = []
    for part in blocks:
        end = (
            None if part.startswith("```") else re.search(rf"^#{{1,{level}}} ", part, re.MULTILINE)
        )
        kept.append(part[: end.start()] if end else part)
        if end:
            break
    return "".join(kept)


EXAMPLES = re.findall(r"^### .+$", section("## Worked examples"), re.MULTILINE)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is needed of the project, with the environment that runs this test."""
    root = tmp_path / "project"
    root.mkdir()
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name)
        else:
            shutil.copy2(source, root / name)
    (root / ".venv").symlink_to(sys.prefix)
    return root


def run(command: list[str], root: Path) -> str:
    """What `command` printed; that it succeeds is what the page promises."""
    # The copy isn't what coverage is measured of.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        command,
        cwd=root,
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout


def follow(text: str, root: Path) -> tuple[str, set[str]]:
    """Do what a section says; what its commands printed, and the Python files that it touched."""
    printed, touched = [], set()
    for step in _STEP.finditer(text):
        if step["command"]:
            printed.append(run(["bash", "-e", "-c", step["command"]], root))
            continue
        name = step["changed"] or step["file"]
        path = root / name
        if step["changed"]:
            found = path.read_text()
            assert step["old"] in found, f"{name} has no {step['old']!r}"
            path.write_text(found.replace(step["old"], step["new"], 1))
        elif step["anchor"]:
            above, anchor, below = path.read_text().partition(step["anchor"])
            assert anchor, f"{name} has no {step['anchor']!r}"
            rest, newline, after = below.partition("\n")
            if step["where"] == "below":
                above += anchor + rest + newline
            else:
                above = above[: above.rfind("\n") + 1]
            path.write_text(above + step["text"] + after)
        else:
            assert not path.exists(), f"{name} is there already"
            path.write_text(step["text"])
        touched |= {name} if name.endswith(".py") else set()
    return "".join(printed), touched


def test_there_are_three_examples():
    """Trigger, provider, step: what is added most."""
    assert [heading.split()[2] for heading in EXAMPLES] == ["trigger", "provider", "step"]


@pytest.mark.parametrize("heading", EXAMPLES)
def test_an_example_works_as_printed(heading, tree):
    """Its files, changes and commands, on a copy of the tree, in the house's style and typed."""
    printed, files = follow(section(heading), tree)
    assert re.search(r"^[1-9]\d* passed", printed, re.MULTILINE), printed
    for check in (["check"], ["format", "--check"]):
        run([sys.executable, "-m", "ruff", *check, "--no-cache", *sorted(files)], tree)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("```sh\nfalse\ntrue\n```\n", "false", id="command"),
        pytest.param("In `pyproject.toml`, `no such` becomes `x`.", "has no", id="stale-change"),
        pytest.param(
            "In `pyproject.toml`, below `no such`:\n\n```toml\n```\n", "has no", id="stale"
        ),
        pytest.param("`pyproject.toml`:\n\n```toml\n```\n", "is there already", id="file"),
    ],
)
def test_what_does_not_work_is_told(text, reason, tree):
    """Whoever follows an example that went stale fails, and sees why."""
    with pytest.raises(AssertionError, match=reason):
        follow(text, tree)


def test_the_profile_can_be_taken(tree):
    """The script prints its figure and the functions behind it, of the code in the tree."""
    printed, _ = follow(section("## Profile and benchmark"), tree)
    assert re.match(r"[\d.]+ us a line\n", printed), printed
    assert f"{tree}/llm_bot/event_handler/" in printed


def test_the_files_of_the_walk_exist():
    """Each station of the walk names files of the package, and there are at most twelve."""
    walk = section("## The walk of a line")
    stations = re.findall(r"^\d+\. .*?(?=^\d+\. |^\S)", walk, re.DOTALL | re.MULTILINE)
    assert 8 <= len(stations) <= 12
    for station in stations:
        files = re.findall(r"`([\w/]+\.py)`", station)
        assert files
        missing = [name for name in files if not (ROOT / "llm_bot" / name).is_file()]
        assert not missing, missing
