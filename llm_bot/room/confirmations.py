"""Lines that were sent and not yet seen to arrive. Pure.

A connector's acknowledgement doesn't mean that CyTube took the line (observed: of 30 lines at once
11 were dropped, all 30 acknowledged). The bot's own line coming back does.
"""

from __future__ import annotations

from collections import deque

import msgspec

from llm_bot.decisions import DecisionRecord

MAX_UNCONFIRMED = 100
"""Sends are paced, so that a handful is the rule."""


class Sent(msgspec.Struct, eq=False):
    """One line on its way. `to` is empty for the room.

    `is_settled` turns true with the first evidence, for or against; nothing changes it then.
    """

    to: str
    text: str
    record: DecisionRecord
    is_settled: bool = False


class Confirmations:
    """The unconfirmed lines of one room, oldest first."""

    def __init__(self) -> None:
        self._sent: deque[Sent] = deque()

    def __len__(self) -> int:
        return len(self._sent)

    def expect(self, sent: Sent) -> Sent | None:
        """Wait for `sent` to come back. Returns the oldest one if there were too many."""
        self._sent.append(sent)
        return self._sent.popleft() if len(self._sent) > MAX_UNCONFIRMED else None

    def forget(self, sent: Sent) -> None:
        """It was not sent after all."""
        if sent in self._sent:
            self._sent.remove(sent)

    def confirm(self, to: str, text: str) -> Sent | None:
        """An own line came back: the oldest send to that target, one of equal text first.

        Filters and cuts change a line on its way, so that another text confirms too.
        """
        same_target = [sent for sent in self._sent if sent.to.lower() == to.lower()]
        equal = next((sent for sent in same_target if sent.text == text), None)
        found = equal or next(iter(same_target), None)
        return self._settle(found)

    def refuse(self, *, private: bool | None = None) -> Sent | None:
        """CyTube refused something: the oldest send, of the kind that was refused if known."""
        fitting = (s for s in self._sent if private is None or bool(s.to) is private)
        return self._settle(next(fitting, None))

    def pop(self) -> Sent:
        """The oldest one. Raises `IndexError` if there is none."""
        return self._sent.popleft()

    def _settle(self, sent: Sent | None) -> Sent | None:
        if sent is not None:
            self._sent.remove(sent)
            sent.is_settled = True
        return sent
