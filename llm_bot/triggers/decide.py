"""Whether to answer a line: the gates of each trigger, in their order. Pure.

For one trigger: its condition, then its cooldown, then chance, then the limits of the room, the
user and the trigger, taken as one. Where the trigger's own refuse, the next trigger is asked; where
the room's or the user's refuse, that ends it. Chance and time are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from llm_bot.config import RateLimitsConfig
from llm_bot.decisions import Gate, Outcome
from llm_bot.models import ChatLine
from llm_bot.rate_limiter import Permit, RateLimiter
from llm_bot.triggers.configured import ConfiguredTrigger, first_match
from llm_bot.triggers.gates import Refused, RoomFacts, TakesOver, TriggerGates


class Admit(msgspec.Struct, frozen=True):
    """Answer it. `permit` is held until the reply was sent or given up."""

    trigger: ConfiguredTrigger
    matched: str
    permit: Permit
    gates: tuple[Gate, ...]


class Replace(msgspec.Struct, frozen=True):
    """The user's earlier line still waits: this one takes its place and its permit."""

    trigger: ConfiguredTrigger
    matched: str
    gates: tuple[Gate, ...]


class Silent(msgspec.Struct, frozen=True):
    """Say nothing, and why. `trigger` is the first one that matched, empty if none did.

    `detail` is what it found in the line, or in a few words what the outcome alone doesn't say.
    """

    outcome: Outcome
    trigger: str = ""
    gates: tuple[Gate, ...] = ()
    detail: str = ""


Decision = Admit | Replace | Silent

NO_MATCH = Silent(Outcome.NO_MATCH)


def decide(
    line: ChatLine,
    triggers: tuple[ConfiguredTrigger, ...],
    first: tuple[int, str],
    *,
    limits: RateLimitsConfig,
    limiter: RateLimiter,
    circumstances: RoomFacts,
    rng: Callable[[], float],
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
        asking = TriggerGates(line, armed, limits, limiter, circumstances, gates)
        result = asking.ask(rng)
        if isinstance(result, Permit):
            return Admit(armed, matched, result, tuple(gates))
        if isinstance(result, TakesOver):
            return Replace(armed, matched, tuple(gates))
        refused = refused or Silent(result.outcome, armed.kind, detail=matched)
        if result.is_final:
            break
        following = first_match(line, triggers[at + 1 :])
        if following is None:
            break
        at, matched = at + 1 + following[0], following[1]
    return msgspec.structs.replace(refused, gates=tuple(gates))


def decide_tick(
    tick: ChatLine,
    armed: ConfiguredTrigger,
    idle_gates: Sequence[Gate],
    *,
    may_speak_unasked: bool,
    limits: RateLimitsConfig,
    limiter: RateLimiter,
    circumstances: RoomFacts,
    rng: Callable[[], float],
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
    result = TriggerGates(tick, armed, limits, limiter, circumstances, gates).ask(rng)
    if isinstance(result, Permit):
        result.give_back()
        return Admit(armed, "", result, tuple(gates))
    assert isinstance(result, Refused)  # noqa: S101 - a tick replaces nobody's line
    return Silent(result.outcome, armed.kind, tuple(gates))


def admit_tick(
    tick: ChatLine,
    armed: ConfiguredTrigger,
    *,
    limits: RateLimitsConfig,
    limiter: RateLimiter,
    circumstances: RoomFacts,
) -> Admit | Silent:
    """Whether what the model wants to say unasked may be said: time has passed while it thought.

    Chance isn't asked again, nor is whether there is anything to take part in.
    """
    if circumstances.is_silenced:
        return Silent(Outcome.SILENCED, armed.kind)
    gates: list[Gate] = []
    result = TriggerGates(tick, armed, limits, limiter, circumstances, gates).ask_again()
    if isinstance(result, Permit):
        return Admit(armed, "", result, tuple(gates))
    return Silent(result.outcome, armed.kind, tuple(gates))
