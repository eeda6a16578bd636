"""The Dockerfile names what exists, and nothing gets into the image that it doesn't name."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from llm_bot import __version__
from llm_bot.cli import arguments as command_line
from llm_bot.cli.running import TIMEOUT_SECONDS
from llm_bot.config.sections import HealthConfig

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
    "hadolint"
)


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments, continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (name, " ".join(rest.split()))
        for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())
    ]


def arguments(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def last(name: str) -> str:
    return arguments(name)[-1]


def copied() -> set[str]:
    """What comes from the build context."""
    sources: set[str] = set()
    for rest in arguments("COPY"):
        if not rest.startswith("--from="):
            sources.update(rest.split()[:-1])
    return sources


def pins(path: str) -> set[str]:
    """`name==version`, with the marker if there is one, of each locked package."""
    text = (ROOT / path).read_text()
    return set(re.findall(r"^([^ #\n]\S+==[^\\\n]+?) ?\\$", text, re.MULTILINE))


def test_both_stages_have_the_base_that_was_asked_for():
    """The environment is copied between them, so they need the same interpreter."""
    base = dict(rest.partition("=")[::2] for rest in arguments("ARG"))["BASE"]
    assert [rest.partition(" ")[0] for rest in arguments("FROM")] == ["${BASE}", "${BASE}"]
    version = re.fullmatch(r"python:3\.(\d+)-slim", base)
    least = re.fullmatch(r">=3\.(\d+)", PROJECT["requires-python"])
    assert version
    assert least
    assert int(version[1]) >= int(least[1])


def test_it_does_not_run_as_root():
    """The user is a number, and the last one."""
    user, group = last("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert instructions().index(("USER", last("USER"))) > instructions().index(
        ("WORKDIR", last("WORKDIR"))
    ), "an engine may give the working directory to whoever is the user at that point"


def test_the_entry_point_is_the_program():
    """In exec form, so that there is no shell between it and the signals."""
    (program,) = json.loads(last("ENTRYPOINT"))
    assert program in PROJECT["scripts"]
    assert not arguments("CMD"), "every argument of `docker run` is one of the program"


def test_the_health_check_is_a_command_of_the_program():
    """In exec form, and it ends by itself before the engine ends it."""
    options, _, command = last("HEALTHCHECK").partition(" CMD ")
    program, *rest = json.loads(command)
    assert [program] == json.loads(last("ENTRYPOINT"))
    parsed = command_line.read_arguments(rest)
    assert vars(parsed) == {"command": "healthcheck"}
    timeout = re.search(r"--timeout=(\d+)s", options)
    assert timeout
    assert int(timeout[1]) > 2 * TIMEOUT_SECONDS


def test_the_configuration_is_found_where_the_page_says():
    """By its default name in the working directory."""
    page = (ROOT / "docs" / "DEPLOYMENT.md").read_text()
    assert f"`{last('WORKDIR')}/{command_line.DEFAULT_CONFIG}`" in page


def test_the_port_is_the_default_one():
    assert last("EXPOSE") == str(HealthConfig.model_fields["port"].default)


def test_the_labels_are_true():
    """What they say is what the package says."""
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', last("LABEL")))
    assert labels["version"] == __version__
    assert labels["licenses"] == PROJECT["license"]
    assert labels["title"]
    assert labels["description"]
    assert labels["revision"] == "${REVISION}"


def test_what_is_copied_exists():
    assert copied() > {"llm_bot", "requirements.txt", "pyproject.toml"}
    for source in copied():
        assert (ROOT / source).exists(), source


def test_the_context_holds_what_is_copied_and_nothing_else():
    """A configuration with a key in it can't get into an image by accident."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    first, *others = [line for line in lines if line and not line.startswith("#")]
    assert first == "*"
    assert {line.removeprefix("!") for line in others if line.startswith("!")} == copied()
    assert others[-1] == "**/__pycache__"


def test_the_build_backend_is_the_locked_one():
    """What the Dockerfile takes out of requirements-dev.txt is one package with its hashes."""
    program = re.search(r"awk '([^']+)' requirements-dev\.txt", "\n".join(arguments("RUN")))
    assert program
    done = subprocess.run(
        ["awk", program[1], "requirements-dev.txt"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *others = done.stdout.splitlines()
    assert re.fullmatch(r"setuptools==[\d.]+ \\", first)
    assert any("--hash=sha256:" in line for line in others)
    assert all(line.startswith(" ") for line in others)


def test_the_larger_image_has_the_same_versions():
    """requirements-extras.txt is requirements.txt and the extras."""
    more = pins("requirements-extras.txt") - pins("requirements.txt")
    assert pins("requirements.txt") < pins("requirements-extras.txt")
    assert {pin.partition("==")[0] for pin in more} >= {"redis", "uvloop"}
    for name in ("requirements.txt", "requirements-extras.txt"):
        assert name in copied()


def test_hadolint_finds_nothing():
    assert HADOLINT is not None
    done = subprocess.run(
        [HADOLINT, "--no-color", str(DOCKERFILE)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
