"""`llm-bot healthcheck`: does the bot of this configuration answer?"""

from __future__ import annotations

import http.client
import os
from pathlib import Path

from llm_bot.cli.arguments import DEFAULT_CONFIG
from llm_bot.cli.output import ExitCode, fail
from llm_bot.cli.running import Address, NoAnswerError
from llm_bot.config import ConfigFileError, load_health


def run(config_path: Path = DEFAULT_CONFIG) -> int:
    """Ask `/health`. 0 if it answers with 200, else 1 and one line on standard error."""
    try:
        address = Address.of(load_health(config_path, os.environ))
        status, _ = address.get("/health")
    except (ConfigFileError, NoAnswerError) as exc:
        return fail(exc)
    answered = f"{address.url}/health: answered {status}"
    if status != http.client.OK:
        return fail(answered)
    print(answered)
    return ExitCode.OK
