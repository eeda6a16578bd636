"""What a reader of a stream buffer gets, and waiting for what comes next: the seam to asyncio.

The buffer itself (`llm_bot.insights.stream_buffer`) neither waits nor knows an event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol


class TrackItems(list[Any]):
    """Items as they were added, oldest first; `sequences` holds the number of each.

    `lost` says how many entries of the track, added after the point from which it was read, were
    gone already. A copy: it doesn't change with the track.
    """

    __slots__ = ("lost", "sequences")

    def __init__(
        self, items: Iterable[Any] = (), sequences: Iterable[int] = (), lost: int = 0
    ) -> None:
        super().__init__(items)
        self.sequences = tuple(sequences)
        self.lost = lost


class Waiter(Protocol):
    """Somebody who is told when there is something new."""

    def set(self) -> None: ...


class Followed(Protocol):
    """A track. A position counts its entries from the first one ever, those gone included."""

    waiting: set[Waiter]

    def since(self, position: int, limit: int | None) -> TrackItems:
        """What is there from `position` on; `lost` says how many of it are gone already."""
        ...


class Follower:
    """Reads a track item by item, and waits where there is none yet.

    `lost` says how many items it has missed so far, because it was slower than the track is long;
    `sequence` is the number of the item that it gave last. It holds nothing that must be closed:
    only while it waits does the track know of it, and a cancelled wait leaves nothing behind.
    All of it belongs to one event loop, the one in which the track is written.

    >>> from llm_bot.insights.stream_buffer import StreamBuffer, StreamTrack
    >>> buffer = StreamBuffer(size=2)
    >>> for word in ("one", "two", "three"):
    ...     _ = buffer.add(StreamTrack.CONVERSATION, {"content": word})
    >>> async def read():
    ...     follower = buffer.follow(StreamTrack.CONVERSATION)
    ...     async for item in follower:
    ...         print(follower.sequence, item["content"], "lost:", follower.lost)
    ...         if follower.sequence == buffer.last:
    ...             break
    >>> asyncio.run(read())
    2 two lost: 1
    3 three lost: 1
    """

    def __init__(self, track: Followed, position: int, *, after: int = 0, lost: int = 0) -> None:
        """`position` is where reading begins; `after` and `lost` are told until the first item."""
        self.sequence = after
        self.lost = lost
        self._track = track
        self._position = position

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> Any:
        return (await self.items(1))[0]

    async def items(self, limit: int | None = None) -> TrackItems:
        """All that is there, at most `limit` and at least one: waits where there is none."""
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        while not (found := self._track.since(self._position, limit)):
            await self._wait()
        self._position += found.lost + len(found)
        self.lost += found.lost
        self.sequence = found.sequences[-1]
        return found

    async def _wait(self) -> None:
        event = asyncio.Event()
        self._track.waiting.add(event)
        try:
            await event.wait()
        finally:
            self._track.waiting.discard(event)
