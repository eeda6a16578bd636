"""The gates of one trigger that matched, asked in their order. Pure: chance and time are arguments.

Its cooldown, then chance, then the pause after a change of media, then room in the queue, then the
limits of the room, the user and the trigger, taken as one.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from llm_bot.config import RateLimitsConfig
from llm_bot.decisions import Gate, Outcome
from llm_bot.models import ChatLine, LineKind
from llm_bot.rate_limiter import Limit, Permit, RateLimiter, Refusal, Scope
from llm_bot.triggers.configured import (
    COOLDOWN,
    GLOBAL_COOLDOWN,
    ConfiguredTrigger,
    room_demand,
    user_demand,
)

MEDIA_COOLDOWN = "media_change_cooldown_seconds"


class RoomFacts(msgspec.Struct, frozen=True):
    """What there is to know beside the line, for one that some trigger matched.

    `now` is monotonic seconds. `is_loop` says that the user is taken for a bot. `media_frees_in` is
    what is left of the pause after another film began, 0 if there is none. `has_waiting` says
    that an earlier line of the user still waits, `queue_room` how many more jobs the lane takes.
    """

    now: float
    is_silenced: bool
    is_loop: bool
    media_frees_in: float
    media_cooldown: float
    has_waiting: bool
    queue_room: int


class TakesOver(msgspec.Struct, frozen=True):
    """The earlier line's place and permit are this one's."""


class Refused(msgspec.Struct, frozen=True):
    outcome: Outcome
    is_final: bool


class TriggerGates(msgspec.Struct, frozen=True):
    """The gates of one trigger that matched, each noted in `gates` with what it saw."""

    line: ChatLine
    armed: ConfiguredTrigger
    limits: RateLimitsConfig
    limiter: RateLimiter
    circumstances: RoomFacts
    gates: list[Gate]

    def ask(self, rng: Callable[[], float]) -> Permit | TakesOver | Refused:
        if self.circumstances.has_waiting:
            # It takes over the permit of the job that waits: its place, cooldown and limits.
            return self._probability(rng) or self._media() or TakesOver()
        return (
            self._cooldown()
            or self._probability(rng)
            or self._media()
            or self._queue()
            or self._limits()
        )

    def ask_again(self) -> Permit | Refused:
        """All that may have changed since, which is all but chance."""
        return self._cooldown() or self._media() or self._queue() or self._limits()

    def _note(self, name: str, passed: bool, value: float, threshold: float) -> None:
        self.gates.append(Gate(name, passed, value, threshold, trigger=self.armed.kind))

    def _cooldown(self) -> Refused | None:
        demand = self.armed.cooldown(self.line.user.lower())
        if demand is None:
            return None
        refusal = self.limiter.refusal([demand], self.circumstances.now)
        if refusal is None:
            cooldown = demand.limits[0]
            self.gates.append(
                Gate(COOLDOWN, True, 0, 1, cooldown.window_seconds, trigger=self.armed.kind)
            )
            return None
        self._note_refusal(refusal)
        return Refused(Outcome.TRIGGER_COOLDOWN, is_final=False)

    def _probability(self, rng: Callable[[], float]) -> Refused | None:
        probability = self.armed.probability
        if probability >= 1:
            return None
        drawn = rng()
        passed = drawn < probability
        self._note("fire_probability", passed, drawn, probability)
        return None if passed else Refused(Outcome.PROBABILITY, is_final=False)

    def _media(self) -> Refused | None:
        circumstances = self.circumstances
        left = circumstances.media_frees_in
        if self.line.kind is LineKind.PM or left <= 0:
            return None
        self.gates.append(
            Gate(
                MEDIA_COOLDOWN,
                passed=False,
                value=circumstances.media_cooldown - left,
                threshold=circumstances.media_cooldown,
                window_seconds=circumstances.media_cooldown,
                frees_in_seconds=left,
            )
        )
        return Refused(Outcome.MEDIA_COOLDOWN, is_final=True)

    def _queue(self) -> Refused | None:
        if self.circumstances.queue_room > 0:
            return None
        self._note("queue_size", False, self.circumstances.queue_room, 1)
        return Refused(Outcome.QUEUE_FULL, is_final=True)

    def _limits(self) -> Permit | Refused:
        user = self.line.user.lower()
        demands = self.armed.limits(user)
        if user:
            demands.insert(0, user_demand(user, self.limits))
        if self.line.kind is not LineKind.PM:
            demands.insert(0, room_demand(self.armed.room, self.limits))
        cooldown = self.armed.cooldown(user)
        if cooldown is not None:
            demands.append(cooldown)
        usage = self.limiter.usage(demands, self.circumstances.now)
        result = self.limiter.admit(demands, self.circumstances.now)
        for scope, limit, used in usage:
            if isinstance(result, Refusal) and limit is result.limit and scope is result.scope:
                break
            self._note_limit(scope, limit, used)
        if isinstance(result, Permit):
            return result
        self._note_refusal(result)
        return Refused(_outcome(result), is_final=result.scope is not Scope.TRIGGER)

    def _note_limit(self, scope: Scope, limit: Limit, used: int) -> None:
        if limit.name == COOLDOWN:
            return  # it stands at the head of the trigger's gates already
        owner = self.armed.kind if scope is Scope.TRIGGER else ""
        self.gates.append(
            Gate(limit.name, True, used, limit.count, limit.window_seconds, trigger=owner)
        )

    def _note_refusal(self, refusal: Refusal) -> None:
        self.gates.append(
            Gate(
                refusal.limit.name,
                passed=False,
                value=refusal.used,
                threshold=refusal.limit.count,
                window_seconds=refusal.limit.window_seconds,
                frees_in_seconds=refusal.frees_in_seconds,
                trigger=self.armed.kind if refusal.scope is Scope.TRIGGER else "",
            )
        )


def _outcome(refusal: Refusal) -> Outcome:
    if refusal.scope is Scope.USER:
        return Outcome.USER_LIMIT
    if refusal.scope is Scope.TRIGGER:
        is_cooldown = refusal.limit.name == COOLDOWN
        return Outcome.TRIGGER_COOLDOWN if is_cooldown else Outcome.TRIGGER_LIMIT
    if refusal.limit.name == GLOBAL_COOLDOWN:
        return Outcome.CHANNEL_COOLDOWN
    return Outcome.CHANNEL_LIMIT
