"""What was said in a room and what was observed about it: two bounded tracks, one sequence. Pure.

Every entry gets the next number, whichever track it is in, so that a reader can tell what came
first. Adding is a few appends and never waits for a reader; a reader who is too slow is told how
much it has lost.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from enum import StrEnum
from itertools import islice
from typing import Any

import msgspec

from llm_bot.insights.follower import Follower, TrackItems, Waiter

__all__ = ["Follower", "Marker", "StreamBuffer", "StreamTrack", "TrackItems"]

DEFAULT_SIZE = 200

HISTORY = 2048
"""Numbers of insights kept after the insights themselves are gone, 16 to 32 kB a room. They tell
how many lines, and how many insights, a reader has missed who comes back after a long time."""


class StreamTrack(StrEnum):
    """What is said, and what is observed about it."""

    CONVERSATION = "conversation"
    INSIGHTS = "insights"


# In Python 3.11 a look-up of an enum's member takes as long as a call of a function.
_CONVERSATION = StreamTrack.CONVERSATION
_INSIGHTS = StreamTrack.INSIGHTS


class Marker(msgspec.Struct, frozen=True):
    """A point in both tracks: entries up to `sequence` were there when it was set, others later.

    A marker takes no number of its own. Two of them with no entry between mark the same point.
    """

    label: str
    sequence: int


class _Track:
    """The newest entries of one track. `added` counts all there ever were."""

    __slots__ = ("added", "items", "sequences", "waiting")

    def __init__(self, size: int) -> None:
        self.items: deque[Any] = deque(maxlen=size)
        self.sequences: deque[int] = deque(maxlen=size)
        self.added = 0
        self.waiting: set[Waiter] = set()

    @property
    def gone(self) -> int:
        return self.added - len(self.items)

    def resize(self, size: int) -> None:
        self.items = deque(self.items, size)
        self.sequences = deque(self.sequences, size)

    def clear(self) -> None:
        self.items.clear()
        self.sequences.clear()

    def part(self, start: int, stop: int, lost: int) -> TrackItems:
        return TrackItems(
            islice(self.items, start, stop), islice(self.sequences, start, stop), lost
        )

    def since(self, position: int, limit: int | None) -> TrackItems:
        """Entries from the `position`-th ever on, as `Follower` asks for them."""
        gone = self.gone
        start = max(0, position - gone)
        stop = len(self.items) if limit is None else start + limit
        return self.part(start, stop, max(0, gone - position))


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
        self._conversation = _Track(_checked(size))
        self._insights = _Track(size)
        self._markers: deque[Marker] = deque(maxlen=size)
        # Numbers of insights, kept and gone, ascending. Those of lines are the others up to
        # `last`, so that this is all it takes to count either.
        self._insight_numbers = array("Q")
        # How many were dropped from it, and the last of them.
        self._forgotten = 0
        self._forgotten_until = 0
        self._last = 0

    @property
    def last(self) -> int:
        """The number of the newest entry in either track, 0 before the first."""
        return self._last

    # --- writing ---

    def add(self, track: StreamTrack, item: Any) -> int:
        """Add `item` and return its number; the oldest entry goes where the track is full."""
        to = self._conversation if track is _CONVERSATION else self._track(track)
        self._last = sequence = self._last + 1
        if to is self._insights:
            self._remember(sequence)
        to.items.append(item)
        to.sequences.append(sequence)
        to.added += 1
        if to.waiting:
            for waiter in to.waiting:
                waiter.set()
        return sequence

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
        self._track(track).clear()

    def resize(self, size: int) -> None:
        """Another bound from now on; the newest entries and markers that fit stay."""
        self._conversation.resize(_checked(size))
        self._insights.resize(size)
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
        return own.part(start, stop, 0 if start else own.gone - self._gone_until(own, after))

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
        start = bisect_right(own.sequences, after)
        lost = 0 if start else own.gone - self._gone_until(own, after)
        return Follower(own, own.gone + start, after=after, lost=lost)

    def markers(self, *, after: int = -1) -> tuple[Marker, ...]:
        """The markers that are kept, of points after that number, oldest first."""
        return tuple(marker for marker in self._markers if marker.sequence > after)

    # --- counting ---

    def _track(self, track: StreamTrack) -> _Track:
        # The call lets "insights" pass as well, and raises ValueError for what is no track.
        return self._insights if StreamTrack(track) is _INSIGHTS else self._conversation

    def _remember(self, sequence: int) -> None:
        """Note that this number is an insight's."""
        numbers = self._insight_numbers
        numbers.append(sequence)
        if len(numbers) > 2 * HISTORY:
            self._forgotten += HISTORY
            self._forgotten_until = numbers[HISTORY - 1]
            del numbers[:HISTORY]

    def _gone_until(self, own: _Track, number: int) -> int:
        """How many of the entries that are gone had numbers up to `number`: at least so many."""
        number = max(0, min(number, self._last))
        if number >= self._forgotten_until:
            insights = self._forgotten + bisect_right(self._insight_numbers, number)
            lines = number - insights
        else:
            insights = max(0, number - (self._forgotten_until - self._forgotten))
            lines = max(0, number - self._forgotten)
        return min(own.gone, insights if own is self._insights else lines)


def _checked(size: int) -> int:
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    return size
