"""Talking to itself, or to another bot: both are found by how quickly answers follow. Pure.

`now` is monotonic seconds that the caller passes.
"""

from __future__ import annotations

from collections import OrderedDict, deque

QUICK_SECONDS = 3.0
"""Nobody reads a line and types an answer five times in a row within this time; a bot does."""

QUICK_ANSWERS = 5
ANSWERS_WINDOW_SECONDS = 60.0
MAX_USERS = 1000


class _Exchange:
    """The quick lines of one user that were answered, and whether he is taken for a bot."""

    def __init__(self) -> None:
        self.answered: deque[float] = deque(maxlen=QUICK_ANSWERS)
        self.is_loop = False
        self.last_line_at = 0.0


class LoopDetector:
    """Watches one conversation: a room's public lines, or its private ones."""

    def __init__(self) -> None:
        self._exchanges: OrderedDict[str, _Exchange] = OrderedDict()
        self._last_own: float | None = None
        self.unanswered_own_lines = 0

    def note_own(self, now: float) -> None:
        """The bot said something."""
        self._last_own = now
        self.unanswered_own_lines += 1

    def note_other(self) -> None:
        """Somebody else said something."""
        self.unanswered_own_lines = 0

    def is_loop(self, user: str, now: float) -> bool:
        """Whether `user` (in lower case), who addresses the bot now, is taken for a bot.

        He is once five of his lines within a minute were answered, each of them within 3 s of the
        bot's own last line; he no longer is after a pause of more than 3 s. Who else speaks in
        between changes nothing.
        """
        exchange = self._exchanges.get(user)
        if exchange is None:
            return False
        since_last, exchange.last_line_at = now - exchange.last_line_at, now
        if exchange.is_loop and since_last <= QUICK_SECONDS:
            return True
        if not self._is_quick(now):
            exchange.answered.clear()
        exchange.is_loop = (
            len(exchange.answered) == QUICK_ANSWERS
            and now - exchange.answered[0] < ANSWERS_WINDOW_SECONDS
        )
        return exchange.is_loop

    def note_answered(self, user: str, now: float) -> None:
        """A line of `user` that came now is being answered."""
        if not self._is_quick(now):
            self._exchanges.pop(user, None)
            return
        exchange = self._exchanges.get(user)
        if exchange is None:
            exchange = self._exchanges[user] = _Exchange()
            if len(self._exchanges) > MAX_USERS:
                self._exchanges.popitem(last=False)
        exchange.answered.append(now)
        exchange.last_line_at = now

    def _is_quick(self, now: float) -> bool:
        return self._last_own is not None and now - self._last_own <= QUICK_SECONDS
