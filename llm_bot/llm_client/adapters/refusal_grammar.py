"""What a refusal is about, by its words, and the smaller request that mends it.

Nothing here understands sentences: a name of a field counts as a word, a phrase as it stands. What
comes from chat has been taken out before (`without_quotations`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import msgspec
from msgspec.structs import replace

from llm_bot.llm_client.adapters.error_body import ErrorBody

TOKEN_CAPS = frozenset({"max_tokens", "max_completion_tokens"})

# Other names under which servers speak of a field.
_OTHER_NAMES = {
    "stop": ("stop_sequences", "stop_sequence"),
    "frequency_penalty": ("penalty",),
    "presence_penalty": ("penalty",),
    "repetition_penalty": ("penalty",),
    "max_tokens": ("max_new_tokens", "maxOutputTokens"),
}
_TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size)|maximum context|prompt (?:is )?too long|too many tokens"
    r"|input (?:is )?too long|context the overflows|exceeds the (?:available )?context"
    r"|tokens to keep from the initial prompt|exceed_context_size|string_above_max_length"
    r"|reduce the length of the (?:messages|prompt|input)|input token count",
    re.IGNORECASE,
)
_TURNS = re.compile(
    r"\broles?\b|system (?:message|prompt|instruction)|developer instruction|alternat"
    r"|consecutive messages|(?:start|begin) with a user|chat template",
    re.IGNORECASE,
)


class ServerQuirks(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one model of one server is known to refuse.

    Attributes:
        dropped: Optional fields that are left out, sorted.
        token_cap: The name under which the token cap goes; None for the operator's.
        folds_turns: No system message, and no two messages of one role in a row.
        least_request: Only model, messages, `stream`, the token cap and `extra_body` are sent.
        max_characters: The longest conversation that is sent; None for any.
    """

    dropped: tuple[str, ...] = ()
    token_cap: str | None = None
    folds_turns: bool = False
    least_request: bool = False
    max_characters: int | None = None

    def shown(self) -> dict[str, Any]:
        """What differs from what the operator set, for a log or a page."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


NO_QUIRKS = ServerQuirks()


def mended(
    error: ErrorBody,
    status: int,
    quirks: ServerQuirks,
    *,
    optional: Collection[str],
    cap: str | None,
    shorter: int | None,
    can_fold: bool,
) -> ServerQuirks | None:
    """What has to be known besides `quirks` for a request that this refusal doesn't meet.

    Args:
        error: What the server said, without quotations of the conversation.
        status: Of the reply, or of the body where that names one.
        optional: The fields that were sent and needn't be.
        cap: The name under which the token cap was sent, if it was.
        shorter: How many characters the next shorter conversation has; None if there is none.
        can_fold: Whether folding the turns would change the messages.

    Returns:
        None where no smaller request helps.
    """
    if not (status in (400, 404, 413, 422) or 500 <= status < 600):
        return None
    said = " ".join((error.message, *error.codes))
    if shorter is not None and status != 404 and (status == 413 or _TOO_LONG.search(said)):
        return replace(quirks, max_characters=shorter)
    if status in (400, 422):
        named = {name for name in optional if _is_named(name, error)}
        if named:
            return replace(quirks, dropped=tuple(sorted(named.union(quirks.dropped))))
        if cap is not None and quirks.token_cap is None and _is_named(cap, error):
            (other,) = TOKEN_CAPS - {cap}
            return replace(quirks, token_cap=other)
    # Chat templates fail with whatever status a server has for errors of its own.
    if can_fold and not quirks.folds_turns and _TURNS.search(said):
        return replace(quirks, folds_turns=True)
    if status in (400, 422) and optional and not quirks.least_request:
        return replace(quirks, least_request=True)
    return None


def _is_named(field: str, error: ErrorBody) -> bool:
    """Whether the server blames `field`, under its own or another of its names."""
    names = (field, *_OTHER_NAMES.get(field, ()))
    if any(_top_level(param) in names for param in error.params):
        return True
    return any(_as_word(name).search(error.message) for name in names)


def _top_level(path: str) -> str:
    """The field of the body that `path` leads into: `messages` of `messages[0].role`."""
    return re.split(r"[.\[]", path.removeprefix("body."))[0]


def _as_word(name: str) -> re.Pattern[str]:
    """`max_tokens`, `max-tokens`, `max tokens` and `maxTokens` are one."""
    words = re.split(r"_|(?<=[a-z])(?=[A-Z])", name)
    return re.compile(rf"(?<![a-z0-9_]){'[ _-]?'.join(words)}(?![a-z0-9_])", re.IGNORECASE)
