"""Asking about a room what nobody says twice: the bot's login, who is here, what is on.

CyTube tells these when the connector joins, so a bot that starts beside a running connector hears
none of them. It asks the connector for the login, and reads the rest where the connector keeps it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any

from llm_bot.errors import (
    BusError,
    BusUnavailableError,
    NoRespondersError,
    RequestTimeoutError,
    UnacceptedReplyError,
    UnsupportedByBusError,
)
from llm_bot.ports import Bus, Clock, Event
from llm_bot.room import Room
from llm_bot.wire import new_correlation_id
from llm_bot.wire.commands import headers

log = logging.getLogger(__name__)

CONNECTED_SUBJECT = "kryten.lifecycle.robot.connected"
"""One for all connectors on a NATS server, and for each of the things they connect to."""

BUCKET_PREFIXES = ("kryten", "cytube")
"""Of today's connector, and of its first version."""

NOTHING_STORED = frozenset({b"", b"null", b"{}", b"[]"})
"""The bot itself is in the room: a list of nobody was written before anything was known."""

Learn = Callable[[str, bytes], bool]
"""Takes an answer in the form of an event of that name; false if it can't be understood."""

# A connector writes its domain with dots and sometimes a port. Anything else is another subject.
_SUBJECT_PART = re.compile(r"[-\w:]+(\.[-\w:]+)*", re.ASCII)


class Asked(StrEnum):
    """What came of a question. Closed: /health tells it."""

    NOT_YET = "not_yet"
    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    NOT_STORED = "not_stored"
    BAD_ANSWER = "bad_answer"
    FAILED = "failed"


class RoomSync:
    """Asks about one room when told to, one time after another, and hands the answers to `learn`.

    Whatever goes wrong, the room goes on without.
    """

    def __init__(
        self,
        room: Room,
        *,
        bus: Bus,
        clock: Clock,
        learn: Learn,
        source: str,
        request_timeout: float,
    ) -> None:
        self._room = room
        self._bus = bus
        self._clock = clock
        self._learn = learn
        self._source = source
        self._request_timeout = request_timeout
        self._asked = dict.fromkeys(("login", "roster", "media"), Asked.NOT_YET)
        self._wanted = asyncio.Event()
        # As the last connector of this room spelled them when it said that it is there.
        self._domain = ""
        self._channel = ""

    def status(self) -> dict[str, Any]:
        """What is known of the room, and what came of asking."""
        room = self._room
        return {
            "login": room.login_name or None,
            "roster": "known" if room.roster.is_known else "unknown",
            "media": "unknown" if room.media is None else "known",
            "asked": {what: found.value for what, found in self._asked.items()},
        }

    def ask(self) -> None:
        """Ask for what is missing, soon. Requests while it asks are one more."""
        self._wanted.set()

    def resync(self) -> None:
        """Ask soon, also for the login that was told before: the account may be another one."""
        self._asked["login"] = Asked.NOT_YET
        self.ask()

    async def run(self) -> None:
        """Ask whenever it is wanted, until cancelled or until the bus is closed."""
        while True:
            await self._wanted.wait()
            try:
                await self._bus.wait_connected()
            except BusUnavailableError:
                return
            self._wanted.clear()
            await asyncio.gather(
                self._note("login", self._ask_login()),
                self._note("roster", self._ask_roster()),
                self._note("media", self._ask_media()),
            )
            self._tell()

    def hear_connected(self, event: Event) -> None:
        """A connector says what it has connected to: ask anew if that is this room."""
        domain, channel = _text(event, "domain"), _text(event, "channel")
        wanted = self._room.config.domain
        if _text(event, "target").lower() != "cytube" or channel.lower() != self._room.key:
            return
        if wanted is not None and domain.lower() != wanted.lower():
            return
        self._domain, self._channel = domain, channel
        self.resync()

    async def _note(self, what: str, asking: Coroutine[Any, Any, Asked | None]) -> None:
        """Ask for so long as one may, and remember what came of it; None: nothing was asked."""
        try:
            async with asyncio.timeout(self._request_timeout):
                self._asked[what] = await asking or self._asked[what]
        except (RequestTimeoutError, UnacceptedReplyError, TimeoutError):
            self._asked[what] = Asked.NO_ANSWER
        except BusError as error:
            self._asked[what] = Asked.FAILED
            extra = {"channel": self._room.config.name, "what": what, "error": str(error)}
            log.warning("room.ask_failed", extra=extra)

    async def _ask_login(self) -> Asked | None:
        domains = self._domains()
        if self._asked["login"] is Asked.ANSWERED or not domains:
            return None
        for domain in domains:
            for channel in self._channels():
                try:
                    answer = await self._bus.request(
                        f"kryten.user_level.{domain}.{channel}",
                        {},
                        timeout=self._request_timeout,
                        headers=self._headers(),
                        accept=_is_no_stream,
                    )
                except (NoRespondersError, UnsupportedByBusError):
                    continue
                return self._take("login", answer.data)
        return Asked.NO_ANSWER

    async def _ask_roster(self) -> Asked | None:
        if self._room.roster.is_known:
            return None
        return await self._read("userlist", "users", as_event="userlist")

    async def _ask_media(self) -> Asked | None:
        if self._room.media is not None:
            return None
        return await self._read("playlist", "current", as_event="changemedia")

    async def _read(self, bucket: str, key: str, *, as_event: str) -> Asked:
        """Look where connectors keep it, in the form of an event's payload."""
        for prefix in BUCKET_PREFIXES:
            for channel in self._channels():
                name = f"{prefix}_{channel}_{bucket}"
                try:
                    value = await self._bus.read_value(name, key, timeout=self._request_timeout)
                except UnsupportedByBusError:
                    return Asked.NOT_STORED
                if value is not None and value.strip() not in NOTHING_STORED:
                    return self._take(as_event, value)
        return Asked.NOT_STORED

    def _take(self, event_type: str, data: bytes) -> Asked:
        return Asked.ANSWERED if self._learn(event_type, data) else Asked.BAD_ANSWER

    def _domains(self) -> list[str]:
        """The room's host in every spelling that is known, the likeliest first."""
        origin, wanted = self._room.origin, self._room.config.domain
        known = [self._domain, origin.domain if origin is not None else "", wanted or ""]
        return [
            domain
            for domain in dict.fromkeys(known)
            if _SUBJECT_PART.fullmatch(domain) and (wanted or domain).lower() == domain.lower()
        ]

    def _channels(self) -> list[str]:
        """The room's name likewise: connectors use it as their configuration spells it."""
        room = self._room
        heard = room.origin.channel if room.origin is not None else ""
        known = (self._channel, heard, room.config.name, room.key)
        return [name for name in dict.fromkeys(known) if _SUBJECT_PART.fullmatch(name)]

    def _headers(self) -> dict[str, str]:
        return headers(new_correlation_id(), source=self._source, now=self._clock.time())

    def _tell(self) -> None:
        log.info("room.asked", extra={"channel": self._room.config.name, **self._asked})


def _is_no_stream(event: Event) -> bool:
    """A stream that covers the subject acknowledges every request."""
    try:
        event["stream"]
    except KeyError:
        return True
    return False


def _text(event: Event, key: str) -> str:
    try:
        value = event[key]
    except KeyError:
        return ""
    return value if isinstance(value, str) else ""
