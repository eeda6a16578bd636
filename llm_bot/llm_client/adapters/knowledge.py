"""What servers refuse, learned from their refusals and kept out of later requests."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llm_bot.llm_client.adapters import wording
from llm_bot.llm_client.adapters.said import ServerSaid

TOKEN_CAPS = frozenset({"max_tokens", "max_completion_tokens"})
# Without these there is no request.
_NEEDED = frozenset({"model", "messages"})


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What one model of one server is known to refuse.

    Attributes:
        dropped: Optional fields of the body that are left out.
        refused_caps: Names of the token cap that are refused; it goes under the other.
        folds_system: The system message becomes the start of the first user message.
        folds_repeats: Messages of one role in a row become one message.
    """

    dropped: frozenset[str] = frozenset()
    refused_caps: frozenset[str] = frozenset()
    folds_system: bool = False
    folds_repeats: bool = False

    @property
    def swaps_token_cap(self) -> bool:
        """Whether the token cap goes under the other of its two names."""
        return len(self.refused_caps) == 1

    def __or__(self, other: Knowledge) -> Knowledge:
        """What both know together."""
        return Knowledge(
            self.dropped | other.dropped,
            self.refused_caps | other.refused_caps,
            self.folds_system or other.folds_system,
            self.folds_repeats or other.folds_repeats,
        )

    def applied_to(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """`options` without what is refused, and with the token cap under the name that isn't."""
        kept = {name: value for name, value in options.items() if name not in self.dropped}
        # Two lessons of one moment may refuse both names; what caps nothing is worse than either.
        for other in TOKEN_CAPS - self.refused_caps if self.swaps_token_cap else ():
            for name in self.refused_caps & kept.keys():
                kept.setdefault(other, kept.pop(name))
        return kept


NOTHING_KNOWN = Knowledge()


def learned(
    said: ServerSaid,
    sent: Collection[str],
    known: Knowledge,
    *,
    can_fold: bool,
) -> Knowledge | None:
    """`known`, and what the refusal `said` of a body with the options `sent` adds to it.

    None if it adds nothing: then asking again would be no use. `can_fold` says that folding would
    change the messages. The token cap may change its name, but is never left out.
    """
    if can_fold and wording.wants_strict_turns(said.message):
        # What refuses a system message wants strict turns as well, and says so only afterwards.
        return replace(known, folds_system=True, folds_repeats=True)
    refused = _refused(said, sent)
    caps = refused & TOKEN_CAPS
    if wording.is_about_size(said.message) or known.refused_caps | caps == TOKEN_CAPS:
        refused, caps = refused - caps, frozenset()
    if not refused:
        return None
    return replace(
        known,
        dropped=known.dropped | (refused - caps),
        refused_caps=known.refused_caps | caps,
    )


def _refused(said: ServerSaid, sent: Collection[str]) -> frozenset[str]:
    """Those of `sent` that the server's words blame."""
    by_plain_name = {_plain(name): name for name in sent if name not in _NEEDED}
    blamed = {_plain(wording.top_level(name)) for name in _blamed(said)}
    return frozenset(name for plain, name in by_plain_name.items() if plain in blamed)


def _blamed(said: ServerSaid) -> Iterator[str]:
    if said.complaints:
        for complaint in said.complaints:
            is_coded = wording.is_code_of_refusal(complaint.code)
            if is_coded or wording.is_refusal(complaint.message):
                yield complaint.field
        return
    if not said.param:
        yield from wording.refused_names(said.message)
        return
    if any(map(wording.is_code_of_refusal, said.codes)) or wording.is_refusal(said.message):
        yield said.param


def _plain(name: str) -> str:
    """`max_tokens`, `max-tokens` and `maxTokens` are one."""
    return name.replace("_", "").replace("-", "").lower()
