"""Asking about a room what nobody says twice: the bot's login, who is here, what is on.

CyTube tells these when the connector joins, so a bot that starts beside a running connector hears
none of them. It asks the connector for the login, and reads the rest where the connector keeps it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any

import msgspec

from llm_bot.errors import (
    BusError,
    BusUnavailableError,
    NoRespondersError,
    RequestTimeoutError,
    UnacceptedReplyError,
    UnsupportedByBusError,
)
from llm_bot.event_handler import EventHandler
from llm_bot.ports import Event
from llm_bot.replies.services import SharedServices
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


class _Connected(msgspec.Struct):
    """What a connector says when it has connected to something."""

    target: str = ""
    domain: str = ""
    channel: str = ""


class RoomSync:
    """Asks about one room when told to, one time after another; `handler` learns the answers.

    Whatever goes wrong, the room goes on without.
    """

    def __init__(self, room: Room, handler: EventHandler, shared: SharedServices) -> None:
        self._room = room
        self._handler = handler
        self._shared = shared
        self._bus = shared.bus
        self._timeout = shared.request_timeout
        self._asked = dict.fromkeys(("login", "roster", "media"), Asked.NOT_YET)
        self._wanted = asyncio.Event()
        # The room as its last connector spelled it when it said that it is there.
        self._spelled = _Connected()

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

    def hear_connected(self, event: Event) -> None:
        """A connector says what it has connected to: ask anew if that is this room."""
        try:
            told = msgspec.json.decode(event.data, type=_Connected)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        wanted = self._room.config.domain
        if told.target.lower() != "cytube" or told.channel.lower() != self._room.key:
            return
        if wanted is None or told.domain.lower() == wanted.lower():
            self._spelled = told
            self.resync()

    async def run(self) -> None:
        """Ask whenever it is wanted, until cancelled or until the bus is closed."""
        room = self._room
        while True:
            await self._wanted.wait()
            try:
                await self._bus.wait_connected()
            except BusUnavailableError:
                return
            self._wanted.clear()
            questions = []
            if self._asked["login"] is not Asked.ANSWERED and self._domains():
                questions.append(self._note("login", self._ask_login()))
            if not room.roster.is_known:
                questions.append(self._note("roster", self._read("userlist", "users", "userlist")))
            if room.media is None:
                reading = self._read("playlist", "current", "changemedia")
                questions.append(self._note("media", reading))
            await asyncio.gather(*questions)
            log.info("room.asked", extra={"channel": room.config.name, **self._asked})

    async def _note(self, what: str, asking: Coroutine[Any, Any, Asked]) -> None:
        """Ask for so long as one may, and remember what came of it."""
        try:
            async with asyncio.timeout(self._timeout):
                self._asked[what] = await asking
        except (RequestTimeoutError, UnacceptedReplyError, TimeoutError):
            self._asked[what] = Asked.NO_ANSWER
        except BusError as error:
            self._asked[what] = Asked.FAILED
            extra = {"channel": self._room.config.name, "what": what, "error": str(error)}
            log.warning("room.ask_failed", extra=extra)

    async def _ask_login(self) -> Asked:
        for domain in self._domains():
            for channel in self._channels():
                try:
                    answer = await self._bus.request(
                        f"kryten.user_level.{domain}.{channel}",
                        {},
                        timeout=self._timeout,
                        headers=headers(
                            new_correlation_id(),
                            source=self._shared.source,
                            now=self._shared.clock.time(),
                        ),
                        accept=_is_no_stream,
                    )
                except (NoRespondersError, UnsupportedByBusError):
                    continue
                return self._learn("login", answer.data)
        return Asked.NO_ANSWER

    async def _read(self, bucket: str, key: str, event_type: str) -> Asked:
        """Look where connectors keep it, in the form of the payload of an event."""
        for prefix in BUCKET_PREFIXES:
            for channel in self._channels():
                name = f"{prefix}_{channel}_{bucket}"
                try:
                    value = await self._bus.read_value(name, key, timeout=self._timeout)
                except UnsupportedByBusError:
                    return Asked.NOT_STORED
                if value is not None and value.strip() not in NOTHING_STORED:
                    return self._learn(event_type, value)
        return Asked.NOT_STORED

    def _learn(self, event_type: str, data: bytes) -> Asked:
        is_understood = self._handler.learn(event_type, data)
        return Asked.ANSWERED if is_understood else Asked.BAD_ANSWER

    def _domains(self) -> list[str]:
        """The room's host in every spelling that is known, the likeliest first."""
        origin, wanted = self._room.origin, self._room.config.domain
        known = [self._spelled.domain, origin.domain if origin is not None else "", wanted or ""]
        return [
            domain
            for domain in dict.fromkeys(known)
            if _SUBJECT_PART.fullmatch(domain) and (wanted or domain).lower() == domain.lower()
        ]

    def _channels(self) -> list[str]:
        """The room's name likewise: connectors use it as their configuration spells it."""
        room = self._room
        heard = room.origin.channel if room.origin is not None else ""
        known = (self._spelled.channel, heard, room.config.name, room.key)
        return [name for name in dict.fromkeys(known) if _SUBJECT_PART.fullmatch(name)]


def _is_no_stream(event: Event) -> bool:
    """A stream that covers the subject acknowledges every request."""
    return event.get("stream") is None
