"""The life of the process: start, ready, two rooms side by side, stop, and what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import aiohttp
import pytest

from llm_bot.app import App
from llm_bot.bus import EventBus
from llm_bot.config import Config
from llm_bot.decisions import DecisionRecord, Outcome
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.demo.stand_ins.model_server import StandInModelServer
from llm_bot.errors import BusUnavailableError
from llm_bot.ports import Handler
from tests.fakes import Recorder
from tests.servers import LOOPBACK, eventually, free_port

DOMAIN, BOT = "cytube.example", "MyBot"


class Scene:
    """The whole program on one bus, with a stand-in model."""

    def __init__(
        self, model: StandInModelServer, bus: EventBus | None = None, **sections: Any
    ) -> None:
        self.model = model
        self.bus = bus or EventBus()
        self.stop = asyncio.Event()
        recorder = Recorder()
        self.records = recorder.records
        self.app = App(
            self.config(**sections),
            stop=self.stop,
            bus=self.bus,
            observers=[recorder],
        )
        self.ready = self.app.ready

    def config(self, *, channels: Any = ({"name": "RoomA"},), **sections: Any) -> Config:
        return Config.model_validate(
            {
                "nats": {"servers": ["nats://127.0.0.1:9"]},
                "channels": list(channels),
                "bot": {"username": BOT},
                "llm_api": {
                    "provider": "ollama",
                    "base_url": self.model.base_url,
                    "model": "stand-in",
                    "retry_attempts": 0,
                },
                "triggers": [{"type": "mention"}, {"type": "pm"}],
                "rate_limits": {"global_cooldown_seconds": 0},
                "replies": {"min_interval_seconds": 0, "confirm_seconds": 1},
                "health": {"enabled": False},
                "shutdown_grace_seconds": 5,
                **sections,
            }
        )

    def record_of(self, user: str) -> DecisionRecord:
        return next(record for record in self.records if record.user == user)

    def room(self, name: str) -> StandInConnector:
        return StandInConnector(self.bus, channel=name, domain=DOMAIN, bot_name=BOT)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Start, and in the end stop in order."""
        task = asyncio.create_task(self.app.run())
        try:
            ready = asyncio.create_task(self.ready.wait())
            await asyncio.wait({task, ready}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            assert self.ready.is_set(), task
            yield task
        finally:
            self.stop.set()
            await asyncio.wait({task}, timeout=8)
            assert task.done()
        await task

    def counted(self, name: str, **labels: str) -> float | None:
        return self.app.metrics.registry.get_sample_value(f"llm_bot_{name}", labels)


@pytest.fixture
async def model():
    async with StandInModelServer() as server:
        yield server


async def test_line_in_a_reply_out_and_an_end_in_order(model):
    """A mention is answered in its room; after the stop the bus is closed and nothing is ready."""
    # LIFE-1
    scene = Scene(model)
    async with scene.room("RoomA") as room, scene.running():
        assert scene.app.status.is_ready()
        await room.say("alice", "MyBot: which film is it?")
        await eventually(lambda: room.said)
        await eventually(lambda: scene.record_of("alice").outcome is Outcome.REPLIED)
        # The echo may be quicker than the connector's answer, after which it counts as sent.
        await eventually(lambda: scene.app.status.read()["metrics"]["responses_sent"])
        status = scene.app.status.read()
        assert status["status"] == "healthy"
        assert status["channels"] == {"RoomA": "active"}
        assert status["metrics"]["responses_sent"] == 1
        assert status["last_event_timestamp"] is not None
    assert len(room.said) == 1
    assert not scene.app.status.is_ready()
    assert not scene.bus.is_connected


async def test_ready_follows_the_bus(model):
    """Not ready before the start, nor while the bus is away; ready again when it is back."""
    # OBS-4
    scene = Scene(model)
    assert not scene.app.status.is_ready()
    async with scene.running():
        scene.bus.disconnect()
        assert not scene.app.status.is_ready()
        assert scene.app.status.read()["status"] == "degraded"
        scene.bus.reconnect()
        assert scene.app.status.is_ready()


async def test_http_server_answers_while_it_runs(model):
    """`/ready` says 200 when the rooms are heard, and the port is closed after the end."""
    port = free_port()
    scene = Scene(model, health={"host": LOOPBACK, "port": port})
    url = f"http://{LOOPBACK}:{port}/ready"
    async with aiohttp.ClientSession() as session:
        async with scene.running(), session.get(url) as answer:
            assert answer.status == 200
            assert (await answer.json())["channels"] == {"RoomA": "active"}
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(url)


async def test_taken_port_ends_the_start_and_closes_the_bus(model):
    """A port that can't be had is an `OSError`, with everything closed that was open."""
    scene = Scene(model, health={"host": LOOPBACK, "port": model.port})
    with pytest.raises(OSError, match=str(model.port)):
        await scene.app.run()
    assert not scene.bus.is_connected


async def test_stop_finishes_the_reply_under_way(model):
    """Told to stop with a reply in flight: it is said, then the end; what comes later is not
    heard."""
    scene = Scene(model)
    model.delay_seconds = 0.3
    async with scene.room("RoomA") as room, scene.running() as task:
        await room.say("alice", "MyBot: which film is it?")
        await eventually(lambda: model.requests)
        scene.stop.set()
        await eventually(lambda: not scene.app.status.is_ready())
        await room.say("bob", "MyBot: and me?")
        await asyncio.wait({task}, timeout=5)
        assert len(room.said) == 1
    assert scene.record_of("alice").outcome is Outcome.REPLIED
    assert [record.user for record in scene.records] == ["alice"]


async def test_grace_is_the_end_of_patience(model):
    """What isn't finished within `shutdown_grace_seconds` ends as `shutdown`."""
    scene = Scene(model, shutdown_grace_seconds=0.1)
    model.delay_seconds = 5
    async with scene.room("RoomA") as room, scene.running():
        await room.say("alice", "MyBot: which film is it?")
        await eventually(lambda: model.requests)
        await room.say("bob", "MyBot: hi")
        await eventually(lambda: len(scene.records) == 2)
        model.delay_seconds = 0
    assert [record.outcome for record in scene.records] == [Outcome.SHUTDOWN] * 2
    assert not room.said


async def test_stop_with_the_bus_away_ends_in_time(model):
    """With the bus away it still ends, without an error."""
    scene = Scene(model, shutdown_grace_seconds=0.1)
    async with scene.room("RoomA") as room, scene.running():
        model.delay_seconds = 0.1
        await room.say("alice", "MyBot: which film is it?")
        await eventually(lambda: model.requests)
        scene.bus.disconnect()
    assert scene.record_of("alice").outcome is Outcome.SHUTDOWN


async def test_disabled_channel_is_not_heard_and_silenced_one_says_nothing(model):
    """`enabled: false`: no subscription; `silenced`: heard, decided about, and quiet (OBS-6)."""
    channels = (
        {"name": "RoomA"},
        {"name": "Off", "enabled": False},
        {"name": "Quiet", "silenced": True},
    )
    scene = Scene(model, channels=channels)
    async with (
        scene.room("RoomA") as room,
        scene.room("Off") as off,
        scene.room("Quiet") as quiet,
        scene.running(),
    ):
        states = {"RoomA": "active", "Off": "disabled", "Quiet": "silent"}
        assert scene.app.status.read()["channels"] == states
        noflood = {"action": "chat", "msg": "You are muted"}
        await scene.bus.publish("kryten.events.cytube.rooma.noflood", noflood)
        states["RoomA"] = "muted"
        await eventually(lambda: scene.app.status.read()["channels"] == states)
        await off.say("oscar", "MyBot: hello?")
        await quiet.say("quentin", "MyBot: hello?")
        await room.say("alice", "MyBot: hello?")
        await eventually(lambda: room.said)
        assert {record.user for record in scene.records} - {BOT} == {"quentin", "alice"}
        assert scene.record_of("quentin").outcome is Outcome.SILENCED
        assert scene.counted("active_channels") == 2
    assert not off.said
    assert not quiet.said


async def test_two_rooms_know_nothing_of_each_other(model):
    """Lines, prompts, decisions and numbers of a room stay in it."""
    scene = Scene(model, channels=({"name": "RoomA"}, {"name": "RoomB"}))
    async with scene.room("RoomA") as a, scene.room("RoomB") as b, scene.running():
        await a.say("alice", "the password is swordfish")
        await a.say("alice", "MyBot: which film is it?")
        await b.say("bob", "MyBot: what was said here?")
        await eventually(lambda: len(a.said) == 1 and len(b.said) == 1)
        prompts = {"alice" if "alice" in r.prompt else "bob": r.prompt for r in model.requests}
        assert "swordfish" in prompts["alice"]
        assert "swordfish" not in prompts["bob"]
        assert "RoomA" not in prompts["bob"]
        channels = {record.user: record.channel for record in scene.records if record.user != BOT}
        assert channels == {"alice": "RoomA", "bob": "RoomB"}
        for name in ("RoomA", "RoomB"):
            sent = {"target_type": "chat", "channel": name}
            echoed = {"result": "echoed", "channel": name}
            await eventually(partial(scene.counted, "responses_sent_total", **sent))
            await eventually(partial(scene.counted, "deliveries_total", **echoed))
        for name, chats in (("RoomA", 2), ("RoomB", 1)):
            said = scene.counted("responses_sent_total", target_type="chat", channel=name)
            fired = scene.counted("triggers_fired_total", trigger_type="mention", channel=name)
            assert (said, fired) == (1, 1)
            # its own line comes back as one more
            heard = scene.counted("context_window_size", channel=name)
            assert heard == chats + 1


async def test_slow_answer_in_one_room_delays_nothing_elsewhere(model):
    """While one room waits for the model, another is heard and decided about, and so is it."""
    # REQ-6
    scene = Scene(model, channels=({"name": "RoomA"}, {"name": "RoomB"}))
    async with scene.room("RoomA") as a, scene.room("RoomB") as b, scene.running():
        model.delay_seconds = 1.0
        await a.say("alice", "MyBot: slowly, please")
        await eventually(lambda: model.requests)
        model.delay_seconds = 0
        await b.say("bob", "MyBot: and quickly?")
        await a.say("carol", "nothing to see")
        await eventually(lambda: b.said, timeout=0.8)
        assert scene.record_of("carol").outcome is Outcome.NO_MATCH
        assert not a.said


class NeverConnected(EventBus):
    """A server that nobody can reach, for as long as one waits."""

    def __init__(self) -> None:
        super().__init__()
        self.was_cancelled = False
        self.disconnect()

    async def connect(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.was_cancelled = True


async def test_stop_before_it_was_connected_ends_without_an_error(model):
    """The order to stop outruns the connection: it ends at once, and in order."""
    bus = NeverConnected()
    scene = Scene(model, bus)
    task = asyncio.create_task(scene.app.run())
    await asyncio.sleep(0)
    scene.stop.set()
    await asyncio.wait_for(task, 2)
    assert bus.was_cancelled
    assert not scene.ready.is_set()


async def test_stop_given_before_the_start_starts_nothing_that_stays(model):
    """A stop that is set already: the process starts and ends."""
    scene = Scene(model)
    scene.stop.set()
    await asyncio.wait_for(scene.app.run(), 2)
    assert not scene.bus.is_connected


class Unreachable(EventBus):
    """A server that refuses."""

    async def connect(self) -> None:
        raise BusUnavailableError("nobody there")


async def test_bus_that_can_not_be_reached_is_told_as_it_is(model):
    """The last error of the start comes out unwrapped: it has an exit code of its own."""
    scene = Scene(model, Unreachable())
    with pytest.raises(BusUnavailableError, match="nobody there"):
        await scene.app.run()


class BrokenHalfWay(EventBus):
    """Takes three subscriptions and fails with a bug at the fourth."""

    taken = 0

    async def subscribe(self, subject: str, handler: Handler) -> Any:
        self.taken += 1
        if self.taken > 3:
            raise RuntimeError("a bug")
        return await super().subscribe(subject, handler)


async def test_failure_while_it_subscribes_ends_everything(model):
    """Half of the rooms subscribed: the workers are ended, the bus closed, the error told."""
    bus = BrokenHalfWay()
    scene = Scene(model, bus, channels=({"name": "RoomA"}, {"name": "RoomB"}))
    with pytest.raises(ExceptionGroup) as told:
        await asyncio.wait_for(scene.app.run(), 3)
    assert told.group_contains(RuntimeError, match="a bug")
    assert not bus.is_connected
    assert not scene.ready.is_set()


class AwayAtFirst(EventBus):
    """Goes away between the connection and the subscriptions."""

    flushes = 0

    async def flush(self, timeout: float = 5.0) -> None:
        self.flushes += 1
        if self.flushes == 1:
            self.disconnect()
        await super().flush(timeout)


async def test_connection_lost_while_it_starts_is_waited_for(model):
    """Once connected it reconnects for ever, also before it is ready."""
    bus = AwayAtFirst()
    scene = Scene(model, bus)
    task = asyncio.create_task(scene.app.run())
    await eventually(lambda: bus.flushes)
    assert not scene.ready.is_set()
    bus.reconnect()
    await asyncio.wait_for(scene.ready.wait(), 2)
    assert scene.app.status.is_ready()
    scene.stop.set()
    await asyncio.wait_for(task, 2)


async def test_connection_lost_while_it_starts_does_not_outwait_a_stop(model):
    """The order to stop ends the wait for the connection."""
    bus = AwayAtFirst()
    scene = Scene(model, bus)
    task = asyncio.create_task(scene.app.run())
    await eventually(lambda: bus.flushes)
    scene.stop.set()
    await asyncio.wait_for(task, 2)
    assert not scene.ready.is_set()


async def test_worker_that_crashes_ends_the_process_with_everything_closed(model):
    """A bug in the machinery isn't lived with: HTTP, model client and bus are closed, and it is
    told."""
    port = free_port()
    scene = Scene(model, health={"host": LOOPBACK, "port": port})
    task = asyncio.create_task(scene.app.run())
    await asyncio.wait_for(scene.ready.wait(), 2)
    (service,) = scene.app._rooms
    service.room.public_lane._jobs = deque(["no job"])  # type: ignore[list-item]
    service.on_job()
    with pytest.raises(ExceptionGroup):
        await asyncio.wait_for(task, 3)
    assert not scene.bus.is_connected
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://{LOOPBACK}:{port}/health")


async def test_second_signal_ends_it_at_once(model):
    """Cancelled in the middle of a reply: the end comes now, with everything closed."""
    scene = Scene(model)
    model.delay_seconds = 5
    async with scene.room("RoomA") as room:
        task = asyncio.create_task(scene.app.run())
        await asyncio.wait_for(scene.ready.wait(), 2)
        await room.say("alice", "MyBot: which film is it?")
        await eventually(lambda: model.requests)
        scene.stop.set()
        await eventually(lambda: not scene.app.status.is_ready())
        task.cancel()
        await asyncio.wait({task}, timeout=2)
        assert task.cancelled()
    assert scene.record_of("alice").outcome is Outcome.SHUTDOWN
    assert not scene.bus.is_connected


class SlowToLetGo(EventBus):
    """Takes its time for the end of each subscription."""

    async def subscribe(self, subject: str, handler: Handler) -> Any:
        subscription = await super().subscribe(subject, handler)
        unsubscribe = subscription.unsubscribe

        async def slowly() -> None:
            await asyncio.sleep(0.2)
            await unsubscribe()

        subscription.unsubscribe = slowly  # type: ignore[method-assign]
        return subscription


async def test_many_slow_subscriptions_end_side_by_side(model):
    """A server that is slow to answer is waited for once, not once for each subject of each
    room."""
    rooms = tuple({"name": f"Room{number}"} for number in range(4))
    scene = Scene(model, SlowToLetGo(), channels=rooms)
    async with scene.running() as task:
        scene.stop.set()
        await asyncio.wait({task}, timeout=0.9)
        assert task.done()
