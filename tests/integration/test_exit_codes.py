"""How it ends when it can't begin."""

from __future__ import annotations

import socket

from tests.daemon import API_KEY, Daemon, settings
from tests.servers import LOOPBACK, free_port

MODEL = "http://127.0.0.1:1/v1"


async def ended(daemon: Daemon) -> int:
    """Its exit code, without ever being ready."""
    daemon.launch()
    try:
        return await daemon.wait()
    finally:
        daemon.end()


async def test_bad_configuration(tmp_path):
    """1: each error of the configuration is named with its line and path, all at once."""
    config = "\n".join(
        [
            "nats:",
            "  servers: [http://localhost:4222]",
            "channels: [{name: RigRoom}]",
            "bot: {username: RigBot}",
            "llm_api:",
            f"  api_key: {API_KEY}",
            "  base_url: http://localhost:1/v1",
            "  model: stand-in",
            "replies:",
            "  queue_size: many",
        ]
    )
    daemon = Daemon(tmp_path, config)

    assert await ended(daemon) == 1
    servers, queue_size = (
        next(line for line in daemon.output.split("\n") if path in line)
        for path in ("nats.servers", "replies.queue_size")
    )
    assert "config.yaml:2: error: " in servers
    assert "config.yaml:10: error: " in queue_size
    assert API_KEY not in daemon.output


async def test_no_configuration(tmp_path):
    """1: there is no such file."""
    daemon = Daemon(tmp_path, "")
    daemon.config_path.unlink()

    assert await ended(daemon) == 1
    assert str(daemon.config_path) in daemon.output


async def test_no_nats(tmp_path):
    """2: NATS wasn't reachable in as many tries as are configured; the log says where."""
    port = free_port()
    daemon = Daemon(tmp_path, settings(nats=f"nats://{LOOPBACK}:{port}", model=MODEL))

    assert await ended(daemon) == 2
    (line,) = await daemon.logs("app.no_bus")
    assert line["level"] == "CRITICAL"
    assert f"{LOOPBACK}:{port}" in line["error"]


async def test_port_taken(tmp_path, nats_server):
    """3: somebody else has the HTTP port; the log names it (LIFE-5)."""
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        whole = settings(nats=nats_server.url, model=MODEL, health={"port": port})
        daemon = Daemon(tmp_path, whole)

        assert await ended(daemon) == 3
    (line,) = await daemon.logs("app.failed")
    assert line["level"] == "CRITICAL"
    assert str(port) in line["error"]
    assert "health.port" in line["error"]
    assert not daemon.logged("app.ready")
