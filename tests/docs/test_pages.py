"""What the pages show can be followed, run, and loaded."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from docs.generate.markdown import table
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
SHELL = [block for block in BLOCKS if block.language in {"sh", "bash", "shell"}]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_check():
    """The patterns of these modules still find what they look for."""
    assert {"README.md", "docs/CONFIGURATION.md", "spec/requirements.md"} <= {
        name_of(path) for path in PAGES
    }
    assert len(CONFIGURATIONS) > 8
    assert SHELL
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


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_shell_is_shell(block):
    """Each block of shell can be parsed; nothing of it is run."""
    bash = shutil.which("bash")
    assert bash is not None
    ended = subprocess.run([bash, "-n"], input=block.text, text=True, capture_output=True)
    assert ended.returncode == 0, ended.stderr


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


@pytest.mark.parametrize(
    "line",
    [
        "make test ARGS='-k guard'  # some of them",
        "llm-bot why --last N --id ID",
        "llm-bot COMMAND --help",
        "systemctl restart llm-bot",
        "docker build -t llm-bot .",
        "OPENAI_API_KEY=sk llm-bot --config config.yaml --dry-run 2>log",
    ],
)
def test_a_right_command_is_not(line):
    """What is right, another program's, or only a pattern of a command isn't."""
    assert not any(complaint(words) for words in simple_commands(line))


def test_blocks_links_and_headings_are_read_as_they_are_meant(tmp_path):
    """Code holds no links, lists no blocks, and a heading that comes twice gets a number."""
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two` (three)\n\n[a](b.md#c) `[no](link.md)`\n\n"
        "```sh\nmake x  # [no](link.md)\n```\n\n"
        "    make y\n\n- item\n\n    more of it\n\n# One two three\n\n"
        "<!-- `make z` -->\n\n[r]: other.md\n",
        encoding="utf-8",
    )
    assert links(page) == ["b.md#c", "other.md"]
    assert anchors(page) == {"one-two-three", "one-two-three-1"}
    assert [(block.language, block.text) for block in blocks(page)] == [
        ("sh", "make x  # [no](link.md)\n"),
        ("", "make y\n"),
    ]
    assert list(inline_code(page)) == ["two", "[no](link.md)"]


def test_a_configuration_that_is_wrong_is_noticed(tmp_path):
    """A misspelt key is a warning, which the check of the pages doesn't pass."""
    block = Block(ROOT, 1, "yaml", "bot:\n  usrname: MyBot\n")
    (document,) = documents(block)
    assert is_configuration(document)
    assert judged(document, tmp_path).warnings
    assert not is_configuration({"services": {"bot": {}}})


def test_cells_stay_in_their_table():
    """A bar within a cell doesn't end it."""
    assert table(["a"], [["x | y"]]).endswith("| x \\| y |")
