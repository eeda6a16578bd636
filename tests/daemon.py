"""The daemon as a real process, and what is around it: a room's events on NATS, who says its lines.

async with Daemon(tmp_path, settings(nats=server.url, model=model.base_url)) as daemon:
    async with Peer(server.url) as peer:
        await peer.say("alice", "RigBot: hello?")
        await eventually(lambda: peer.said)
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import nats
import yaml
from nats.aio.client import Client
from nats.aio.msg import Msg
from prometheus_client.parser import text_string_to_metric_families

from llm_bot.demo.recording import EVENT_PREFIXES
from llm_bot.demo.stand_ins import cytube
from llm_bot.demo.stand_ins.kryten import Address, Dialect
from tests.servers import LOOPBACK, eventually

ROOT = Path(__file__).parent.parent
API_KEY = "sk-test-0123456789abcdef"

READY_SECONDS = 20.0  # a start takes less than one; two noisy cores may take longer
STOP_SECONDS = 20.0
HTTP_SECONDS = 10.0
NATS_SECONDS = 5


def settings(
    *, nats: str, model: str, rooms: tuple[str, ...] = ("RigRoom",), **sections: Any
) -> dict[str, Any]:
    """A configuration without pauses and limits. `sections` replace what they name, key by key."""
    config: dict[str, Any] = {
        "nats": {"servers": [nats], "request_timeout": 2, "max_reconnect_attempts": 1},
        "channels": [{"name": name} for name in rooms],
        "bot": {"username": "RigBot"},
        "llm_api": {
            "provider": "openai",
            "base_url": model,
            "api_key": API_KEY,
            "model": "stand-in",
            "retry_attempts": 0,
            "max_context_messages": 100,
        },
        "triggers": [{"type": "mention"}, {"type": "pm"}],
        "rate_limits": {
            "max_per_channel_per_minute": 1000,
            "max_per_channel_per_hour": 1000,
            "max_per_user_per_minute": 1000,
            "max_per_user_per_hour": 1000,
            "global_cooldown_seconds": 0,
            "media_change_cooldown_seconds": 0,
        },
        "replies": {"deadline_seconds": 15, "min_interval_seconds": 0, "confirm_seconds": 0},
        "context_window": {"size": 100},
        "health": {"port": 0},
        "logging": {"format": "json"},
        "shutdown_grace_seconds": 1,
    }
    for name, section in sections.items():
        if isinstance(section, dict):
            config[name] = {**config.get(name, {}), **section}
        else:
            config[name] = section
    return config


class Daemon:
    """`python -m llm_bot` with a configuration of its own. Entered, it is ready; left, it is gone.

    `launch` starts it without waiting. A text as configuration is written as it stands. What is put
    into `environ` before the start is added to its environment.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any] | str, *options: str) -> None:
        self.config_path = directory / "config.yaml"
        self._output = directory / "daemon.log"
        text = config if isinstance(config, str) else yaml.safe_dump(dict(config), sort_keys=False)
        self.config_path.write_text(text, encoding="utf-8")
        self._options = options
        self.environ: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    # --- its life ---

    async def __aenter__(self) -> Self:
        self.launch()
        try:
            await self.ready()
        except BaseException:
            self.end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()

    def launch(self) -> None:
        """Start it."""
        command = [sys.executable, "-m", "llm_bot", "--config", str(self.config_path)]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env={**os.environ, **self.environ},
            )

    async def ready(self) -> None:
        """Return when it says that it is."""
        await eventually(
            lambda: self.has_ended or self.logged("app.ready"), timeout=READY_SECONDS, what="ready"
        )
        assert not self.has_ended, f"it ended with {self.process.returncode}:\n{self.output}"

    def terminate(self) -> None:
        """SIGTERM: asked to stop."""
        self.process.terminate()

    async def wait(self, timeout: float = STOP_SECONDS) -> int:
        """Its exit code, within `timeout` seconds."""
        await eventually(lambda: self.has_ended, timeout=timeout, what="its end")
        return self.process.returncode

    def pause(self) -> None:
        """Let it do nothing until `resume`; the rest of the world goes on."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._process is None or self.has_ended:
            return
        self.resume()
        self.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    # --- what it says ---

    @property
    def output(self) -> str:
        """All that it has written so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of its log so far. Anything that is no JSON object fails the test."""
        complete = self.output.rpartition("\n")[0]
        return [json.loads(line) for line in complete.split("\n") if line]

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The lines of one kind so far."""
        return [line for line in self.log if line["message"] == message]

    async def logs(self, message: str, count: int = 1) -> list[dict[str, Any]]:
        """The lines of one kind, as soon as there are `count`: it logs in the background."""
        await eventually(lambda: len(self.logged(message)) >= count, what=f"{count} {message}")
        return self.logged(message)

    @property
    def port(self) -> int:
        port: int = self.logged("health.listening")[0]["port"]
        return port

    def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Status, type and text of a page."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=HTTP_SECONDS)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            kind = answer.getheader("Content-Type", "")
            return answer.status, kind, answer.read().decode()
        finally:
            connection.close()

    def health(self) -> dict[str, Any]:
        """What /health says."""
        found: dict[str, Any] = json.loads(self.get("/health")[2])
        return found

    @property
    def is_ready(self) -> bool:
        return self.get("/ready")[0] == 200

    def metrics(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Every sample by its name."""
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(self.get("/metrics")[2]):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of `llm_bot_{name}` that have these labels."""
        samples = self.metrics().get(f"llm_bot_{name}", [])
        return sum(value for found, value in samples if labels.items() <= found.items())

    def decisions(self, channel: str | None = None) -> dict[str, int]:
        """How many lines ended how, by outcome."""
        counts: dict[str, int] = {}
        for labels, value in self.metrics().get("llm_bot_decisions_total", []):
            if value and channel in (None, labels["channel"]):
                counts[labels["outcome"]] = counts.get(labels["outcome"], 0) + int(value)
        return counts

    async def decided(self, count: int, channel: str | None = None) -> dict[str, int]:
        """The outcomes, as soon as `count` lines have one."""
        await eventually(
            lambda: sum(self.decisions(channel).values()) >= count,
            timeout=HTTP_SECONDS,
            what=f"{count} outcomes, only {self.decisions(channel)}",
        )
        return self.decisions(channel)


@dataclass(frozen=True, slots=True)
class Said:
    """Something that was published by others than the room."""

    subject: str
    body: Any
    headers: Mapping[str, str]

    @property
    def text(self) -> Any:
        """The line that is to be said."""
        return (self.body.get("args") or self.body.get("data"))["message"]


NOT_SAID = ("_INBOX.", "$", "kryten.user_level.", "kryten.lifecycle.")
OTHER_COMMANDS = ("kryten.commands.>", "cytube.commands.>", "llm_bot.>")

Answers = Callable[[dict[str, Any]], object]


def accepted(request: dict[str, Any]) -> object:
    """How today's connector answers a request that it carries out."""
    return {
        "service": "robot",
        "command": request["command"],
        "success": True,
        "data": {"success": True},
    }


def unanswered(_: dict[str, Any]) -> object:
    """A connector that hears a request and never answers it."""
    return None


class Peer:
    """Publishes the events of a room, and hears whatever others publish, whatever the subject. Only
    what services say about themselves (`kryten.lifecycle.>`) it passes over.

    `answers` makes the connector's answer to a request, None for no answer at all. Without it
    nobody hears requests here: NATS tells whoever asks. It never shows the bot's lines in the room.
    """

    def __init__(
        self,
        url: str,
        *,
        channel: str = "RigRoom",
        domain: str = "cytu.be",
        dialect: str = Dialect.KRYTEN,
        answers: Answers | None = accepted,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        self.address = Address(channel, domain, Dialect(dialect))
        self.said: list[Said] = []
        self.client = Client()
        self._url = url
        self._answers = answers
        self._login = {"user": user, "password": password}

    async def __aenter__(self) -> Self:
        self.client = await nats.connect(
            self._url, allow_reconnect=False, connect_timeout=NATS_SECONDS, **self._login
        )
        if self._answers is None:
            for subject in OTHER_COMMANDS:
                await self.client.subscribe(subject, cb=self._hear)
        else:
            await self.client.subscribe(">", cb=self._hear)
            await self.client.subscribe("kryten.robot.command", cb=self._answer)
        await self.flush()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def _hear(self, message: Msg) -> None:
        if message.subject.startswith((*NOT_SAID, *EVENT_PREFIXES)):
            return
        body = json.loads(message.data)
        self.said.append(Said(message.subject, body, dict(message.headers or {})))

    async def _answer(self, message: Msg) -> None:
        assert self._answers is not None
        answer = self._answers(json.loads(message.data))
        if answer is not None and message.reply:
            await message.respond(json.dumps(answer).encode())

    async def say(self, user: str, text: str) -> None:
        """`user` types `text` in the room."""
        await self.event("chatMsg", cytube.chat_line(user, text, time.time()))

    async def pm(self, user: str, text: str, *, to: str = "RigBot") -> None:
        """`user` writes privately to the bot."""
        await self.event("pm", {**cytube.chat_line(user, text, time.time()), "to": to})

    async def event(self, name: str, payload: object) -> None:
        """Any event of the room, in its dialect."""
        body = self.address.event_body(name, payload, time.time())
        await self.client.publish(self.address.event_subject(name), body)

    async def publish(self, subject: str, body: bytes) -> None:
        await self.client.publish(subject, body)

    async def flush(self) -> None:
        """Return when the server has all that was published."""
        await self.client.flush(NATS_SECONDS)

    @property
    def texts(self) -> list[Any]:
        """The lines that others wanted said, in their order."""
        return [one.text for one in self.said]

    async def hears(self, count: int, *, timeout: float = HTTP_SECONDS) -> None:
        """Return when so much was said."""
        await eventually(
            lambda: len(self.said) >= count, timeout=timeout, what=f"{count} lines said"
        )
