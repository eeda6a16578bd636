"""`llm-bot healthcheck`: does the bot of this configuration answer?"""

from __future__ import annotations

import http.client
import os
import sys
from pathlib import Path

from llm_bot.config import HealthConfig
from llm_bot.config_loader import ConfigFileError, load_config

TIMEOUT_SECONDS = 3.0

# Addresses to listen on at every interface, and where such a listener is found.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}  # noqa: S104


def run(config_path: Path) -> int:
    """Ask `/health`. 0 if it answers with 200, else 1 and one line on standard error."""
    try:
        health = load_config(config_path, os.environ).config.health
    except ConfigFileError as exc:
        return _unwell(f"{exc.source}: not usable, see llm-bot check --config {exc.source}")
    if not health.enabled:
        return _unwell(f"{config_path}: health.enabled is false, there is nothing to ask")
    if health.port == 0:
        return _unwell(f"{config_path}: health.port is 0, which is another one at every start")
    host = _EVERYWHERE.get(health.host, health.host).strip("[]")
    shown = f"[{host}]" if ":" in host else host
    return _asked(host, health, f"http://{shown}:{health.port}/health")


def _asked(host: str, health: HealthConfig, url: str) -> int:
    # Not urllib.request: it would ask a proxy of the environment, and follow redirections.
    connection = http.client.HTTPConnection(host, health.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except TimeoutError:
        return _unwell(f"{url}: no answer within {TIMEOUT_SECONDS:g} s")
    except (OSError, http.client.HTTPException, UnicodeError) as exc:  # the last: not a host name
        return _unwell(f"{url}: {str(exc) or type(exc).__name__}")
    finally:
        connection.close()
    if status != http.client.OK:
        return _unwell(f"{url}: answered {status}")
    print(f"{url}: answered {status}")
    return 0


def _unwell(line: str) -> int:
    print("".join(char if char.isprintable() else "?" for char in line), file=sys.stderr)
    return 1
