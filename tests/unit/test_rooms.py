"""The rooms of a configuration, and what another configuration makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llm_bot.bus import EventBus
from llm_bot.config import Config
from llm_bot.decisions import DecisionRecord, Outcome
from llm_bot.demo.stand_ins import cytube, kryten
from llm_bot.errors import BusError, BusUnavailableError
from llm_bot.models import Person
from llm_bot.ports import Event, Handler
from llm_bot.replies.services import SharedServices
from llm_bot.response_processor import FilterReason
from llm_bot.response_processor.guard import GuardRefusal
from llm_bot.room import Room
from llm_bot.runtime.room_service import UNHEARD_SECONDS, RoomService
from llm_bot.runtime.rooms import Rooms
from tests.fakes import ManualClock, Recorder, ScriptedLLM
from tests.servers import eventually
from tests.unit import builders

KEYWORD = {"type": "keyword", "keywords": ["pizza"], "cooldown_seconds": 600}
CONTEXTUAL = {
    "type": "contextual",
    "enabled": True,
    "fire_probability": 1.0,
    "cooldown_seconds": 0,
    "evaluation_interval_seconds": 100,
    "min_messages_since_last_bot_message": 0,
}


def config(*rooms: str | dict[str, Any], **sections: Any) -> Config:
    """Rooms in which nobody waits for an echo."""
    replies = {"confirm_seconds": 0, **sections.pop("replies", {})}
    return builders.config(*rooms, replies=replies, **sections)


class RefusingBus(EventBus):
    """Refuses subjects that contain one of `refused`, as a server does: soon, and by a mark."""

    refused: tuple[str, ...] = ()

    async def subscribe(self, subject: str, handler: Handler) -> Any:
        subscription = await super().subscribe(subject, handler)
        subscription.refused = any(part in subject for part in self.refused)
        return subscription


class Stage:
    """Rooms at work on a bus in memory, with a connector that takes every line."""

    def __init__(self, bus: EventBus, rooms: Rooms, shared: SharedServices) -> None:
        self.bus = bus
        self.rooms = rooms
        self.shared = shared
        self.said: list[tuple[str, str]] = []
        self.records: list[DecisionRecord] = []

    async def on_request(self, event: Event) -> None:
        body = json.loads(event.data)
        self.said.append((body["meta"]["domain"], body["args"]["message"]))
        await self.bus.publish(event.reply, {"service": "robot", "success": True})

    async def reload(self, config: Config, *secrets: str) -> None:
        """All three steps of it."""
        self.rooms.swap(await self.rooms.prepare(config, secrets))
        await self.rooms.tidy_up()

    async def say(
        self,
        user: str,
        text: str,
        channel: str = "RoomA",
        *,
        domain: str = "cytu.be",
        dialect: kryten.Dialect = kryten.Dialect.KRYTEN,
    ) -> None:
        now = self.shared.clock.time()
        address = kryten.Address(channel, domain, dialect)
        body = address.event_body("chatMsg", cytube.chat_line(user, text, now), now)
        await self.bus.publish(address.event_subject("chatMsg"), body)

    def room(self, name: str = "RoomA") -> Room:
        service = self.rooms.get(name)
        assert service is not None
        return service.room

    def outcomes(self, user: str) -> list[Outcome | None]:
        return [record.outcome for record in self.records if record.user == user]

    async def ends(self, user: str, *outcomes: Outcome) -> None:
        """The lines of `user` end like this, in this order."""
        await eventually(lambda: self.outcomes(user) == [*outcomes], what=str(outcomes))

    @property
    def subjects(self) -> list[str]:
        return sorted(one.subject for one in self.bus._subscriptions)

    def heard(self, name: str) -> list[str]:
        """The subjects subscribed to that name a channel, spelled like this."""
        return [subject for subject in self.subjects if f".{name}." in subject]


@contextlib.asynccontextmanager
async def at_work(
    config: Config,
    *,
    bus: EventBus | None = None,
    model: ScriptedLLM | None = None,
    clock: ManualClock | None = None,
) -> AsyncIterator[Stage]:
    bus, clock = bus or EventBus(), clock or ManualClock()
    recorder = Recorder()
    model = model or ScriptedLLM(*(f"Answer number {n}." for n in range(99)))
    shared = builders.shared(bus, model=model, clock=clock, observers=(recorder,))
    stage = Stage(bus, Rooms(), shared)
    stage.records = recorder.records
    async with asyncio.TaskGroup() as tasks:
        await bus.subscribe("kryten.robot.command", stage.on_request)
        await stage.rooms.open(config, shared, tasks)
        try:
            yield stage
        finally:
            await stage.rooms.finish(0)
    await bus.close()


# --- what isn't there ---


async def test_room_of_which_nothing_is_heard(caplog):
    """A misspelt name subscribes as well as any other; after ten minutes it is told, once."""
    clock = ManualClock()
    async with at_work(config("RoomA", "RoonB"), clock=clock) as stage:
        await stage.say("alice", "hello", "RoomA")
        await stage.ends("alice", Outcome.NO_MATCH)
        for _ in range(20):
            clock.advance(UNHEARD_SECONDS / 2)
            await asyncio.sleep(0)
        assert told(caplog) == ["RoonB"]


async def test_room_while_the_bus_is_away(caplog):
    """Then there is another reason why nothing is heard."""
    clock = ManualClock()
    async with at_work(config("RoomA"), clock=clock) as stage:
        stage.bus.disconnect()
        for _ in range(10):
            clock.advance(UNHEARD_SECONDS)
            await asyncio.sleep(0)
        stage.bus.reconnect()
        assert told(caplog) == []


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    unheard = [one for one in caplog.records if one.message == "room.unheard"]
    return [vars(one)["channel"] for one in unheard]


# --- what stays ---


async def test_room_that_stays_keeps_what_happened_in_it():
    """LIFE-8: window, own lines, records, counters and limits outlive a reload; settings don't."""
    async with at_work(config("RoomA", "RoomB")) as stage:
        await stage.say("alice", "MyBot: hello?")
        await stage.ends("alice", Outcome.REPLIED)
        room, before = stage.room(), list(stage.room().window)
        records, tally = room.decisions, dict(room.tally.decisions)
        one = {"max_per_channel_per_minute": 1}
        await stage.reload(config("RoomB", "RoomA", rate_limits=one))
        assert stage.room() is room
        assert list(room.window) == before
        assert list(room.own_lines) == ["Answer number 0."]
        assert (room.decisions, dict(room.tally.decisions)) == (records, tally)
        await stage.say("bob", "MyBot: and I?")
        await stage.ends("bob", Outcome.CHANNEL_LIMIT)
        assert [service.room.key for service in stage.rooms] == ["roomb", "rooma"]


async def test_room_disabled_and_enabled_again_remembers():
    """LIFE-8: meanwhile it hears nothing; then window, counters and limits are there, the roster
    and the film are not."""
    one = {"max_per_user_per_minute": 1}
    async with at_work(config("RoomA", "RoomB", rate_limits=one)) as stage:
        await stage.say("alice", "MyBot: hello?")
        await stage.ends("alice", Outcome.REPLIED)
        room = stage.room()
        room.roster.join(Person("carol", 1, False, False))
        off = config({"name": "RoomA", "enabled": False}, "RoomB", rate_limits=one)
        await stage.reload(off)
        assert stage.rooms.get("RoomA") is None
        assert not stage.heard("rooma")
        await stage.reload(off)
        await stage.reload(config("ROOMA", "RoomB", rate_limits=one))
        assert stage.room() is room
        assert [line.text for line in room.window] == ["MyBot: hello?"]
        assert room.tally.decisions["replied"] == 1
        assert len(room.roster) == 0
        await stage.say("alice", "MyBot: again?")
        await stage.ends("alice", Outcome.REPLIED, Outcome.USER_LIMIT)
        await stage.say("bob", "MyBot: and I?")
        await stage.ends("bob", Outcome.REPLIED)


async def test_removed_room_comes_back_new():
    """What a removed room knew is gone; its place in the limits isn't."""
    async with at_work(config("RoomA", "RoomB")) as stage:
        await stage.say("alice", "hello?")
        await stage.ends("alice", Outcome.NO_MATCH)
        room = stage.room()
        await stage.reload(config("RoomB"))
        await stage.reload(config("RoomA", "RoomB"))
        assert stage.room() is not room
        assert len(stage.room().window) == 0
        assert not stage.room().tally.decisions


async def test_silenced_room_keeps_its_queue_and_says_nothing():
    """LIFE-11: what comes up while it is silenced ends as `silenced`; what still waits when it
    isn't any more is answered."""
    model = ScriptedLLM("Number one.", "Number two.")
    async with at_work(config("RoomA"), model=model) as stage:
        model.gate.clear()
        for user in ("alice", "bob"):
            await stage.say(user, "MyBot: hello?")
        await eventually(lambda: len(stage.records) == 2 and model.requests)
        silenced = config({"name": "RoomA", "silenced": True})
        await stage.reload(silenced)
        assert len(stage.room().public_lane) == 1
        await stage.reload(config("RoomA"))
        await stage.reload(silenced)
        await stage.say("carol", "MyBot: and I?")
        await stage.ends("carol", Outcome.SILENCED)
        model.gate.set()
        await stage.ends("alice", Outcome.SILENCED)
        await stage.ends("bob", Outcome.SILENCED)
        assert (stage.said, len(model.requests)) == ([], 1)
        await stage.reload(config("RoomA"))
        await stage.say("dave", "MyBot: now?")
        await stage.ends("dave", Outcome.REPLIED)


async def test_queue_that_shrinks_loses_no_job():
    """More jobs wait than the new `queue_size` takes: all are answered, no more are admitted."""
    model = ScriptedLLM(*(f"Number {n} of them." for n in range(9)))
    async with at_work(config("RoomA"), model=model) as stage:
        model.gate.clear()
        users = ("alice", "bob", "carol", "dave")
        for user in users:
            await stage.say(user, "MyBot: hello?")
        await eventually(lambda: len(stage.records) == 4 and model.requests)
        await stage.reload(config("RoomA", replies={"queue_size": 1}))
        assert len(stage.room().public_lane) == 3
        await stage.say("eve", "MyBot: and I?")
        await stage.ends("eve", Outcome.QUEUE_FULL)
        model.gate.set()
        for user in users:
            await stage.ends(user, Outcome.REPLIED)


async def test_own_lines_are_kept_as_far_as_the_new_window_of_repetition_goes():
    """`deduplicate_window` changes: the newest own lines stay, and are still not repeated."""
    processing = {"deduplicate_window": 2}
    async with at_work(config("RoomA")) as stage:
        stage.room().own_lines.extend(["one", "two", "three"])
        await stage.reload(config("RoomA", response_processing=processing))
        assert list(stage.room().own_lines) == ["two", "three"]
        assert stage.room().own_lines.maxlen == 2


async def test_each_room_gets_its_own_overrides():
    """What a room overrides is taken over there and nowhere else, and given up again."""
    async with at_work(config("RoomA", "RoomB")) as stage:
        special = {"name": "RoomA", "system_prompt": "Special.", "triggers": [KEYWORD]}
        await stage.reload(config(special, "RoomB"))
        assert stage.room("RoomA").config.system_prompt == "Special."
        assert stage.room("RoomB").config.system_prompt != "Special."
        await stage.say("alice", "pizza!", "RoomA")
        await stage.ends("alice", Outcome.REPLIED)
        await stage.say("bob", "pizza!", "RoomB")
        await stage.ends("bob", Outcome.NO_MATCH)
        await stage.reload(config("RoomA", "RoomB"))
        assert stage.room("RoomA").config.system_prompt != "Special."
        await stage.say("carol", "pizza!", "RoomA")
        await stage.ends("carol", Outcome.NO_MATCH)


async def test_keyword_trigger_keeps_its_pause_wherever_it_stands():
    """LIMIT-10: a trigger put before another takes over neither its cooldown nor its limits."""
    other = {"type": "keyword", "keywords": ["pasta"], "cooldown_seconds": 600}
    async with at_work(config("RoomA", triggers=[KEYWORD])) as stage:
        await stage.say("alice", "pizza!")
        await stage.ends("alice", Outcome.REPLIED)
        await stage.reload(config("RoomA", triggers=[other, KEYWORD]))
        await stage.say("bob", "pizza!")
        await stage.ends("bob", Outcome.TRIGGER_COOLDOWN)
        await stage.say("carol", "pasta!")
        await stage.ends("carol", Outcome.REPLIED)


async def test_guard_knows_the_secrets_of_the_reload():
    """Rooms that stay and rooms that come refuse to say the secrets that they are given."""
    async with at_work(config("RoomA")) as stage:
        await stage.reload(config("RoomA", "RoomB"), "sk-0123456789")
        refusal = GuardRefusal(FilterReason.SECRET)
        for name in ("RoomA", "RoomB"):
            assert stage.room(name).guard.check("It is sk-0123456789.") == refusal


# --- what goes ---


async def test_removed_room_ends_its_jobs_and_says_nothing_more():
    """LIFE-8: the reply in flight and those that wait end as `shutdown`; nothing is subscribed,
    nothing at work is left of it, and the other room goes on."""
    model = ScriptedLLM("Number one.", "Number two.")
    async with at_work(config("RoomA", "RoomB"), model=model) as stage:
        model.gate.clear()
        for user in ("alice", "bob"):
            await stage.say(user, "MyBot: hello?")
        await eventually(lambda: len(stage.records) == 2 and model.requests)
        await stage.reload(config("RoomB"))
        assert stage.outcomes("alice") == stage.outcomes("bob") == [Outcome.SHUTDOWN]
        assert not stage.heard("rooma")
        model.gate.set()
        await stage.say("carol", "MyBot: hello?", "RoomB")
        await stage.ends("carol", Outcome.REPLIED)
        assert stage.said == [("cytu.be", "Number two.")]


async def test_nothing_is_heard_in_a_removed_room_from_the_swap_on():
    """What arrives between the swap and the end of the subscription is left alone: no job could
    end it."""
    async with at_work(config("RoomA", "RoomB")) as stage:
        prepared = await stage.rooms.prepare(config("RoomB"), ())
        stage.rooms.swap(prepared)
        await stage.say("alice", "MyBot: hello?", "RoomA")
        await stage.say("bob", "MyBot: hello?", "RoomB")
        await stage.ends("bob", Outcome.REPLIED)
        await stage.rooms.tidy_up()
        assert stage.outcomes("alice") == []


async def test_many_reloads_leave_nothing_behind():
    """Rooms that come and go, move and tick: no task, subscription, room or service stays."""
    ticking = {"name": "RoomB", "triggers": [CONTEXTUAL]}
    states = [
        config("RoomA", "RoomB"),
        config({"name": "RoomA", "enabled": False}, ticking, "RoomC"),
        config("ROOMA", {**ticking, "domain": "a.example"}),
        config("RoomC", {**ticking, "domain": "b.example"}),
    ]
    async with at_work(states[0]) as stage:

        def counts() -> tuple[int, int, int, int]:
            gc.collect()
            found = gc.get_objects()
            return (
                len(asyncio.all_tasks()),
                len(stage.subjects),
                sum(type(one) is Room for one in found),
                sum(type(one) is RoomService for one in found),
            )

        for state in (*states[1:], states[0]):
            await stage.reload(state)
        before = counts()
        for _ in range(12):
            for state in (*states[1:], states[0]):
                await stage.reload(state)
        await eventually(lambda: counts() == before, what=f"{counts()} == {before}")


# --- what comes ---


async def test_new_room_is_heard_from_the_swap_on():
    """Subscribed to before it, a room hears only from the swap on."""
    async with at_work(config("RoomA")) as stage:
        prepared = await stage.rooms.prepare(config("RoomA", "RoomB"), ())
        await stage.say("alice", "MyBot: hello?", "RoomB")
        await stage.say("bob", "MyBot: hello?", "RoomA")
        await stage.ends("bob", Outcome.REPLIED)
        assert stage.rooms.get("RoomB") is None
        stage.rooms.swap(prepared)
        await stage.say("carol", "MyBot: hello?", "RoomB")
        await stage.ends("carol", Outcome.REPLIED)
        assert stage.outcomes("alice") == []


class FailsAt(EventBus):
    """Fails with `error` at the subscription that `left` counts down to."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.left = 10**9
        self.error = error

    async def subscribe(self, subject: str, handler: Handler) -> Any:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return await super().subscribe(subject, handler)


@pytest.mark.parametrize(
    "error", [BusError("no"), RuntimeError("a bug"), asyncio.CancelledError()], ids=repr
)
@pytest.mark.parametrize("made", [0, 3, 9])
async def test_failure_while_subscribing_leaves_all_as_it_was(error, made):
    """LIFE-7: whatever goes wrong, however far it got: the same rooms, the same subscriptions."""
    bus = FailsAt(error)
    async with at_work(config("RoomA", {"name": "RoomB", "enabled": False}), bus=bus) as stage:
        before = stage.subjects
        bus.left = made
        with pytest.raises(type(error)):
            await stage.reload(config({"name": "RoomA", "domain": "x.example"}, "RoomB", "RoomC"))
        assert stage.subjects == before
        assert [service.room.key for service in stage.rooms] == ["rooma"]
        await stage.say("alice", "MyBot: hello?")
        await stage.ends("alice", Outcome.REPLIED)


async def test_new_room_that_may_not_be_heard_fails_the_reload():
    """LIFE-7: the server refuses all of a new room: the error names it, and all is as it was."""
    bus = RefusingBus()
    async with at_work(config("RoomA"), bus=bus) as stage:
        before = stage.subjects
        bus.refused = (".roomb.", ".RoomB.")
        with pytest.raises(BusError, match=r"channel RoomB: .*kryten\.events\.cytube\.roomb"):
            await stage.reload(config("RoomA", "RoomB"))
        assert stage.subjects == before


async def test_new_room_that_is_heard_in_part_is_told(caplog):
    """Some dialects may not be heard: a warning that names them, and the room is taken."""
    bus = RefusingBus()
    async with at_work(config("RoomA"), bus=bus) as stage:
        bus.refused = ("cytube.events.roomb.",)
        await stage.reload(config("RoomA", "RoomB"))
        await stage.reload(config("RoomA", "RoomB"))
        told = [one for one in caplog.records if one.message == "room.subscription_refused"]
        assert [vars(one)["channel"] for one in told] == ["RoomB"]


async def test_room_refused_since_the_start_fails_no_reload():
    """Only what is new is asked for: a room that never was heard stands in nobody's way."""
    bus = RefusingBus()
    bus.refused = (".roomb.", ".RoomB.")
    async with at_work(config("RoomA", "RoomB"), bus=bus) as stage:
        await stage.reload(config("RoomA", "RoomB", "RoomC"))
        assert stage.heard("roomc")


async def test_bus_that_is_away_is_missed_only_where_it_is_needed():
    """LIFE-7: away, it can't be asked for a new room; settings and removals need nothing of it."""
    async with at_work(config("RoomA", "RoomB")) as stage:
        stage.bus.disconnect()
        before = stage.subjects
        with pytest.raises(BusUnavailableError):
            await stage.reload(config("RoomA", "RoomC"))
        assert stage.subjects == before
        await stage.reload(config({"name": "RoomA", "silenced": True}))
        assert stage.room().config.silenced
        assert not stage.heard("roomb")


# --- what changes ---


async def test_name_in_other_capitals_is_the_same_room():
    """Renamed in case only: nothing is lost, the new spelling is heard and the old one isn't."""
    async with at_work(config("RoomA")) as stage:
        room = stage.room()
        await stage.reload(config("ROOMA"))
        assert stage.room() is room
        assert (bool(stage.heard("ROOMA")), stage.heard("RoomA")) == (True, [])
        plain = kryten.Dialect.PLAIN
        await stage.say("alice", "MyBot: hello?", "ROOMA", dialect=plain)
        await eventually(lambda: len(stage.records) == 1)
        assert stage.records[0].channel == "ROOMA"


async def test_domain_spelled_out_is_the_same_room():
    """A `domain` that names the server that was heard all along changes nothing but subjects."""
    early = kryten.Dialect.EARLY
    async with at_work(config("RoomA")) as stage:
        await stage.say("alice", "hello", dialect=early)
        await stage.ends("alice", Outcome.NO_MATCH)
        room = stage.room()
        await stage.reload(config({"name": "RoomA", "domain": "Cytu.Be"}))
        assert stage.room() is room
        assert not [subject for subject in stage.subjects if "*.*" in subject]
        await stage.say("bob", "MyBot: hello?", dialect=early)
        await eventually(lambda: len(stage.records) == 2)
        assert len(room.window) == 2


async def test_domain_of_another_server_is_another_room():
    """LIFE-8: jobs of the old one end, nothing of it is remembered but counters and records, and
    nothing is said there."""
    model = ScriptedLLM("Number one.", "Number two.")
    async with at_work(config({"name": "RoomA", "domain": "a.example"}), model=model) as stage:
        model.gate.clear()
        await stage.say("alice", "MyBot: hello?", domain="a.example")
        await eventually(lambda: model.requests)
        old = stage.room()
        await stage.reload(config({"name": "RoomA", "domain": "b.example"}))
        model.gate.set()
        assert stage.outcomes("alice") == [Outcome.SHUTDOWN]
        assert stage.room() is not old
        assert len(stage.room().window) == 0
        assert stage.room().decisions is old.decisions
        assert stage.room().tally.decisions["shutdown"] == 1
        await stage.say("bob", "MyBot: hello?", domain="a.example")
        await stage.say("carol", "MyBot: hello?", domain="b.example")
        await stage.ends("carol", Outcome.REPLIED)
        assert stage.outcomes("bob") == []
        assert stage.said == [("b.example", "Number two.")]


async def test_ticks_follow_the_configuration():
    """A contextual trigger that comes, changes or goes: ticks begin, keep the new interval, and
    end; another reload doesn't put them off."""
    clock = ManualClock()
    slow = config("RoomA", triggers=[CONTEXTUAL])
    quick = config("RoomA", triggers=[{**CONTEXTUAL, "evaluation_interval_seconds": 10}])
    async with at_work(config("RoomA"), clock=clock, model=ScriptedLLM("No.")) as stage:

        async def ticks_after(seconds: float) -> int:
            """How many ticks it makes when so much time passes."""
            before = sum(record.event == "tick" for record in stage.records)
            clock.advance(seconds)
            await stage.say(f"u{clock.now}", "hello")  # decided about after what was due
            await eventually(lambda: stage.outcomes(f"u{clock.now}"))
            return sum(record.event == "tick" for record in stage.records) - before

        def sleeps_for(seconds: float) -> bool:
            return any(abs(due - clock.now - seconds) < 0.001 for due, _ in clock._sleepers)

        assert await ticks_after(200) == 0
        await stage.reload(slow)
        await eventually(lambda: sleeps_for(100))
        assert await ticks_after(60) == 0
        await stage.reload(slow)
        assert await ticks_after(50) == 1
        await stage.reload(quick)
        await eventually(lambda: sleeps_for(10))
        assert await ticks_after(11) == 1
        await stage.reload(config("RoomA"))
        assert await ticks_after(500) == 0
