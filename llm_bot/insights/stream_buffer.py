"""What was said in a room and what was observed about it: two bounded tracks, one sequence.

Every entry gets the next number, whichever track it is in, so that a reader can tell what came
first. Adding is a few appends and never waits for a reader; a reader who is too slow is told how
much it has lost. Of all this the daemon uses `add`, `read`, `follow` and `resize`; markers and the
awaited forms are library surface.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from itertools import islice
from typing import Any

import msgspec

__all__ = ["Follower", "Marker", "StreamBuffer", "StreamTrack", "TrackItems"]

DEFAULT_SIZE = 200

HISTORY = 2048
"""Numbers of insights kept after the insights themselves are gone, some 80 kB a room at most. They
tell how many lines, and how many insights, a reader has missed who comes back after a long time."""


class StreamTrack(StrEnum):
    """What is said, and what is observed about it."""

    CONVERSATION = "conversation"
    INSIGHTS = "insights"


class Marker(msgspec.Struct, frozen=True):
    """A point in both tracks: entries up to `sequence` were there when it was set, others later.

    A marker takes no number of its own. Two of them with no entry between mark the same point.
    """

    label: str
    sequence: int


class TrackItems(list[Any]):
    """Items as they were added, oldest first; `sequences` holds the number of each.

    `lost` says how many entries of the track, added after the point from which it was read, were
    gone already. A copy: it doesn't change with the track.
    """

    def __init__(
        self, items: Iterable[Any] = (), sequences: Iterable[int] = (), lost: int = 0
    ) -> None:
        super().__init__(items)
        self.sequences = tuple(sequences)
        self.lost = lost


class _Track:
    """The newest entries of one track. `added` counts all there ever were."""

    def __init__(self, size: int) -> None:
        self.items: deque[Any] = deque(maxlen=size)
        self.sequences: deque[int] = deque(maxlen=size)
        self.added = 0
        self.waiting: set[asyncio.Event] = set()

    @property
    def gone(self) -> int:
        return self.added - len(self.items)

    def resize(self, size: int) -> None:
        self.items = deque(self.items, size)
        self.sequences = deque(self.sequences, size)

    def part(self, start: int, stop: int, lost: int) -> TrackItems:
        return TrackItems(
            islice(self.items, start, stop), islice(self.sequences, start, stop), lost
        )


class Follower:
    """Reads a track item by item, and waits where there is none yet.

    `lost` says how many items it has missed so far, because it was slower than the track is long;
    `sequence` is the number of the item that it gave last. It holds nothing that must be closed:
    only while it waits does the track know of it, and a cancelled wait leaves nothing behind.
    All of it belongs to one event loop, the one in which the track is written.

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

    def __init__(self, track: _Track, position: int, *, after: int = 0, lost: int = 0) -> None:
        """`position` counts the entries before it, those gone included; `after` and `lost` are told
        until the first item."""
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
        track = self._track
        while self._position >= track.added or not track.items:
            await self._wait()
        start = max(0, self._position - track.gone)
        stop = len(track.items) if limit is None else start + limit
        found = track.part(start, stop, max(0, track.gone - self._position))
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


class StreamBuffer:
    """Two tracks of at most `size` entries each.

    Items can be anything; they are given back as they were added.

    >>> buffer = StreamBuffer(size=200)
    >>> buffer.add(StreamTrack.CONVERSATION, {"role": "user", "content": "hello"})
    1
    >>> buffer.add(StreamTrack.INSIGHTS, {"kind": "greeting"})
    2
    >>> items = buffer.read(StreamTrack.CONVERSATION)
    >>> items[0]["role"], items.sequences, items.lost
    ('user', (1,), 0)
    """

    def __init__(self, size: int = DEFAULT_SIZE) -> None:
        self._tracks = {track: _Track(_checked(size)) for track in StreamTrack}
        self._markers: deque[Marker] = deque(maxlen=size)
        # Numbers of insights, kept and gone. Those of lines are the others up to `last`, so that
        # this is all it takes to count either.
        self._insight_numbers: deque[int] = deque(maxlen=HISTORY)
        self._last = 0

    @property
    def last(self) -> int:
        """The number of the newest entry in either track, 0 before the first."""
        return self._last

    # --- writing ---

    def add(self, track: StreamTrack, item: Any) -> int:
        """Add `item` and return its number; the oldest entry goes where the track is full."""
        to = self._track(track)
        self._last += 1
        if track == StreamTrack.INSIGHTS:
            self._insight_numbers.append(self._last)
        to.items.append(item)
        to.sequences.append(self._last)
        to.added += 1
        for waiter in to.waiting:
            waiter.set()
        return self._last

    async def add_to_track(self, track: StreamTrack, item: Any) -> int:
        """`add`, for whoever awaits it. It never waits."""
        return self.add(track, item)

    def mark(self, label: str = "") -> Marker:
        """Remember this point in both tracks; the newest `size` markers are kept.

        >>> buffer = StreamBuffer()
        >>> before = buffer.add(StreamTrack.CONVERSATION, "a line")
        >>> film = buffer.mark("media")
        >>> after = buffer.add(StreamTrack.CONVERSATION, "another line")
        >>> buffer.read(StreamTrack.CONVERSATION, until=film.sequence)
        ['a line']
        >>> buffer.read(StreamTrack.CONVERSATION, after=film.sequence)
        ['another line']
        """
        marker = Marker(label, self._last)
        self._markers.append(marker)
        return marker

    def clear(self, track: StreamTrack) -> None:
        """Drop what is in `track`. Numbers go on; who hasn't read it has lost it."""
        own = self._track(track)
        own.items.clear()
        own.sequences.clear()

    def resize(self, size: int) -> None:
        """Another bound from now on; the newest entries and markers that fit stay."""
        for track in self._tracks.values():
            track.resize(_checked(size))
        self._markers = deque(self._markers, size)

    # --- reading ---

    def read(
        self,
        track: StreamTrack,
        *,
        after: int = 0,
        until: int | None = None,
        limit: int | None = None,
    ) -> TrackItems:
        """The entries of `track` with numbers above `after`, up to `until`, the oldest `limit`.

        To read on, give the last of `sequences` as `after`. `lost` is exact unless `after` lies
        further back than the newest `HISTORY` insights; then it may be too high, never too low.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"limit must not be negative: {limit}")
        own = self._track(track)
        start = bisect_right(own.sequences, after)
        stop = len(own.items) if until is None else max(start, bisect_right(own.sequences, until))
        if limit is not None:
            stop = min(stop, start + limit)
        return own.part(start, stop, self._lost(own, after))

    async def read_track(
        self, track: StreamTrack, *, after: int = 0, limit: int | None = None
    ) -> TrackItems:
        """`read`, for whoever awaits it. It never waits."""
        return self.read(track, after=after, limit=limit)

    def follow(self, track: StreamTrack, *, after: int = 0) -> Follower:
        """A reader that waits: `async for item in buffer.follow(track)`.

        It begins with the first entry after `after`, so by default with all that is kept, and
        `after=buffer.last` means only what comes from now on. What was lost before it began counts
        in its `lost`.
        """
        own = self._track(track)
        position = own.gone + bisect_right(own.sequences, after)
        return Follower(own, position, after=after, lost=self._lost(own, after))

    def markers(self, *, after: int = -1) -> tuple[Marker, ...]:
        """The markers that are kept, of points after that number, oldest first."""
        return tuple(marker for marker in self._markers if marker.sequence > after)

    # --- counting ---

    def _track(self, track: StreamTrack) -> _Track:
        # The call lets "insights" pass as well, and raises ValueError for what is no track.
        return self._tracks[StreamTrack(track)]

    def _lost(self, own: _Track, after: int) -> int:
        """How many entries of the track with numbers above `after` are gone: at most so many."""
        after = min(after, self._last)
        insights = self._tracks[StreamTrack.INSIGHTS]
        forgotten = insights.added - len(self._insight_numbers)
        if after <= 0 or (forgotten and after < self._insight_numbers[0]):
            return own.gone
        before = forgotten + bisect_right(self._insight_numbers, after)
        return max(0, own.gone - (before if own is insights else after - before))


def _checked(size: int) -> int:
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    return size
