"""All that belongs to one room, and nothing that doesn't. No I/O; time comes in as arguments."""

from __future__ import annotations

from collections import Counter, deque

from llm_bot.config import RoomConfig, TriggerConfig
from llm_bot.config.triggers import TRIGGER_KINDS
from llm_bot.context_window import WindowLine
from llm_bot.decisions import DecisionLog, DecisionRecord, Delivery, Outcome
from llm_bot.insights.stream_buffer import StreamBuffer, StreamTrack
from llm_bot.models import ChatLine, LineKind, Media, Origin
from llm_bot.response_processor import ResponseProcessor
from llm_bot.response_processor.guard import Guard
from llm_bot.room.confirmations import Confirmations
from llm_bot.room.conversations import Conversation, PrivateConversations, new_window
from llm_bot.room.lane import Job, Lane
from llm_bot.room.observer import RoomObserver
from llm_bot.room.replays import ReplayDetector
from llm_bot.room.roster import Roster
from llm_bot.room.tally import RoomTally
from llm_bot.triggers.configured import ConfiguredTrigger
from llm_bot.triggers.contextual import Surveyed
from llm_bot.triggers.gates import RoomFacts
from llm_bot.triggers.registry import make_trigger

SERVER_NAME = "[server]"
"""CyTube's own notices; brackets can't stand in a real name."""

REPEATED_MEDIA_SECONDS = 5.0
"""The first `changeMedia` seen with more on its clock tells what is on, not that it just began."""


MAX_PAUSE_SECONDS = 60.0
"""However long a pause CyTube asks for."""


class Room:
    """The state of one room. `key` is its name in lower case.

    `observers` are told what happens in it. `may_send_at` is the monotonic time from which the next
    line may be sent.
    """

    def __init__(self, config: RoomConfig, *, secrets: tuple[str, ...]) -> None:
        self.config = config
        self.key = config.name.lower()
        self.login_name = ""
        self.window = new_window(config.context_window)
        self.public = Conversation(self.window)
        self.private = PrivateConversations(config.context_window)
        self.roster = Roster()
        self.replays = ReplayDetector(config.bot.max_event_age_seconds)
        # Public lines of others since the bot's own last one, and since the last tick.
        self.lines_since_own = 0
        self.lines_since_tick = 0
        self.decisions = DecisionLog()
        self.stream = StreamBuffer(config.insights.size)
        self.tally = RoomTally()
        self.confirmations = Confirmations()
        self.observers: tuple[RoomObserver, ...] = ()
        self.public_lane = Lane(config.replies.queue_size)
        self.private_lane = Lane(config.replies.queue_size)
        self.own_lines: deque[str] = deque(
            maxlen=max(1, config.response_processing.deduplicate_window)
        )
        self.media: Media | None = None
        self._is_media_heard = False
        self.media_changed_at: float | None = None
        self.origin: Origin | None = None
        self.is_muted_by_server = False
        self.may_send_at = 0.0
        self.canned_line_at: float | None = None
        self.ignored_users = frozenset(
            {SERVER_NAME, *(name.lower() for name in config.bot.ignored_users)}
        )
        self.ignored_prefixes = tuple(filter(None, config.bot.ignored_prefixes))
        self.processor = ResponseProcessor(config.response_processing)
        self.guard = Guard(
            secrets=secrets,
            allow_links=config.response_processing.content_filter.allow_links,
            max_units=config.response_processing.max_response_length,
            ignored_prefixes=self.ignored_prefixes,
        )
        self._name_the_bot()

    def adopt(self, fresh: Room) -> None:
        """Take the configuration of `fresh`, made for the same room, and keep what happened here:
        window, limits, queues, records. Nothing in it can fail half-way."""
        if fresh is self:
            return
        self.config = fresh.config
        settings = fresh.config.context_window
        self.window.resize(settings.size, settings.max_age_seconds)
        self.private.resize(settings)
        self.stream.resize(fresh.config.insights.size)
        self.replays.max_age_seconds = fresh.config.bot.max_event_age_seconds
        self.public_lane.size = self.private_lane.size = fresh.config.replies.queue_size
        fresh.own_lines.extend(self.own_lines)
        self.own_lines = fresh.own_lines
        self.ignored_users = fresh.ignored_users
        self.ignored_prefixes = fresh.ignored_prefixes
        self.processor = fresh.processor
        self.guard = fresh.guard
        self._name_the_bot()

    def is_same_place(self, config: RoomConfig) -> bool:
        """Whether `config` means this room, and not one of that name on another chat server."""
        known = self.config.domain or (self.origin.domain if self.origin is not None else "")
        wanted = config.domain or ""
        return not known or not wanted or known.strip().lower() == wanted.strip().lower()

    def inherit_history(self, other: Room) -> None:
        """Go on with the numbers and records of `other`, which had the same name before."""
        self.tally = other.tally
        self.decisions = other.decisions

    def forget_presence(self) -> None:
        """Nobody listens for a while: who is here and what is on may change unseen."""
        self.roster = Roster()
        self.media = None
        self.media_changed_at = None
        self._is_media_heard = False
        self.is_muted_by_server = False

    def _name_the_bot(self) -> None:
        bot = self.config.bot
        self.own_names = tuple(filter(None, dict.fromkeys((bot.username, self.login_name))))
        self.own_keys = frozenset(name.lower() for name in self.own_names)
        self.called_names = (*self.own_names, *bot.aliases)
        armed = configure_triggers(self.config.triggers, room=self.key, names=self.called_names)
        self.public_triggers = tuple(one for one in armed if one.kind not in ("pm", "contextual"))
        self.private_triggers = tuple(one for one in armed if one.kind == "pm")
        # Asked by a timer, and not about lines.
        self.contextual = next((one for one in armed if one.kind == "contextual"), None)

    def learn_login(self, name: str) -> bool:
        """The account that the connector uses here; true if it is another than was known."""
        if name == self.login_name:
            return False
        self.login_name = name
        self._name_the_bot()
        return name.lower() != self.config.bot.username.lower()

    def lane(self, kind: LineKind) -> Lane:
        return self.private_lane if kind is LineKind.PM else self.public_lane

    def add_job(self, job: Job) -> None:
        """A reply is to be made."""
        self.lane(job.line.kind).put(job)
        for observer in self.observers:
            observer.on_job()

    def note_origin(self, origin: Origin) -> None:
        """Where an event came from, which is where an answer goes."""
        known = self.origin
        # A bare payload doesn't unlearn how the same connector's envelopes spell the room.
        if origin.channel or known is None or known.dialect is not origin.dialect:
            self.origin = origin
            if origin.domain and not (known is not None and known.domain):
                for observer in self.observers:
                    observer.on_origin()

    def clear(self) -> None:
        """A moderator has taken back what was said."""
        self.window.clear()
        for observer in self.observers:
            observer.on_cleared()

    def note_sent(self, now: float) -> None:
        """A line went out; `now` is monotonic seconds."""
        self.may_send_at = max(self.may_send_at, now + self.config.replies.min_interval_seconds)

    def pause_sending(self, seconds: float, now: float) -> None:
        """CyTube asked for a pause; `now` is monotonic seconds."""
        self.may_send_at = max(self.may_send_at, now + min(seconds, MAX_PAUSE_SECONDS))

    def names(self) -> set[str]:
        """Who is here or has lately talked, in lower case; the bot among them."""
        talked = {line.user.lower() for line in self.window}
        return talked | {person.name.lower() for person in self.roster}

    def conversation_of(self, line: ChatLine) -> Conversation:
        """The one that `line` belongs to: private ones never appear in the room's."""
        if line.kind is not LineKind.PM:
            return self.public
        is_own = line.user.lower() in self.own_keys
        return self.private.of(line.to if is_own else line.user)

    def remember(self, line: WindowLine) -> None:
        """A public line was said just now."""
        self.window.add(line)
        self.stream.add(StreamTrack.CONVERSATION, line)

    def note_own_line(self, line: ChatLine, now: float) -> None:
        """The bot's own line was seen in the room, or in a private conversation."""
        self.conversation_of(line).loops.note_own(now)
        if line.kind is LineKind.CHAT:
            self.lines_since_own = 0

    def note_other_line(self) -> None:
        """Somebody else said something in the room."""
        self.public.loops.note_other()
        self.lines_since_own += 1
        self.lines_since_tick += 1

    @property
    def may_speak_unasked(self) -> bool:
        """Whether somebody has answered the bot's own last lines, or there are few of them."""
        return self.public.loops.unanswered_own_lines < self.config.bot.max_unanswered_own_lines

    def survey(self) -> Surveyed:
        """What a tick sees; the lines of this interval are counted anew afterwards."""
        others = None
        if self.roster.is_known:
            here = (person.name.lower() for person in self.roster)
            others = sum(name not in self.own_keys for name in here)
        waiting = len(self.public_lane) + len(self.private_lane)
        seen = Surveyed(self.lines_since_tick, self.lines_since_own, others, waiting)
        self.lines_since_tick = 0
        return seen

    def conversation(self, line: ChatLine, now: float) -> tuple[WindowLine, ...]:
        """What the model gets to see of the conversation that `line` is part of, without it.

        `now` is epoch seconds.
        """
        most = self.config.llm_api.max_context_messages
        lines = self.conversation_of(line).window.latest(most + 1, now)
        asked = (line.correlation_id, line.user, line.text)
        others = [one for one in lines if (one.correlation_id, one.user, one.text) != asked]
        return tuple(others[-most:]) if most else ()

    def change_media(self, media: Media, now: float) -> None:
        """Note what is on; another film than the last starts the pause of the public triggers."""
        last, self.media = self.media, media
        was_heard, self._is_media_heard = self._is_media_heard, True
        if last is not None and (last.media_id, last.media_type) == (
            media.media_id,
            media.media_type,
        ):
            return
        if not was_heard and media.position_seconds > REPEATED_MEDIA_SECONDS:
            return
        self.media_changed_at = now

    def assume_media(self, media: Media) -> None:
        """What is on as far as is stored somewhere: what was heard counts more, and nobody knows
        when it began, so no pause starts."""
        if self.media is None:
            self.media = media

    def facts(self, line: ChatLine, now: float) -> RoomFacts:
        """What there is to know about the room for a decision about `line`."""
        user, lane = line.user.lower(), self.lane(line.kind)
        return RoomFacts(
            now=now,
            is_silenced=self.config.silenced,
            is_loop=self.conversation_of(line).loops.is_loop(user, now),
            media_frees_in=self.media_frees_in(now),
            media_cooldown=self.config.rate_limits.media_change_cooldown_seconds,
            has_waiting=lane.waiting(user) is not None,
            queue_room=lane.room,
        )

    def media_frees_in(self, now: float) -> float:
        """Seconds until the pause after a change of media is over, 0 if there is none."""
        if self.media_changed_at is None:
            return 0.0
        cooldown = self.config.rate_limits.media_change_cooldown_seconds
        return max(0.0, self.media_changed_at + cooldown - now)

    def conclude(self, record: DecisionRecord, outcome: Outcome, detail: str = "") -> None:
        """Set the outcome of a record that has none, count it and tell it; a second one changes
        nothing."""
        if record.outcome is not None:
            return
        record.outcome = outcome
        if detail:
            record.detail = detail
        self.tally.decisions[outcome] += 1
        for observer in self.observers:
            observer.on_concluded(record)

    def note_decision(self, record: DecisionRecord, line: ChatLine) -> None:
        """A line or a tick was decided about."""
        for observer in self.observers:
            observer.on_decision(record, line)

    def note_reply(self, record: DecisionRecord) -> None:
        """A reply was sent."""
        for observer in self.observers:
            observer.on_reply(record)

    def note_delivery(self, record: DecisionRecord, delivery: Delivery) -> None:
        """What became of a line that was sent."""
        if record.reply is not None:
            record.reply.delivery = delivery.value
        self.tally.deliveries[delivery.value] += 1


def configure_triggers(
    configs: tuple[TriggerConfig, ...], *, room: str, names: tuple[str, ...]
) -> list[ConfiguredTrigger]:
    """The enabled triggers, kind by kind (TRIG-1)."""
    taken: Counter[str] = Counter()
    armed = [
        ConfiguredTrigger.arm(make_trigger(config, names=names, taken=taken), config, room)
        for config in configs
        if config.enabled
    ]
    return sorted(armed, key=lambda one: TRIGGER_KINDS.index(one.kind))
