"""A Prometheus on loopback that runs deploy/prometheus/, only faster, and what to ask it."""

from __future__ import annotations

import http.client
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.servers import LOOPBACK, Server

DEPLOYED = Path(__file__).parents[2] / "deploy" / "prometheus"
INTERVAL = "1s"
HTTP_SECONDS = 60.0

Sample = tuple[dict[str, str], float]


class Prometheus(Server):
    """Scrapes `target` ("host:port") and evaluates the rules once a second."""

    program = package = "prometheus"

    def __init__(self, target: str) -> None:
        whole = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text(encoding="utf-8"))
        whole["global"] = {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
        (job,) = whole["scrape_configs"]
        job["scrape_timeout"] = INTERVAL
        super().__init__(config=yaml.safe_dump(whole))
        shutil.copy(DEPLOYED / "rules.yml", self._home)
        (targets,) = job["file_sd_configs"][0]["files"]
        (self._home / targets).write_text(json.dumps([{"targets": [target]}]))

    def _command(self, binary: str, settings: Path) -> list[str]:
        return [
            binary,
            f"--config.file={settings}",
            f"--storage.tsdb.path={self._home / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
        ]

    def _greets(self) -> bool:
        return self._get("/-/ready")[0] == 200

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=HTTP_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API."""
        status, body = self._get(f"/api/v1/{path}?{urlencode(parameters)}")
        answer = json.loads(body)
        assert (status, answer["status"]) == (200, "success"), answer
        return answer["data"]

    def query(self, expr: str) -> list[Sample]:
        """Labels and values of what `expr` gives now."""
        data = self.ask("query", query=expr)
        assert data["resultType"] == "vector", expr
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]
