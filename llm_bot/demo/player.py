"""Plays a recording in a room while its speed changes, for whoever watches in the browser."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llm_bot.decisions import DecisionRecord
from llm_bot.demo.film_clock import FilmClock
from llm_bot.demo.recording import RecordedEvent, at_speed, shifted
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.models import ChatLine
from llm_bot.room import RoomObserver

OPENING_PAUSE_SECONDS = 0.06
"""Real seconds between lines until the first that is answered: nobody waits for a demo."""

OPENING_FILM_SECONDS = 40.0
"""By then somebody has named the bot; a configuration without triggers doesn't rush on."""


class FilmPlayer(RoomObserver):
    """`film` says how fast the recording goes and stands still at rate 0; `clock` is the bot's.

    `is_open` is set once the bot is told who is here: whoever came before would be unknown.
    """

    def __init__(self, connector: StandInConnector, *, film: FilmClock, clock: FilmClock) -> None:
        self.is_open = asyncio.Event()
        self.is_over = False
        self._connector = connector
        self._film = film
        self._clock = clock
        self._has_admitted = False

    def on_decision(self, record: DecisionRecord, _line: ChatLine) -> None:
        """The opening ends with the first line that is answered."""
        self._has_admitted = self._has_admitted or record.outcome is None

    async def play(self, events: Sequence[RecordedEvent]) -> None:
        """All of it, each event as if it happened now."""
        opening_ends = events[0].t + OPENING_FILM_SECONDS if events else 0.0
        if all(event.name.lower() != "userlist" for event in events):
            self.is_open.set()
        for pause, event in at_speed(events):
            if not self._has_admitted and event.t < opening_ends and self._film.rate:
                pause = min(pause, OPENING_PAUSE_SECONDS * self._film.rate)
            await self._film.sleep(pause)
            [now] = shifted([event], self._clock.time())
            await self._connector.play(now)
            if event.name.lower() == "userlist":
                self.is_open.set()
        self.is_over = True
