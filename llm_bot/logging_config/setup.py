"""The log: one JSON object a line for machines, one plain line for people at a terminal.

A call names an event and gives its fields: `log.info("trigger.fired", extra={"user": "bob"})`.
Whatever the fields hold, a call never raises, a line stays one line, nothing in it steers a
terminal, and no secret of the configuration is in it.
"""

from __future__ import annotations

import enum
import io
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal, TextIO
from urllib.parse import quote, quote_plus

import msgspec

from llm_bot.config import LoggingConfig
from llm_bot.logging_config.log_writer import LogWriter

SECRET = "[secret]"  # noqa: S105 - what is shown instead of one

# They tell of each request; what matters about a request is logged by this program itself.
_CHATTY_LOGGERS = ("asyncio", "httpx", "httpcore", "aiohttp.access")
# Whoever is cut here is told; a longer line helps nobody and costs everybody.
_MAX_CHARACTERS = 20_000
_MAX_ITEMS = 100
_MAX_DEPTH = 5
# Keys that were replaced may still be in the errors of requests under way.
_MAX_SECRETS = 100
_LARGEST_INTEGER = 2**63 - 1

_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OWN_FIELDS = frozenset({"timestamp", "level", "logger", "message", "exception", "stack"})
_LEADING = ("correlation_id", "channel")
# Line ends and controls that JSON allows in a string, and marks that turn the order of a line.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_NEEDS_QUOTES = re.compile(r'[\s"=\\]|^$')

_Plain = str | int | float | bool | list[Any] | dict[str, Any] | None
_Layout = Callable[[dict[str, _Plain]], str]


def configure_logging(
    config: LoggingConfig,
    level: str,
    *,
    secrets: tuple[str, ...],
    stream: TextIO | None = None,
    writer: LogWriter | None = None,
) -> None:
    """Log to `stream` (standard error) from `level` on. Called again, it replaces what was set.

    With a `writer` it does the writing, to its own stream, and does so after later calls without.
    Secrets of earlier calls stay blacked out: after a reload, old requests are still under way.
    """
    root = logging.getLogger()
    previous = [handler for handler in root.handlers if isinstance(handler, _Handler)]
    known = [secret for handler in previous for secret in handler.secrets]
    if writer is None and stream is None and previous:
        writer = previous[-1].writer
    writer = writer or LogWriter(stream or sys.stderr)
    target = writer.stream
    handler = _Handler(writer, (*secrets, *known)[:_MAX_SECRETS])
    layout = _as_text if _chosen_format(config, target) == "text" else _as_json
    if isinstance(target, io.TextIOWrapper):
        encoding = "utf-8" if layout is _as_json else None  # as JSON is, whatever the locale
        target.reconfigure(encoding=encoding, errors="backslashreplace")
    handler.setFormatter(_Formatter(layout, _Redactor(handler.secrets)))
    root.addHandler(handler)
    for old in previous:
        root.removeHandler(old)
    root.setLevel(level)
    for name in _CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    logging.captureWarnings(True)


def _chosen_format(config: LoggingConfig, stream: TextIO) -> Literal["json", "text"]:
    if config.format is not None:
        return config.format
    return "text" if stream.isatty() else "json"


class _Handler(logging.Handler):
    def __init__(self, writer: LogWriter, secrets: Iterable[str]) -> None:
        super().__init__()
        self.writer = writer
        self.secrets = tuple(dict.fromkeys(filter(None, secrets)))

    def emit(self, record: logging.LogRecord) -> None:
        self.writer.write(self.format(record) + "\n")


class _Formatter(logging.Formatter):
    def __init__(self, layout: _Layout, redactor: _Redactor) -> None:
        super().__init__()
        self._layout = layout
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        try:
            return self._layout(self._redactor.fields(_fields(record)))
        except Exception as exc:  # noqa: BLE001 - a line that can't be made must not end its caller
            failure = _heading(record) | {"message": "log.failed", "error": type(exc).__name__}
            return self._layout(failure)


def _heading(record: logging.LogRecord) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return {
        "timestamp": moment.replace("+00:00", "Z"),
        "level": record.levelname,
        "logger": record.name,
    }


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    extra = {key: value for key, value in vars(record).items() if key not in _OWN_ATTRIBUTES}
    fields = _heading(record) | {"message": _message(record)}
    for key in _LEADING:
        value = extra.pop(key, None)
        if value is not None:
            fields[key] = value
    for key, value in extra.items():
        fields[f"{key}_" if key in _OWN_FIELDS else key] = value
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n")
    elif record.exc_text:
        fields["exception"] = record.exc_text
    if record.stack_info:
        fields["stack"] = record.stack_info
    return fields


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that don't fit their text, in code of others
        return _shown(record.msg)


class _Redactor:
    """Makes plain values of any, with the secrets blacked out."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len)
        self._pattern = re.compile("|".join(re.escape(form) for form in reversed(forms)) or r"(?!)")

    def fields(self, fields: Mapping[str, Any]) -> dict[str, _Plain]:
        """`fields` as JSON can have them; the names that this module gives stay as they are."""
        return {
            key if key in _OWN_FIELDS or key in _LEADING else self._name(key): self._any(value)
            for key, value in fields.items()
        }

    def _name(self, key: object) -> str:
        return self._text(_shown(key))

    def _any(self, value: object) -> _Plain:
        try:
            return self._plain(value)
        except Exception:  # noqa: BLE001 - a value of any type, with methods of its own
            return _type_name(value)

    def _text(self, text: str) -> str:
        text = self._pattern.sub(SECRET, str.__str__(text))
        if len(text) > _MAX_CHARACTERS:
            text = f"{text[:_MAX_CHARACTERS]}... ({len(text)} characters)"
        if text.isascii():
            return text
        return text.encode("utf-8", "backslashreplace").decode()

    def _plain(self, value: object, depth: int = 0) -> _Plain:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, enum.Enum):
            return self._plain(value.value, depth)
        if isinstance(value, int | float) and _is_in_range(value) and not self._hides_in(value):
            return value
        if depth < _MAX_DEPTH:
            if isinstance(value, Mapping):
                return self._mapping(value, depth + 1)
            if isinstance(value, list | tuple | set | frozenset):
                return [self._plain(item, depth + 1) for item in _first(value)]
        return self._text(_shown(value))

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, _Plain]:
        pairs = _first(value.items())
        return {self._name(key): self._plain(item, depth) for key, item in pairs}

    def _hides_in(self, number: float) -> bool:
        return self._pattern.search(repr(number)) is not None


def _forms(secret: str) -> set[str]:
    """`secret` as it may stand in a text: bare, in a URL, in a literal of Python or JSON."""
    in_bytes = repr(secret.encode("utf-8", "replace"))[2:-1]
    urls = {quote(secret, safe="", errors="replace"), quote_plus(secret, errors="replace")}
    in_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {secret, repr(secret)[1:-1], ascii(secret)[1:-1], in_bytes, *in_json, *urls}


def _is_in_range(number: float) -> bool:
    return -_LARGEST_INTEGER <= number <= _LARGEST_INTEGER  # false for NaN


def _first(items: Iterable[Any]) -> list[Any]:
    return list(islice(items, _MAX_ITEMS))


def _shown(value: object) -> str:
    try:
        if isinstance(value, bytes | bytearray):
            return value.decode("utf-8", "backslashreplace")
        return str(value)
    except Exception:  # noqa: BLE001 - a value of any type, with any __str__
        return _type_name(value)


def _type_name(value: object) -> str:
    return f"<{type(value).__name__}>"


def _as_json(fields: dict[str, _Plain]) -> str:
    return _UNSAFE_IN_JSON.sub(_escaped, msgspec.json.encode(fields).decode())


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _as_text(fields: dict[str, _Plain]) -> str:
    """`02:31:05 INFO  trigger.fired channel=lounge user=bob`, in local time, tracebacks below."""
    rest = dict(fields)
    moment = datetime.fromisoformat(str(rest.pop("timestamp")))
    clock = time.strftime("%H:%M:%S", time.localtime(moment.timestamp()))
    level, message = rest.pop("level"), rest.pop("message")
    below = [str(rest.pop(name)) for name in ("exception", "stack") if name in rest]
    rest.pop("logger")
    if "correlation_id" in rest:
        rest["correlation_id"] = rest.pop("correlation_id")  # long and seldom wanted: last
    pairs = [f"{_visible(name)}={_value(value)}" for name, value in rest.items()]
    head = " ".join([clock, f"{level:<5}", _visible(str(message)), *pairs])
    rows = [row for text in below for row in text.split("\n")]
    return "\n".join([head, *(f"  | {_visible(row)}" for row in rows)])


def _value(value: _Plain) -> str:
    if not isinstance(value, str):
        return _visible(msgspec.json.encode(value).decode())
    if value.isprintable() and not _NEEDS_QUOTES.search(value):
        return value
    return '"' + _visible(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _visible(text: str) -> str:
    """`text` with everything that a terminal would act upon, or not show, spelled out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _spelled(char) for char in text)


def _spelled(char: str) -> str:
    return char.encode("unicode_escape").decode()
