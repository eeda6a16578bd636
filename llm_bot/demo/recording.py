"""Recorded rooms: one JSON object a line, `{t, subject, data}`, as the connector published them.

Everything but the reading itself is pure: a recording is a tuple of events, and each helper makes
another one (moved in time, in another dialect, without the commands).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from importlib.resources.abc import Traversable
from math import isfinite
from pathlib import Path
from typing import Any

from llm_bot.errors import LLMBotError

EVENT_PREFIXES = ("kryten.events.", "cytube.events.")
FILM_NIGHT = "film_night.jsonl"


class RecordingError(LLMBotError):
    """A recording can't be used; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One message of a recording: when (Unix epoch, seconds), on which subject, which JSON."""

    t: float
    subject: str
    data: Any

    @property
    def is_enveloped(self) -> bool:
        """Whether the body is the connector's envelope and not a bare payload."""
        return isinstance(self.data, dict) and {"event_name", "payload"} <= self.data.keys()

    @property
    def payload(self) -> Any:
        return self.data["payload"] if self.is_enveloped else self.data

    @property
    def name(self) -> str:
        """The event's name as CyTube spells it, or the last token of the subject."""
        if self.is_enveloped:
            return str(self.data["event_name"])
        return self.subject.rpartition(".")[2]

    def body(self) -> bytes:
        """The JSON that goes over the bus."""
        return json.dumps(self.data, separators=(",", ":")).encode()


def read_recording(place: Path | Traversable) -> tuple[RecordedEvent, ...]:
    """Every event of a file or package resource. Raises `RecordingError` with the line at fault."""
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise RecordingError(f"{place.name}: can't be read: {exc}") from exc
    # Not splitlines(): chat may hold other line separators than "\n" inside a JSON string.
    return parse_recording(text.split("\n"), name=place.name)


def film_night() -> tuple[RecordedEvent, ...]:
    """The room that ships with the package."""
    return read_recording(resources.files("llm_bot.demo") / FILM_NIGHT)


def parse_recording(lines: Iterable[str], *, name: str) -> tuple[RecordedEvent, ...]:
    """The events in `lines`; blank lines are skipped."""
    return tuple(
        _event_of(line, f"{name}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def _event_of(line: str, place: str) -> RecordedEvent:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise RecordingError(f"{place}: not JSON: {exc}") from exc
    if not isinstance(record, dict):
        raise RecordingError(f"{place}: expected an object, found {type(record).__name__}")
    missing = [key for key in ("t", "subject", "data") if key not in record]
    if missing:
        raise RecordingError(f"{place}: missing {', '.join(missing)}")
    t, subject = record["t"], record["subject"]
    if isinstance(t, bool) or not isinstance(t, int | float) or not isfinite(t):
        raise RecordingError(f"{place}: t must be a number of seconds, found {t!r}")
    if not isinstance(subject, str) or not subject:
        raise RecordingError(f"{place}: subject must be a text, found {subject!r}")
    return RecordedEvent(float(t), subject, record["data"])


def event_subjects_only(events: Iterable[RecordedEvent]) -> tuple[RecordedEvent, ...]:
    """Without commands and lifecycle: what a room published, and nothing that was asked of it."""
    return tuple(event for event in events if event.subject.startswith(EVENT_PREFIXES))


def shifted(events: Sequence[RecordedEvent], start_epoch: float) -> tuple[RecordedEvent, ...]:
    """`events` moved in time as one, so that the first happens at `start_epoch`.

    `t`, the envelope's `timestamp` and the payload's `time` move by the same amount, so that a
    replayed line stays as old as it was. Called with a single event, it restamps that event alone.
    """
    if not events:
        return ()
    seconds = start_epoch - events[0].t
    return tuple(
        replace(event, t=event.t + seconds, data=_moved(event, seconds)) for event in events
    )


def _moved(event: RecordedEvent, seconds: float) -> Any:
    if event.is_enveloped:
        payload = _with_time_moved(event.payload, seconds)
        return _with_timestamp_moved({**event.data, "payload": payload}, seconds)
    if isinstance(event.data, dict):
        return _with_time_moved(_with_timestamp_moved(event.data, seconds), seconds)
    return event.data


def _with_timestamp_moved(body: dict[str, Any], seconds: float) -> dict[str, Any]:
    try:
        then = datetime.fromisoformat(body["timestamp"])
    except (KeyError, TypeError, ValueError):
        return body
    return {**body, "timestamp": iso(then.timestamp() + seconds)}


def _with_time_moved(payload: Any, seconds: float) -> Any:
    """Only a number is a time of day: `setPlaylistMeta` has a `time` that is a text, "00:00"."""
    if not isinstance(payload, dict):
        return payload
    time_ms = payload.get("time")
    if isinstance(time_ms, bool) or not isinstance(time_ms, int | float):
        return payload
    return {**payload, "time": round(time_ms + seconds * 1000)}


def iso(epoch: float) -> str:
    """`epoch` as the connector writes a time: ISO 8601, UTC, microseconds always shown."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="microseconds")


def pauses(events: Iterable[RecordedEvent]) -> Iterator[tuple[float, RecordedEvent]]:
    """Each event with the seconds to wait before it; one that is out of order waits for nothing."""
    latest: float | None = None
    for event in events:
        yield (0.0 if latest is None else max(0.0, event.t - latest)), event
        latest = event.t if latest is None else max(latest, event.t)


def as_plain(event: RecordedEvent) -> RecordedEvent:
    """The same event in the `plain` dialect: no envelope, `cytube.events.{channel}.{event}`.

    The channel is in lower case, the spelling that is always subscribed; the event's name is
    spelled as CyTube does.
    """
    if not event.is_enveloped or not isinstance(event.data.get("channel"), str):
        raise RecordingError(f"{event.subject}: has no envelope to take off")
    subject = f"cytube.events.{event.data['channel'].lower()}.{event.data['event_name']}"
    return replace(event, subject=subject, data=event.data["payload"])
