"""What the bot publishes so that a connector says it, by dialect. Pure.

`args` and `data` carry exactly these fields, since the connector rejects any other
(Kryten-Robot: `data` is passed on as keyword arguments).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from llm_bot.models import Dialect, Origin
from llm_bot.ports import Event

ROBOT_SUBJECT = "kryten.robot.command"
"""One subject for all connectors on a NATS server; `meta` says which of them is meant."""

SCHEMA_VERSION = "1.0"


class Command(msgspec.Struct, frozen=True):
    """One body for one subject."""

    subject: str
    body: Mapping[str, Any]


def iso_time(epoch: float) -> str:
    """`epoch` seconds as ISO 8601 in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(epoch, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def robot_request(
    text: str, to: str, origin: Origin, *, source: str, request_id: str, now: float
) -> Command | None:
    """The request that today's connector answers; None where its address isn't known.

    Without both channel and domain every connector on the server would say it.
    """
    if origin.dialect is not Dialect.KRYTEN or not origin.channel or not origin.domain:
        return None
    meta = {
        "source": source,
        "timestamp": iso_time(now),
        "domain": origin.domain,
        "channel": origin.channel,
        "request_id": request_id,
    }
    action = "pm" if to else "say"
    body = {"service": "robot", "command": action, "args": _message(text, to), "meta": meta}
    return Command(ROBOT_SUBJECT, body)


def plain_command(text: str, to: str, origin: Origin, channel: str) -> Command:
    """The command that older connectors hear, on the subject of the dialect.

    Subjects mind case: but for `kryten` the room is spelled as the subject that was heard spells
    it, and as `channel` where nothing was heard yet.
    """
    action = "pm" if to else "chat"
    if origin.dialect is Dialect.KRYTEN:
        place = f"kryten.commands.cytube.{channel.lower()}"
    else:
        heard = origin.subject.removeprefix("cytube.events.").rpartition(".")[0]
        place = f"cytube.commands.{heard or channel}"
    return Command(f"{place}.{action}", {"action": action, "data": _message(text, to)})


def _message(text: str, to: str) -> dict[str, str]:
    return {"to": to, "message": text} if to else {"message": text}


def headers(correlation_id: str, *, source: str, now: float) -> dict[str, str]:
    """The headers of everything that is sent."""
    return {
        "Correlation-Id": correlation_id,
        "Timestamp": iso_time(now),
        "Source": source,
        "Schema-Version": SCHEMA_VERSION,
    }


def is_robot_reply(event: Event) -> bool:
    """Whether a connector answered, and not a stream that covers the subject (it answers too)."""
    return bool(event.get("service") == "robot")


def robot_refusal(event: Event) -> str | None:
    """Why the connector refused, None if it accepted."""
    if event.get("success") is True:
        return None
    error = event.get("error")
    return error[:200] if isinstance(error, str) and error else "the connector refused it"
