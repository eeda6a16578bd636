"""The log: the form of its lines, and what never gets into one."""

from __future__ import annotations

import enum
import io
import json
import logging
import math
import re
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_bot.config import LoggingConfig
from llm_bot.logging_config import SECRET, configure_logging
from llm_bot.logging_config.sampler import SAMPLED, SampleFilter
from tests.fakes import ManualClock

log = logging.getLogger("llm_bot.test")

JSON_LINES = LoggingConfig(format="json")
TEXT_LINES = LoggingConfig(format="text")
CHATTY = ("asyncio", "httpx", "httpcore", "aiohttp.access")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in CHATTY}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(False)


class Log:
    """A log in memory."""

    def __init__(self, config: LoggingConfig, level: str = "INFO", *secrets: str) -> None:
        self.stream = io.StringIO()
        configure_logging(config, level, secrets=secrets, stream=self.stream)
        del logging.getLogger().handlers[:-1]  # pytest's own, which raise at odd calls

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def line(self) -> dict[str, Any]:
        """The fields of the only line, which has to be one by every definition of a line."""
        assert len(self.text.splitlines()) == 1
        fields: dict[str, Any] = json.loads(self.text)
        return fields


def json_log(*secrets: str, level: str = "INFO") -> Log:
    return Log(JSON_LINES, level, *secrets)


def text_log(*secrets: str, level: str = "INFO") -> Log:
    return Log(TEXT_LINES, level, *secrets)


class Unprintable:
    """Raises whatever one asks of it."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Outcome(enum.StrEnum):
    SENT = "sent"


# --- JSON ----------------------------------------------------------------------------------


def test_json_line_has_the_documented_fields_in_order() -> None:
    """timestamp, level, logger, message, correlation_id and channel come first, then the rest; a
    line about no event has neither id nor channel."""
    # LOG-1
    out = json_log()
    fields = {"user": "bob", "channel": "lounge", "correlation_id": "abc-1", "seconds": 1.5}
    log.info("trigger.fired", extra=fields)
    log.info("app.ready", extra={"channel": None})
    event, ready = out.lines
    own = ["timestamp", "level", "logger", "message"]
    assert list(event) == [*own, "correlation_id", "channel", "user", "seconds"]
    assert event | fields == event
    assert [event[name] for name in own[1:]] == ["INFO", "llm_bot.test", "trigger.fired"]
    assert list(ready) == own


@pytest.mark.parametrize(
    ("created", "shown"),
    [
        (1_700_000_000.0, "2023-11-14T22:13:20.000Z"),
        (1_700_000_000.0459, "2023-11-14T22:13:20.045Z"),
    ],
)
def test_timestamp_is_utc_with_milliseconds(created: float, shown: str) -> None:
    """`timestamp` is ISO 8601, in UTC, with milliseconds and Z, also at a full second."""
    out = json_log()
    record = log.makeRecord("x", logging.INFO, "f", 1, "app.ready", (), None)
    record.created = created
    logging.getLogger().handle(record)
    assert out.line["timestamp"] == shown


def test_exception_and_stack_stand_in_the_same_line() -> None:
    """A traceback and a stack that was asked for are the last fields of the line."""
    out = json_log()
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        log.exception("reply.error", extra={"subject": "a.b"}, stack_info=True)
    assert list(out.line)[-3:] == ["subject", "exception", "stack"]
    assert out.line["exception"].startswith("Traceback")
    assert out.line["exception"].endswith("ValueError: first\nsecond")
    assert "test_exception_and_stack" in out.line["stack"]


@pytest.mark.parametrize("end", ["\n", "\r", "\x0c", "\x1c", "\x85", "\u2028", "\u202e", "\x7f"])
def test_no_value_breaks_a_line(end: str) -> None:
    """Whatever ends a line or turns its order, in a value, a name or the message, is in the JSON
    and not in the line."""
    out = json_log()
    text = f"a{end}b"
    log.info(text, extra={"text": text, text: 1, "deep": {text: [text]}})
    assert out.text.isascii()
    assert out.line["message"] == text
    assert out.line["text"] == text
    assert out.line["deep"] == {text: [text]}


LOOP: list[object] = []
LOOP.append(LOOP)


class Broken(dict[str, int]):
    """A mapping that can't be walked."""

    def items(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(Outcome.SENT, "sent", id="member of an enumeration"),
        pytest.param(b"ab\xff", "b'ab\\xff'", id="bytes"),
        pytest.param("half \ud83d", "half \\ud83d", id="lone surrogate"),
        pytest.param(math.inf, "inf", id="infinity"),
        pytest.param(math.nan, "nan", id="not a number"),
        pytest.param(2**70, str(2**70), id="number beyond 64 bits"),
        pytest.param(10**6000, "<int>", id="number too long to be written"),
        pytest.param(ValueError("why"), "why", id="exception"),
        pytest.param(Unprintable(), "<Unprintable>", id="object that can't be shown"),
        pytest.param({1: Unprintable()}, {"1": "<Unprintable>"}, id="such an object inside"),
        pytest.param((1, None, True), [1, None, True], id="tuple"),
        pytest.param({3}, [3], id="set"),
        pytest.param([[[[[["deep"]]]]]], [[[[["['deep']"]]]]], id="deeply nested"),
        pytest.param(LOOP, [[[[["[[...]]"]]]]], id="within itself"),
        pytest.param(Broken(), "<Broken>", id="mapping that can't be walked"),
    ],
)
def test_odd_values_are_shown_somehow(value: object, shown: object) -> None:
    """A value that JSON has no form for is written as text, and costs no other field."""
    out = json_log()
    log.info("app.ready", extra={"value": value, "user": "bob"})
    assert (out.line["value"], out.line["user"]) == (shown, "bob")


def test_long_values_are_cut() -> None:
    """A text of a megabyte and a list without end leave a line that can be read."""
    out = json_log()
    log.info("app.ready", extra={"text": "x" * 1_000_000, "list": list(range(100_000))})
    assert len(out.text) < 25_000
    assert out.line["text"].endswith("... (1000000 characters)")


def test_fields_of_others() -> None:
    """Libraries log with arguments, with names that aren't text, and with names that are ours."""
    out = json_log()
    extra = {7: "seven", "level": 3, "exception": "none"}
    log.info("%s of %s", 1, 2, extra=extra)  # type: ignore[arg-type]
    assert (out.line["message"], out.line["level"]) == ("1 of 2", "INFO")
    assert (out.line["7"], out.line["level_"], out.line["exception_"]) == ("seven", 3, "none")


class OddError(Exception):
    """Raises whatever one asks of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


@pytest.mark.parametrize(
    ("message", "arguments", "error", "why"),
    [
        ("app.failed", (), OddError(), "RuntimeError"),
        ("%s of %s", (1,), None, "TypeError"),
        (Unprintable(), (), None, "RuntimeError"),
    ],
    ids=["exception", "arguments", "message"],
)
def test_line_that_cannot_be_made_says_so(
    message: str, arguments: tuple[object, ...], error: Exception | None, why: str
) -> None:
    """What can't be logged at all leaves a line that says so, and raises nothing."""
    out = json_log()
    log.error(message, *arguments, exc_info=error and (OddError, error, None))
    assert out.line["message"] == "log.failed"
    assert out.line["error"] == why
    assert (out.line["logger"], out.line["level"]) == ("llm_bot.test", "ERROR")


def test_gone_reader_raises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A stream that takes nothing any more ends nobody, and the call isn't printed elsewhere."""
    out = json_log("hunter2hunter2")
    out.stream.close()
    log.info("app.ready", extra={"key": "hunter2hunter2"})
    assert capsys.readouterr() == ("", "")


@given(
    st.dictionaries(
        st.text(max_size=8).map("x_".__add__),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(st.characters(exclude_categories=[]), max_size=20)
            | st.binary(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        ),
    )
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_fields_give_one_line_of_json(fields: dict[str, object]) -> None:
    """Any fields at all give one line, JSON in UTF-8, with no control character in it (LOG-2)."""
    out = json_log()
    log.info("app.ready", extra=fields)
    assert out.line["message"] == "app.ready"
    assert msgspec.json.decode(out.text.encode()) == out.line
    assert not re.search("[\x00-\x1f\x7f-\x9f]", out.text.removesuffix("\n"))


# --- secrets -------------------------------------------------------------------------------

KEYS = [
    pytest.param("sk-0123456789", id="plain"),
    pytest.param('quote"and\\back', id="quote and backslash"),
    pytest.param("passé wörd/+&", id="not ASCII, not fit for a URL"),
    pytest.param("it's \"both\" 'quotes'", id="both quotes"),
    pytest.param("two\nlines", id="line end"),
]


@pytest.mark.parametrize("make", [json_log, text_log])
@pytest.mark.parametrize("key", KEYS)
def test_secret_is_nowhere_in_a_line(make: Any, key: str) -> None:
    """A secret is blacked out in message, names, values at any depth, objects and tracebacks."""
    # LOG-3
    out = make(key)
    try:
        raise KeyError(f"refused: {key}", key.encode())
    except KeyError:
        log.exception(
            f"asked with {key}",  # noqa: G004 - somebody may
            extra={
                "value": key,
                "deep": {"list": [f"<{key}>", {f"k{key}": 1}]},
                "object": ValueError(key),
                "literal": repr({"key": key}),
                "json": json.dumps({"key": key}),
                f"name{key}": 1,
            },
        )
    assert out.text.count(SECRET) >= 8
    for form in (key, repr(key)[1:-1], ascii(key)[1:-1], json.dumps(key)[1:-1]):
        assert form not in out.text
        assert msgspec.json.encode(form).decode()[1:-1] not in out.text


URL = "nats://bob:{}@host:4222"


@pytest.mark.parametrize(
    ("secrets", "value", "shown"),
    [
        pytest.param(
            ["p@ss:word/1"], URL.format("p%40ss%3Aword%2F1"), URL.format(SECRET), id="in a URL"
        ),
        pytest.param(["123456"], 9912345699, f"99{SECRET}99", id="digits in a number"),
        pytest.param(["123456"], 123456.5, f"{SECRET}.5", id="digits in a fraction"),
        pytest.param(["123456"], 12345, 12345, id="another number"),
        pytest.param(["abcdef", "abcdef-gh"], "abcdef-gh", SECRET, id="that begins another"),
        pytest.param(["message"], "a message", f"a {SECRET}", id="named like a field"),
        pytest.param([""], "anything", "anything", id="empty"),
    ],
)
def test_what_of_a_value_is_blacked_out(secrets: list[str], value: object, shown: object) -> None:
    """All of a secret and nothing else, in a line that has its form still."""
    out = json_log(*secrets)
    log.info("app.ready", extra={"value": value})
    assert (out.line["message"], out.line["value"]) == ("app.ready", shown)


def test_secret_at_the_place_of_the_cut_is_hidden() -> None:
    """A long text is blacked out before it is cut: no half of a secret stays at its end."""
    out = json_log("sk-0123456789")
    log.info("app.ready", extra={"text": "x" * 19_995 + "sk-0123456789"})
    assert "sk-" not in out.text


# --- text ----------------------------------------------------------------------------------


def test_text_line_is_short() -> None:
    """Time, level, event and fields in one line; the correlation id comes last (LOG-1)."""
    out = text_log()
    fields = {"correlation_id": "abc-1", "channel": "lounge", "user": "bob", "seconds": 0.5}
    log.info("trigger.fired", extra=fields)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d INFO  trigger\.fired "
        r"channel=lounge user=bob seconds=0\.5 correlation_id=abc-1\n",
        out.text,
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("two words", '"two words"'),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("naïve", "naïve"),
        (["a", 1], '["a",1]'),
        ({"text": "\x1b[31m\u202e"}, '{"text":"\\u001b[31m\\u202e"}'),
        (None, "null"),
    ],
)
def test_values_in_text_can_be_told_apart(value: object, shown: str) -> None:
    """A value with spaces or quotes is quoted, a structure is written as JSON."""
    out = text_log()
    log.info("app.ready", extra={"value": value})
    assert out.text.rstrip("\n").partition(" value=")[2] == shown


@pytest.mark.parametrize("text", ["\x1b[2J", "\x07", "\r", "\x9b31m", "\u202e", "\x7f", "\u2028"])
def test_chat_never_steers_the_terminal(text: str) -> None:
    """Control and escape characters of people in the room are spelled out, wherever they are."""
    # LOG-2
    out = text_log()
    text = f"a{text}b"
    log.error(
        text, exc_info=ValueError(text), extra={"value": text, text: 1, "deep": {text: [text]}}
    )
    assert all(char == "\n" or char.isprintable() for char in out.text)
    assert len(re.findall(r"a\\.{1,9}?b", out.text)) >= 6


def test_traceback_in_text_is_below_and_marked() -> None:
    """A traceback follows its line, every row marked, so that no text in it looks like a line."""
    out = text_log()
    log.error("app.failed", exc_info=ValueError("02:31:05 INFO\n02:31:05 INFO  forged"))
    first, *rows = out.text.splitlines()
    assert first.endswith("ERROR app.failed")
    assert rows
    assert all(row.startswith("  | ") for row in rows)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "format_", "is_json"),
    [
        (io.StringIO, None, True),
        (Terminal, None, False),
        (Terminal, "json", True),
        (io.StringIO, "text", False),
    ],
)
def test_format_follows_the_terminal_where_none_is_set(
    stream: type[io.StringIO], format_: Literal["json", "text"] | None, is_json: bool
) -> None:
    """Unset, the format is text on a terminal and json elsewhere."""
    target = stream()
    configure_logging(LoggingConfig(format=format_), "INFO", secrets=(), stream=target)
    log.info("app.ready")
    assert target.getvalue().startswith("{") is is_json


@pytest.mark.parametrize(
    ("config", "written"),
    [(JSON_LINES, "bób".encode()), (TEXT_LINES, b"b\\xf3b")],
    ids=["json", "text"],
)
def test_locale_costs_no_line(config: LoggingConfig, written: bytes) -> None:
    """JSON is UTF-8 in every locale; text on a poor terminal spells out what that can't show."""
    raw = io.BytesIO()
    configure_logging(
        config, "INFO", secrets=(), stream=io.TextIOWrapper(raw, "ascii", write_through=True)
    )
    log.info("app.ready", extra={"user": "bób"})
    assert written in raw.getvalue()


# --- configuration -------------------------------------------------------------------------


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no stream is given, the log goes to standard error, and nothing to standard output."""
    configure_logging(JSON_LINES, "INFO", secrets=())
    log.info("app.ready")
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["message"] == "app.ready"


@pytest.mark.parametrize("name", CHATTY)
@pytest.mark.parametrize(("level", "lines"), [("DEBUG", 1), ("ERROR", 0)])
def test_chatty_libraries_are_heard_from_warning_on(name: str, level: str, lines: int) -> None:
    """Libraries that report each request are kept to warnings, and to less where less is wanted."""
    out = json_log(level=level)
    library = logging.getLogger(name)
    library.info("each request")
    library.warning("a problem")
    assert len(out.text.splitlines()) == lines


def test_warnings_of_python_are_lines_of_the_log() -> None:
    """What the interpreter warns of is JSON on standard error too."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        out = json_log()
        warnings.warn("old way", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert out.line["logger"] == "py.warnings"
    assert "old way" in out.line["message"]


def test_second_call_replaces_the_first() -> None:
    """After a reload each line is written once, as the new configuration wants it, and by handlers
    of others as before."""
    first = json_log()
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    second = io.StringIO()
    configure_logging(JSON_LINES, "INFO", secrets=(), stream=second)
    configure_logging(TEXT_LINES, "WARNING", secrets=())
    assert other in logging.getLogger().handlers
    log.info("app.ready")
    log.warning("app.slow")
    assert first.text == ""
    assert second.getvalue().endswith(" WARNING app.slow\n")


def test_secrets_of_before_a_reload_stay_hidden() -> None:
    """A replaced key is blacked out still: requests made with it may fail yet (LIFE-10)."""
    json_log("old-secret")
    out = json_log("new-secret")
    log.info("app.ready", extra={"keys": "old-secret new-secret"})
    assert out.line["keys"] == f"{SECRET} {SECRET}"


# --- floods --------------------------------------------------------------------------------


def log_with_a_clock() -> tuple[Log, ManualClock]:
    """A log whose samples go by a clock that is moved by hand."""
    out, clock = json_log(), ManualClock()
    (handler,) = logging.getLogger().handlers
    handler.filters[:] = [SampleFilter(clock.monotonic)]
    return out, clock


def dropped(channel: str = "lounge", reason: str = "bad_json") -> None:
    log.warning("event.dropped", extra={"channel": channel, "reason": reason})


def test_flood_is_sampled() -> None:
    """LOG-5: of a kind and room the first five of a minute are logged, and the next one tells how
    many weren't. No kind hides another, and what isn't such a kind is logged each time."""
    out, clock = log_with_a_clock()
    for _ in range(10):
        clock.advance(5.9)
        dropped()
    assert [line["suppressed"] for line in out.lines] == [0] * 5
    dropped(channel="other")
    dropped(reason="bad_payload")
    assert len(out.lines) == 7
    for _ in range(10):
        log.warning("reply.error", extra={"channel": "lounge"})
    assert len(out.lines) == 17
    clock.advance(60.0)
    dropped()
    clock.advance(60.0)
    dropped()
    assert [line["suppressed"] for line in out.lines[17:]] == [5, 0]


@pytest.mark.parametrize("message", SAMPLED)
def test_every_event_of_the_table_is_sampled(message: str) -> None:
    """From the start, whatever fields it has: the filter is there without being asked for."""
    out = json_log()
    for _ in range(10):
        log.warning(message)
    assert [line["message"] for line in out.lines] == [message] * 5
