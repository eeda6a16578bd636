"""Runs beside the conversation and adds what it observes: how relevant a reply was, another topic,
a question left unanswered. Never in the way of a reply, and never asks a model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial

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

_CONVERSATION = StreamTrack.CONVERSATION
_NOTHING = Spoken("", "", 0.0)


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
            shows_text=config.logging_content == "full",
            topic_interval=config.insights.topic_interval_messages,
            names=(config.bot.username, *config.bot.aliases),
            ignored_prefixes=tuple(filter(None, config.bot.ignored_prefixes)),
        )


class InsightAgent(BaseAgent):
    """Observes one room. `on_insight` is told of each insight, once it is in the track.

    What hears the room only notes lines, which costs an append; `tick` looks at them, now and then.
    Nothing here raises: what goes wrong is logged once of each kind.

    >>> agent = InsightAgent(StreamBuffer(), InsightSettings("FilmNight", shows_text=True))
    >>> agent.note_line(WindowLine("newt", "is there more popcorn?", 1000.0))
    1
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
        # Of the daemon, for every public line: a method would cost as much as it does.
        self.note_line: Callable[[WindowLine], int] = partial(buffer.add, _CONVERSATION)
        self._clock = clock or SystemClock()
        self._on_insight = on_insight
        self._seen = buffer.last
        self._failures: set[str] = set()
        self._settings = settings
        self.forget()

    @property
    def settings(self) -> InsightSettings:
        return self._settings

    @settings.setter
    def settings(self, settings: InsightSettings) -> None:
        """Others from now on. What was watched is forgotten only where it was watched otherwise."""
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

    # --- what the daemon tells it ---

    def note_reply(self, record: DecisionRecord) -> list[Insight]:
        """The line of `record` was answered; the relevance that the answer has there is told.

        For a private message the insight holds the value and nothing else.
        """
        try:
            return self._replied(record) if self._settings.is_enabled else []
        except Exception as error:  # noqa: BLE001 - an observation must not break a reply
            self._failed(error)
            return []

    def tick(self, now: float) -> list[Insight]:
        """Look at what was said since the last time; `now` is epoch seconds."""
        try:
            return [one for made in self._look(now) for one in made]
        except Exception as error:  # noqa: BLE001 - it runs beside the room and must not end it
            self._failed(error)
            return []

    async def run(self, *, phase: float = 0.0) -> None:
        """Tick until cancelled, a portion at a time: the rooms share one loop.

        The first tick comes by that part of the pause earlier, so that rooms don't look in step.
        """
        await self._clock.sleep(TICK_SECONDS * (1 - phase))
        while True:
            try:
                for _ in self._look(self._clock.time()):
                    await asyncio.sleep(0)
            except Exception as error:  # noqa: BLE001 - as in `tick`
                self._failed(error)
            await self._clock.sleep(TICK_SECONDS)

    async def process_message(self, message: UserMessage) -> AgentResponse | None:
        """Add `message` to the conversation and look at it. It never answers."""
        self._buffer.add(_CONVERSATION, message)
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
            after, limit = self._seen, LINES_AT_ONCE
            said = self._buffer.read(_CONVERSATION, after=after, until=until, limit=limit)
            # Noted first: a line that can't be looked at isn't looked at again.
            self._seen = said.sequences[-1] if said else until
            if said.lost:  # among them may have been answers
                self._watch_anew()
            pairs = zip(said.sequences, said, strict=True)
            yield [one for at, item in pairs for one in self._noted(item, at, now)]
        self._seen = max(self._seen, until)
        if self._settings.is_enabled:
            yield self._unanswered(self._questions.tick(now), now)

    def _noted(self, item: object, sequence: int, now: float) -> list[Insight]:
        line = _spoken(item, sequence)
        if line is None or line.text.startswith(self._settings.ignored_prefixes):
            return []
        made = self._unanswered(self._questions.note(line), now)
        change = self._topics.note(line) if self._settings.topic_interval else None
        if change is not None:
            first, value = change.first, change.difference
            made.append(self._add(InsightKind.TOPIC, first, now, value, words=change.words))
        return made

    def _unanswered(self, late: list[Unanswered], now: float) -> list[Insight]:
        return [self._add(InsightKind.QUESTION, one.asked, now, words=one.words) for one in late]

    def _replied(self, record: DecisionRecord) -> list[Insight]:
        now, asked = self._clock.time(), record.correlation_id
        value = record.reply.relevance if record.reply is not None else None
        if record.event == LineKind.PM:
            return [self._add(InsightKind.RELEVANCE, _NOTHING, now, value, is_private=True)]
        self._questions.note_answered(asked)
        about = Spoken("", "", now, False, asked, self._number_of(asked))
        return [self._add(InsightKind.RELEVANCE, about, now, value)]

    def _number_of(self, correlation_id: str) -> int:
        """The number of the newest line with that id, 0 where it is gone, or nobody said it."""
        said = self._buffer.read(_CONVERSATION)
        for sequence, item in zip(reversed(said.sequences), reversed(said), strict=True):
            name = "correlation_id" if type(item) is WindowLine else "id"
            if getattr(item, name, None) == correlation_id:
                return sequence
        return 0

    def _add(
        self,
        kind: InsightKind,
        about: Spoken,
        now: float,
        value: float | None = None,
        *,
        words: tuple[str, ...] = (),
        is_private: bool = False,
    ) -> Insight:
        insight = Insight(
            kind=kind,
            conversation_id=self._settings.channel,
            time=now,
            sequence=about.sequence,
            correlation_id=about.correlation_id,
            value=value,
            words=words if self._settings.shows_text else (),
            is_private=is_private,
        )
        self._buffer.add(StreamTrack.INSIGHTS, insight)
        if self._on_insight is not None:
            self._on_insight(insight)
        return insight

    def _failed(self, error: Exception) -> None:
        """A bug: told in full, once of each kind."""
        kind = type(error).__name__
        if kind not in self._failures:
            self._failures.add(kind)
            log.error("insight.error", exc_info=error, extra={"channel": self._settings.channel})


def _spoken(item: object, sequence: int) -> Spoken | None:
    """An item of the conversation track as a line, None where it is none."""
    if type(item) is WindowLine:
        return Spoken(
            item.user, cut(item.text), item.time, item.is_own, item.correlation_id, sequence
        )
    if not isinstance(item, UserMessage | AgentResponse):
        return None
    user = item.user_id if isinstance(item, UserMessage) else item.agent_name
    is_own = isinstance(item, AgentResponse)
    said_at = item.timestamp.timestamp()
    return Spoken(user, cut(item.content), said_at, is_own, item.id, sequence)
