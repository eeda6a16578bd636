"""Runs beside the conversation and adds what it observes: how relevant a reply was, another topic,
a question left unanswered. Never in the way of a reply, and never asks a model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import msgspec

from llm_bot.agents.base import BaseAgent
from llm_bot.agents.schemas import AgentResponse, Insight, UserMessage
from llm_bot.config import RoomConfig
from llm_bot.context_window import WindowLine
from llm_bot.decisions import DecisionRecord
from llm_bot.insights.questions import QuestionWatch, Unanswered
from llm_bot.insights.stream_buffer import StreamBuffer, StreamTrack
from llm_bot.insights.topics import InsightKind, Spoken, TopicWatch, cut
from llm_bot.models import LineKind
from llm_bot.ports import Clock, SystemClock

log = logging.getLogger(__name__)

TICK_SECONDS = 5.0
"""How long an observation about lines may take to appear."""

LINES_A_TICK = 60
"""More than twelve lines a second are a flood. Of it the newest are looked at: a look takes ten
times as long as all else that the daemon does about a line."""

LINES_AT_ONCE = 3
"""Looked at before others get their turn: 2 ms of the longest and oddest lines."""


class InsightSettings(msgspec.Struct, frozen=True):
    """What an insight agent needs to know of its room.

    `shows_text` lets words of the chat into insights. `topic_interval` is in lines, 0: topics are
    not watched. `names` are the bot's own. Lines with `ignored_prefixes` are for other programs.
    """

    channel: str
    is_enabled: bool = True
    shows_text: bool = False
    topic_interval: int = 20
    names: tuple[str, ...] = ()
    ignored_prefixes: tuple[str, ...] = ("!",)

    @classmethod
    def of(cls, config: RoomConfig) -> InsightSettings:
        return cls(
            channel=config.name,
            is_enabled=config.insights.enabled,
            shows_text=config.logging.content == "full",
            topic_interval=config.insights.topic_interval_messages,
            names=(config.bot.username, *config.bot.aliases),
            ignored_prefixes=tuple(filter(None, config.bot.ignored_prefixes)),
        )


@contextmanager
def errors_logged_once(channel: str, seen: set[str]) -> Iterator[None]:
    """Nothing gets out: a bug is told in full, once of each kind, which is noted in `seen`."""
    try:
        yield
    except Exception as error:
        kind = type(error).__name__
        if kind not in seen:
            seen.add(kind)
            log.exception("insight.error", extra={"channel": channel})


class InsightAgent(BaseAgent):
    """Observes one room. `on_insight` is told of each insight, once it is in the track.

    What hears the room adds lines to the buffer; `tick` looks at them, now and then. Nothing here
    raises: what goes wrong is logged once of each kind.

    >>> buffer = StreamBuffer()
    >>> agent = InsightAgent(buffer, InsightSettings("FilmNight", shows_text=True))
    >>> line = WindowLine("newt", "is there more popcorn?", 1000.0)
    >>> number = buffer.add(StreamTrack.CONVERSATION, line)
    >>> agent.tick(1010.0)
    []
    >>> [(insight.kind.value, insight.sequence, insight.words) for insight in agent.tick(1130.0)]
    [('question.answer.missing', 1, ('popcorn',))]
    """

    def __init__(
        self,
        buffer: StreamBuffer,
        settings: InsightSettings,
        *,
        clock: Clock | None = None,
        on_insight: Callable[[Insight], None] | None = None,
    ) -> None:
        super().__init__("insight")
        self._buffer = buffer
        self._clock = clock or SystemClock()
        self._on_insight = on_insight
        self._failures: set[str] = set()
        self._settings = settings
        self.forget()

    @property
    def settings(self) -> InsightSettings:
        """What it knows of its room; what was watched otherwise before is forgotten."""
        return self._settings

    @settings.setter
    def settings(self, settings: InsightSettings) -> None:
        old, self._settings = self._settings, settings
        watched = (settings.is_enabled, settings.topic_interval, settings.names)
        if watched != (old.is_enabled, old.topic_interval, old.names):
            self.forget()

    def forget(self) -> None:
        """Know nothing of the conversation so far: it was cleared, or couldn't be heard."""
        self._seen = self._buffer.last
        self._watch_anew()

    def _watch_anew(self) -> None:
        self._topics = TopicWatch(self._settings.topic_interval, self._settings.names)
        self._questions = QuestionWatch(self._settings.names)

    def _nothing_gets_out(self) -> AbstractContextManager[None]:
        return errors_logged_once(self._settings.channel, self._failures)

    # --- what the daemon tells it ---

    def note_reply(self, record: DecisionRecord) -> list[Insight]:
        """The line of `record` was answered; the relevance that the answer has there is told.

        For a private message the insight holds the value and nothing else.
        """
        with self._nothing_gets_out():
            return [self._replied(record)] if self._settings.is_enabled else []
        return []

    def tick(self, now: float) -> list[Insight]:
        """Look at what was said since the last time; `now` is epoch seconds."""
        with self._nothing_gets_out():
            return [insight for portion in self._look(now) for insight in portion]
        return []

    async def run(self, *, phase: float = 0.0) -> None:
        """Tick until cancelled, a portion at a time: the rooms share one loop.

        The first tick comes by that part of the pause earlier, so that rooms don't look in step.
        """
        await self._clock.sleep(TICK_SECONDS * (1 - phase))
        while True:
            with self._nothing_gets_out():
                for _ in self._look(self._clock.time()):
                    await asyncio.sleep(0)
            await self._clock.sleep(TICK_SECONDS)

    async def process_message(self, message: UserMessage) -> AgentResponse | None:
        """Add `message` to the conversation and look at it. It never answers."""
        self._buffer.add(StreamTrack.CONVERSATION, message)
        self.tick(message.timestamp.timestamp())
        return None

    # --- what it makes of it ---

    def _look(self, now: float) -> Iterator[list[Insight]]:
        """A portion of what was said at each step. Between two, anything may have changed."""
        until = self._buffer.last
        if until - self._seen > LINES_A_TICK:  # nobody reads along at such a pace
            self._seen = until - LINES_A_TICK
            self._watch_anew()
        while self._settings.is_enabled and self._seen < until:
            said = self._buffer.read(
                StreamTrack.CONVERSATION, after=self._seen, until=until, limit=LINES_AT_ONCE
            )
            # Noted first: a line that can't be looked at isn't looked at again.
            self._seen = said.sequences[-1] if said else until
            if said.lost:  # among them may have been answers
                self._watch_anew()
            lines = map(_spoken, said, said.sequences)
            yield [one for line in lines if line for one in self._noted(line, now)]
        self._seen = max(self._seen, until)
        if self._settings.is_enabled:
            yield self._unanswered(self._questions.tick(now), now)

    def _noted(self, line: Spoken, now: float) -> list[Insight]:
        if line.text.startswith(self._settings.ignored_prefixes):
            return []
        made = self._unanswered(self._questions.note(line), now)
        change = self._topics.note(line) if self._settings.topic_interval else None
        if change is not None:
            made.append(
                self._add(InsightKind.TOPIC, now, change.first, change.difference, change.words)
            )
        return made

    def _unanswered(self, late: list[Unanswered], now: float) -> list[Insight]:
        return [self._add(InsightKind.QUESTION, now, one.asked, words=one.words) for one in late]

    def _replied(self, record: DecisionRecord) -> Insight:
        now = self._clock.time()
        value = record.reply.relevance if record.reply is not None else None
        if record.event == LineKind.PM:
            return self._add(InsightKind.RELEVANCE, now, None, value)
        asked = record.correlation_id
        self._questions.note_answered(asked)
        about = Spoken("", "", now, False, asked, self._number_of(asked))
        return self._add(InsightKind.RELEVANCE, now, about, value)

    def _number_of(self, correlation_id: str) -> int:
        """The number of the newest line with that id, 0 where it is gone, or nobody said it."""
        said = self._buffer.read(StreamTrack.CONVERSATION)
        for item, sequence in zip(reversed(said), reversed(said.sequences), strict=True):
            if correlation_id == getattr(item, "correlation_id", getattr(item, "id", None)):
                return sequence
        return 0

    def _add(
        self,
        kind: InsightKind,
        now: float,
        about: Spoken | None,
        value: float | None = None,
        words: tuple[str, ...] = (),
    ) -> Insight:
        """Tell of a line; of None: of a private one, which nobody is told of."""
        insight = Insight(
            kind=kind,
            conversation_id=self._settings.channel,
            time=now,
            sequence=about.sequence if about else 0,
            correlation_id=about.correlation_id if about else "",
            value=value,
            words=words if self._settings.shows_text else (),
            is_private=about is None,
        )
        self._buffer.add(StreamTrack.INSIGHTS, insight)
        if self._on_insight is not None:
            self._on_insight(insight)
        return insight


def _spoken(item: object, sequence: int) -> Spoken | None:
    """An item of the conversation track as a line, None where it is none."""
    if isinstance(item, WindowLine):
        return Spoken(
            item.user, cut(item.text), item.time, item.is_own, item.correlation_id, sequence
        )
    if isinstance(item, UserMessage):
        user, is_own = item.user_id, False
    elif isinstance(item, AgentResponse):
        user, is_own = item.agent_name, True
    else:
        return None
    return Spoken(user, cut(item.content), item.timestamp.timestamp(), is_own, item.id, sequence)
