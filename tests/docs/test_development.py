"""What docs/DEVELOPMENT.md shows can be done works exactly as it is printed.

Links and the targets of make are looked at for all pages at once, in `test_pages.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from llm_bot.config.llm import KEYED_PROVIDERS, Provider
from llm_bot.llm_client import ConfigurationError
from llm_bot.llm_client.adapters import ADAPTER_REGISTRY, get_adapter
from llm_bot.llm_client.config import LLMConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "DEVELOPMENT.md").read_text()
NEEDED = (
    "llm_bot",
    "tests",
    "spec",
    "config.example.yaml",
    "pyproject.toml",
)
"""What the commands of the page look at; the rest of the tree isn't copied."""

COMMAND_SECONDS = 120
"""A command takes two seconds; the machine may be busy with much else."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE_NAME = re.compile(r"`([\w./-]+)`[:.]$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the file that the line before it names."""

    language: str
    text: str
    file: str


def section(heading: str) -> str:
    """What stands under a heading, up to the next of the same or a higher level."""
    _, found, rest = PAGE.partition(f"\n{heading}\n")
    assert found, f"no heading {heading!r}"
    levels = tuple("#" * level + " " for level in range(1, heading.count("#") + 1))
    kept: list[str] = []
    in_block = False
    for line in rest.splitlines(keepends=True):
        if line.startswith("```"):
            in_block = not in_block
        elif line.startswith(levels) and not in_block:
            break
        kept.append(line)
    return "".join(kept)


def blocks(text: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(text):
        before = text[: found.start()].rstrip()
        name = _FILE_NAME.search(before)
        yield Block(found[1], found[2], name[1] if name else "")


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


def run(command: list[str], root: Path, given: str = "") -> str:
    """What `command` printed; that it succeeds is what the page promises."""
    # The copy isn't what coverage is measured of, nor part of a repository around it.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        command,
        cwd=root,
        input=given,
        env={**kept, "GIT_CEILING_DIRECTORIES": str(root.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{given}\n{done.stdout}"
    return done.stdout


def follow(text: str, root: Path) -> str:
    """Do what a section says, and return what its commands printed."""
    printed = []
    for block in blocks(text):
        match block.language:
            case "python":
                path = root / block.file
                assert block.file, f"which file is this?\n{block.text}"
                assert not path.exists(), f"{block.file} is there already"
                path.write_text(block.text)
            case "diff":
                run(["git", "apply", "-"], root, block.text)
            case "arrows":
                add_arrows(block.text, root / "spec" / "spec-architecture-design.md")
            case "sh":
                printed.append(run(["bash", "-e", "-c", block.text], root))
            case other:
                raise AssertionError(f"nobody knows what to do with {other}")
    return "".join(printed)


def add_arrows(rows: str, page: Path) -> None:
    """Add to the table of modules: to the row of that name below the same heading, or a new one."""
    lines = page.read_text().splitlines()
    heading = -1
    for row in rows.splitlines():
        if row.startswith("# "):
            heading = lines.index(row)
            continue
        name, _, targets = row.partition(":")
        layer = lines[heading + 1 :]
        end = next(at for at, line in enumerate(layer) if line.startswith(("# ", "```")))
        known = [at for at, line in enumerate(layer[:end]) if line.startswith(f"{name}:")]
        if known:
            lines.insert(heading + 2 + known[0], f"    {targets.strip()}")
        else:
            lines.insert(heading + 1, row)
    page.write_text("\n".join(lines) + "\n")


def touched(text: str) -> set[str]:
    """The Python files that a section writes or changes."""
    whole = {block.file for block in blocks(text) if block.language == "python"}
    changed = set(re.findall(r"^\+\+\+ b/(\S+\.py)$", text, re.MULTILINE))
    return whole | changed


def test_there_are_four_examples():
    """Trigger, adapter, step, dialect."""
    assert [heading.split()[2] for heading in EXAMPLES] == ["trigger", "adapter", "step", "dialect"]


@pytest.mark.parametrize("heading", EXAMPLES)
def test_an_example_works_as_printed(heading, tree):
    """Its files, changes and commands, on a copy of the tree, in the house's style."""
    text = section(heading)
    printed = follow(text, tree)
    assert re.search(r"^[1-9]\d* passed", printed, re.MULTILINE), printed
    files = sorted(touched(text))
    assert files
    for check in (["check"], ["format", "--check"]):
        run([sys.executable, "-m", "ruff", *check, "--no-cache", *files], tree)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("```sh\necho no; exit 3\n```\n", "no", id="command"),
        pytest.param("```sh\nfalse\ntrue\n```\n", "false", id="command-before-the-last"),
        pytest.param(
            "```diff\n--- a/pyproject.toml\n+++ b/pyproject.toml\n@@ -1 +1 @@\n-old\n+new\n```\n",
            "patch does not apply",
            id="stale-diff",
        ),
        pytest.param("`pyproject.toml`:\n\n```python\n```\n", "is there already", id="file"),
        pytest.param("```python\n```\n", "which file", id="no-file"),
        pytest.param("```yaml\n```\n", "yaml", id="language"),
    ],
)
def test_what_does_not_work_is_told(text, reason, tree):
    """Whoever follows an example that went stale fails, and sees why."""
    with pytest.raises(AssertionError, match=reason):
        follow(text, tree)


def test_the_profile_can_be_taken(tree):
    """The script prints its figure and the functions behind it, of the code in the tree."""
    printed = follow(section("## Profile and benchmark"), tree)
    assert re.match(r"[\d.]+ us a line\n", printed), printed
    assert f"{tree}/llm_bot/event_handler/handler.py" in printed


MAP = section("## The code, along one line of chat")


def test_the_names_of_the_map_exist():
    """Each is a module, a file, a family of modules, or a word of the code."""
    package = ROOT / "llm_bot"
    sources = "\n".join(path.read_text() for path in package.rglob("*.py"))
    names = re.findall(r"`([\w./*]+)`", MAP)
    assert len(names) > 50
    for name in names:
        module = package / name.replace(".", "/")
        last = re.escape(name.rpartition(".")[2].strip("/"))
        assert (
            module.is_dir()
            or module.with_suffix(".py").is_file()
            or (ROOT / name).exists()
            or ("*" in name and any(package.glob(f"{name}.py")))
            or re.search(rf"\b{last}\b", sources)
        ), name


def test_every_family_of_rules_has_its_row():
    """The table of rules has each family of spec/, and no other."""
    pages = (path.read_text() for path in (ROOT / "spec").glob("*.md"))
    families = {found for text in pages for found in re.findall(r"^- \*\*([A-Z]+)-\d+", text, re.M)}
    told = re.findall(r"^\| ([A-Z]+(?:, [A-Z]+)*) \|", MAP, re.MULTILINE)
    assert {family for row in told for family in row.split(", ")} == families


def makefile_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


CHECKS = dict(
    re.findall(r"^\| `([a-z-]+)` \|.*\|([^|]*)\|$", section("## Checks"), re.MULTILINE),
)
CHECKS_NOTHING = {"help", "setup", "demo", "lock", "clean"}


def test_every_check_has_a_row():
    """A target that checks something is in the table; one with a result exists."""
    assert makefile_targets() - CHECKS_NOTHING <= set(CHECKS)
    told = {target for target, result in CHECKS.items() if result.strip()}
    assert {"test", "lint", "types"} <= told
    assert told <= makefile_targets()


def test_the_providers_of_a_configuration_are_those_of_the_library():
    """Two places on purpose, and the same names in both; so with who needs a key."""
    assert set(get_args(Provider)) == set(ADAPTER_REGISTRY)
    for name in ADAPTER_REGISTRY:
        keyless = LLMConfig(provider=name, base_url="http://127.0.0.1:9", model="m")
        try:
            get_adapter(keyless)
        except ConfigurationError:
            assert name in KEYED_PROVIDERS
        else:
            assert name not in KEYED_PROVIDERS
