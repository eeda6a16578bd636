"""deploy/compose.yaml: valid, and what its parts say of each other is true."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from llm_bot import __version__
from llm_bot.config.loader import LoadedConfig, load_config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
DATA: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = DATA["services"]
BOT = SERVICES["llm-bot"]
SECRETS = "/run/secrets/"
# What closing may take beyond shutdown_grace_seconds: tests/integration/test_shutdown.py.
CLOSING_SECONDS = 8

each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def binds(service: dict[str, Any]) -> list[tuple[Path, str, str]]:
    """What is mounted from this directory: from where, to where, how."""
    found = []
    for volume in service.get("volumes", []):
        source, target, mode = (*volume.split(":"), "rw")[:3]
        if source.startswith("."):
            found.append((DEPLOY / source, target, mode))
    return found


def published(service: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Address and port of this machine, and the container's port."""
    split = [port.split(":") for port in service.get("ports", [])]
    return [(address, int(outside), int(inside)) for address, outside, inside in split]


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    """The bot's configuration, with secrets that are there."""
    text = (DEPLOY / "llm-bot" / "config.yaml").read_text()
    for name in re.findall(rf"{SECRETS}(\w+)", text):
        (tmp_path / name).write_text("sk-0123456789abcdef")
    path = tmp_path / "config.yaml"
    path.write_text(text.replace(SECRETS, f"{tmp_path}/"))
    return load_config(path, {})


def test_it_keeps_to_the_specification():
    """The JSON Schema that the Compose specification publishes."""
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*check, str(COMPOSE)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@each_service
def test_a_service_is_confined(service):
    """A root that can't be written, no capabilities, bounded memory and logs."""
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert not service.get("cap_add")
    assert not service.get("privileged")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+m", service["mem_limit"])
    assert service["restart"] == "unless-stopped"
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()


@each_service
def test_a_service_names_one_version(service):
    """Of its image, down to the last number."""
    assert re.search(r":v?\d+\.\d+\.\d+(-alpine)?$", service["image"])


@each_service
def test_ports_are_for_this_machine_alone(service):
    assert all(address == "127.0.0.1" for address, *_ in published(service))


@each_service
def test_what_is_mounted_exists(service):
    """From this directory, and the containers can't change it."""
    for source, target, mode in binds(service):
        assert source.exists(), source
        assert mode == "ro", target


@each_service
def test_a_service_waits_until_those_before_it_are_well(service):
    """Whoever is waited for has a check: its own, or that of the Dockerfile."""
    for name, how in service.get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[name] or name == "llm-bot"


@each_service
def test_secrets_are_declared_and_stay_out_of_git(service):
    for name in service.get("secrets", []):
        assert DATA["secrets"][name]["file"] == f"./secrets/{name}"
    ignored = (DEPLOY / "secrets" / ".gitignore").read_text().splitlines()
    assert [line for line in ignored if not line.startswith("#")] == ["*", "!.gitignore"]


def test_no_secret_is_left_over():
    """Each that is declared is one that a service asks for."""
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert used == DATA["secrets"].keys()


def test_the_bot_is_built_from_here():
    """With the Dockerfile of this version, which has user, entry point and health check."""
    assert (COMPOSE.parent / BOT["build"]["context"]).resolve() == ROOT
    assert BOT["image"] == f"llm-bot:{__version__}"
    for overridden in ("user", "entrypoint", "command", "healthcheck"):
        assert overridden not in BOT


def test_the_bot_may_finish_its_replies(loaded):
    """It is killed later than it stops by itself."""
    grace = re.fullmatch(r"(\d+)s", BOT["stop_grace_period"])
    assert grace
    assert int(grace[1]) > loaded.config.shutdown_grace_seconds + CLOSING_SECONDS


def test_the_bot_s_configuration_is_usable(loaded):
    """Like `llm-bot check --strict`, and its files are secrets that the service gets."""
    assert not loaded.warnings
    text = (DEPLOY / "llm-bot" / "config.yaml").read_text()
    assert set(re.findall(rf"{SECRETS}(\w+)", text)) == set(BOT["secrets"])
    (mount,) = binds(BOT)
    assert mount[0].samefile(DEPLOY / "llm-bot")
    assert mount[0].is_dir(), "a file that is replaced would stay the old one in the container"


def test_the_bot_is_reached_where_it_listens(loaded):
    """By this machine on the published port, and by Prometheus."""
    health = loaded.config.health
    assert health.host == "0.0.0.0"
    assert [inside for _, _, inside in published(BOT)] == [health.port]
    targets = yaml.safe_load((DEPLOY / "prometheus-targets.yml").read_text())
    assert targets == [{"targets": [f"llm-bot:{health.port}"]}]
    mounts = {target: source for source, target, _ in binds(SERVICES["prometheus"])}
    assert mounts["/etc/prometheus/targets.yml"].samefile(DEPLOY / "prometheus-targets.yml")
    main = yaml.safe_load((mounts["/etc/prometheus"] / "prometheus.yml").read_text())
    (job,) = main["scrape_configs"]
    assert job["file_sd_configs"] == [{"files": ["targets.yml"]}]


def test_nats_is_found_by_bot_and_connector(loaded):
    """At the name of the service and the port of its configuration."""
    settings = (DEPLOY / "nats.conf").read_text()
    port = re.search(r"^port: (\d+)$", settings, re.MULTILINE)
    http = re.search(r"^http: (\d+)$", settings, re.MULTILINE)
    assert port
    assert http
    connector = json.loads((DEPLOY / "kryten-robot" / "config.json").read_text())
    for address in (*loaded.config.nats.servers, *connector["nats"]["servers"]):
        assert urlsplit(address).hostname in SERVICES
        assert urlsplit(address).port == int(port[1])
    assert f":{http[1]}/" in SERVICES["nats"]["healthcheck"]["test"][-1]
    assert "/data" in settings
    assert "nats-data:/data" in SERVICES["nats"]["volumes"]


def test_the_connector_carries_what_the_bot_says(loaded):
    """It takes commands, in the same room and under the same name."""
    connector = json.loads((DEPLOY / "kryten-robot" / "config.json").read_text())
    assert connector["commands"]["enabled"] is True
    assert connector["cytube"]["user"] == loaded.config.bot.username
    assert [connector["cytube"]["channel"]] == [one.name for one in loaded.config.channels]
    service = SERVICES["kryten-robot"]
    assert service["profiles"] == ["connector"]
    version = service["image"].partition(":")[2]
    assert f"kryten-robot=={version}" in service["build"]["dockerfile_inline"]


def test_nats_takes_its_configuration():
    """A real nats-server reads the file; it may be an older one than that of the image."""
    server = shutil.which("nats-server", path="/usr/local/sbin:/usr/sbin") or "nats-server"
    done = subprocess.run(
        [server, "-t", "-c", str(DEPLOY / "nats.conf")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_grafana_finds_its_dashboard_and_its_data():
    """The directories that it is told of are those that are mounted, and Prometheus a service."""
    mounts = {target: source for source, target, _ in binds(SERVICES["grafana"])}
    provisioning = mounts["/etc/grafana/provisioning"]
    (dashboards,) = [
        provider
        for path in (provisioning / "dashboards").glob("*.yml")
        for provider in yaml.safe_load(path.read_text())["providers"]
    ]
    assert f"{dashboards['options']['path']}/llm-bot.json" in mounts
    (source,) = [
        one
        for path in (provisioning / "datasources").glob("*.yml")
        for one in yaml.safe_load(path.read_text())["datasources"]
    ]
    address = urlsplit(source["url"])
    assert address.hostname == "prometheus"
    assert [address.port] == [inside for _, _, inside in published(SERVICES["prometheus"])]
