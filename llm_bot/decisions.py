"""What was decided about a line, and why: outcomes, gates, records. Values only.

Words are made of them by `observability.sentences`, when somebody reads; nothing is formatted here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import islice

import msgspec

DECISIONS_KEPT = 250
"""Records kept for each room: what was said while an operator wonders, some 0.2 MB."""


class Outcome(StrEnum):
    """How a line, private message or tick ended. Closed: a label of metrics and code of records."""

    REPLIED = "replied"
    NO_MATCH = "no_match"
    OWN_LINE = "own_line"
    IGNORED_USER = "ignored_user"
    IGNORED_PREFIX = "ignored_prefix"
    REPLAYED = "replayed"
    STALE = "stale"
    LOOP = "loop"
    SILENCED = "silenced"
    MEDIA_COOLDOWN = "media_cooldown"
    TRIGGER_COOLDOWN = "trigger_cooldown"
    CHANNEL_COOLDOWN = "channel_cooldown"
    PROBABILITY = "probability"
    USER_LIMIT = "user_limit"
    CHANNEL_LIMIT = "channel_limit"
    TRIGGER_LIMIT = "trigger_limit"
    DECLINED = "declined"
    IDLE = "idle"
    QUEUE_FULL = "queue_full"
    SUPERSEDED = "superseded"
    TOO_LATE = "too_late"
    LLM_FAILED = "llm_failed"
    EMPTY_REPLY = "empty_reply"
    FILTERED = "filtered"
    DELIVERY_FAILED = "delivery_failed"
    SHUTDOWN = "shutdown"
    DRY_RUN = "dry_run"
    ERROR = "error"


class IgnoredBecause(StrEnum):
    """Why the bot has nothing to do with somebody: the detail of `ignored_user`."""

    SERVER = "a notice of the server"
    LISTED = "in bot.ignored_users"
    SHADOW_MUTED = "shadow-muted in the room"
    MUTED = "muted in the room"
    OTHER_TARGET = "a private message to somebody else"


class Gate(msgspec.Struct, frozen=True, gc=False):
    """One question that was asked on the way to a decision, with what it was measured against.

    `trigger` is whose gate it was, empty for the room's. `window_seconds` and `frees_in_seconds`
    are given for limits; `frees_in_seconds` None means when a reply under way has ended.
    """

    name: str
    passed: bool
    value: float | str | None = None
    threshold: float | str | None = None
    window_seconds: float | None = None
    frees_in_seconds: float | None = None
    trigger: str = ""


class Delivery(StrEnum):
    """What is known of a line that was sent."""

    ECHOED = "echoed"
    UNCONFIRMED = "unconfirmed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"


class ReplyRecord(msgspec.Struct, gc=False):
    """What it took to answer; filled in as the reply goes on its way. Times are in seconds."""

    provider: str = ""
    model: str = ""
    attempts: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    queued_seconds: float | None = None
    model_seconds: float | None = None
    total_seconds: float | None = None
    filters: tuple[str, ...] = ()
    relevance: float | None = None
    delivery: str | None = None


class DecisionRecord(msgspec.Struct):
    """The record of one line, private message or tick.

    `outcome` is None while a reply is under way and is set once. `time` is Unix epoch seconds.
    `detail` says in a few words what the outcome alone doesn't. `text` is the line itself, shown
    only where the operator allows chat text.
    """

    correlation_id: str
    channel: str
    user: str
    time: float
    event: str
    outcome: Outcome | None
    trigger: str = ""
    gates: tuple[Gate, ...] = ()
    detail: str = ""
    text: str = ""
    reply: ReplyRecord | None = None


class DecisionLog:
    """The latest records of one room, oldest first, bounded."""

    def __init__(self, size: int = DECISIONS_KEPT) -> None:
        self._records: deque[DecisionRecord] = deque(maxlen=size)
        self.add = self._records.append

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[DecisionRecord]:
        return iter(self._records)

    def latest(
        self, limit: int, is_wanted: Callable[[DecisionRecord], bool] | None = None
    ) -> list[DecisionRecord]:
        """The newest records first, at most `limit`, of those that are wanted (default: all)."""
        return list(islice(filter(is_wanted, reversed(self._records)), limit))
