"""Installs real servers, each into a virtual environment of its own.

    python tests/real/install.py            # all of them
    python tests/real/install.py mlx        # one

What is done stays done until its requirements file or the Python version changes.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[2]
HOME = PROJECT / ".real-servers"
# name -> how long to expect
SERVERS = {
    "mlx": "half a minute",
    "litellm": "one or two minutes",
    "llamacpp": "five to ten minutes, it is compiled",
    "smollm": "some seconds, a model of 98 MB",
    "nats": "some seconds",
}
# What they ask for besides isn't wanted, or nothing.
WITHOUT_DEPENDENCIES = {"smollm", "nats"}
INSTALL_SECONDS = 1800
LAST_LINES = 15


class InstallError(Exception):
    """An installation failed; the text says which step, and how its output ended."""


def installed(name: str, say: Callable[[str], None]) -> Path:
    """The Python that server `name` is installed in, after installing it if need be.

    Raises:
        InstallError: It can't be installed.
    """
    home = HOME / name
    python = home / "venv" / "bin" / "python"
    stamp = home / "stamp"
    wanted = _fingerprint(name)
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    home.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    say(f"installing {name}: {SERVERS[name]}")
    started = time.monotonic()
    log = home / "install.log"
    log.unlink(missing_ok=True)
    _run([sys.executable, "-m", "venv", str(home / "venv")], log)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    options = ["--no-deps"] if name in WITHOUT_DEPENDENCIES else []
    _run([*pip, "--retries", "2", *options, "-r", str(_requirements(name))], log)
    stamp.write_text(wanted)
    say(f"installed {name} in {time.monotonic() - started:.0f} s")
    return python


def _requirements(name: str) -> Path:
    return Path(__file__).with_name(f"requirements-{name}.txt")


def _fingerprint(name: str) -> str:
    text = _requirements(name).read_bytes() + sys.version.encode()
    return hashlib.sha256(text).hexdigest()


def _run(command: Sequence[str], log: Path) -> None:
    shown = " ".join(Path(word).name for word in command if not word.startswith("--"))
    with log.open("ab") as output:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise InstallError(f"`{shown}` wasn't done in {INSTALL_SECONDS} s") from exc
    if done.returncode:
        raise InstallError(f"`{shown}` ended with {done.returncode}:\n{last_lines(log)}")


def last_lines(log: Path) -> str:
    """How the file `log` ends."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:])


def main(names: Sequence[str]) -> int:
    """Install the servers called `names`; the exit status says whether all are there."""
    if unknown := set(names) - SERVERS.keys():
        sys.stderr.write(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SERVERS)}\n")
        return 2
    failed = 0
    for name in names or SERVERS:
        try:
            installed(name, lambda text: print(text, flush=True))  # noqa: T201 -- a command
        except InstallError as exc:
            sys.stderr.write(f"{name} can't be installed: {exc}\n")
            failed = 1
        else:
            sys.stdout.write(f"{name}: ready\n")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
