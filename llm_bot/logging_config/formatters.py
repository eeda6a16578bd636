"""What a line of the log looks like: JSON for machines, text for people at a terminal."""

from __future__ import annotations

import logging
import re
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
from pythonjsonlogger.msgspec import MsgspecFormatter

from llm_bot.logging_config.redaction import Redactor

_FIRST = ("asctime", "levelname", "name", "message", "correlation_id", "channel")
_LONG = ("exception", "stack")
_NAMES = {
    "asctime": "timestamp",
    "levelname": "level",
    "name": "logger",
    "exc_info": "exception",
    "stack_info": "stack",
}
_OURS = frozenset((*_NAMES.values(), "message", "correlation_id", "channel"))
# A field of somebody else that is named as one of ours stands beside it.
_RENAMED = _NAMES | {name: f"{name}_" for name in _NAMES.values()}

# Controls and line ends that JSON allows in a string, and marks that turn the order of a line.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_NEEDS_QUOTES = re.compile(r'[\s"=\\]|^$')


class JsonFormatter(MsgspecFormatter):
    """One JSON object a line: whatever the fields hold, it raises nothing and stays one line."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__(_FIRST, rename_fields=_RENAMED)
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception as exc:  # noqa: BLE001 - a line that can't be made must not end its caller
            known = {name: vars(record)[name] for name in ("created", "levelname", "name")}
            failed = {"msg": "log.failed", "error": type(exc).__name__}
            return super().format(logging.makeLogRecord(known | failed))

    def formatTime(self, record: logging.LogRecord, _: str | None = None) -> str:  # noqa: N802
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Redact the fields, leave out those that aren't there, put the long ones last."""
        long = {name: log_data.pop(name) for name in _LONG if name in log_data}
        redactor = self._redactor
        return {
            name if name in _OURS else redactor.text(name): redactor.plain(value)
            for name, value in (log_data | long).items()
            if value is not None or name not in _FIRST
        }

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        line = super().jsonify_log_record(log_data)
        return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


class TextFormatter(JsonFormatter):
    """`02:31:05 INFO  trigger.fired channel=lounge user=bob`, in local time, tracebacks below."""

    def formatTime(self, record: logging.LogRecord, _: str | None = None) -> str:  # noqa: N802
        return time.strftime("%H:%M:%S", time.localtime(record.created))

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        fields = dict(log_data)
        clock, level, message = (fields.pop(name) for name in ("timestamp", "level", "message"))
        del fields["logger"]
        below = "\n".join(fields.pop(name) for name in _LONG if name in fields)
        if "correlation_id" in fields:
            fields["correlation_id"] = fields.pop("correlation_id")  # long and seldom wanted: last
        pairs = [f"{name}={_value(value)}" for name, value in fields.items()]
        head = " ".join([clock, f"{level:<5}", message, *pairs])
        rows = [head, *(f"  | {row}" for row in below.split("\n") if below)]
        return "\n".join(map(_visible, rows))


def _value(value: Any) -> str:
    if isinstance(value, str) and value.isprintable() and not _NEEDS_QUOTES.search(value):
        return value
    return msgspec.json.encode(value).decode()


def _visible(text: str) -> str:
    """`text` with everything that a terminal would act upon, or not show, spelled out."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
