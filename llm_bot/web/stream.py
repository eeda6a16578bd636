"""Server-sent events: what has happened since a reader's place, then what happens, and the state.

A reader has no queue of its own: it has a place in the feed, so that a slow one costs no memory.
When the feed has moved on beyond its place, it begins anew and is told how much it missed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from llm_bot.web.feed import Feed
from llm_bot.web.views import entry_view

BATCH = 100
GATHER_SECONDS = 0.03
"""After an entry came, so that a flood goes out in a few pieces."""

STATE_SECONDS = 1.0
"""How often the state is sent, which keeps the connection alive, too."""

WRITE_SECONDS = 10.0
"""A reader that takes nothing for so long is dropped."""


class StateCache:
    """The state as an event, read at most once in `STATE_SECONDS` however many look at it."""

    def __init__(self, read: Callable[[], Mapping[str, Any]]) -> None:
        self._read = read
        self._read_at = float("-inf")
        self._event = b""

    def event(self) -> bytes:
        now = asyncio.get_running_loop().time()
        if now - self._read_at >= STATE_SECONDS * 0.9:
            self._read_at = now
            self._event = encoded("state", self._read())
        return self._event


class Stream:
    """One reader, from `run` until it leaves, is too slow, or the feed is closed."""

    def __init__(
        self,
        feed: Feed,
        response: web.StreamResponse,
        *,
        hello: Callable[[], dict[str, Any]],
        state: StateCache,
        shows_text: Callable[[], bool],
    ) -> None:
        self._feed = feed
        self._response = response
        self._hello = hello
        self._state = state
        self._shows_text = shows_text
        self._place = 0
        self._state_sent_at = float("-inf")

    async def run(self, place: str, bell: asyncio.Event) -> None:
        """Send from the reader's `place` on (empty: all there is), woken by `bell`.

        Raises:
            TimeoutError: The reader takes nothing any more.
            ConnectionError: It has gone.
        """
        await self._begin(place)
        while not self._feed.is_closed:
            bell.clear()
            if self._place < self._feed.oldest - 1:
                await self._begin(self._feed.place(self._place))
            sent = await self._send_entries()
            await self._send_state()
            if sent == BATCH:
                await asyncio.sleep(0)  # others want to go on, too
                continue
            await _wait(bell)

    async def _begin(self, place: str) -> None:
        """Say hello, from where the reader was if all since then is still there."""
        feed = self._feed
        start = feed.oldest - 1
        number = feed.find(place)
        lost = 0 if number is None else max(0, start - number)
        is_resumed = number is not None and not lost
        self._place = number if number is not None and not lost else start
        hello = {**self._hello(), "newest": feed.newest, "resumed": is_resumed, "lost": lost}
        self._state_sent_at = float("-inf")
        await self._write(b"retry: 1000\n" + encoded("hello", hello))
        await self._send_state()

    async def _send_entries(self) -> int:
        shows_text = self._shows_text()
        entries = self._feed.after(self._place, BATCH)
        pieces = []
        for number, entry in entries:
            name, data = entry_view(number, entry, shows_text=shows_text)
            pieces.append(encoded(name, data, self._feed.place(number)))
        if pieces:
            self._place = entries[-1][0]
            await self._write(b"".join(pieces))
        return len(entries)

    async def _send_state(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._state_sent_at >= STATE_SECONDS:
            self._state_sent_at = now
            await self._write(self._state.event())

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            await self._response.write(data)


async def _wait(bell: asyncio.Event) -> None:
    """Until something has happened, or the state is due."""
    with suppress(TimeoutError):
        async with asyncio.timeout(STATE_SECONDS):
            await bell.wait()
        await asyncio.sleep(GATHER_SECONDS)


def encoded(name: str, data: Mapping[str, Any], place: str = "") -> bytes:
    """One event on the wire. All of it is ASCII, so that no character can end a line."""
    head = f"id: {place}\nevent: {name}" if place else f"event: {name}"
    body = json.dumps(data, separators=(",", ":"))
    return f"{head}\ndata: {body}\n\n".encode("ascii")
