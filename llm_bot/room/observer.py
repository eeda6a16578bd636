"""Who is told what happens in a room, at the moment it happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_bot.decisions import DecisionRecord
from llm_bot.models import ChatLine


class RoomObserver:
    """Override what you want to be told. Nothing here may wait, or raise."""

    def on_decision(self, record: DecisionRecord, line: ChatLine, /) -> None:
        """A line, private message or tick was decided about.

        While a reply is under way `record` has no outcome; `on_concluded` tells it.
        """

    def on_concluded(self, record: DecisionRecord) -> None:
        """A record that had no outcome when it was made has got one."""

    def on_reply(self, record: DecisionRecord) -> None:
        """A reply was sent; whether it arrived is told later."""

    def on_insight(self, channel: str, insight: Mapping[str, Any]) -> None:
        """Something was observed about the talk: `kind`, `text`, `value`, `about`, `time`."""

    def on_job(self) -> None:
        """A reply waits in one of the room's lanes."""

    def on_origin(self) -> None:
        """An envelope has told how the connector spells the room."""

    def on_cleared(self) -> None:
        """A moderator has cleared the chat."""
