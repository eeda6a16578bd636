"""How the stand-in connector speaks: subjects and bodies of each dialect, commands understood.

Written from the connector's side and apart from the bot's own `wire`, so that a mistake there isn't
repeated here. One thing is stricter than Kryten-Robot 1.12, so that a test notices it: an unknown
argument is refused on both command paths (Kryten minds it on the older one only).
"""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import uuid4

from llm_bot.demo.recording import iso

_ARGUMENTS = {"say": {"message", "msg"}, "pm": {"to", "username", "message", "msg"}}
_DATA = {"chat": {"message"}, "pm": {"to", "message"}}


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
    """What the bot wants said: to the room, or to one user. Types are CyTube's to check."""

    command: str
    text: Any
    to: Any = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that the connector won't carry out, and what it says about it."""

    error: str


def read_request(data: bytes, address: Address) -> Said | Refused | None:
    """A request on `kryten.robot.command`; None is what the connector leaves without an answer."""
    request = _decoded(data)
    if isinstance(request, Refused):
        return request
    command, service = request.get("command"), request.get("service")
    if not command:
        return Refused("Missing 'command' field")
    if address.is_anothers(request.get("meta")):
        return None
    if service and service not in ("robot", "system"):
        return Refused(f"Command intended for '{service}', not 'robot'")
    if not isinstance(command, str) or command not in _ARGUMENTS:
        return None
    args = _checked(request.get("args", {}), _ARGUMENTS[command])
    if isinstance(args, Refused):
        return args
    text, to = args.get("message") or args.get("msg"), args.get("username") or args.get("to")
    if command == "say":
        return Said(command, text) if text else Refused("Missing message")
    return Said(command, text, to) if text and to else Refused("Missing username or message")


def read_command(data: bytes) -> Said | Refused:
    """A command of the older path; `data` must hold exactly the arguments of the action."""
    body = _decoded(data)
    if isinstance(body, Refused):
        return body
    action = body.get("action")
    if not isinstance(action, str) or action not in _DATA:
        return Refused(f"Unknown action: {action!r}")
    arguments = _checked(body.get("data", {}), _DATA[action])
    if isinstance(arguments, Refused):
        return arguments
    if missing := _DATA[action] - arguments.keys():
        return Refused(f"missing required argument: {', '.join(sorted(missing))}")
    return Said(action, arguments["message"], arguments.get("to"))


def _decoded(data: bytes) -> dict[str, Any] | Refused:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as exc:
        return Refused(f"Invalid JSON: {exc}")
    return body if isinstance(body, dict) else Refused("The request is not an object")


def _checked(arguments: object, known: Set[str]) -> dict[str, Any] | Refused:
    if not isinstance(arguments, dict):
        return Refused("The arguments are not an object")
    if unknown := arguments.keys() - known:
        return Refused(f"unexpected keyword argument: {', '.join(sorted(unknown))}")
    return arguments
