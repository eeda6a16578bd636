"""docs/DEPLOYMENT.md, "Container": its commands are those that `make image-test` tries."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import yaml

from llm_bot import __version__
from llm_bot.cli import arguments as command_line
from tests.image.container import CONFINED

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "DEPLOYMENT.md").read_text()
SECTION = PAGE.partition("\n## Container\n")[2].partition("\n## ")[0]
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
IMAGE = f"llm-bot:{__version__}"
PODMAN_ALONE = {"--read-only-tmpfs=false"}
MOUNTS = {"/etc/llm-bot": "llm-bot", "/run/secrets": "secrets"}


def commands() -> list[list[str]]:
    """Each command line of the section: of its blocks, and of its table."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", SECTION, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"^\| [^|]+ \| `(docker [^`]+)` \|$", SECTION, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def starting_with(*words: str) -> list[list[str]]:
    """The arguments of the commands that begin so."""
    return [line[len(words) :] for line in commands() if line[: len(words)] == list(words)]


def joined(options: list[str]) -> set[str]:
    """Options as `--name=value`, however they were written."""
    text = " ".join(options)
    return set(re.findall(r"--[a-z-]+(?:=\S+)?", re.sub(r"(--[a-z-]+) (?!-)", r"\1=", text)))


def test_there_is_something_to_check():
    """The patterns of this module still find what they look for."""
    assert len(commands()) > 20
    for words in (("docker", "run"), ("docker", "compose"), ("docker", "exec")):
        assert starting_with(*words)


def test_it_runs_confined_as_the_tests_do():
    """The options with which the bot is started are those of tests/image."""
    (line,) = [line for line in starting_with("docker", "run") if "--detach" in line]
    options = joined(line[: line.index(IMAGE)])
    assert set(CONFINED) - PODMAN_ALONE <= options
    assert {"--network=host", "--restart=unless-stopped", "--name=llm-bot"} <= options


def test_the_mounts_are_where_the_image_looks():
    """Of directories, read-only, and of this version; what follows it is a command line of it."""
    for line in starting_with("docker", "run"):
        mounts = [line[at + 1] for at, word in enumerate(line) if word == "--volume"]
        assert mounts == [f"$PWD/{source}:{target}:ro" for target, source in MOUNTS.items()]
        command_line.read_arguments(line[line.index(IMAGE) + 1 :])


def test_the_build_is_of_this_version():
    """With arguments that the Dockerfile has."""
    declared = set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert starting_with("docker", "build")
    for line in starting_with("docker", "build"):
        assert line[line.index("--tag") + 1] == IMAGE
        assert {one.partition("=")[0] for one in line if "=" in one} <= declared
    shown = set(re.findall(r"^\| `([A-Z]+)` \|", SECTION, re.MULTILINE))
    assert shown | {"REVISION"} == declared


def test_the_commands_in_the_container_exist():
    """`docker exec NAME llm-bot ...`."""
    for name, program, *rest in starting_with("docker", "exec"):
        assert (name, program) == ("llm-bot", "llm-bot")
        command_line.read_arguments(rest)


def test_the_commands_of_compose_fit_its_file():
    """Services and profiles exist, secrets are written where they are looked for."""
    profiles = {name for one in COMPOSE["services"].values() for name in one.get("profiles", [])}
    for line in starting_with("docker", "compose"):
        if line[0] == "--profile":
            assert line[1] in profiles
        if line[0] == "run":
            arguments = line[line.index("llm-bot") + 1 :]
            command_line.read_arguments(arguments)
        elif line[0] in ("logs", "kill"):
            assert line[-1] in COMPOSE["services"]
    written = set(re.findall(r"^ +\S.* > (secrets/\w+)$", SECTION, re.MULTILINE))
    assert {f"./{one}" for one in written} == {one["file"] for one in COMPOSE["secrets"].values()}


def test_paths_and_addresses_are_those_of_compose():
    """What the section names in `deploy/` exists, and each address is published."""
    for path in set(re.findall(r"`(deploy/[\w./-]+)`", SECTION)):
        assert (ROOT / path).is_file(), path
    services = COMPOSE["services"].values()
    ports = {port.split(":")[1] for one in services for port in one.get("ports", [])}
    assert ports
    for port in re.findall(r"`(?:http://)?127\.0\.0\.1:(\d+)`", SECTION):
        assert port in ports


def test_the_extras_are_those_of_the_project():
    """What `REQUIREMENTS` can be is what the Dockerfile copies."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "redis" in extras["optional-dependencies"]
    for name in re.findall(r"`(requirements[\w-]*\.txt)`", SECTION):
        assert (ROOT / name).is_file()
