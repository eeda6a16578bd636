"""The words of the daemon: what was heard, as frozen values checked once at the border.

They are `msgspec` structs because one is made for every line of chat, and a frozen dataclass takes
ten times as long to make.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Dialect(StrEnum):
    """How a connector names its subjects and shapes its commands (facts: three families exist)."""

    KRYTEN = "kryten"
    EARLY = "early"
    PLAIN = "plain"


class LineKind(StrEnum):
    """Where a line was said; a tick stands for a line that nobody said, and goes to the room."""

    CHAT = "chat"
    PM = "pm"
    TICK = "tick"


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where an event came from, so that an answer can go back the same way.

    `subject` is the event's own. `channel` and `domain` are spelled as the connector's envelope
    spells them, empty where there was no envelope.
    """

    dialect: Dialect
    subject: str
    channel: str = ""
    domain: str = ""


class ChatLine(msgspec.Struct, frozen=True, gc=False):
    """One line that somebody said.

    `text` is cleaned. `said_at` is CyTube's own time of the line and `forwarded_at` the
    connector's envelope time, both Unix epoch seconds, None where they weren't sent.
    `heard_at` is this machine's epoch time of arrival, `arrived` the same on the monotonic clock.
    """

    kind: LineKind
    user: str
    text: str
    correlation_id: str
    origin: Origin
    heard_at: float
    arrived: float
    said_at: float | None = None
    forwarded_at: float | None = None
    to: str = ""
    is_shadowed: bool = False

    @property
    def time(self) -> float:
        """When it was said, as well as that is known: never after it was heard."""
        said_at = self.said_at
        return self.heard_at if said_at is None or said_at > self.heard_at else said_at


class Media(msgspec.Struct, frozen=True, gc=False):
    """What is on the screen, as `changeMedia` tells when a film starts, and now and then again.

    `position_seconds` is where it stood when that was heard.
    """

    media_id: str
    media_type: str
    title: str
    position_seconds: float = 0.0


class Person(msgspec.Struct, frozen=True, gc=False):
    """Somebody in the room, as `addUser` tells of one who came.

    `rank` None means unknown, which is never taken for a low rank.
    """

    name: str
    rank: float | None = None
    is_afk: bool = False
    is_muted: bool = False


class RosterHeard(msgspec.Struct, frozen=True, gc=False):
    """`userlist`: everybody who is here."""

    people: tuple[Person, ...]


class PersonLeft(msgspec.Struct, frozen=True, gc=False):
    """`userLeave`."""

    name: str


class PersonChanged(msgspec.Struct, frozen=True, gc=False):
    """`setUserRank`, `setAFK` or `setUserMeta`; None is what the event says nothing of."""

    name: str
    rank: float | None = None
    is_afk: bool | None = None
    is_muted: bool | None = None


class LoggedIn(msgspec.Struct, frozen=True, gc=False):
    """`login`, or asked for: the connector's own account name."""

    name: str


class ChatCleared(msgspec.Struct, frozen=True, gc=False):
    """`clearchat`."""


class SendRefused(msgspec.Struct, frozen=True, gc=False):
    """`cooldown`, `noflood`, `errorMsg`, `spamFiltered`: CyTube did not take a line.

    `pause_seconds` is what `cooldown` asks for.
    """

    event: str
    text: str = ""
    pause_seconds: float | None = None


RoomEvent = (
    ChatLine
    | Media
    | RosterHeard
    | Person
    | PersonLeft
    | PersonChanged
    | LoggedIn
    | ChatCleared
    | SendRefused
)
