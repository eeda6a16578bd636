"""Two bounded tracks with one sequence, and readers who wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llm_bot.insights import stream_buffer
from llm_bot.insights.stream_buffer import Follower, StreamBuffer, StreamTrack, TrackItems

CONVERSATION, INSIGHTS = StreamTrack
TRACKS = st.sampled_from(StreamTrack)


def take(follower: Follower, limit: int | None = None) -> TrackItems:
    """What a follower gets without waiting: there must be something."""
    with pytest.raises(StopIteration) as end:
        follower.items(limit).send(None)
    found: TrackItems = end.value.value
    return found


class Model(RuleBasedStateMachine):
    """The buffer against a list of all that was ever added, and what should be left of it: a flood
    in one track takes nothing from the other, and what a reader has missed is told (STREAM-1)."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 3
        self.buffer = StreamBuffer(self.size)
        self.all: dict[StreamTrack, list[int]] = {CONVERSATION: [], INSIGHTS: []}
        self.kept: dict[StreamTrack, list[int]] = {CONVERSATION: [], INSIGHTS: []}
        self.followers: list[tuple[Follower, StreamTrack, list[int]]] = []

    @rule(track=TRACKS, count=st.integers(1, 5))
    def add(self, track: StreamTrack, count: int) -> None:
        for _ in range(count):
            before = self.buffer.last
            number = self.buffer.add(track, {"number": before + 1})
            assert number == before + 1 == self.buffer.last
            self.all[track].append(number)
            self.kept[track] = [*self.kept[track], number][-self.size :]

    @rule(size=st.integers(1, 6))
    def resize(self, size: int) -> None:
        self.size = size
        self.buffer.resize(size)
        for track in StreamTrack:
            self.kept[track] = self.kept[track][-size:]

    @rule(track=TRACKS)
    def clear(self, track: StreamTrack) -> None:
        self.buffer.clear(track)
        self.kept[track] = []

    @rule(
        track=TRACKS,
        after=st.integers(-1, 40),
        span=st.none() | st.integers(0, 20),
        limit=st.none() | st.integers(0, 4),
    )
    def read(self, track: StreamTrack, after: int, span: int | None, limit: int | None) -> None:
        until = None if span is None else after + span
        found = self.buffer.read(track, after=after, until=until, limit=limit)
        wanted = [n for n in self.kept[track] if n > after and (until is None or n <= until)]
        assert list(found.sequences) == wanted[:limit]
        assert [item["number"] for item in found] == wanted[:limit]
        missed = [n for n in self.all[track] if n > after and n not in self.kept[track]]
        assert found.lost == len(missed)

    @rule(track=TRACKS, after=st.integers(0, 40))
    def follow(self, track: StreamTrack, after: int) -> None:
        after = min(after, self.buffer.last)
        follower = self.buffer.follow(track, after=after)
        self.followers.append((follower, track, [n for n in self.all[track] if n > after]))

    @rule(pick=st.integers(0, 100), limit=st.none() | st.integers(1, 3))
    def step(self, pick: int, limit: int | None) -> None:
        if not self.followers:
            return
        follower, track, _ = self.followers[pick % len(self.followers)]
        due = [n for n in self.kept[track] if n > follower.sequence]
        if due:
            found = take(follower, limit)
            assert list(found.sequences) == due[:limit]
            assert follower.sequence == due[:limit][-1]

    @invariant()
    def followers_have_read_or_lost_all_that_is_past(self) -> None:
        for follower, track, begun in self.followers:
            due = [n for n in self.kept[track] if n > follower.sequence]
            past = [n for n in self.all[track] if n >= (begun or [0])[0] and n not in due]
            assert follower.lost <= len(past)

    @invariant()
    def both_tracks_are_bounded_and_aligned(self) -> None:
        numbers = [self.buffer.read(track).sequences for track in StreamTrack]
        assert all(len(track) <= self.size for track in numbers)
        assert all(list(track) == sorted(set(track)) for track in numbers)
        assert set(numbers[0]).isdisjoint(numbers[1])


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


async def test_the_documents_example():
    """`await add_to_track` and `await read_track` give items back as they were added."""
    buffer = StreamBuffer()
    item = {"role": "user", "content": "hello"}
    assert await buffer.add_to_track(StreamTrack.CONVERSATION, item) == 1
    await buffer.add_to_track(StreamTrack.INSIGHTS, {"kind": "greeting"})
    items = await buffer.read_track(StreamTrack.CONVERSATION)
    assert items[0]["role"] == "user"
    assert items[0] is item
    assert items == [item]
    assert await buffer.read_track(StreamTrack.INSIGHTS, after=2, limit=1) == []


def test_what_was_read_does_not_change():
    """A reader holds a copy."""
    buffer = StreamBuffer(size=1)
    buffer.add(CONVERSATION, "one")
    read = buffer.read(CONVERSATION)
    buffer.add(CONVERSATION, "two")
    assert (read, read.sequences, read.lost) == (["one"], (1,), 0)


def test_markers_align_the_tracks():
    """What either track held before and after the same point can be read apart; the newest `size`
    markers are kept, and fewer after a resize."""
    buffer = StreamBuffer(size=5)
    buffer.add(CONVERSATION, "early")
    buffer.add(INSIGHTS, "about early")
    film = buffer.mark("media")
    buffer.add(INSIGHTS, "about late")
    buffer.add(CONVERSATION, "late")
    assert (film.label, film.sequence, buffer.markers()) == ("media", 2, (film,))
    until = {track: buffer.read(track, until=film.sequence) for track in StreamTrack}
    after = {track: buffer.read(track, after=film.sequence) for track in StreamTrack}
    assert until == {CONVERSATION: ["early"], INSIGHTS: ["about early"]}
    assert after == {CONVERSATION: ["late"], INSIGHTS: ["about late"]}
    assert buffer.markers(after=2) == ()
    for number in range(9):
        buffer.mark(str(number))
    assert [one.label for one in buffer.markers()] == ["4", "5", "6", "7", "8"]
    buffer.resize(1)
    assert [one.label for one in buffer.markers()] == ["8"]


def test_a_track_may_be_named_by_its_text():
    """Its text is the track; what is none is refused and takes no number."""
    buffer = StreamBuffer()
    named: Any = "insights"
    buffer.add(named, "x")
    assert buffer.read(INSIGHTS) == ["x"]
    wrong: Any = "gossip"
    with pytest.raises(ValueError, match="gossip"):
        buffer.add(wrong, "x")
    assert buffer.last == 1


async def test_bounds_that_make_no_sense():
    """A buffer holds something, at the start and later; a waiting reader must want something."""
    for size in (0, -1):
        with pytest.raises(ValueError, match="size"):
            StreamBuffer(size)
        with pytest.raises(ValueError, match="size"):
            StreamBuffer().resize(size)
    buffer = StreamBuffer()
    assert buffer.read(CONVERSATION, limit=0) == []
    with pytest.raises(ValueError, match="limit"):
        buffer.read(CONVERSATION, limit=-1)
    with pytest.raises(ValueError, match="limit"):
        await buffer.follow(CONVERSATION).items(0)


@given(st.lists(TRACKS, min_size=20, max_size=80), st.integers(0, 90))
@settings(deadline=None)
def test_memory_of_what_was_lost_is_bounded(tracks, after):
    """Back to the numbers that are kept `lost` is exact; further back it is never too low."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_buffer, "HISTORY", 5)
        buffer = StreamBuffer(size=2)
        numbers: dict[StreamTrack, list[int]] = {CONVERSATION: [], INSIGHTS: []}
        for track in tracks:
            numbers[track].append(buffer.add(track, None))
        horizon = ([0] * 5 + numbers[INSIGHTS])[-5]
        for track in StreamTrack:
            found = buffer.read(track, after=after)
            missed = [n for n in numbers[track] if n > after and n not in found.sequences]
            assert found.lost >= len(missed)
            assert found.lost <= len(numbers[track])
            if after >= horizon:
                assert found.lost == len(missed)
        assert len(buffer._insight_numbers) <= 5


# --- readers who wait ---


async def follow_until(buffer: StreamBuffer, last: Any, **options: Any) -> list[Any]:
    """All that a follower of the conversation gets, up to `last`."""
    seen = []
    async for item in buffer.follow(CONVERSATION, **options):
        seen.append(item)
        if item == last:
            break
    return seen


async def test_a_follower_gets_what_is_there_and_what_comes():
    """It begins with what is kept, then waits; `after` begins later."""
    buffer = StreamBuffer()
    buffer.add(CONVERSATION, 1)
    all_of_it = asyncio.create_task(follow_until(buffer, 3))
    new_only = asyncio.create_task(follow_until(buffer, 3, after=buffer.last))
    await asyncio.sleep(0)
    buffer.add(INSIGHTS, "not theirs")
    buffer.add(CONVERSATION, 2)
    await asyncio.sleep(0)
    buffer.add(CONVERSATION, 3)
    assert await all_of_it == [1, 2, 3]
    assert await new_only == [2, 3]


async def test_many_followers_get_the_same():
    """Each has its own place; none takes from another, and nobody is left waiting."""
    buffer = StreamBuffer(size=50)
    tasks = [asyncio.create_task(follow_until(buffer, 29)) for _ in range(40)]
    for number in range(30):
        buffer.add(CONVERSATION, number)
        if number % 7 == 0:
            await asyncio.sleep(0)
    assert await asyncio.gather(*tasks) == [list(range(30))] * 40


async def test_a_slow_follower_is_told_what_it_lost():
    """The writer never waits; the reader goes on with the oldest that is left (STREAM-2)."""
    buffer = StreamBuffer(size=3)
    follower = buffer.follow(CONVERSATION)
    buffer.add(CONVERSATION, 0)
    assert await anext(follower) == 0
    for number in range(1, 11):
        buffer.add(CONVERSATION, number)
    assert (await follower.items(), follower.lost) == ([8, 9, 10], 7)
    assert follower.sequence == buffer.last


@pytest.mark.parametrize("is_woken", [True, False])
async def test_a_cancelled_follower_leaves_nothing_behind(is_woken):
    """Its wait ends, the buffer forgets it, and it can go on later without a gap, also where a line
    came just before it was cancelled."""
    buffer = StreamBuffer()
    follower = buffer.follow(CONVERSATION)
    waiting = asyncio.create_task(follower.items())
    await asyncio.sleep(0)
    assert len(buffer._tracks[CONVERSATION].waiting) == 1
    if is_woken:
        buffer.add(CONVERSATION, "said meanwhile")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not buffer._tracks[CONVERSATION].waiting
    if not is_woken:
        buffer.add(CONVERSATION, "said meanwhile")
    assert await anext(follower) == "said meanwhile"


async def test_a_track_that_was_cleared_under_a_waiting_follower():
    """It sees nothing of what went before it could look, and counts it as lost."""
    buffer = StreamBuffer()
    follower = buffer.follow(CONVERSATION)
    waiting = asyncio.create_task(follower.items())
    await asyncio.sleep(0)
    buffer.add(CONVERSATION, "gone")
    buffer.clear(CONVERSATION)
    await asyncio.sleep(0)
    buffer.add(CONVERSATION, "here")
    assert await waiting == ["here"]
    assert follower.lost == 1
