"""Tells on a screen what happens in the room: each line, and below it what was decided and why."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable

from llm_bot.decisions import DecisionRecord, Delivery, Outcome
from llm_bot.demo.terminal.screen import Screen, Style, columns, harmless, wrapped
from llm_bot.models import ChatLine, LineKind
from llm_bot.observability.sentences import sentence
from llm_bot.room import RoomObserver

NAME_COLUMNS = 14
GAP = 2
REPLAYS_SHOWN = 3
"""Of the lines from before the bot came, the latest are enough to begin with."""

DIM: Style = "2"
BANNER: Style = "1;35"
OWN: Style = "1;32"
NOTE: Style = "33"
ASKING: Style = "2;36"
# Readable on dark and on light; green is the bot's.
PEOPLE: tuple[Style, ...] = tuple(
    f"38;5;{number}" for number in (39, 208, 170, 37, 203, 141, 178, 75, 168, 109, 173, 103)
)
_GOOD = frozenset({Outcome.REPLIED, Outcome.DRY_RUN})
_PLAIN = frozenset(
    {
        Outcome.NO_MATCH,
        Outcome.OWN_LINE,
        Outcome.IGNORED_USER,
        Outcome.IGNORED_PREFIX,
        Outcome.REPLAYED,
        Outcome.STALE,
    }
)
_BAD = frozenset(
    {
        Outcome.LLM_FAILED,
        Outcome.EMPTY_REPLY,
        Outcome.FILTERED,
        Outcome.DELIVERY_FAILED,
        Outcome.TOO_LATE,
        Outcome.ERROR,
    }
)


class Narrator(RoomObserver):
    """`is_settled` is set while no reply is under way."""

    def __init__(self, screen: Screen, *, now: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen
        self._now = now
        self._styles: dict[str, Style] = {}
        self._open: dict[int, tuple[DecisionRecord, float]] = {}
        self._answered: tuple[DecisionRecord, float] | None = None
        self._replays: list[tuple[DecisionRecord, ChatLine]] = []
        self._latest: DecisionRecord | None = None
        self.outcomes: Counter[Outcome] = Counter()
        self.latencies: list[float] = []
        self.lines = 0
        self.has_admitted = False
        self.is_settled = asyncio.Event()
        self.is_settled.set()

    def on_decision(self, record: DecisionRecord, line: ChatLine) -> None:
        """A line was decided about; its reply may be under way."""
        self.lines += line.kind is not LineKind.TICK
        if record.outcome is not None:
            self.outcomes[record.outcome] += 1
        if record.outcome is Outcome.REPLAYED:
            self._replays.append((record, line))
            return
        self._tell_replays()
        if record.outcome is Outcome.OWN_LINE:
            self._tell_own(record, line)
            return
        self._tell_line(record, line)
        if record.outcome is None:
            self.has_admitted = True
            self._open[id(record)] = (record, self._now())
            self.is_settled.clear()
        self._tell_verdict(record)

    def on_concluded(self, record: DecisionRecord) -> None:
        """A reply that was under way has ended; the lines that never were one are told already."""
        known = self._open.pop(id(record), None)
        if known is None or record.outcome is None:
            return
        if not self._open:
            self.is_settled.set()
        seconds = self._now() - known[1]
        self.outcomes[record.outcome] += 1
        if record.outcome is Outcome.REPLIED:
            self.latencies.append(seconds)
            if record.reply is not None and record.reply.delivery == Delivery.ECHOED:
                self._answered = (record, seconds)  # told below the line, which comes now
                return
        self._tell_verdict(record, seconds)

    def banner(self, text: str) -> None:
        """Something about the room as a whole, such as another film."""
        self._tell_replays()
        screen = self._screen
        text = f" {harmless(text)} "
        rule = max(2, (screen.columns - columns(text)) // 2)
        screen.show("", screen.paint("─" * rule + text + "─" * rule, BANNER), "")

    def remark(self, text: str) -> None:
        """Something by the way, such as somebody leaving."""
        self._tell_replays()
        self._show(" " * (NAME_COLUMNS + GAP), harmless(text), DIM)

    def note(self, text: str) -> None:
        """Something to whoever sits at the terminal."""
        self._show("! ", harmless(text), NOTE)

    def summary(self) -> None:
        """How it went."""
        self._tell_replays()
        screen = self._screen
        said = self.outcomes[Outcome.REPLIED]
        self.banner("That was it")
        median = f", {statistics.median(self.latencies):.2f} s in the median" if said else ""
        screen.show(
            f"{self.lines - self.outcomes[Outcome.OWN_LINE]} lines heard, {said} answered{median}."
        )
        counts = [f"{outcome} {count}" for outcome, count in self.outcomes.most_common()]
        for row in wrapped(" · ".join(counts), screen.columns):
            screen.show(screen.paint(row, DIM))

    def _tell_own(self, record: DecisionRecord, line: ChatLine) -> None:
        self._tell_line(record, line, is_own=True)
        answered, self._answered = self._answered, None
        if answered is None:
            self._tell_verdict(record)
        else:
            self._latest = answered[0]
            self._tell_verdict(*answered)

    def _tell_line(self, record: DecisionRecord, line: ChatLine, *, is_own: bool = False) -> None:
        screen = self._screen
        user = harmless(line.user)
        name = f"▶ {user}" if is_own else user
        style = OWN if is_own else self._style(line.user)
        text = harmless(line.text) or "(a picture)"
        if line.kind is LineKind.TICK:
            name, text = "", "(the timer looks whether to join in)"
        if line.kind is LineKind.PM:
            text = f"[private{f' to {harmless(line.to)}' if is_own else ''}] {text}"
        padding = " " * max(0, NAME_COLUMNS - columns(name))
        head = padding + screen.paint(name, style) + " " * GAP
        width = screen.columns - NAME_COLUMNS - GAP
        first, *others = wrapped(text, width)
        self._latest = record
        text_style = "1" if is_own else ""
        indent = " " * (NAME_COLUMNS + GAP)
        screen.show(
            head + screen.paint(first, text_style),
            *(indent + screen.paint(row, text_style) for row in others),
        )

    def _style(self, user: str) -> Style:
        """A colour of their own for the first dozen people, then again from the start."""
        key = user.lower()
        if key not in self._styles and len(self._styles) < MAX_STYLES:
            self._styles[key] = PEOPLE[len(self._styles) % len(PEOPLE)]
        return self._styles.get(key, "")

    def _tell_verdict(self, record: DecisionRecord, seconds: float | None = None) -> None:
        outcome = record.outcome
        if outcome is None:
            asking = self._screen.paint("└ asking the model ...", ASKING)
            self._screen.show(" " * (NAME_COLUMNS + GAP) + asking)
            return
        code = outcome.value
        took = f" in {seconds:.2f} s" if seconds is not None and outcome in _GOOD else ""
        words = sentence(record)
        if record is not self._latest and not words.startswith(record.user):
            words = f"{record.user}: {words}"
        self._show_verdict(f"{code}{took}", words, _style_of(outcome))

    def _show_verdict(self, code: str, words: str, style: Style) -> None:
        screen = self._screen
        indent = " " * (NAME_COLUMNS + GAP)
        head = f"└ {code} · "
        rows = wrapped(head + harmless(words), screen.columns - len(indent) - 2)
        first, *others = rows
        rest = first.removeprefix(head.rstrip())
        screen.show(
            indent
            + screen.paint("└ ", DIM)
            + screen.paint(head[2:].rstrip(" ·"), style)
            + screen.paint(f" ·{rest}", DIM),
            *(f"{indent}  {screen.paint(row, DIM)}" for row in others),
        )

    def _tell_replays(self) -> None:
        replays, self._replays = self._replays, []
        if not replays:
            return
        left_out = len(replays) - REPLAYS_SHOWN
        if left_out > 0:
            self._show(" " * (NAME_COLUMNS + GAP), f"({left_out} older lines)", DIM)
        for record, line in replays[-REPLAYS_SHOWN:]:
            self._tell_line(record, line)
        times = f" × {len(replays)}" if len(replays) > 1 else ""
        code = f"{Outcome.REPLAYED.value}{times}"
        self._show_verdict(code, sentence(replays[-1][0]), _style_of(Outcome.REPLAYED))

    def _show(self, head: str, text: str, style: Style) -> None:
        screen = self._screen
        for row in wrapped(text, screen.columns - len(head)):
            screen.show(head + screen.paint(row, style))


MAX_STYLES = 1000
"""Names that have a colour; a flood of new ones is white."""


def _style_of(outcome: Outcome) -> Style:
    if outcome in _GOOD:
        return "32"
    if outcome in _PLAIN:
        return DIM
    return "31" if outcome in _BAD else "33"
