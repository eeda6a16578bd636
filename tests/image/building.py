"""The image, built without an engine and without a registry.

buildah runs the project's own Dockerfile on a base that debootstrap makes: Debian with its Python.
What the build installs is downloaded beforehand by this environment's pip, with whatever index it
is configured for, and the build is offline; the Dockerfile checks every hash all the same.

Everything is kept in `.image`, so that only the first run takes long.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[2]
HOME = PROJECT / ".image"
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
BASE = f"localhost/llm-bot-base:{SUITE}"
LOCKS = ("requirements.txt", "requirements-extras.txt")
TOOLS = {
    "buildah": "buildah",
    "podman": "podman",
    "runc": "runc",
    "debootstrap": "debootstrap",
    "nats-server": "nats-server",
}
STEP_SECONDS = 900
LAST_LINES = 25

_STORE = (
    "--storage-driver=vfs",  # works inside of containers and on every file system
    f"--root={HOME / 'store'}",
    f"--runroot={HOME / 'run'}",
)


class BuildError(Exception):
    """A step failed; the text says which, and how its output ended."""


def obstacle() -> str:
    """What is missing for building here, in words; empty where nothing is."""
    if os.geteuid() != 0:
        return "building the image without an engine needs root: sudo make image-test"
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        return f"install it first: apt-get install {' '.join(missing)}"
    return ""


class Builder:
    """Builds images, on a base and with packages that are made ready once. `say` tells of steps
    that take long."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._wheelhouse: Path | None = None
        HOME.mkdir(exist_ok=True)
        # For ruff as well, which would read the Python of the base.
        (HOME / ".gitignore").write_text("*\n")

    def buildah(self, *arguments: str) -> str:
        """What a command of buildah prints."""
        return _run(["buildah", *_STORE, *arguments])

    def podman(self, *arguments: str) -> list[str]:
        """A command line of podman that sees the images.

        It runs without systemd, and with either version of cgroups.
        """
        return ["podman", *_STORE, "--cgroup-manager=cgroupfs", "--runtime=runc", *arguments]

    def build(self, name: str, **arguments: str) -> str:
        """Build the project's Dockerfile with these build arguments; returns the image's name."""
        settings = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        base = self._base()
        wheels = self._wheels()
        started = time.monotonic()
        self.buildah(
            "build",
            "--isolation=chroot",
            "--pull=never",
            "--format=docker",  # the other one has no health check
            "--no-cache",
            f"--volume={wheels}:/wheelhouse:ro",
            f"--volume={_offline()}:/etc/pip.conf:ro",
            f"--build-arg=BASE={base}",
            *settings,
            f"--tag=localhost/{name}",
            str(PROJECT),
        )
        _run(self.podman("image", "prune", "--force"))  # the one that had the name before
        self._say(f"built {name} in {time.monotonic() - started:.0f} s")
        return f"localhost/{name}"

    def size(self, name: str) -> int:
        """Bytes of an image, its base included."""
        return int(_run(self.podman("image", "inspect", "--format={{.Size}}", name)))

    def _base(self) -> str:
        """The image with Debian and its Python, made on the first call ever."""
        if _succeeds(["buildah", *_STORE, "inspect", "--type=image", BASE]):
            return BASE
        self._say("making the base with debootstrap: one or two minutes")
        tree = HOME / "rootfs"
        _remove(tree)
        _run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(tree)])
        for leftover in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(tree / leftover)
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", container, str(tree), "/")
        self.buildah("commit", "--quiet", "--format=docker", "--rm", container, BASE)
        _remove(tree)
        return BASE

    def _wheels(self) -> Path:
        """What the build installs, downloaded by the pip of this environment."""
        if self._wheelhouse is None:
            self._wheelhouse = self._downloaded()
        return self._wheelhouse

    def _downloaded(self) -> Path:
        ask = ("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
        run = self.podman("run", "--rm", "--network=none", *LIMITS, BASE, *ask)
        version = _run(run).strip()
        wanted = {name: _without_markers((PROJECT / name).read_text()) for name in LOCKS}
        wanted["build.txt"] = _only(r"setuptools", (PROJECT / "requirements-dev.txt").read_text())
        stamp = hashlib.sha256(repr((version, wanted)).encode()).hexdigest()[:16]
        wheels = HOME / f"wheels-{stamp}"
        if wheels.exists():
            return wheels
        self._say("downloading what the image installs")
        for old in HOME.glob("wheels-*"):
            shutil.rmtree(old)
        partial = HOME / "wheels-partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
        download = (*pip, "download", "--quiet", "--require-hashes", "--no-deps")
        for name, text in wanted.items():
            listed = HOME / name
            listed.write_text(text)
            where = (f"--python-version={version}", f"--dest={partial}", f"--requirement={listed}")
            _run((*download, *where))
        return partial.rename(wheels)


# Where processes may not raise their limits, the defaults of podman can't be had.
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")


def _remove(tree: Path) -> None:
    """Remove a root, but nothing that an interrupted debootstrap has left mounted in it."""
    _run(["rm", "--recursive", "--force", "--one-file-system", str(tree)])


def _offline() -> Path:
    """A configuration of pip with the packages that are there and no index."""
    path = HOME / "pip.conf"
    path.write_text("[global]\nno-index = true\nfind-links = /wheelhouse\n")
    return path


def _without_markers(text: str) -> str:
    """All packages of a lock file: pip would ask the markers about this Python, not the image's."""
    return re.sub(r" ; [^\\\n]+", " ", text)


def _only(name: str, text: str) -> str:
    """The part of a lock file that is about one package."""
    found = re.search(rf"^{name}==.*\n(?: .*\n)+", text, re.MULTILINE)
    assert found, name
    return found[0]


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise BuildError(f"`{_shown(command)}` wasn't done in {STEP_SECONDS} s") from exc
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()[-LAST_LINES:]
        raise BuildError(f"`{_shown(command)}` ended with {done.returncode}:\n" + "\n".join(lines))
    return done.stdout


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _shown(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *(one for one in command[1:] if one[0] != "-")][:4])
