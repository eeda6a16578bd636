"""`llm-bot healthcheck`: does the bot of this configuration answer?"""

from __future__ import annotations

import http.client
import os
import sys
from pathlib import Path

from llm_bot.cli.running import Address, NoAnswerError
from llm_bot.config.loader import ConfigFileError, load_health

PATH = "/health"


def run(config_path: Path) -> int:
    """Ask `/health`. 0 if it answers with 200, else 1 and one line on standard error."""
    try:
        health = load_health(config_path, os.environ)
    except ConfigFileError as exc:
        return _fail(f"{exc.source}: not usable, see llm-bot check --config {exc.source}")
    try:
        address = Address.of(health)
    except NoAnswerError as exc:
        return _fail(f"{config_path}: {exc}")
    try:
        status, _ = address.get(PATH)
    except NoAnswerError as exc:
        return _fail(str(exc))
    answered = f"{address.url}{PATH}: answered {status}"
    if status != http.client.OK:
        return _fail(answered)
    print(answered)
    return 0


def _fail(line: str) -> int:
    print("".join(char if char.isprintable() else "?" for char in line), file=sys.stderr)
    return 1
