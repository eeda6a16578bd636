"""What the pages show can be followed, run, and loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.command_lines import complaint, make_targets, of_blocks, simple_commands
from tests.docs.configurations import documents, is_configuration, judged
from tests.docs.markdown import ROOT, Block, anchors, blocks, inline_code, links, pages

PAGES = pages()
BLOCKS = [block for path in PAGES for block in blocks(path)]
CONFIGURATIONS = [
    (block, document)
    for block in BLOCKS
    for document in documents(block)
    if is_configuration(document)
]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_check():
    """The patterns of these modules still find what they look for."""
    assert {"README.md", "docs/CONFIGURATION.md", "spec/requirements.md"} <= {
        name_of(path) for path in PAGES
    }
    assert len(CONFIGURATIONS) > 8
    assert "provider: mlx" in "".join(block.text for block in BLOCKS if not block.language)
    assert {"test", "setup", "redis-server"} <= make_targets()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path):
    """Each relative link names a file of the project, and a heading that is in it."""
    broken = []
    for target in links(path):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        is_there = file.exists() and file.is_relative_to(ROOT)
        if not is_there or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize(
    ("block", "document"), CONFIGURATIONS, ids=[str(block) for block, _ in CONFIGURATIONS]
)
def test_a_configuration_passes_the_check(block, document, tmp_path):
    """Each one, made whole where it is a part, is usable without a warning."""
    assert not judged(document, tmp_path).warnings


def test_commands_are_this_program_s():
    """Each `make` and `llm-bot` of a block names a target, or is taken by the parser."""
    told = [(where, words, complaint(words)) for where, words in of_blocks(BLOCKS)]
    assert any(words[:1] == ["make"] for _, words, _ in told)
    assert not [f"{where}: {wrong}" for where, _, wrong in told if wrong]


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_commands_in_the_text_are_this_program_s(path):
    """The same of each piece of code within the text."""
    said = [words for code in inline_code(path) for words in simple_commands(code)]
    assert not [wrong for wrong in map(complaint, said) if wrong]


@pytest.mark.parametrize(
    "line",
    [
        "make tests",
        "llm-bot chekc",
        "llm-bot check --strickt",
        "llm-bot why --last many",
        "sudo -u bot .venv/bin/llm-bot models --all",
        "docker compose exec bot llm-bot why --first 3",
        'make demo ARGS="--fast"',
        "python -m llm_bot --quiet",
        "cd /srv && llm-bot --quiet",
    ],
)
def test_a_wrong_command_is_noticed(line):
    """A misspelt target, command or option is found wherever it stands."""
    assert any(complaint(words) for words in simple_commands(line))


def test_a_configuration_that_is_wrong_is_noticed(tmp_path):
    """A misspelt key is a warning, which the check of the pages doesn't pass."""
    block = Block(ROOT, 1, "yaml", "bot:\n  usrname: MyBot\n")
    (document,) = documents(block)
    assert is_configuration(document)
    assert judged(document, tmp_path).warnings
    assert not is_configuration({"services": {"bot": {}}})
