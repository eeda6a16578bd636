"""Whether to answer a line: the gates of each trigger, in their order. Pure.

For one trigger: its condition, then its cooldown, then chance, then the limits of the room, the
user and the trigger, taken as one. Where the trigger's own refuse, the next trigger is asked; where
the room's or the user's refuse, that ends it. Chance and time are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from llm_bot.config import RateLimitsConfig, TriggerConfig, TriggerRateLimit
from llm_bot.decisions import DecisionRecord, Gate, Outcome
from llm_bot.models import ChatLine, LineKind
from llm_bot.rate_limiter import Demand, Limit, Permit, RateLimiter, Refusal, Scope
from llm_bot.triggers.base import Trigger

MINUTE = 60.0
HOUR = 3600.0
COOLDOWN = "cooldown_seconds"
GLOBAL_COOLDOWN = "global_cooldown_seconds"
MEDIA_COOLDOWN = "media_change_cooldown_seconds"


@dataclass(frozen=True, slots=True)
class ArmedTrigger:
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
    def arm(cls, trigger: Trigger, config: TriggerConfig, room: str) -> ArmedTrigger:
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


class Job(msgspec.Struct, eq=False):
    """An admitted line on its way to a reply. `deadline` is a monotonic time in seconds."""

    line: ChatLine
    trigger: ArmedTrigger
    permit: Permit
    record: DecisionRecord
    deadline: float


@dataclass(frozen=True, slots=True)
class Admit:
    """Answer it. `permit` is held until the reply was sent or given up."""

    trigger: ArmedTrigger
    matched: str
    permit: Permit
    gates: tuple[Gate, ...]


@dataclass(frozen=True, slots=True)
class Replace:
    """The user's earlier line still waits as `job`: this one takes its place and its permit."""

    trigger: ArmedTrigger
    matched: str
    job: Job
    gates: tuple[Gate, ...]


@dataclass(frozen=True, slots=True)
class Silent:
    """Say nothing, and why. `trigger` is the first one that matched, empty if none did.

    `detail` is what it found in the line, or in a few words what the outcome alone doesn't say.
    """

    outcome: Outcome
    trigger: str = ""
    gates: tuple[Gate, ...] = ()
    detail: str = ""


Decision = Admit | Replace | Silent

NO_MATCH = Silent(Outcome.NO_MATCH)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What there is to know beside the line, for one that some trigger matched.

    `now` is monotonic seconds. `is_loop` says that the user is taken for a bot. `media_frees_in` is
    what is left of the pause after another film began, 0 if there is none. `waiting` is the job of
    an earlier line of the user that still waits, `queue_room` how many more jobs the lane takes.
    """

    now: float
    is_silenced: bool
    is_loop: bool
    media_frees_in: float
    media_cooldown: float
    waiting: Job | None
    queue_room: int


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


def first_match(line: ChatLine, triggers: tuple[ArmedTrigger, ...]) -> tuple[int, str] | None:
    """The first trigger whose condition holds, as its place and what it found."""
    for at, armed in enumerate(triggers):
        matched = armed.match(line)
        if matched is not None:
            return at, matched
    return None


def decide(
    line: ChatLine,
    triggers: tuple[ArmedTrigger, ...],
    first: tuple[int, str],
    *,
    limits: RateLimitsConfig,
    limiter: RateLimiter,
    circumstances: Circumstances,
    chance: Callable[[], float],
) -> Decision:
    """What to do about a line that `first_match` found something in."""
    at, matched = first
    if circumstances.is_silenced:
        return Silent(Outcome.SILENCED, triggers[at].kind, detail=matched)
    if circumstances.is_loop:
        return Silent(Outcome.LOOP, triggers[at].kind, detail=matched)
    gates: list[Gate] = []
    refused: Silent | None = None
    while True:
        armed = triggers[at]
        asking = _Asking(line, armed, limits, limiter, circumstances, gates)
        result = asking.ask(chance)
        if isinstance(result, Permit):
            return Admit(armed, matched, result, tuple(gates))
        if isinstance(result, Job):
            return Replace(armed, matched, result, tuple(gates))
        refused = refused or Silent(result.outcome, armed.kind, detail=matched)
        if result.is_final:
            break
        following = first_match(line, triggers[at + 1 :])
        if following is None:
            break
        at, matched = at + 1 + following[0], following[1]
    return replace(refused, gates=tuple(gates))


def decide_tick(
    tick: ChatLine,
    armed: ArmedTrigger,
    idle_gates: Sequence[Gate],
    *,
    may_speak_unasked: bool,
    limits: RateLimitsConfig,
    limiter: RateLimiter,
    circumstances: Circumstances,
    chance: Callable[[], float],
) -> Admit | Silent:
    """Whether the model is asked to take part, though nobody named the bot.

    The permit of an `Admit` is given back already, since the question holds up no mention: a yes
    asks for another one (`admit_tick`).

    `idle_gates` say whether there is anything to take part in; `may_speak_unasked` is false after
    too many own lines that nobody answered.
    """
    if circumstances.is_silenced:
        return Silent(Outcome.SILENCED, armed.kind)
    gates = list(idle_gates)
    if not all(gate.passed for gate in gates):
        return Silent(Outcome.IDLE, armed.kind, tuple(gates))
    if not may_speak_unasked:
        return Silent(Outcome.LOOP, armed.kind, tuple(gates))
    result = _Asking(tick, armed, limits, limiter, circumstances, gates).ask(chance)
    if isinstance(result, Permit):
        result.give_back()
        return Admit(armed, "", result, tuple(gates))
    assert isinstance(result, _No)  # noqa: S101 - a tick replaces nobody's line
    return Silent(result.outcome, armed.kind, tuple(gates))


def admit_tick(
    tick: ChatLine,
    armed: ArmedTrigger,
    *,
    limits: RateLimitsConfig,
    limiter: RateLimiter,
    circumstances: Circumstances,
) -> Admit | Silent:
    """Whether what the model wants to say unasked may be said: time has passed while it thought.

    Chance isn't asked again, nor is whether there is anything to take part in.
    """
    if circumstances.is_silenced:
        return Silent(Outcome.SILENCED, armed.kind)
    gates: list[Gate] = []
    result = _Asking(tick, armed, limits, limiter, circumstances, gates).ask_again()
    if isinstance(result, Permit):
        return Admit(armed, "", result, tuple(gates))
    return Silent(result.outcome, armed.kind, tuple(gates))


@dataclass(frozen=True, slots=True)
class _No:
    outcome: Outcome
    is_final: bool


@dataclass(frozen=True, slots=True)
class _Asking:
    """The gates of one trigger that matched, each noted in `gates` with what it saw."""

    line: ChatLine
    armed: ArmedTrigger
    limits: RateLimitsConfig
    limiter: RateLimiter
    circumstances: Circumstances
    gates: list[Gate]

    def ask(self, chance: Callable[[], float]) -> Permit | Job | _No:
        waiting = self.circumstances.waiting
        if waiting is not None:
            # It takes over the permit of the job that waits: its place, cooldown and limits.
            return self._probability(chance) or self._media() or waiting
        return (
            self._cooldown()
            or self._probability(chance)
            or self._media()
            or self._queue()
            or self._limits()
        )

    def ask_again(self) -> Permit | _No:
        """All that may have changed since, which is all but chance."""
        return self._cooldown() or self._media() or self._queue() or self._limits()

    def _note(self, name: str, passed: bool, value: float, threshold: float) -> None:
        self.gates.append(Gate(name, passed, value, threshold, trigger=self.armed.kind))

    def _cooldown(self) -> _No | None:
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
        return _No(Outcome.TRIGGER_COOLDOWN, is_final=False)

    def _probability(self, chance: Callable[[], float]) -> _No | None:
        probability = self.armed.probability
        if probability >= 1:
            return None
        drawn = chance()
        passed = drawn < probability
        self._note("fire_probability", passed, drawn, probability)
        return None if passed else _No(Outcome.PROBABILITY, is_final=False)

    def _media(self) -> _No | None:
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
        return _No(Outcome.MEDIA_COOLDOWN, is_final=True)

    def _queue(self) -> _No | None:
        if self.circumstances.queue_room > 0:
            return None
        self._note("queue_size", False, self.circumstances.queue_room, 1)
        return _No(Outcome.QUEUE_FULL, is_final=True)

    def _limits(self) -> Permit | _No:
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
        return _No(_outcome(result), is_final=result.scope is not Scope.TRIGGER)

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
