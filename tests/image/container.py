"""A container of the image that runs the daemon, confined as docs/DEPLOYMENT.md says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.daemon import ROOT, Daemon
from tests.image.building import LIMITS, Builder

CONFINED = (
    "--read-only",
    "--read-only-tmpfs=false",  # podman would give it a /tmp that can be written
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=256m",
    "--pids-limit=64",
    "--stop-timeout=45",
)
COMMAND_SECONDS = 60


class Engine:
    """podman, for one test."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._containers: list[Container] = []

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of podman, to its end."""
        return subprocess.run(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def command(self, *arguments: str) -> list[str]:
        return self._builder.podman(*arguments)

    def once(
        self, image: str, *arguments: str, options: Sequence[str] = CONFINED
    ) -> subprocess.CompletedProcess[str]:
        """A container for one command of the program."""
        return self.run("run", "--rm", "--network=none", *LIMITS, *options, image, *arguments)

    def add(self, container: Container) -> str:
        """A name for a container that `remove_all` removes."""
        self._containers.append(container)
        return f"llm-bot-test-{len(self._containers)}"

    def remove_all(self) -> None:
        for container in self._containers:
            self.run("rm", "--force", "--ignore", "--time=0", container.name)
            container.end()


class Container(Daemon):
    """The daemon in a container on this machine's network, with the files of `directory`.

    The directory is mounted at /etc/llm-bot, and its folder `secrets` at /run/secrets.
    """

    def __init__(
        self,
        engine: Engine,
        image: str,
        directory: Path,
        config: Mapping[str, Any],
        *,
        options: Sequence[str] = CONFINED,
    ) -> None:
        self._mounted = directory / "etc"
        self._secrets = directory / "secrets"
        for folder in (directory, self._mounted, self._secrets):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        super().__init__(self._mounted, config)
        self._output = directory / "log"
        self._engine = engine
        self._image = image
        self._engine_options = options
        self.name = engine.add(self)

    def secret(self, name: str, value: str) -> None:
        """Write a secret's file, as the page says."""
        (self._secrets / name).write_text(value)

    def replace_config(self, config: Mapping[str, Any]) -> None:
        """Another file takes the place of the configuration, as editors do it."""
        new = self._mounted / "config.yaml.new"
        new.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        new.rename(self.config_path)

    def launch(self) -> None:
        command = self._engine.command(
            "run",
            f"--name={self.name}",
            "--replace",  # one that an interrupted run has left
            "--network=host",
            f"--volume={self._mounted}:/etc/llm-bot:ro",
            f"--volume={self._secrets}:/run/secrets:ro",
            *LIMITS,
            *self._engine_options,
            self._image,
        )
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT
            )

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its lines, without those of podman about the systemd that it doesn't find."""
        complete = self.output.rpartition("\n")[0]
        lines = [line for line in complete.split("\n") if not line.startswith("time=")]
        return [json.loads(line) for line in lines if line]

    def signal(self, name: str) -> None:
        """Send a signal to the program."""
        done = self._engine.run("kill", f"--signal={name}", self.name)
        assert done.returncode == 0, done.stderr

    def stop(self) -> int:
        """Ask it to stop, as an engine does; the container's exit code."""
        done = self._engine.run("stop", self.name)
        assert done.returncode == 0, done.stderr
        code = int(self.inspect("{{.State.ExitCode}}"))
        assert self.process.wait(COMMAND_SECONDS) == code
        return code

    def inspect(self, template: str) -> str:
        return self._engine.run("inspect", f"--format={template}", self.name).stdout.strip()

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container."""
        return self._engine.run("exec", self.name, *command)

    def check_health(self) -> bool:
        """Whether the image's own check finds it well."""
        return self._engine.run("healthcheck", "run", self.name).returncode == 0

    def changes(self) -> list[str]:
        """What differs from the image's files, and isn't a mount or below one."""
        done = self._engine.run("diff", self.name)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    @property
    def peak_memory(self) -> int:
        """Bytes that its process has had in memory at most."""
        pid = self.inspect("{{.State.Pid}}")
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")
