"""How the stand-in connector speaks: subjects and bodies of each dialect, commands understood.

Written from the connector's side and apart from the bot's own `wire`, so that a mistake there isn't
repeated here. It is stricter than Kryten-Robot 1.12 and CyTube, so that a test notices: an unknown
argument is refused on both command paths, and so is one that is no text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import uuid4

from llm_bot.demo.recording import iso


class Dialect(StrEnum):
    """The families of subjects. `plain` has no envelope."""

    KRYTEN = "kryten"
    EARLY = "early"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Address:
    """Which room, and in which dialect it is spoken of."""

    channel: str
    domain: str
    dialect: Dialect

    def event_subject(self, name: str) -> str:
        channel = self.channel.lower()
        match self.dialect:
            case Dialect.KRYTEN:
                return f"kryten.events.cytube.{channel}.{name.lower()}"
            case Dialect.EARLY:
                return f"cytube.events.{self.domain.lower()}.{channel}.{name.lower()}"
            case Dialect.PLAIN:
                return f"cytube.events.{channel}.{name}"

    def command_subjects(self) -> str:
        """What to listen to for commands of the older path; their last token means nothing."""
        channel = self.channel.lower()
        match self.dialect:
            case Dialect.KRYTEN:
                return f"kryten.commands.cytube.{channel}.>"
            case Dialect.EARLY:
                return f"cytube.commands.{self.domain.lower()}.{channel}.>"
            case Dialect.PLAIN:
                return f"cytube.commands.{channel}.>"

    def event_body(self, name: str, payload: object, now: float) -> bytes:
        if self.dialect is Dialect.PLAIN:
            return json.dumps(payload).encode()
        envelope = {
            "event_name": name,
            "payload": payload,
            "channel": self.channel,
            "domain": self.domain,
            "timestamp": iso(now),
            "correlation_id": str(uuid4()),
        }
        return json.dumps(envelope).encode()

    def is_anothers(self, meta: object) -> bool:
        """Whether `meta` names another robot's room: the case of the domain counts.

        A request that doesn't name both is for every robot, this one too.
        """
        if not isinstance(meta, dict) or not (meta.get("channel") and meta.get("domain")):
            return False
        same_channel = str(meta["channel"]).lower() == self.channel.lower()
        return not same_channel or bool(meta["domain"] != self.domain)


@dataclass(frozen=True, slots=True)
class Said:
    """What the bot wants said: to the room, or to one user."""

    command: str
    text: str
    to: str | None = None


class RefusedError(Exception):
    """A command that the connector won't carry out, and what it says about it."""


def read_request(data: bytes, address: Address) -> Said | None:
    """A request on `kryten.robot.command`; None is what the connector leaves without an answer.

    Raises:
        RefusedError: What the connector answers with an error.
    """
    request = _decoded(data)
    command, service = request.get("command"), request.get("service")
    if not command:
        raise RefusedError("Missing 'command' field")
    if address.is_anothers(request.get("meta")):
        return None
    if service and service not in ("robot", "system"):
        raise RefusedError(f"Command intended for '{service}', not 'robot'")
    args = request.get("args", {})
    match command:
        case "say":
            return Said("say", *_texts(args, ("message", "msg")))
        case "pm":
            return Said("pm", *_texts(args, ("message", "msg"), ("username", "to")))
        case _:
            return None


def read_command(data: bytes) -> Said:
    """A command of the older path; `data` must hold exactly the arguments of the action.

    Raises:
        RefusedError: What the connector drops.
    """
    body = _decoded(data)
    match body.get("action"):
        case "chat":
            return Said("chat", *_texts(body.get("data"), ("message",)))
        case "pm":
            return Said("pm", *_texts(body.get("data"), ("message",), ("to",)))
        case action:
            raise RefusedError(f"Unknown action: {action!r}")


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"Invalid JSON: {error}") from error
    if not isinstance(body, dict):
        raise RefusedError("The request is not an object")
    return body


def _texts(arguments: object, *wanted: Iterable[str]) -> list[str]:
    """For each of `wanted`, which are names for the same argument, the text that is given."""
    if not isinstance(arguments, dict):
        raise RefusedError("The arguments are not an object")
    if unknown := arguments.keys() - {name for names in wanted for name in names}:
        raise RefusedError(f"unexpected keyword argument: {', '.join(sorted(unknown))}")
    found = []
    for names in wanted:
        given = next((arguments[name] for name in names if arguments.get(name)), None)
        if not isinstance(given, str):
            raise RefusedError(f"Missing {' or '.join(names)}")
        found.append(given)
    return found
