"""Somebody writes to the bot privately."""

from __future__ import annotations

from llm_bot.models import ChatLine


class PmTrigger:
    """Fires on every private message; that it is meant for the bot was found out before."""

    kind = "pm"
    key = "pm"

    def match(self, line: ChatLine) -> str | None:
        return line.user
