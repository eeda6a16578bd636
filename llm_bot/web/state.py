"""How things stand now: rooms, limits, providers. Read once a second while somebody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from llm_bot.ports import Clock
from llm_bot.rate_limiter import Demand, Limit, RateLimiter
from llm_bot.room import Room
from llm_bot.triggers.configured import room_demand, user_demand
from llm_bot.triggers.gates import MEDIA_COOLDOWN
from llm_bot.web.views import TONES

USERS_SHOWN = 5
"""In each room those whose replies have filled most of what they may have."""

Status = Callable[[], dict[str, Any]]


class LiveState:
    """Reads the state that the page shows. `status` is what /health says."""

    def __init__(
        self,
        *,
        rooms: Callable[[], Iterable[Room]],
        limiter: RateLimiter,
        clock: Clock,
        status: Status,
    ) -> None:
        self._rooms = rooms
        self._limiter = limiter
        self._clock = clock
        self._status = status

    @property
    def room_names(self) -> list[str]:
        return [room.config.name for room in self._rooms()]

    def read(self) -> dict[str, Any]:
        """All of it, as it is now."""
        status = self._status()
        now = self._clock.monotonic()
        states = status.get("channels", {})
        return {
            "uptime_seconds": status.get("uptime_seconds", 0.0),
            "nats_connected": bool(status.get("nats_connected")),
            "providers": {name: str(state) for name, state in status.get("providers", {}).items()},
            "rooms": [
                self._room(room, str(states.get(room.config.name, "active")), now)
                for room in self._rooms()
            ],
        }

    def _room(self, room: Room, state: str, now: float) -> dict[str, Any]:
        decisions: dict[str, int] = {}
        for outcome, count in room.tally.decisions.items():
            # The keys are members of `Outcome`, which the table of counts knows as texts.
            tone = TONES[outcome]  # type: ignore[index]
            decisions[tone] = decisions.get(tone, 0) + count
        return {
            "name": room.config.name,
            "bot": room.own_names[-1],
            "state": state,
            "people": len(room.roster) if room.roster.is_known else None,
            "media": None if room.media is None else room.media.title,
            "waiting": len(room.public_lane) + len(room.private_lane),
            "decisions": decisions,
            "limits": list(self._limits(room, now)),
        }

    def _limits(self, room: Room, now: float) -> Iterator[dict[str, Any]]:
        settings = room.config.rate_limits
        yield from self._usage("room", room_demand(room.key, settings), now)
        cooldown = settings.media_change_cooldown_seconds
        if cooldown:
            left = room.media_frees_in(now)
            limit = Limit(MEDIA_COOLDOWN, 1, cooldown)
            yield _limit("room", limit, int(left > 0), left or None)
        for armed in (*room.public_triggers, *room.private_triggers):
            demands = armed.limits("")
            pause = armed.cooldown("") if armed.kind != "pm" else None
            for demand in (*demands, *([pause] if pause is not None else ())):
                yield from self._usage(armed.kind, demand, now)
        yield from self._users(room, now)

    def _users(self, room: Room, now: float) -> Iterator[dict[str, Any]]:
        """The limits of those who were answered lately, the fullest first."""
        answered = {
            record.user.lower(): record.user
            for record in room.decisions
            if record.user and record.reply is not None
        }
        found = []
        for key, name in answered.items():
            used = [
                limit
                for limit in self._usage(name, user_demand(key, room.config.rate_limits), now)
                if limit["used"]
            ]
            if used:
                found.append((max(limit["used"] / limit["limit"] for limit in used), used))
        found.sort(key=lambda one: -one[0])
        for _, limits in found[:USERS_SHOWN]:
            yield from limits

    def _usage(self, of: str, demand: Demand, now: float) -> Iterator[dict[str, Any]]:
        for _, limit, used in self._limiter.usage([demand], now):
            yield _limit(of, limit, used, self._frees_in(demand, limit, used, now))

    def _frees_in(self, demand: Demand, limit: Limit, used: int, now: float) -> float | None:
        """Seconds until there is room for one more than now; None where only the end of a reply
        under way can tell, or nothing is used."""
        if not used:
            return None
        as_full = Limit(limit.name, used, limit.window_seconds)
        refusal = self._limiter.refusal([demand.only(as_full)], now)
        return None if refusal is None else refusal.frees_in_seconds


def _limit(of: str, limit: Limit, used: int, frees_in: float | None) -> dict[str, Any]:
    return {
        "of": of,
        "name": limit.name,
        "used": used,
        "limit": limit.count,
        "window_seconds": limit.window_seconds,
        "frees_in_seconds": None if frees_in is None else round(frees_in, 2),
    }
