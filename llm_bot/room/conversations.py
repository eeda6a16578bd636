"""The conversations of one room: the public one, and one with each user who writes privately."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from llm_bot.config.sections import ContextWindowConfig
from llm_bot.context_window import ContextWindow
from llm_bot.room.loops import LoopDetector

PRIVATE_KEPT = 100
"""The private one longest silent goes first."""


@dataclass(eq=False)
class Conversation:
    """What was said in it, and whether it goes round in circles."""

    window: ContextWindow
    loops: LoopDetector = field(default_factory=LoopDetector)


class PrivateConversations:
    """One for each user, bounded in number."""

    def __init__(self, config: ContextWindowConfig) -> None:
        self._config = config
        self._found: OrderedDict[str, Conversation] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def of(self, user: str) -> Conversation:
        """The one with `user`, begun where there is none yet."""
        key = user.lower()
        if key not in self._found:
            self._found[key] = Conversation(new_window(self._config))
            if len(self._found) > PRIVATE_KEPT:
                self._found.popitem(last=False)
        self._found.move_to_end(key)
        return self._found[key]

    def resize(self, config: ContextWindowConfig) -> None:
        """Other bounds from now on; the newest lines that fit stay."""
        self._config = config
        for one in self._found.values():
            one.window.resize(config.size, config.max_age_seconds)


def new_window(config: ContextWindowConfig) -> ContextWindow:
    return ContextWindow(config.size, config.max_age_seconds)
