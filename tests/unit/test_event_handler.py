"""Behaviour 1 to 5 as one event meets them: what it changes in the room, and its one record."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_bot.decisions import DecisionRecord, Outcome, ReplyRecord
from llm_bot.event_handler import EventHandler
from llm_bot.models import ChatLine, Dialect
from llm_bot.ports import Event
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room import Room, RoomObserver
from llm_bot.room.confirmations import Sent
from llm_bot.room.tally import Tally
from llm_bot.triggers.configured import room_demand, user_demand
from tests.fakes import ManualClock
from tests.unit import builders
from tests.unit.builders import HEARD_AT, event, room_event

UNLIMITED = {
    "max_per_channel_per_minute": 1000,
    "max_per_channel_per_hour": 1000,
    "max_per_user_per_minute": 1000,
    "max_per_user_per_hour": 1000,
    "global_cooldown_seconds": 0.0,
    "media_change_cooldown_seconds": 30.0,
}
PLAIN_TRIGGERS = [{"type": "mention"}, {"type": "keyword", "keywords": ["film"]}, {"type": "pm"}]


class Bench(RoomObserver):
    """A room that is heard by hand, without a bus, a model or a worker."""

    def __init__(self, **sections: Any) -> None:
        sections = {"rate_limits": UNLIMITED, "triggers": PLAIN_TRIGGERS, **sections}
        self.clock = ManualClock()
        self.room: Room = builders.room(**sections)
        self.limiter = RateLimiter()
        self.tally = Tally()
        self.told: list[tuple[DecisionRecord, ChatLine, Outcome | None]] = []
        self.jobs_told = 0
        self.rng = 0.5
        self.handler = EventHandler(
            self.room,
            limiter=self.limiter,
            tally=self.tally,
            clock=self.clock,
            rng=lambda: self.rng,
        )
        self.room.observers = (self,)

    def on_decision(self, record: DecisionRecord, line: ChatLine) -> None:
        self.told.append((record, line, record.outcome))

    def on_job(self) -> None:
        self.jobs_told += 1

    def hear(self, heard: Event, dialect: Dialect = Dialect.KRYTEN) -> None:
        self.handler.handle(heard, dialect)

    def happen(self, name: str, payload: Any = None) -> None:
        self.hear(room_event(name, payload))

    def say(self, text: str = "hello", **changes: Any) -> DecisionRecord:
        """A line said now, and its record."""
        before = len(self.room.decisions)
        self.hear(event(text, **{"said_at": self.clock.time(), **changes}))
        assert len(self.room.decisions) == before + 1
        return list(self.room.decisions)[-1]

    def outcome(self, text: str = "hello", **changes: Any) -> Outcome | None:
        return self.say(text, **changes).outcome

    @property
    def paused(self) -> float:
        """Seconds until the next line may be sent."""
        return max(0.0, self.room.may_send_at - self.clock.now)

    @property
    def window(self) -> list[str]:
        return [line.text for line in self.room.window]

    @property
    def waiting(self) -> list[str]:
        return [job.line.text for job in self.room.public_lane._jobs]


def in_conversation(bench: Bench, user: str) -> list[str]:
    return [line.text for line in bench.room.private.of(user).window]


class TestOwnLines:
    """They enter the context as the bot's, never trigger and count in no limit (REQ-4, WHO-1)."""

    @pytest.mark.parametrize("user", ["MyBot", "MYBOT"])
    def test_a_public_one(self, user):
        bench = Bench()
        assert bench.outcome("I am MyBot", user=user) is Outcome.OWN_LINE
        assert [(line.text, line.is_own) for line in bench.room.window] == [("I am MyBot", True)]
        assert len(bench.limiter) == len(bench.room.public_lane) == 0

    def test_a_private_one_belongs_to_the_conversation_with_its_target(self):
        bench = Bench()
        assert bench.outcome("secret", user="MyBot", to="Alice") is Outcome.OWN_LINE
        assert in_conversation(bench, "alice") == ["secret"]
        assert bench.window == []
        assert len(bench.room.private_lane) == 0

    def test_a_replayed_one_confirms_nothing(self):
        bench = Bench()
        sent = sent_line(bench, "hello")
        assert (
            bench.outcome("hello", user="MyBot", said_at=HEARD_AT - 60, forwarded_at=HEARD_AT)
            is Outcome.OWN_LINE
        )
        assert bench.window == ["hello"]
        assert sent.record.outcome is None

    def test_one_heard_twice_is_remembered_once(self):
        bench = Bench()
        for _ in range(2):
            assert bench.outcome("hello", user="MyBot") is Outcome.OWN_LINE
        assert bench.window == ["hello"]

    def test_an_empty_one_is_not_remembered(self):
        bench = Bench()
        assert bench.outcome("<img src=x>", user="MyBot") is Outcome.OWN_LINE
        assert bench.window == []


class TestIgnoredUsers:
    """Neither answered nor remembered (WHO-2)."""

    @pytest.mark.parametrize(
        ("prepare", "changes"),
        [
            pytest.param(None, {"user": "[server]"}, id="server"),
            pytest.param(None, {"meta": {"shadow": True}}, id="shadow"),
            pytest.param(None, {"user": "BadBot"}, id="listed"),
            pytest.param(
                ("userlist", [{"name": "alice", "meta": {"muted": True}}]), {}, id="muted"
            ),
            pytest.param(
                ("addUser", {"name": "Alice", "meta": {"smuted": True}}), {}, id="shadow-muted"
            ),
            pytest.param(None, {"to": "carol"}, id="pm-to-somebody-else"),
            pytest.param(None, {"user": "badbot", "to": "MyBot"}, id="pm-of-a-listed-one"),
        ],
    )
    def test_each_cause(self, prepare, changes):
        bench = Bench(bot={"ignored_users": ["badBOT"]})
        if prepare:
            bench.happen(*prepare)
        assert bench.outcome("MyBot, hello", **changes) is Outcome.IGNORED_USER
        assert bench.window == []
        assert len(bench.room.private) == 0
        assert len(bench.room.public_lane) == len(bench.room.private_lane) == 0

    def test_one_who_is_unmuted_is_heard_again(self):
        bench = Bench()
        bench.happen("userlist", [{"name": "alice", "meta": {"muted": True}}])
        bench.happen("setUserMeta", {"name": "Alice", "meta": {"muted": False, "smuted": False}})
        assert bench.outcome("MyBot, hello") is None

    def test_a_private_message_without_a_target_is_the_bots(self):
        bench = Bench()
        heard = room_event("pm", {"username": "alice", "msg": "hi", "time": HEARD_AT * 1000})
        bench.hear(heard)
        assert in_conversation(bench, "alice") == ["hi"]
        assert len(bench.room.private_lane) == 1

    def test_the_name_of_the_target_may_be_the_login(self):
        bench = Bench()
        bench.happen("login", {"success": True, "name": "Account7"})
        assert bench.outcome(to="ACCOUNT7") is None


class TestIgnoredPrefixes:
    """Commands for other bots never trigger; they are part of the conversation all the same."""

    # WHO-7

    # WHO-7

    @pytest.mark.parametrize("text", ["!skip MyBot", "&gt;&gt; MyBot", " !skip MyBot"])
    def test_they_never_trigger(self, text):
        bench = Bench(bot={"ignored_prefixes": ["!", ">>"]})
        assert bench.outcome(text) is Outcome.IGNORED_PREFIX
        assert len(bench.window) == 1
        assert bench.waiting == []

    def test_elsewhere_in_a_line_they_mean_nothing(self):
        assert Bench().outcome("MyBot! look") is None

    def test_without_any_no_line_is_ignored(self):
        assert Bench(bot={"ignored_prefixes": []}).outcome("!MyBot") is None


class TestOldLines:
    """Neither a replay nor a stale line ever triggers (REQ-4)."""

    # WHO-5
    def test_a_replay_enters_the_window_in_its_place_in_time(self):
        bench = Bench()
        bench.say("second")
        outcome = bench.outcome("MyBot, first", said_at=HEARD_AT - 60, forwarded_at=HEARD_AT)
        assert outcome is Outcome.REPLAYED
        assert bench.window == ["MyBot, first", "second"]
        assert bench.waiting == []

    # WHO-5
    def test_a_duplicate_never_does(self):
        bench = Bench()
        assert [bench.outcome("hello") for _ in range(2)] == [Outcome.NO_MATCH, Outcome.REPLAYED]
        assert bench.window == ["hello"]

    # WHO-4
    @pytest.mark.parametrize(
        ("age", "outcome"), [(30, None), (30.1, Outcome.STALE)], ids=["in-time", "too-late"]
    )
    @pytest.mark.parametrize("enveloped", [True, False], ids=["envelope", "bare"])
    def test_a_stale_one(self, age, outcome, enveloped):
        bench = Bench()
        heard = event("MyBot, hello", said_at=HEARD_AT - age)
        if not enveloped:
            heard = Event("cytube.events.mychannel.chatMsg", _payload(heard))
        bench.hear(heard)
        assert [record.outcome for record in bench.room.decisions] == [outcome]
        assert bench.window == ["MyBot, hello"]

    def test_a_stale_private_one_stays_private(self):
        bench = Bench()
        assert bench.outcome("hi", to="MyBot", said_at=HEARD_AT - 40) is Outcome.STALE
        assert (bench.window, in_conversation(bench, "alice")) == ([], ["hi"])

    # WHO-6
    def test_twenty_lines_in_a_row_judged_old_are_clock_skew(self, caplog):
        bench = Bench()
        for number in range(20):
            bench.clock.advance(1.0)
            now = bench.clock.time()
            outcome = bench.outcome(f"line {number}", said_at=now - 600, forwarded_at=now)
            assert outcome is Outcome.REPLAYED
        assert [one.message for one in caplog.records] == ["clock.skewed"]
        assert caplog.records[0].skew_seconds == 600.0
        bench.clock.advance(1.0)
        now = bench.clock.time()
        assert bench.outcome("MyBot?", said_at=now - 600, forwarded_at=now) is None
        assert bench.outcome("old", said_at=now - 900, forwarded_at=now) is Outcome.REPLAYED
        assert len(caplog.records) == 1

    def test_twenty_stale_lines_only_warn(self, caplog):
        """They may be late indeed: one warning, and the next is as stale as they (WHO-6)."""
        bench = Bench()
        for number in range(45):
            bench.clock.advance(1.0)
            outcome = bench.outcome(f"MyBot {number}", said_at=bench.clock.time() - 31)
            assert outcome is Outcome.STALE
            assert len(caplog.records) == (number >= 19)
        assert caplog.records[0].late_seconds == 31.0
        assert bench.room.replays.skew_seconds == 0.0

    def test_a_fresh_line_in_between_says_that_no_clock_is_wrong(self, caplog):
        """The count of stale lines starts anew (WHO-6)."""
        bench = Bench()
        for number in range(45):
            bench.clock.advance(1.0)
            late = 0 if number % 15 == 14 else 31
            bench.say(f"line {number}", said_at=bench.clock.time() - late)
        assert caplog.records == []


def _payload(heard: Event) -> bytes:
    return json.dumps(heard["payload"]).encode()


class TestNoMatch:
    """Nothing that the bot answers to (WHO-7)."""

    def test_an_ordinary_line_is_remembered(self):
        bench = Bench()
        assert bench.outcome("hello") is Outcome.NO_MATCH
        assert bench.window == ["hello"]
        assert bench.room.tally.triggers_evaluated == {"mention": 1, "keyword": 1}

    @pytest.mark.parametrize("text", ["", "<img src=x>", " \u200b&nbsp;"])
    @pytest.mark.parametrize("to", [None, "MyBot"], ids=["chat", "pm"])
    def test_an_empty_one_does_not_enter_the_window(self, text, to):
        bench = Bench()
        assert bench.outcome(text, to=to) is Outcome.NO_MATCH
        assert (bench.window, len(bench.room.private)) == ([], 0)
        assert len(bench.room.private_lane) == 0


class TestRefusals:
    """Outcomes that deciding gives reach the record with gates and trigger."""

    @pytest.mark.parametrize(
        ("sections", "before", "outcome"),
        [
            pytest.param({"channel": {"silenced": True}}, [], Outcome.SILENCED, id="silenced"),
            pytest.param(
                {"triggers": [{"type": "mention", "fire_probability": 0.5}]},
                [],
                Outcome.PROBABILITY,
                id="probability",
            ),
            pytest.param(
                {"triggers": [{"type": "mention", "cooldown_seconds": 9.0}]},
                ["bob"],
                Outcome.TRIGGER_COOLDOWN,
                id="trigger-cooldown",
            ),
            pytest.param(
                {"triggers": [{"type": "mention", "rate_limit": {"max_per_hour": 1}}]},
                ["bob"],
                Outcome.TRIGGER_LIMIT,
                id="trigger-limit",
            ),
            pytest.param(
                {"rate_limits": {**UNLIMITED, "global_cooldown_seconds": 9.0}},
                ["bob"],
                Outcome.CHANNEL_COOLDOWN,
                id="channel-cooldown",
            ),
            pytest.param(
                {"rate_limits": {**UNLIMITED, "max_per_channel_per_minute": 1}},
                ["bob"],
                Outcome.CHANNEL_LIMIT,
                id="channel-limit",
            ),
            pytest.param(
                {"replies": {"queue_size": 1}}, ["bob"], Outcome.QUEUE_FULL, id="queue-full"
            ),
        ],
    )
    def test_each(self, sections, before, outcome):
        bench = Bench(**sections)
        for user in before:
            assert bench.outcome("MyBot!", user=user) is None
        record = bench.say("MyBot?")
        assert (record.outcome, record.trigger) == (outcome, "mention")
        assert bool(record.gates) is (outcome is not Outcome.SILENCED)
        assert bench.room.tally.triggers_suppressed == {("mention", outcome.value): 1}
        assert bench.window[-1] == "MyBot?"
        assert len(bench.waiting) == len(before)

    def test_a_users_limit(self):
        bench = Bench(rate_limits={**UNLIMITED, "max_per_user_per_minute": 1})
        assert bench.outcome("MyBot!") is None
        assert bench.room.public_lane.take() is not None  # it is being answered
        assert bench.outcome("MyBot?") is Outcome.USER_LIMIT

    # LANE-2
    def test_a_full_lane_takes_no_permit(self):
        bench = Bench(replies={"queue_size": 1})
        bench.say("MyBot!", user="bob")
        assert bench.outcome("MyBot!") is Outcome.QUEUE_FULL
        limits = bench.room.config.rate_limits
        demands = room_demand("mychannel", limits), user_demand("alice", limits)
        assert [used for *_, used in bench.limiter.usage(demands, bench.clock.now)] == [
            *(1, 1),
            *(0, 0),
        ]

    def test_a_full_public_lane_keeps_no_private_message_out(self):
        bench = Bench(replies={"queue_size": 1})
        bench.say("MyBot!", user="bob")
        assert bench.outcome(to="MyBot") is None
        assert len(bench.room.private_lane) == 1


class TestAdmission:
    """An admitted line waits in its lane, with a deadline from its arrival; its record is open."""

    def test_it_waits(self):
        bench = Bench(replies={"deadline_seconds": 20.0})
        record = bench.say("MyBot, hello")
        job = bench.room.public_lane.take()
        assert job is not None
        assert job.record is record
        assert (record.outcome, record.trigger, record.detail) == (None, "mention", "mybot")
        assert (job.deadline, bench.jobs_told) == (bench.clock.now + 20.0, 1)
        assert bench.room.tally.triggers_fired == {"mention": 1}
        assert bench.room.tally.triggers_evaluated == {"mention": 1}
        assert not bench.room.tally.decisions

    def test_a_record_says_what_was_heard(self):
        bench = Bench()
        record = bench.say("<b>hello</b>", user="Alice", to="MyBot")
        assert (record.channel, record.user, record.event) == ("MyChannel", "Alice", "pm")
        assert (record.text, record.time) == ("hello", HEARD_AT)

    def test_whoever_follows_the_decisions_is_told_of_each(self):
        bench = Bench()
        records = [bench.say(text) for text in ("hello", "MyBot!")]
        assert [record for record, *_ in bench.told] == records
        assert [outcome for *_, outcome in bench.told] == [Outcome.NO_MATCH, None]


class TestReplacement:
    """A newer line of a user whose job still waits takes its place in the lane and its permit."""

    # LANE-3

    # LANE-3

    def test_the_older_is_superseded(self):
        bench = Bench()
        older = bench.say("MyBot, one")
        newer = bench.say("MyBot, two")
        assert (older.outcome, newer.outcome) == (Outcome.SUPERSEDED, None)
        assert [job.record for job in bench.room.public_lane._jobs] == [newer]
        assert bench.room.tally.decisions == {"superseded": 1}

    # LANE-4
    def test_it_keeps_the_place_and_gets_a_new_deadline(self):
        bench = Bench()
        bench.say("MyBot, one")
        bench.say("MyBot, other", user="bob")
        bench.clock.advance(3.0)
        bench.say("which film?", user="ALICE")
        assert bench.waiting == ["which film?", "MyBot, other"]
        job = bench.room.public_lane.take()
        assert job is not None
        assert job.deadline == bench.clock.now + 45.0
        assert job.record.trigger == "keyword"

    def test_it_inherits_the_permit_before_limits_are_looked_at(self):
        tight = {**UNLIMITED, "max_per_user_per_minute": 1, "global_cooldown_seconds": 5.0}
        bench = Bench(rate_limits=tight, replies={"queue_size": 1})
        bench.say("MyBot, one")
        permit = bench.room.public_lane._jobs[0].permit
        assert bench.outcome("MyBot, two") is None
        job = bench.room.public_lane.take()
        assert job is not None
        assert job.permit is permit
        job.permit.give_back()
        assert bench.outcome("MyBot, three") is None

    def test_one_that_is_being_answered_is_not_replaced(self):
        bench = Bench()
        older = bench.say("MyBot, one")
        bench.room.public_lane.take()
        bench.say("MyBot, two")
        assert older.outcome is None
        assert bench.waiting == ["MyBot, two"]

    def test_the_lanes_are_apart(self):
        bench = Bench()
        older = bench.say("MyBot, one")
        bench.say("and privately", to="MyBot")
        assert older.outcome is None
        assert len(bench.room.private_lane) == len(bench.room.public_lane) == 1

    def test_a_line_to_others_supersedes_nothing(self):
        bench = Bench()
        older = bench.say("MyBot, one")
        assert bench.outcome("hi bob") is Outcome.NO_MATCH
        assert older.outcome is None


class TestDrops:
    """What can't be understood is counted by reason and dropped; the log tells of it."""

    # HEAR-10
    def test_they_are_counted_and_told(self, caplog):
        bench = Bench()
        for _ in range(2):
            bench.hear(Event("kryten.events.cytube.mychannel.chatmsg", b"{"))
        bench.happen("chatMsg", {"username": "alice"})
        assert bench.tally.dropped == {"bad_json": 2, "bad_payload": 1}
        seen = [(one.message, one.channel, one.reason, one.bytes) for one in caplog.records]
        assert seen == [
            ("event.dropped", "MyChannel", "bad_json", 1),
            ("event.dropped", "MyChannel", "bad_json", 1),
            ("event.dropped", "MyChannel", "bad_payload", seen[2][3]),
        ]
        assert len(bench.room.decisions) == 0

    def test_the_log_holds_nothing_of_the_body(self, caplog):
        Bench().hear(Event("kryten.events.cytube.mychannel.chatmsg", b"secret{"))
        assert "secret" not in str([vars(one) for one in caplog.records])

    # OBS-3
    def test_events_are_counted_by_a_closed_set_of_names(self):
        bench = Bench()
        bench.say()
        bench.happen("somethingElse", {"of": "no use"})
        bench.hear(Event("kryten.events.cytube.mychannel.chatmsg", b"\xff"))
        assert bench.room.tally.events == {"chatmsg": 2, "other": 1}
        assert sum(bench.tally.event_seconds.counts) == 3
        assert bench.tally.last_event_at == HEARD_AT


class TestRoomEvents:
    """What changes the room and is no line has no record."""

    def test_a_login_adds_a_name(self, caplog):
        bench = Bench()
        assert bench.outcome("Account7, hello") is Outcome.NO_MATCH
        bench.happen("login", {"success": True, "name": "Account7"})
        assert [one.message for one in caplog.records] == ["room.other_login"]
        assert bench.outcome("@account7, hello", user="bob") is None
        assert bench.outcome("MyBot, hello", user="carol") is None
        assert bench.outcome("my own", user="ACCOUNT7") is Outcome.OWN_LINE
        assert bench.outcome("mine too", user="mybot") is Outcome.OWN_LINE

    def test_a_login_under_the_configured_name_warns_of_nothing(self, caplog):
        bench = Bench()
        bench.happen("login", {"success": True, "name": "mybot"})
        assert caplog.records == []
        assert bench.outcome("MyBot!") is None

    def test_a_repeated_login_warns_once(self, caplog):
        bench = Bench()
        for _ in range(2):
            bench.happen("login", {"success": True, "name": "Account7"})
        assert len(caplog.records) == 1

    # WHO-8
    def test_clearchat_empties_the_window_and_no_private_one(self):
        bench = Bench()
        bench.say("public")
        bench.say("private", to="MyBot")
        bench.happen("clearchat")
        assert (bench.window, in_conversation(bench, "alice")) == ([], ["private"])

    def test_the_roster_follows_its_events(self):
        bench = Bench()
        bench.happen("userlist", [{"name": "Alice", "rank": 2.5}, {"name": "Bob"}])
        bench.happen("addUser", {"name": "Carol", "rank": 1})
        bench.happen("userLeave", {"name": "bob"})
        bench.happen("setUserRank", {"name": "carol", "rank": 3})
        bench.happen("setAFK", {"name": "alice", "afk": True})
        seen = {(p.name, p.rank, p.is_afk) for p in bench.room.roster}
        assert seen == {("Alice", 2.5, True), ("Carol", 3.0, False)}
        assert len(bench.room.decisions) == 0

    # HEAR-1
    @pytest.mark.parametrize(
        ("answer_in", "channel"), [(Dialect.KRYTEN, "MyChannel"), (Dialect.PLAIN, "")]
    )
    def test_what_is_unprompted_goes_out_in_the_dialect_last_heard(self, answer_in, channel):
        bench = Bench()
        plain = Event("cytube.events.mychannel.chatMsg", b'{"username":"bob","msg":"hi"}')
        order: list[Callable[[], None]] = [
            lambda: bench.hear(plain, Dialect.PLAIN),
            lambda: bench.hear(event()),
        ]
        for hear in order if answer_in is Dialect.KRYTEN else reversed(order):
            hear()
        assert bench.room.origin is not None
        assert (bench.room.origin.dialect, bench.room.origin.channel) == (answer_in, channel)

    def test_a_bare_payload_does_not_unlearn_how_the_connector_spells_the_room(self):
        bench = Bench()
        bench.hear(event())
        bare = b'{"username":"bob","msg":"hi"}'
        bench.hear(Event("kryten.events.cytube.mychannel.chatmsg", bare))
        assert bench.room.origin is not None
        assert bench.room.origin.channel == "MyChannel"


def film(identity: str = "a", position: float = 0.0, kind: str = "yt") -> dict[str, Any]:
    return {"id": identity, "title": f"Film {identity}", "type": kind, "currentTime": position}


class TestMedia:
    """Another (type, id) than the last starts the cooldown; a repeat doesn't, nor does the first
    one seen when its `currentTime` is above 5 (TRIG-8)."""

    @pytest.mark.parametrize(
        ("films", "is_silenced"),
        [
            pytest.param([film()], True, id="first-at-its-start"),
            pytest.param([film(position=5.0)], True, id="first-at-five"),
            pytest.param([film(position=5.1)], False, id="first-in-the-middle"),
            pytest.param([film(position=60), film(position=90)], False, id="repeat"),
            pytest.param([film(position=60), film("b")], True, id="another"),
            pytest.param([film(position=60), film("b", 60)], True, id="another-in-the-middle"),
            pytest.param([film(position=60), film(kind="vi")], True, id="same-id-other-type"),
        ],
    )
    def test_what_starts_it(self, films, is_silenced):
        bench = Bench()
        for one in films:
            bench.happen("changeMedia", one)
        expected = Outcome.MEDIA_COOLDOWN if is_silenced else None
        assert bench.outcome("MyBot, hello") is expected
        assert bench.room.media is not None
        assert bench.room.media.title == f"Film {films[-1]['id']}"

    @pytest.mark.parametrize(("after", "outcome"), [(29.9, Outcome.MEDIA_COOLDOWN), (30.0, None)])
    def test_how_long_it_lasts(self, after, outcome):
        bench = Bench()
        bench.happen("changeMedia", film())
        bench.clock.advance(after)
        assert bench.outcome("MyBot, hello") is outcome

    def test_a_repeat_does_not_prolong_it(self):
        bench = Bench()
        bench.happen("changeMedia", film())
        bench.clock.advance(20.0)
        bench.happen("changeMedia", film(position=20.0))
        bench.clock.advance(10.0)
        assert bench.outcome("MyBot, hello") is None

    def test_private_messages_are_answered_all_the_same(self):
        bench = Bench()
        bench.happen("changeMedia", film())
        assert bench.outcome(to="MyBot") is None

    def test_a_cooldown_of_zero_is_none(self):
        bench = Bench(rate_limits={**UNLIMITED, "media_change_cooldown_seconds": 0.0})
        bench.happen("changeMedia", film())
        assert bench.outcome("MyBot, hello") is None


def sent_line(bench: Bench, text: str, to: str = "") -> Sent:
    """A line that was published and hasn't come back yet."""
    record = DecisionRecord("id", "MyChannel", "alice", HEARD_AT, "chat", None)
    record.reply = ReplyRecord()
    sent = Sent(to, text, record)
    bench.room.confirmations.expect(sent)
    return sent


def state(sent: Sent) -> tuple[Outcome | None, str | None, bool]:
    assert sent.record.reply is not None
    return sent.record.outcome, sent.record.reply.delivery, sent.is_settled


OPEN = (None, None, False)
CONFIRMED = (Outcome.REPLIED, "echoed", True)
REFUSED = (Outcome.DELIVERY_FAILED, "refused", True)


class TestEvidence:
    """The bot's own line coming back confirms; refusals by CyTube are negative evidence."""

    def test_the_echo_confirms_the_line_of_equal_text(self):
        bench = Bench()
        first, second = sent_line(bench, "one"), sent_line(bench, "two")
        bench.say("two", user="MyBot")
        assert (state(first), state(second)) == (OPEN, CONFIRMED)
        assert bench.room.tally.deliveries == {"echoed": 1}
        assert bench.room.tally.decisions == {"replied": 1, "own_line": 1}

    def test_a_changed_text_confirms_the_oldest(self):
        bench = Bench()
        first, second = sent_line(bench, "one"), sent_line(bench, "two")
        bench.say("o*e", user="MyBot")
        assert (state(first), state(second)) == (CONFIRMED, OPEN)

    def test_a_private_echo_confirms_a_private_line_to_that_user(self):
        bench = Bench()
        public, private = sent_line(bench, "hi"), sent_line(bench, "hi", "alice")
        bench.say("hi", user="MyBot", to="Alice")
        assert (state(public), state(private)) == (OPEN, CONFIRMED)

    def test_somebody_elses_line_confirms_nothing(self):
        bench = Bench()
        sent = sent_line(bench, "hi")
        bench.say("hi")
        assert state(sent) == OPEN

    # SEND-10
    def test_an_echo_ends_the_mark_of_being_muted(self):
        bench = Bench()
        bench.happen("noflood", {"msg": "slow down"})
        assert bench.room.is_muted_by_server
        bench.say("a private one", user="MyBot", to="alice")
        assert bench.room.is_muted_by_server
        bench.say("hi", user="MyBot")
        assert not bench.room.is_muted_by_server

    # SEND-13
    @pytest.mark.parametrize(
        ("name", "payload", "detail"),
        [
            ("cooldown", 2500, "cooldown"),
            ("noflood", {"action": "chat", "msg": "slow"}, "noflood: slow"),
            ("errorMsg", {"msg": "You may <b>not</b>"}, "errorMsg: You may not"),
            ("spamFiltered", {"reason": "links"}, "spamFiltered: links"),
        ],
    )
    def test_negative_evidence(self, caplog, name, payload, detail):
        bench = Bench()
        first, second = sent_line(bench, "one"), sent_line(bench, "two")
        bench.happen(name, payload)
        assert (state(first), state(second)) == (REFUSED, OPEN)
        assert first.record.detail.lower() == detail.lower()
        assert bench.room.tally.deliveries == {"refused": 1}
        assert bench.paused == (2.5 if name == "cooldown" else 0)
        assert bench.room.is_muted_by_server is (name == "noflood")
        assert [one.message for one in caplog.records] == ["delivery.refused"]

    def test_an_error_of_a_private_message_is_about_a_private_line(self):
        bench = Bench()
        public, private = sent_line(bench, "hi"), sent_line(bench, "hi", "alice")
        bench.happen("errorMsg", {"msg": "PM failed: not here"})
        assert (state(public), state(private)) == (OPEN, REFUSED)

    def test_with_nothing_under_way_it_is_evidence_of_nothing(self, caplog):
        bench = Bench()
        bench.happen("errorMsg", {"msg": "no"})
        bench.happen("cooldown", 1000)
        assert bench.paused == 1.0
        assert (caplog.records, bench.room.tally.deliveries) == ([], {})

    def test_what_is_settled_stays_so(self):
        bench = Bench()
        sent = sent_line(bench, "hi")
        bench.say("hi", user="MyBot")
        bench.happen("errorMsg", {"msg": "no"})
        assert state(sent) == CONFIRMED
        assert bench.room.tally.decisions["delivery_failed"] == 0


def test_a_line_remembers_its_dialect():
    bench = Bench()
    bench.hear(
        Event("cytube.events.mychannel.chatMsg", b'{"username":"bob","msg":"MyBot!"}'),
        Dialect.PLAIN,
    )
    assert bench.room.public_lane._jobs[0].line.origin.dialect is Dialect.PLAIN


USERS = st.sampled_from(["alice", "Alice", "bob", "MyBot", "[server]", "BadBot", "muted"])
TEXTS = st.sampled_from(
    ["hi", "MyBot, hello", "mybot film", "a film", "!skip", "", "<img src=x>", "both robots"]
)
LINES = st.fixed_dictionaries(
    {
        "text": TEXTS,
        "user": USERS,
        "to": st.sampled_from([None, None, "MyBot", "carol"]),
        "age": st.sampled_from([0.0, 0.0, 0.0, 4.0, 10.0, 100.0, None]),
        "is_late": st.booleans(),
        "shadow": st.sampled_from([False, False, False, True]),
    }
)
ELSE = st.sampled_from(["wait", "take", "answer", "film", "clear", "login", "rubbish", "refuse"])


class TestOneRecordEach:
    """Every chat line and private message gets exactly one outcome, counted once (REQ-5)."""

    @given(steps=st.lists(st.one_of(LINES, LINES, ELSE), max_size=40), rng=st.floats(0, 0.999))
    @settings(max_examples=150, deadline=None)
    def test_whatever_is_heard_in_whatever_order(self, steps, rng):
        bench = Bench(
            rate_limits={**UNLIMITED, "max_per_user_per_minute": 2},
            triggers=[
                {"type": "mention", "cooldown_seconds": 1.0},
                {"type": "keyword", "keywords": ["film"], "fire_probability": 0.5},
                {"type": "pm"},
            ],
            bot={"ignored_users": ["badbot"]},
            replies={"queue_size": 2},
        )
        bench.rng = rng
        bench.happen("addUser", {"name": "muted", "meta": {"muted": True}})
        heard = 0
        in_work = []
        for step in steps:
            if isinstance(step, dict):
                bench.hear(_said(step, bench.clock.time()))
                heard += 1
            elif step in ("take", "answer"):
                lanes = bench.room.public_lane, bench.room.private_lane
                in_work += [job for lane in lanes if (job := lane.take()) is not None]
                if step == "answer":
                    for job in in_work:
                        job.permit.spend(bench.clock.now)
                        job.permit.give_back()
                        bench.room.conclude(job.record, Outcome.FILTERED)
                    in_work.clear()
            else:
                _happen(bench, step)
        self._check(bench, heard, under_way=_waiting(bench) + len(in_work))

    def _check(self, bench: Bench, heard: int, *, under_way: int) -> None:
        records = list(bench.room.decisions)
        assert len(records) == heard
        assert [record for record, *_ in bench.told] == records
        assert sum(record.outcome is None for record in records) == under_way
        final = Counter(record.outcome.value for record in records if record.outcome is not None)
        assert Counter(bench.room.tally.decisions) == final
        assert not {line.user.lower() for line in bench.room.window} & {
            "[server]",
            "badbot",
            "muted",
        }
        assert all(line.text for line in bench.room.window)
        assert not any(
            job.line.user.lower() in bench.room.own_keys for job in bench.room.public_lane._jobs
        )


def _waiting(bench: Bench) -> int:
    return len(bench.room.public_lane) + len(bench.room.private_lane)


def _said(step: dict[str, Any], now: float) -> Event:
    said_at = None if step["age"] is None else now - step["age"]
    forwarded_at = said_at if step["is_late"] else now
    return event(
        step["text"],
        user=step["user"],
        to=step["to"],
        said_at=said_at,
        forwarded_at=forwarded_at,
        meta={"shadow": step["shadow"]},
    )


def _happen(bench: Bench, step: str) -> None:
    match step:
        case "wait":
            bench.clock.advance(0.7)
        case "film":
            bench.happen("changeMedia", film(str(bench.clock.now)))
        case "clear":
            bench.happen("clearchat")
        case "login":
            bench.happen("login", {"success": True, "name": "Account7"})
        case "rubbish":
            bench.hear(Event("kryten.events.cytube.mychannel.chatmsg", b"[1,2"))
        case _:
            bench.happen("noflood", {"msg": "slow down"})
