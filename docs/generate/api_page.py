"""docs/API.md: everything that others can call, hear, or read."""

from __future__ import annotations

from docs.generate.bus_part import bus_part
from docs.generate.command_line_part import command_line_part
from docs.generate.http_part import http_part
from docs.generate.live_bot import live_through
from docs.generate.markdown import GENERATED, page
from docs.generate.observed_part import log_part, metrics_part
from docs.generate.python_part import python_part

TOP = """\
# Interfaces

What others can call, hear and read: [HTTP](#http), [the bus](#the-bus), [the command
line](#command-line), [the log](#log), [metrics](#metrics) and [Python modules](#python). The
keys of the configuration have [a page of their own](CONFIGURATION.md)."""


def api_page() -> str:
    """The text of the page. Lives through an evening with a real bot: a second or so."""
    evening = live_through()
    return page(
        GENERATED,
        TOP,
        *http_part(evening),
        *bus_part(evening),
        *command_line_part(),
        *log_part(evening),
        *metrics_part(evening),
        *python_part(),
    )
