"""The bot at work in a made-up room: on its live page in a browser, or in a terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

from llm_bot.cli.output import ExitCode
from llm_bot.config import LoggingConfig
from llm_bot.demo import page, terminal
from llm_bot.demo.recording import RecordingError
from llm_bot.demo.setting import read_setting
from llm_bot.demo.stage import Face, perform
from llm_bot.errors import ConfigError
from llm_bot.logging_config import configure_logging


def run(
    config_path: Path | None = None,
    *,
    speed: float,
    recording: Path | None,
    port: int | None,
    opens_browser: bool,
    in_terminal: bool,
) -> int:
    """Show the film night, and let somebody take part, until it is left. Returns the exit code.

    On the page where somebody would see it or asks for it, with a port or without a browser;
    else in the terminal, which plays to the end and leaves if nobody can type.

    Raises:
        BrokenPipeError: Nobody reads the output any more.
    """
    try:
        setting = read_setting(config_path, speed, recording)
    except (ConfigError, RecordingError) as error:
        print(error, file=sys.stderr)
        return ExitCode.CONFIG
    opens = opens_browser and not in_terminal and _sees_browser()
    is_page = not in_terminal and (opens or port is not None or not opens_browser)
    try:
        place = page.free_port(port or 0) if is_page else None
    except OSError as error:
        print(f"port {port}: {error.strerror or error}", file=sys.stderr)
        return ExitCode.FAILED
    face: Face = terminal.show
    if place is not None:
        face = partial(page.show, port=place, opens_browser=opens)
    try:
        has_reader = asyncio.run(perform(setting, face, port=place))
    finally:
        configure_logging(LoggingConfig(), "WARNING", secrets=())  # what is wrong from here on
    if not has_reader:
        raise BrokenPipeError
    return ExitCode.OK


def _sees_browser() -> bool:
    # To look for a browser may take a while, so nobody does where none would be seen.
    has_terminal = terminal.can_type()
    browser = page.found_browser() if has_terminal else None
    return page.wants_browser(os.environ, sys.platform, has_terminal=has_terminal, browser=browser)
