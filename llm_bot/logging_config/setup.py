"""The log of this process: one JSON object a line, or one plain line for people at a terminal.

A call names an event and gives its fields: `log.info("trigger.fired", extra={"user": "bob"})`.
Whatever the fields hold, a call never raises, a line stays one line, nothing in it steers a
terminal, and no secret of the configuration is in it.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import TextIO

from llm_bot.config import LoggingConfig
from llm_bot.logging_config.formatters import JsonFormatter, TextFormatter
from llm_bot.logging_config.handler import LogHandler
from llm_bot.logging_config.redaction import Redactor
from llm_bot.logging_config.sampler import SampleFilter

# They tell of each request; what matters about a request is logged by this program itself.
_CHATTY_LOGGERS = ("asyncio", "httpx", "httpcore", "aiohttp.access")
# Keys that were replaced may still be in the errors of requests under way.
_MAX_SECRETS = 100


def configure_logging(
    config: LoggingConfig,
    level: str,
    *,
    secrets: tuple[str, ...],
    stream: TextIO | None = None,
) -> LogHandler:
    """Log to `stream` (at first standard error, then as before) from `level` on.

    Called again, it replaces what was set. Secrets of earlier calls stay blacked out: after a
    reload, old requests are still under way.

    Returns:
        What writes the log, for the daemon to have it do so in the background.
    """
    root = logging.getLogger()
    previous = next((each for each in root.handlers if isinstance(each, LogHandler)), None)
    handler = previous
    if handler is None or stream is not None:
        handler = LogHandler(stream or sys.stderr)
        handler.addFilter(SampleFilter())
        root.addHandler(handler)
    known = previous.secrets if previous is not None else ()
    handler.secrets = tuple(dict.fromkeys(filter(None, (*secrets, *known))))[:_MAX_SECRETS]
    is_text = (config.format or ("text" if handler.stream.isatty() else "json")) == "text"
    if isinstance(handler.stream, io.TextIOWrapper):
        encoding = None if is_text else "utf-8"  # as JSON is, whatever the locale
        handler.stream.reconfigure(encoding=encoding, errors="backslashreplace")
    redactor = Redactor(handler.secrets)
    handler.setFormatter(TextFormatter(redactor) if is_text else JsonFormatter(redactor))
    if previous is not None and previous is not handler:
        root.removeHandler(previous)
    root.setLevel(level)
    for name in _CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    logging.captureWarnings(True)
    return handler
