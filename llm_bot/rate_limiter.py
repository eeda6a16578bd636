"""How much is said at most: sliding windows, taken all at once or not at all.

A `History` knows when something happened and how much is under way. What happened at t counts in a
window of w seconds until t + w, and no longer at t + w. What is under way (a held permit) counts in
every window, since it may happen at any moment. A cooldown is a window of one.

Nothing here reads a clock: `now` is a monotonic time in seconds that the caller passes, and never
goes back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence
from enum import StrEnum

import msgspec

IDLE_SECONDS = 3600.0
"""A history in which nothing has happened for so long is dropped, unless a window is longer."""

SWEEP_SECONDS = 60.0
"""How often idle histories are looked for."""


class Scope(StrEnum):
    """Whose limit it is. A room's permits are stamped by the send, the others by the request."""

    ROOM = "room"
    USER = "user"
    TRIGGER = "trigger"


class Limit(msgspec.Struct, frozen=True):
    """At most `count` in any `window_seconds`; `name` is the key of the configuration."""

    name: str
    count: int
    window_seconds: float


class Demand(msgspec.Struct, frozen=True):
    """One history that a reply counts in, and the limits that are asked of it."""

    scope: Scope
    key: Hashable
    limits: tuple[Limit, ...]

    def only(self, limit: Limit) -> Demand:
        """The same history, asked for one limit."""
        return Demand(self.scope, self.key, (limit,))


class Refusal(msgspec.Struct, frozen=True):
    """Which limit said no, how full it was, and in how many seconds it has room again.

    `frees_in_seconds` is None where only the end of a reply under way can tell.
    """

    scope: Scope
    limit: Limit
    used: int
    frees_in_seconds: float | None


class History:
    """When something happened, oldest first, and how much is under way."""

    __slots__ = ("_keep_seconds", "_stamps", "held", "touched")  # one for each user of an hour

    def __init__(self) -> None:
        self._stamps: list[float] = []
        self._keep_seconds = 0.0
        self.held = 0
        self.touched = 0.0

    def __len__(self) -> int:
        return len(self._stamps)

    def used(self, window_seconds: float, now: float) -> int:
        """How much counts in a window of that length: what happened in it, and what is held."""
        return self.held + len(self._stamps) - self._ended(window_seconds, now)

    def _ended(self, window_seconds: float, now: float) -> int:
        """How many of the oldest don't count any more in a window of that length."""
        return bisect_right(self._stamps, now, key=window_seconds.__add__)

    def frees_in(self, limit: Limit, now: float) -> float | None:
        """Seconds until the window has room; None where what is held fills it."""
        happened = limit.count - self.held
        if happened <= 0:
            return None
        return max(0.0, self._stamps[-happened] + limit.window_seconds - now)

    def keep_for(self, limits: Iterable[Limit]) -> None:
        """Remember at least as long as the longest of `limits` needs."""
        for limit in limits:
            self._keep_seconds = max(self._keep_seconds, limit.window_seconds)

    def stamp(self, now: float) -> None:
        """Something happened now."""
        self._stamps.append(now)
        self.prune(now)

    def prune(self, now: float) -> None:
        """Forget what no window can reach any more."""
        self.touched = now
        del self._stamps[: self._ended(self._keep_seconds, now)]

    def is_idle(self, now: float) -> bool:
        return not self.held and now - self.touched > max(IDLE_SECONDS, self._keep_seconds)


class Permit:
    """The right to one reply, held in every history that applies until it is used or given back.

    Each of `send`, `spend` and `give_back` does its part once; doing it again changes nothing.
    """

    def __init__(self, room: list[History], others: list[History]) -> None:
        self._room = room
        self._others = others

    def send(self, now: float) -> None:
        """The line was published: the room's part happened now."""
        _settle(self._room, now)

    def spend(self, now: float) -> None:
        """A model request went out: the user's and the trigger's parts happened now."""
        _settle(self._others, now)

    def give_back(self) -> None:
        """Whatever is still held never happened."""
        for history in (*self._room, *self._others):
            history.held -= 1
        self._room = []
        self._others = []


def _settle(histories: list[History], now: float) -> None:
    for history in histories:
        history.held -= 1
        history.stamp(now)
    histories.clear()


class RateLimiter:
    """All histories of the process: rooms, users over all rooms, triggers."""

    def __init__(self) -> None:
        self._histories: dict[Hashable, History] = {}
        self._next_sweep = 0.0

    def __len__(self) -> int:
        return len(self._histories)

    def refusal(self, demands: Sequence[Demand], now: float) -> Refusal | None:
        """The first limit that has no room, in the order of `demands`; None if all have."""
        for demand in demands:
            history = self._histories.get(demand.key)
            if history is None:
                continue
            for limit in demand.limits:
                used = history.used(limit.window_seconds, now)
                if used >= limit.count:
                    return Refusal(demand.scope, limit, used, history.frees_in(limit, now))
        return None

    def usage(self, demands: Sequence[Demand], now: float) -> list[tuple[Scope, Limit, int]]:
        """How full each limit of `demands` is now, in their order."""
        found = []
        for demand in demands:
            history = self._histories.get(demand.key)
            for limit in demand.limits:
                used = history.used(limit.window_seconds, now) if history is not None else 0
                found.append((demand.scope, limit, used))
        return found

    def admit(self, demands: Sequence[Demand], now: float) -> Permit | Refusal:
        """A permit in all histories, or the first refusal and nothing touched."""
        refused = self.refusal(demands, now)
        if refused is not None:
            return refused
        self._sweep(now)
        room: list[History] = []
        others: list[History] = []
        for demand in demands:
            if not demand.limits:
                continue
            history = self._histories.get(demand.key)
            if history is None:
                history = self._histories[demand.key] = History()
            history.keep_for(demand.limits)
            history.prune(now)
            history.held += 1
            (room if demand.scope is Scope.ROOM else others).append(history)
        return Permit(room, others)

    def remaining(self, demand: Demand, now: float) -> int:
        """How many more replies the limits of `demand` would allow now."""
        history = self._histories.get(demand.key)
        counts = (
            limit.count - (history.used(limit.window_seconds, now) if history is not None else 0)
            for limit in demand.limits
        )
        return max(0, min(counts, default=0))

    def _sweep(self, now: float) -> None:
        """Drop idle histories now and then, so that a million names don't grow the process."""
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_SECONDS
        idle = [key for key, history in self._histories.items() if history.is_idle(now)]
        for key in idle:
            del self._histories[key]
