"""The image: what is in it, and that it lives, hears and answers, confined as the page says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_bot import __version__
from tests.daemon import ROOT, Peer, settings
from tests.image.building import BASE, Builder
from tests.image.conftest import REVISION
from tests.image.container import CONFINED, Container, Engine
from tests.servers import eventually, free_port
from tests.unit.llm_client.scripted_server import Answer, ScriptedServer, chat, chat_body

pytestmark = pytest.mark.image

KEY = "sk-T7f2Qw9Zx4Lm0123456789"  # no word of the answers: 8 characters in a row tell it (GUARD-1)
MIB = 1024 * 1024
MAX_ADDED = 60 * MIB  # over the base
MAX_MEMORY = 128 * MIB  # half of what compose.yaml allows
PATIENCE = 60.0  # a container starts and stops within seconds, and the machine may be busy

# Run in the image by its own Python: what is wrong with its files, one line each.
INSPECTION = """
import importlib.util, os, stat, sys, sysconfig
home = "/opt/llm-bot"
UNCHECKED_HASH = (1).to_bytes(4, "little")  # PEP 552
for folder, _, names in os.walk("/opt"):
    for path in (folder, *(os.path.join(folder, name) for name in names)):
        found = os.lstat(path)
        if found.st_uid or (found.st_mode & 0o022 and not stat.S_ISLNK(found.st_mode)):
            print("not root's alone:", path)
        if path.endswith(".py") and not os.path.exists(importlib.util.cache_from_source(path)):
            print("no bytecode:", path)
        if path.endswith(".pyc") and open(path, "rb").read(8)[4:] != UNCHECKED_HASH:
            print("bytecode of a time:", path)
for name in ("pip", "setuptools", "wheel", "tests"):
    if os.path.exists(os.path.join(sysconfig.get_path("purelib"), name)):
        print("not needed:", name)
for path in ("/tools", "/src", os.path.expanduser("~root/.cache"), os.getcwd() + "/config.yaml"):
    if os.path.exists(path):
        print("left over:", path)
import llm_bot.cli.run, llm_bot.cli.healthcheck
for module in list(sys.modules.values()):
    spec = getattr(module, "__spec__", None)
    source = getattr(spec, "origin", None) or ""
    if source.endswith(".py") and not (spec.cached and os.path.exists(spec.cached)):
        print("no bytecode:", source)
if not llm_bot.__file__.startswith(home) or sys.prefix != home:
    print("not installed:", llm_bot.__file__, sys.prefix)
if os.getuid() == 0 or os.access("/", os.W_OK) or os.access(os.getcwd(), os.W_OK):
    print("not confined:", os.getuid(), os.getcwd())
"""


@pytest.fixture
async def model():
    async with ScriptedServer() as server:
        yield server


def whole(nats: str, model: ScriptedServer, **sections: Any) -> dict[str, Any]:
    """A configuration with a known port, whose key is a secret of the container."""
    port = sections.pop("port", None) or free_port()
    config = settings(nats=nats, model=model.url, health={"port": port}, **sections)
    del config["llm_api"]["api_key"]
    config["llm_api"]["api_key_file"] = "/run/secrets/llm_api_key"
    return config


def test_the_configuration_of_the_image(builder: Builder, image: str):
    """User, entry point, health check, port and labels are kept by the build."""
    found = json.loads(builder.buildah("inspect", "--type=image", image))["Docker"]["config"]
    assert found["User"] == "10001:10001"
    assert found["Entrypoint"] == ["llm-bot"]
    assert found["Cmd"] in ([], None)
    assert found["WorkingDir"] == "/etc/llm-bot"
    assert found["ExposedPorts"] == {"8080/tcp": {}}
    assert found["Healthcheck"]["Test"] == ["CMD", "llm-bot", "healthcheck"]
    assert found["Healthcheck"]["Timeout"] < found["Healthcheck"]["Interval"]
    labels = found["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == REVISION
    assert not [one for one in found["Env"] if "PIP" in one]


def test_it_is_small(builder: Builder, image: str, say: Callable[[str], None]):
    """What it adds to the base, which everybody has already."""
    total, base = builder.size(image), builder.size(BASE)
    say(f"{image}: {total / MIB:.0f} MiB, {(total - base) / MIB:.0f} MiB over the base")
    assert 10 * MIB < total - base < MAX_ADDED


def test_what_is_in_it(image: str, engine: Engine):
    """The program with its bytecode, nothing that only building needs, and no file of its user."""
    python = (*CONFINED, "--entrypoint=python3")
    done = engine.once(image, "-c", INSPECTION, options=python)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_it_says_what_is_missing(image: str, engine: Engine):
    """Without a configuration it ends with 1 and says where it looked; arguments are its own."""
    done = engine.once(image)
    assert done.returncode == 1
    assert "config.yaml" in done.stderr
    assert "no such file" in done.stderr
    assert engine.once(image, "--version").stdout == f"llm-bot {__version__}\n"
    assert engine.once(image, "healthcheck").returncode == 1


@pytest.mark.parametrize("user", ["10001:10001", "4711:4711"])
def test_the_configuration_of_compose(image: str, engine: Engine, tmp_path: Path, user: str):
    """deploy/llm-bot is usable where compose.yaml mounts it, whoever the container runs as."""
    for name in ("llm_api_key", "health_token"):
        (tmp_path / name).write_text(KEY)
    tmp_path.chmod(0o755)
    mounts = (
        f"--volume={ROOT / 'deploy' / 'llm-bot'}:/etc/llm-bot:ro",
        f"--volume={tmp_path}:/run/secrets:ro",
        f"--user={user}",
    )
    done = engine.once(image, "check", "--strict", options=(*CONFINED, *mounts))
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("config.yaml: usable, 0 warnings\n")


async def test_a_line_is_answered(image, engine, tmp_path, nats_server, model, say):
    """From a real NATS to the model and back; healthy meanwhile; a reload; an orderly end."""
    gate = asyncio.Event()
    model.script(chat("Hello from a container."), Answer(body=chat_body("The last."), gate=gate))
    config = whole(nats_server.url, model, shutdown_grace_seconds=20)
    container = Container(engine, image, tmp_path, config)
    container.secret("llm_api_key", KEY)
    container.launch()
    await eventually(lambda: container.logged("app.ready"), timeout=PATIENCE, what="ready")
    async with Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: are you there?")
        await peer.hears(1, timeout=PATIENCE)
        assert peer.texts == ["Hello from a container."]
        assert model.requests[0].headers["authorization"] == f"Bearer {KEY}"

        inside = container.execute("llm-bot", "healthcheck")
        assert inside.stdout.endswith("/health: answered 200\n")
        assert container.check_health()
        assert "replied" in container.execute("llm-bot", "why").stdout

        container.replace_config({**config, "log_level": "DEBUG"})
        container.signal("HUP")
        await eventually(lambda: container.logged("config.reloaded"), timeout=PATIENCE)
        assert [line["path"] for line in container.logged("config.changed")] == ["log_level"]

        await peer.say("bob", "RigBot: one more?")
        await model.wait_for_requests(2)
        memory = container.peak_memory
        stopping = asyncio.create_task(asyncio.to_thread(container.stop))
        await eventually(lambda: container.logged("app.stopping"), timeout=PATIENCE)
        gate.set()
        assert await stopping == 0
        assert peer.texts == ["Hello from a container.", "The last."]
    assert container.log[-1]["message"] == "app.stopped"
    assert KEY not in container.output
    say(f"{memory / MIB:.0f} MiB of memory at most")
    assert memory < MAX_MEMORY


async def test_nothing_is_written(image, engine, tmp_path, nats_server, model):
    """Nor would it be where the root may be written: the files are those of the image."""
    model.script(chat("Hello."))
    config = whole(nats_server.url, model)
    container = Container(engine, image, tmp_path, config, options=("--user=0",))
    container.secret("llm_api_key", KEY)
    container.launch()
    await eventually(lambda: container.logged("app.ready"), timeout=PATIENCE, what="ready")
    async with Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: are you there?")
        await peer.hears(1, timeout=PATIENCE)
    assert container.check_health()
    assert container.stop() == 0
    assert set(container.changes()) <= {"C /etc"}, "podman itself puts an mtab there"


async def test_what_is_no_reason_to_restart_it(image, engine, tmp_path, own_nats_server, model):
    """NATS that is away, and a configuration that a reload would refuse, leave it healthy; a
    process that doesn't answer isn't."""
    server = own_nats_server()
    container = Container(engine, image, tmp_path, whole(server.url, model))
    container.secret("llm_api_key", KEY)
    container.launch()
    await eventually(lambda: container.logged("app.ready"), timeout=PATIENCE, what="ready")
    server.kill()
    await eventually(lambda: container.logged("nats.disconnected"), timeout=PATIENCE)
    assert container.check_health()
    container.secret("llm_api_key", "")
    assert container.check_health()
    container.signal("STOP")
    assert not container.check_health()
    container.signal("CONT")
    assert container.check_health()
    assert container.stop() == 0


def test_the_larger_image(builder: Builder, engine: Engine):
    """With requirements-extras.txt it has Redis and uvloop."""
    image = builder.build("llm-bot:extras", REQUIREMENTS="requirements-extras.txt")
    python = (*CONFINED, "--entrypoint=python3")
    done = engine.once(image, "-c", "import redis.asyncio, uvloop", options=python)
    assert done.returncode == 0, done.stderr
