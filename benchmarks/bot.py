"""The whole daemon as a process under measurement: its configuration, its start, its numbers."""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.processes import BenchmarkError, Process

LOOPBACK = "127.0.0.1"
HTTP_SECONDS = 30.0
HTTP_OK = 200
NAME = "BenchBot"
NO_MODEL = f"http://{LOOPBACK}:9/v1"  # of a bot that is never asked anything


def configuration(nats: str, rooms: Sequence[str], **sections: Any) -> dict[str, Any]:
    """What an operator has to write, and nothing else; `sections` are added to it."""
    config: dict[str, Any] = {
        "nats": {"servers": [nats]},
        "channels": [{"name": name} for name in rooms],
        "bot": {"username": NAME},
        "llm_api": {
            "provider": "openai",
            "base_url": NO_MODEL,
            "api_key": "sk-benchmark-0123456789",
            "model": "stand-in",
        },
        "health": {"port": 0},
        "logging": {"format": "json"},
    }
    for name, section in sections.items():
        is_partial = isinstance(section, dict)
        config[name] = {**config.get(name, {}), **section} if is_partial else section
    return config


def answering(model: str) -> dict[str, Any]:
    """Sections for a bot that answers every mention at once, however many there are."""
    return {
        "llm_api": {"base_url": model, "max_concurrent_requests": 100},
        "triggers": [{"type": "mention"}],
        "rate_limits": {
            "max_per_channel_per_minute": 100_000,
            "max_per_channel_per_hour": 100_000,
            "max_per_user_per_minute": 100_000,
            "max_per_user_per_hour": 100_000,
            "global_cooldown_seconds": 0,
            "media_change_cooldown_seconds": 0,
        },
        "replies": {"min_interval_seconds": 0, "confirm_seconds": 0, "queue_size": 100},
    }


def written(config: Mapping[str, Any], directory: str) -> Path:
    """`config` as a file."""
    path = Path(directory) / "config.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # which is YAML
    return path


class Bot:
    """`python -m llm_bot`, from its launch until `end`."""

    def __init__(self, config: Mapping[str, Any], python: str = sys.executable) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="llm-bot-benchmark-")
        path = written(config, self._directory.name)
        self.process = Process([python, "-m", "llm_bot", "--config", str(path)], says="stderr")
        self._port = 0

    def __enter__(self) -> Self:
        self.ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ready(self) -> float:
        """Wait until it hears its rooms; when that was. One that fails is gone."""
        try:
            return self._until_ready()
        except BaseException:
            self.end()
            raise

    def _until_ready(self) -> float:
        _, listening = self.process.until(lambda line: line.get("message") == "health.listening")
        self._port = int(listening["port"])
        return self.process.until(lambda line: line.get("message") == "app.ready")[0]

    def get(self, path: str) -> str:
        """A page of its HTTP server."""
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=HTTP_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as exc:
            raise BenchmarkError(f"{self.process} gave no {path}: {exc}") from exc
        finally:
            connection.close()
        if answer.status != HTTP_OK:
            raise BenchmarkError(f"{path} answered {answer.status}: {text[:200]}")
        return text

    def outcomes(self) -> dict[str, int]:
        """How many lines ended how, over all rooms."""
        found: dict[str, int] = {}
        for family in text_string_to_metric_families(self.get("/metrics")):
            for sample in family.samples:
                if sample.name == "llm_bot_decisions_total" and sample.value:
                    outcome = sample.labels["outcome"]
                    found[outcome] = found.get(outcome, 0) + int(sample.value)
        return found

    def end(self) -> None:
        """Make sure that it is gone."""
        self.process.end()
        self._directory.cleanup()
