"""A trigger with what a room lets it do, and what a reply asks of the limits. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from llm_bot.config import RateLimitsConfig, TriggerConfig, TriggerRateLimit
from llm_bot.models import ChatLine
from llm_bot.rate_limiter import Demand, Limit, Scope
from llm_bot.triggers.base import Trigger

MINUTE = 60.0
HOUR = 3600.0
COOLDOWN = "cooldown_seconds"
GLOBAL_COOLDOWN = "global_cooldown_seconds"


class ConfiguredTrigger(msgspec.Struct, frozen=True):
    """A trigger with its chance and limits, for one room. `room` is the room's key.

    `kind` and `match` are the trigger's own, at hand for every line.
    """

    trigger: Trigger
    kind: str
    match: Callable[[ChatLine], str | None]
    room: str
    probability: float
    cooldown_seconds: float
    rate_limit: TriggerRateLimit | None

    @classmethod
    def arm(cls, trigger: Trigger, config: TriggerConfig, room: str) -> ConfiguredTrigger:
        return cls(
            trigger,
            trigger.kind,
            trigger.match,
            room,
            config.fire_probability,
            config.cooldown_seconds,
            config.rate_limit,
        )

    def cooldown(self, user: str) -> Demand | None:
        """The pause after it has fired; a private one is each user's own."""
        if not self.cooldown_seconds:
            return None
        key = ("cooldown", self.room, self.trigger.key, user if self.kind == "pm" else "")
        return Demand(Scope.TRIGGER, key, (Limit(COOLDOWN, 1, self.cooldown_seconds),))

    def limits(self, user: str) -> list[Demand]:
        """What it asks of its own histories: the room's, and the user's where there is one."""
        limit = self.rate_limit
        if limit is None:
            return []
        key = ("trigger", self.room, self.trigger.key)
        in_room = _limits(
            ("max_per_channel_per_minute", limit.max_per_channel_per_minute, MINUTE),
            ("max_per_channel_per_hour", limit.max_per_channel_per_hour, HOUR),
            ("max_per_hour", limit.max_per_hour, HOUR),
        )
        demands = [Demand(Scope.TRIGGER, key, in_room)]
        if user:
            of_user = _limits(
                ("max_per_user_per_minute", limit.max_per_user_per_minute, MINUTE),
                ("max_per_user_per_hour", limit.max_per_user_per_hour, HOUR),
            )
            demands.append(Demand(Scope.TRIGGER, (*key, user), of_user))
        return demands


def first_match(line: ChatLine, triggers: tuple[ConfiguredTrigger, ...]) -> tuple[int, str] | None:
    """The first trigger whose condition holds, as its place and what it found."""
    for at, armed in enumerate(triggers):
        matched = armed.match(line)
        if matched is not None:
            return at, matched
    return None


def room_demand(room: str, limits: RateLimitsConfig) -> Demand:
    """What a public reply asks of its room."""
    asked = _limits(
        ("max_per_channel_per_minute", limits.max_per_channel_per_minute, MINUTE),
        ("max_per_channel_per_hour", limits.max_per_channel_per_hour, HOUR),
        (GLOBAL_COOLDOWN, 1, limits.global_cooldown_seconds),
    )
    return Demand(Scope.ROOM, ("room", room), asked)


def user_demand(user: str, limits: RateLimitsConfig) -> Demand:
    """What a reply asks of its user, whose history is one over all rooms."""
    asked = _limits(
        ("max_per_user_per_minute", limits.max_per_user_per_minute, MINUTE),
        ("max_per_user_per_hour", limits.max_per_user_per_hour, HOUR),
    )
    return Demand(Scope.USER, ("user", user), asked)


def _limits(*asked: tuple[str, int | None, float]) -> tuple[Limit, ...]:
    return tuple(Limit(name, count, window) for name, count, window in asked if count and window)
