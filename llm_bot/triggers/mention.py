"""Somebody says the bot's name."""

from __future__ import annotations

from collections.abc import Iterable

from llm_bot.models import ChatLine
from llm_bot.triggers.base import WholeWords


class MentionTrigger:
    """Fires on a name or alias of the bot, or either with a leading `@`, as whole words."""

    kind = "mention"
    key = "mention"

    def __init__(self, names: Iterable[str]) -> None:
        # A leading `@` is no word character, so the bare names find "@MyBot," too.
        self._names = WholeWords(name.removeprefix("@") for name in names)

    def match(self, line: ChatLine) -> str | None:
        return self._names.find(line.text.lower())
