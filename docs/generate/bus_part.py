"""The part of docs/API.md about the bus: what is heard, what is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from docs.generate.evening import Evening, Sent
from docs.generate.live_bot import CHANNEL
from docs.generate.markdown import json_block, table
from llm_bot.models import Dialect, Origin
from llm_bot.wire import EVENT_TYPES
from llm_bot.wire.commands import plain_command

HEARD: Mapping[str, str] = {
    "kryten.events.cytube.{channel}.{event}": "events of a room, dialect `kryten`",
    "cytube.events.{domain}.{channel}.{event}": "the same in `early`, the dots of the domain kept",
    "cytube.events.{channel}.{event}": "the same in `plain`",
    "kryten.lifecycle.robot.connected": "a connector has joined; the room is asked about",
    "kryten.lifecycle.robot.startup": "a connector starts; the bot announces itself again",
    "{instance}.command": "requests to the bot, answered on their reply subject",
}
"""What the bot subscribes to; a test compares it with what it does subscribe to."""

SENT: Mapping[str, str] = {
    "kryten.robot.command": "a line to be said, as a request, to today's connector",
    "kryten.commands.cytube.{channel}.{action}": "the same to one that answers no requests",
    "cytube.commands.{domain}.{channel}.{action}": "the same in `early`",
    "cytube.commands.{channel}.{action}": "the same in `plain`",
    "kryten.user_level.{domain}.{channel}": "a request: which account is the connector's?",
    "$JS.API.STREAM.MSG.GET.KV_{bucket}": "a request: who is here, what is on (JetStream)",
    "$JS.API.DIRECT.GET.KV_{bucket}.{key}": "the same where the account may not make that one",
    "llm_bot.insights.{channel}": "an observation, with `insights.publish`",
    "kryten.lifecycle.{instance}.{event}": "the bot's own `startup`, `heartbeat` and `shutdown`",
}

INTRODUCTION = """\
## The bus

Subjects as on NATS; the [data contracts](../spec/spec-data-contracts.md) have every rule, and
[the bus](../spec/spec-bus.md) what differs on Redis. Whoever gives the bot an account of its own
allows it to hear and to send these, and to hear `_INBOX.>` for answers."""

EVENTS = """\
### What the bot hears

In lower case and as configured, where a channel has capitals; the event is a wildcard. An event
is JSON, in the envelope of the connector:"""

COMMANDS = """\
### Commands to the bot

A request with JSON on `{instance}.command` gets one JSON object: `success`, and `data` or
`error`. `why` takes `channel`, `last` (10, at most 1000), `id`, `user` and `outcome`; `status`
answers what [`/health`](#health-and-ready) says."""

LIFE = "kryten.lifecycle."


def bus_part(evening: Evening) -> Iterator[str]:
    """The paragraphs of the part."""
    yield INTRODUCTION
    yield EVENTS
    yield json_block(evening.envelopes[0])
    rows = [(f"`{subject}`", what) for subject, what in HEARD.items()]
    yield table(("subject", "what"), rows)
    names = ", ".join(f"`{name}`" for name in sorted(EVENT_TYPES))
    yield (
        f"Events that it uses, in any case: {names}. [What it reads of them]"
        "(../spec/spec-data-contracts.md#payloads)."
    )
    yield COMMANDS
    yield json_block({"command": "why", "last": 1, "user": "alice"})
    yield "is answered with"
    yield json_block(evening.answers["why"])
    yield from _published(evening)


def _published(evening: Evening) -> Iterator[str]:
    yield "### What the bot publishes"
    yield table(("subject", "what"), [(f"`{subject}`", what) for subject, what in SENT.items()])
    yield "Lines that are said, and questions about a room, have these headers:"
    yield json_block(dict(_first(evening, "kryten.robot.command").headers))
    for command in ("say", "pm"):
        yield f"`{command}`, on `kryten.robot.command`:"
        yield json_block(_first(evening, "kryten.robot.command", command=command).body)
    yield "To older connectors, here on `cytube.commands.{channel}.chat`:"
    origin = Origin(Dialect.PLAIN, f"cytube.events.{CHANNEL}.chatMsg")
    yield json_block(dict(plain_command("Hello, alice!", "", origin, CHANNEL).body))
    yield "An insight:"
    yield json_block(_first(evening, "llm_bot.insights.").body)
    for event in dict.fromkeys(each.subject for each in evening.sent):
        if event.startswith(LIFE):
            yield f"On `{event}`:"
            yield json_block(_first(evening, event).body)


def _first(evening: Evening, subject: str, **fields: str) -> Sent:
    return next(
        each
        for each in evening.sent
        if each.subject.startswith(subject) and fields.items() <= each.body.items()
    )


def unexplained(evening: Evening) -> set[str]:
    """Subjects of the evening that no row of the tables fits."""
    known = [_pattern(row) for row in (*HEARD, *SENT)]
    seen = {*evening.heard, *(each.subject for each in evening.sent)}
    return {one for one in seen if not any(pattern.fullmatch(one) for pattern in known)}


def unseen(evening: Evening) -> set[str]:
    """Rows of what is heard that the evening didn't show."""
    return {
        row
        for row in HEARD
        if not any(_pattern(row).fullmatch(subject) for subject in evening.heard)
    }


def _pattern(row: str) -> re.Pattern[str]:
    """What a row stands for: a name in braces is one token, a domain several, a wildcard too."""
    token = {"domain": r"[^.]+(?:\.[^.]+)*"}
    parts = re.split(r"\{(\w+)\}", row)
    return re.compile(
        "".join(
            re.escape(part) if at % 2 == 0 else token.get(part, r"[^.]+")
            for at, part in enumerate(parts)
        )
    )
