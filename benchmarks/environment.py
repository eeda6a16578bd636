"""An environment of its own for what the benchmark compares with and the project doesn't need."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence

from benchmarks.processes import ROOT

HOME = ROOT / ".bench"
# The project's own libraries come first, pinned, so that both environments have the same ones.
REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "benchmarks" / "requirements.txt")
INSTALL_SECONDS = 600
LAST_LINES = 8


class InstallError(Exception):
    """It can't be made; the text says which step failed, and how its output ended."""


def python(say: Callable[[str], object]) -> str:
    """The interpreter of the environment, which is made if need be or its requirements changed.

    Raises:
        InstallError: It can't be made.
    """
    interpreter = HOME / "venv" / "bin" / "python"
    stamp = HOME / "stamp"
    wanted = _fingerprint()
    if interpreter.exists() and stamp.exists() and stamp.read_text() == wanted:
        return str(interpreter)
    say(f"installing benchmarks/requirements.txt into {HOME.name} (once, half a minute)")
    HOME.mkdir(exist_ok=True)
    stamp.unlink(missing_ok=True)
    _run([sys.executable, "-m", "venv", "--clear", str(HOME / "venv")])
    pip = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    for each in REQUIREMENTS:
        _run([*pip, "--quiet", "--retries", "2", "-r", str(each)])
    stamp.write_text(wanted)
    return str(interpreter)


def _fingerprint() -> str:
    text = sys.version.encode() + b"".join(path.read_bytes() for path in REQUIREMENTS)
    return hashlib.sha256(text).hexdigest()


def _run(command: Sequence[str]) -> None:
    log = HOME / "install.log"
    with log.open("wb") as output:
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
            raise InstallError(f"{command[-1]} wasn't done in {INSTALL_SECONDS} s") from exc
    if done.returncode:
        last = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        raise InstallError("\n".join(last))
