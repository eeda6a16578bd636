"""The life of the process: start, ready, two rooms side by side, stop, and what goes wrong."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import aiohttp
import pytest

from llm_bot.bus import EventBus
from llm_bot.decisions import Outcome
from llm_bot.demo.stand_ins.model_server import StandInModelServer
from llm_bot.errors import BusUnavailableError
from llm_bot.ports import Handler
from tests.servers import LOOPBACK, eventually, free_port
from tests.unit import builders
from tests.unit.program import Program

FOREVER_SECONDS = 600.0
ASKED = "MyBot: which film is it?"


@pytest.fixture
async def model():
    async with StandInModelServer() as server:
        yield server


def program(model: StandInModelServer, *rooms: Any, bus: EventBus | None = None, **sections: Any):
    """With that model, in RoomA if no other rooms are named."""
    llm = {"base_url": model.base_url, "model": "stand-in", "retry_attempts": 0}
    return Program(builders.config(*(rooms or ("RoomA",)), llm_api=llm, **sections), bus)


async def test_line_in_a_reply_out_and_an_end_in_order(model):
    """A mention is answered in its room; after the stop the bus is closed and nothing is ready."""
    # LIFE-1
    scene = program(model)
    async with scene.room() as room, scene:
        assert scene.app.status.is_ready()
        await room.say("alice", ASKED)
        await eventually(lambda: room.said)
        await eventually(lambda: scene.record_of("alice").outcome is Outcome.REPLIED)
        # The echo may be quicker than the connector's answer, after which it counts as sent.
        await eventually(lambda: scene.app.status.read()["metrics"]["responses_sent"] == 1)
        status = scene.app.status.read()
        assert status["status"] == "healthy"
        assert status["channels"] == {"RoomA": "active"}
        assert status["last_event_timestamp"] is not None
    assert len(room.said) == 1
    assert not scene.app.status.is_ready()
    assert not scene.bus.is_connected


async def test_ready_follows_the_bus(model):
    """Not ready before the start, nor while the bus is away; ready again when it is back."""
    # OBS-4
    scene = program(model)
    assert not scene.app.status.is_ready()
    async with scene:
        scene.bus.disconnect()
        assert not scene.app.status.is_ready()
        assert scene.app.status.read()["status"] == "degraded"
        scene.bus.reconnect()
        assert scene.app.status.is_ready()


async def test_http_server_answers_while_it_runs(model):
    """`/ready` says 200 when the rooms are heard, and the port is closed after the end."""
    port = free_port()
    async with aiohttp.ClientSession() as session:
        async with (
            program(model, health={"enabled": True, "host": LOOPBACK, "port": port}),
            session.get(f"http://{LOOPBACK}:{port}/ready") as answer,
        ):
            assert answer.status == 200
            assert (await answer.json())["channels"] == {"RoomA": "active"}
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://{LOOPBACK}:{port}/ready")


async def test_disabled_channel_is_not_heard_and_silenced_one_says_nothing(model):
    """`enabled: false`: no subscription; `silenced`: heard, decided about, and quiet (OBS-6)."""
    rooms = "RoomA", {"name": "Off", "enabled": False}, {"name": "Quiet", "silenced": True}
    scene = program(model, *rooms)
    async with scene.room() as room, scene.room("Off") as off, scene.room("Quiet") as quiet, scene:
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
        assert {record.user for record in scene.records} - {"MyBot"} == {"quentin", "alice"}
        assert scene.record_of("quentin").outcome is Outcome.SILENCED
        assert scene.counted("active_channels") == 2
    assert not off.said
    assert not quiet.said


async def test_two_rooms_know_nothing_of_each_other(model):
    """Lines, prompts, decisions and numbers of a room stay in it."""
    scene = program(model, "RoomA", "RoomB")
    async with scene.room() as a, scene.room("RoomB") as b, scene:
        await a.say("alice", "the password is swordfish")
        await a.say("alice", ASKED)
        await b.say("bob", "MyBot: what was said here?")
        await eventually(lambda: len(a.said) == 1 and len(b.said) == 1)
        prompts = {"alice" if "alice" in r.prompt else "bob": r.prompt for r in model.requests}
        assert "swordfish" in prompts["alice"]
        assert "swordfish" not in prompts["bob"]
        assert "RoomA" not in prompts["bob"]
        channels = {record.user: record.channel for record in scene.records}
        assert (channels["alice"], channels["bob"]) == ("RoomA", "RoomB")
        for name, chats in (("RoomA", 2), ("RoomB", 1)):
            counted = partial(scene.counted, channel=name)
            await eventually(partial(counted, "responses_sent_total", target_type="chat"))
            await eventually(partial(counted, "deliveries_total", result="echoed"))
            assert counted("responses_sent_total", target_type="chat") == 1
            assert counted("triggers_fired_total", trigger_type="mention") == 1
            # its own line comes back as one more
            assert counted("context_window_size") == chats + 1


# --- stopping ---


async def test_stop_finishes_the_reply_under_way(model):
    """Told to stop with a reply in flight: it is said, then the end; what comes later is not
    heard."""
    scene = program(model)
    model.delay_seconds = 0.3
    async with scene.room() as room, scene:
        await room.say("alice", ASKED)
        await eventually(lambda: model.requests)
        scene.stop.set()
        await eventually(lambda: not scene.app.status.is_ready())
        await room.say("bob", "MyBot: and me?")
        await scene.ended()
        assert len(room.said) == 1
    assert [(one.user, one.outcome) for one in scene.records] == [("alice", Outcome.REPLIED)]


@pytest.mark.parametrize("is_away", [False, True])
async def test_grace_is_the_end_of_patience(model, is_away):
    """What isn't finished within `shutdown_grace_seconds` ends as `shutdown`, with the bus away or
    not."""
    scene = program(model, shutdown_grace_seconds=0.1)
    model.delay_seconds = FOREVER_SECONDS
    async with scene.room() as room, scene:
        await room.say("alice", ASKED)
        await eventually(lambda: model.requests)
        await room.say("bob", "MyBot: hi")
        await eventually(lambda: len(scene.records) == 2)
        if is_away:
            scene.bus.disconnect()
    assert [record.outcome for record in scene.records] == [Outcome.SHUTDOWN] * 2
    assert not room.said


async def test_second_signal_ends_it_at_once(model):
    """Cancelled in the middle of a reply: the end comes now, with everything closed."""
    scene = program(model, shutdown_grace_seconds=600)
    model.delay_seconds = FOREVER_SECONDS
    async with scene.room() as room:
        await scene.__aenter__()
        await room.say("alice", ASKED)
        await eventually(lambda: model.requests)
        scene.stop.set()
        await eventually(lambda: not scene.app.status.is_ready())
        scene.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scene.ended()
    assert scene.record_of("alice").outcome is Outcome.SHUTDOWN
    assert not scene.bus.is_connected


class SlowToLetGo(EventBus):
    """Ends a subscription only when all of the rooms are to end."""

    made = ending = 0

    async def subscribe(self, subject: str, handler: Handler) -> Any:
        self.made += 1
        subscription = await super().subscribe(subject, handler)
        unsubscribe = subscription.unsubscribe

        async def last_of_all() -> None:
            self.ending += 1
            # The one for commands ends with the bus.
            await eventually(lambda: self.ending == self.made - 1)
            await unsubscribe()

        subscription.unsubscribe = last_of_all  # type: ignore[method-assign]
        return subscription


async def test_many_slow_subscriptions_end_side_by_side(model):
    """A server that is slow to answer is waited for once, not once for each subject of each
    room."""
    bus = SlowToLetGo()
    async with program(model, "A", "B", "C", bus=bus):
        pass
    assert bus.ending > 10


# --- starting ---


class NeverConnected(EventBus):
    """A server that nobody can reach, for as long as one waits."""

    was_cancelled = False

    async def connect(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.was_cancelled = True


async def test_stop_before_it_was_connected_ends_without_an_error(model):
    """The order to stop outruns the connection: it ends at once, and in order."""
    bus = NeverConnected()
    scene = program(model, bus=bus)
    scene.begin()
    await asyncio.sleep(0)
    scene.stop.set()
    await scene.ended()
    assert bus.was_cancelled
    assert not scene.app.ready.is_set()


async def test_stop_given_before_the_start_starts_nothing_that_stays(model):
    """A stop that is set already: the process starts and ends."""
    scene = program(model)
    scene.stop.set()
    scene.begin()
    await scene.ended()
    assert not scene.bus.is_connected


class Unreachable(EventBus):
    """A server that refuses."""

    async def connect(self) -> None:
        raise BusUnavailableError("nobody there")


async def test_bus_that_can_not_be_reached_is_told_as_it_is(model):
    """The last error of the start comes out unwrapped: it has an exit code of its own."""
    scene = program(model, bus=Unreachable())
    with pytest.raises(BusUnavailableError, match="nobody there"):
        await scene.app.run()


async def test_taken_port_ends_the_start_and_closes_the_bus(model):
    """A port that can't be had is an `OSError`, with everything closed that was open."""
    scene = program(model, health={"enabled": True, "host": LOOPBACK, "port": model.port})
    with pytest.raises(OSError, match=str(model.port)):
        await scene.app.run()
    assert not scene.bus.is_connected


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
    scene = program(model, "RoomA", "RoomB", bus=BrokenHalfWay())
    scene.begin()
    with pytest.raises(ExceptionGroup) as told:
        await scene.ended()
    assert told.group_contains(RuntimeError, match="a bug")
    assert not scene.bus.is_connected
    assert not scene.app.ready.is_set()


class AwayAtFirst(EventBus):
    """Goes away between the connection and the subscriptions."""

    flushes = 0

    async def flush(self, timeout: float = 5.0) -> None:
        self.flushes += 1
        if self.flushes == 1:
            self.disconnect()
        await super().flush(timeout)


@pytest.mark.parametrize("comes_back", [True, False])
async def test_connection_lost_while_it_starts_is_waited_for(model, comes_back):
    """Once connected it reconnects for ever, also before it is ready, unless it is to stop."""
    bus = AwayAtFirst()
    scene = program(model, bus=bus)
    scene.begin()
    await eventually(lambda: bus.flushes)
    assert not scene.app.ready.is_set()
    if comes_back:
        bus.reconnect()
        await eventually(scene.app.status.is_ready)
    scene.stop.set()
    await scene.ended()
    assert not scene.app.ready.is_set()


async def test_worker_that_crashes_ends_the_process_with_everything_closed(model):
    """A bug in the machinery isn't lived with: HTTP, model client and bus are closed, and it is
    told."""
    port = free_port()
    scene = program(model, health={"enabled": True, "host": LOOPBACK, "port": port})
    await scene.__aenter__()
    scene.crash()
    with pytest.raises(ExceptionGroup):
        await scene.ended()
    assert not scene.bus.is_connected
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://{LOOPBACK}:{port}/health")
