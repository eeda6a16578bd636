"""Saying a line: paced, before its deadline or not at all, never twice, and seen to arrive."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from llm_bot.bus import EventBus
from llm_bot.decisions import DecisionRecord, Outcome, ReplyRecord
from llm_bot.errors import BusError, BusUnavailableError
from llm_bot.models import ChatLine, Dialect, Origin
from llm_bot.ports import Body, Clock, Event, SystemClock
from llm_bot.replies.delivery import COMMANDS_OFF
from llm_bot.replies.services import OutboundBuffer
from llm_bot.room.room import MAX_PAUSE_SECONDS
from llm_bot.runtime.room_service import RoomService
from tests.fakes import ManualClock
from tests.servers import eventually
from tests.unit import builders

SENT = (None, "")
ACCEPTED = {"service": "robot", "command": "say", "success": True, "data": {"success": True}}
OLD_SUBJECT = "kryten.commands.cytube.mychannel"


class Connector:
    """Takes requests and commands, and answers the requests with `answer` (None: not at all)."""

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus
        self.answer: Mapping[str, Any] | bytes | None = ACCEPTED
        self.requests: list[Event] = []
        self.commands: list[Event] = []

    async def listen(self, *, requests: bool = True) -> Connector:
        await self.bus.subscribe("kryten.commands.>", self.commands.append)
        await self.bus.subscribe("cytube.commands.>", self.commands.append)
        if requests:
            await self.bus.subscribe("kryten.robot.command", self._on_request)
        return self

    async def _on_request(self, event: Event) -> None:
        self.requests.append(event)
        if self.answer is not None:
            await self.bus.publish(event.reply, self.answer)

    @property
    def texts(self) -> list[str]:
        return [json.loads(event.data)["args"]["message"] for event in self.requests]


class Scene:
    """A room at work; what is sent in it is told as its outcome and the reason, or `SENT`."""

    def __init__(
        self,
        bus: Any,
        *,
        clock: Clock | None = None,
        buffer_size: int = 10,
        request_timeout: float = 1.0,
        **replies: float,
    ) -> None:
        self.clock = clock or SystemClock()
        self.room = builders.room(replies={"min_interval_seconds": 0, **replies})
        self.buffer = OutboundBuffer(buffer_size)
        self.service = RoomService(
            self.room,
            builders.shared(
                bus, clock=self.clock, buffer=self.buffer, request_timeout=request_timeout
            ),
        )

    def record(self) -> DecisionRecord:
        reply = ReplyRecord()
        return DecisionRecord("id-1", "MyChannel", "alice", 0.0, "chat", None, reply=reply)

    async def send(
        self,
        text: str = "hi",
        *,
        line: ChatLine | None = None,
        record: DecisionRecord | None = None,
        within: float = 5.0,
    ) -> tuple[Outcome | None, str]:
        job = builders.job(
            line, record=record or self.record(), deadline=self.clock.monotonic() + within
        )
        failure = await self.service.delivery.send(text, job)
        return SENT if failure is None else (failure.outcome, failure.detail)

    def hear_own(self, text: str, *, to: str | None = None) -> None:
        said = builders.event(text, user="MyBot", to=to, said_at=self.clock.time())
        self.service.handler.handle(said, Dialect.KRYTEN)

    def hear(self, name: str, payload: Any = None) -> None:
        self.service.handler.handle(builders.room_event(name, payload), Dialect.KRYTEN)

    def pause(self, seconds: float) -> None:
        self.room.pause_sending(seconds, self.clock.monotonic())


def state(record: DecisionRecord) -> tuple[Outcome | None, str | None]:
    """Its outcome, and what is known of its delivery."""
    assert record.reply is not None
    return record.outcome, record.reply.delivery


async def settled() -> None:
    """Whatever is ready to run has run."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def bus():
    bus = EventBus()
    yield bus
    await bus.close()


@pytest.fixture
async def connector(bus):
    return await Connector(bus).listen()


# --- what is published ---


async def test_robot_request_has_exactly_the_fields_that_the_connector_takes(bus, connector):
    """`kryten`: a request with service, command, args and meta, and nothing else (SEND-1)."""
    scene = Scene(bus, clock=ManualClock())
    assert await scene.send("hi there") == SENT
    (request,) = connector.requests
    assert json.loads(request.data) == {
        "service": "robot",
        "command": "say",
        "args": {"message": "hi there"},
        "meta": {
            "source": "llm_bot",
            "timestamp": "2023-11-14T22:30:00.000Z",
            "domain": "cytu.be",
            "channel": "MyChannel",
            "request_id": "id-1",
        },
    }
    assert request.headers == {
        "Correlation-Id": "id-1",
        "Timestamp": "2023-11-14T22:30:00.000Z",
        "Source": "llm_bot",
        "Schema-Version": "1.0",
    }
    assert connector.commands == []


async def test_private_answer_is_a_pm_to_whoever_asked(bus, connector):
    """`pm`: args `to` and `message`."""
    scene = Scene(bus)
    await scene.send("psst", line=builders.pm())
    body = json.loads(connector.requests[0].data)
    assert body["command"] == "pm"
    assert body["args"] == {"to": "alice", "message": "psst"}


@pytest.mark.parametrize(
    ("origin", "subject"),
    [
        pytest.param(
            Origin(Dialect.PLAIN, "cytube.events.MyChannel.chatMsg"),
            "cytube.commands.MyChannel",
            id="plain",
        ),
        pytest.param(
            Origin(
                Dialect.EARLY, "cytube.events.cytu.be.mychannel.chatmsg", "MyChannel", "cytu.be"
            ),
            "cytube.commands.cytu.be.mychannel",
            id="early",
        ),
        pytest.param(
            Origin(Dialect.KRYTEN, "kryten.events.cytube.mychannel.chatmsg"),
            OLD_SUBJECT,
            id="kryten_without_address",
        ),
    ],
)
async def test_other_connectors_hear_a_plain_command(bus, connector, origin, subject):
    """Without a request: one publish of action and data on the subject of the dialect."""
    scene = Scene(bus)
    assert await scene.send("hi", line=builders.line(origin=origin)) == SENT
    await scene.send("psst", line=builders.pm(origin=origin))
    await eventually(lambda: len(connector.commands) == 2)
    chat, private = connector.commands
    assert (chat.subject, private.subject) == (f"{subject}.chat", f"{subject}.pm")
    assert json.loads(chat.data) == {"action": "chat", "data": {"message": "hi"}}
    assert json.loads(private.data) == {"action": "pm", "data": {"to": "alice", "message": "psst"}}
    assert chat.headers is not None
    assert chat.headers["Correlation-Id"] == "id-1"
    assert connector.requests == []


async def test_without_a_responder_one_plain_command_goes_out(bus):
    """No responder: an older connector, which hears one plain command (SEND-3)."""
    connector = await Connector(bus).listen(requests=False)
    scene = Scene(bus)
    assert await scene.send("hi") == SENT
    await eventually(lambda: connector.commands)
    assert [event.subject for event in connector.commands] == [f"{OLD_SUBJECT}.chat"]


async def test_connector_that_answered_before_is_waited_for(bus):
    """No responder where one has answered before: it is away, and is asked again (SEND-3)."""
    old = await Connector(bus).listen(requests=False)
    connector = Connector(bus)
    listening = await bus.subscribe("kryten.robot.command", connector._on_request)
    scene = Scene(bus)
    assert await scene.send("one") == SENT
    await listening.unsubscribe()
    sending = asyncio.create_task(scene.send("two"))
    await eventually(lambda: len(scene.room.confirmations) == 1)
    await bus.subscribe("kryten.robot.command", connector._on_request)
    assert await sending == SENT
    assert connector.texts == ["one", "two"]
    assert old.commands == []


async def test_connector_that_stays_away_is_too_late(bus):
    """A known connector that isn't back by the deadline: nothing is sent, nowhere (SEND-3)."""
    old = await Connector(bus).listen(requests=False)
    connector = Connector(bus)
    listening = await bus.subscribe("kryten.robot.command", connector._on_request)
    scene = Scene(bus)
    await scene.send("one")
    await listening.unsubscribe()
    result = await scene.send("two", within=0.3)
    assert result[0] is Outcome.TOO_LATE
    assert old.commands == []
    assert len(scene.room.confirmations) == 1  # of the first


# --- what the connector answers ---


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("Unknown argument", "Unknown argument"),
        (COMMANDS_OFF, f"{COMMANDS_OFF} (if it is connected: set commands.enabled in the"),
    ],
)
async def test_refusal_is_a_failure_in_the_words_of_the_connector(bus, connector, error, told):
    """It fails the delivery, once, and nothing waits for an echo; where commands are off in the
    connector's configuration, its setting is named (SEND-4)."""
    connector.answer = {"service": "robot", "success": False, "error": error}
    scene = Scene(bus)
    outcome, detail = await scene.send()
    assert outcome is Outcome.DELIVERY_FAILED
    assert detail.startswith(told)
    assert len(connector.requests) == 1
    assert connector.commands == []
    assert len(scene.room.confirmations) == 0


@pytest.mark.parametrize(
    "answer", [{"stream": "KRYTEN", "seq": 7}, b"+ACK", b"\xff", {"service": "other"}]
)
async def test_foreign_answer_fails_without_a_second_send(bus, connector, answer):
    """Accepted only if service is "robot": a stream's answer is a failure, not a fallback."""
    # SEND-2
    connector.answer = answer
    result = await Scene(bus, request_timeout=0.05).send()
    assert result[0] is Outcome.DELIVERY_FAILED
    assert "connector" in result[1]
    assert len(connector.requests) == 1
    assert connector.commands == []


async def test_time_out_is_unknown_and_never_sent_again(bus, connector):
    """A time-out: unknown, one request, no plain command, and the echo still confirms it."""
    # SEND-5
    connector.answer = None
    scene = Scene(bus, request_timeout=0.05)
    record = scene.record()
    assert await scene.send("hi", record=record) == SENT
    assert state(record) == (None, "unknown")
    assert len(connector.requests) == 1
    assert connector.commands == []
    scene.hear_own("hi")
    assert state(record) == (Outcome.REPLIED, "echoed")


@pytest.mark.parametrize("confirm_seconds", [0, 0.05])
async def test_time_out_that_nobody_confirms_stays_unknown(bus, connector, confirm_seconds):
    """Neither echo nor objection: replied, delivery unknown, counted once (SEND-5)."""
    connector.answer = None
    scene = Scene(bus, request_timeout=0.05, confirm_seconds=confirm_seconds)
    record = scene.record()
    await scene.send("hi", record=record)
    await eventually(lambda: state(record) == (Outcome.REPLIED, "unknown"))
    assert not scene.room.confirmations
    assert scene.room.tally.decisions == {"replied": 1}


async def test_time_out_with_evidence_against_it_is_a_failed_delivery(bus, connector):
    """Unknown isn't the last word: an `errorMsg` within `confirm_seconds` makes it failed."""
    connector.answer = None
    scene = Scene(bus, request_timeout=0.05)
    record = scene.record()
    await scene.send("hi", record=record)
    scene.hear("errorMsg", {"msg": "no"})
    assert state(record) == (Outcome.DELIVERY_FAILED, "refused")


# --- pacing ---


async def test_two_sends_of_both_lanes_keep_the_interval(bus, connector):
    """At least `min_interval_seconds` between two sends to a room, private ones included."""
    # SEND-9
    scene = Scene(bus, min_interval_seconds=0.2)
    started = scene.clock.monotonic()
    await asyncio.gather(scene.send("public"), scene.send("private", line=builders.pm()))
    assert scene.clock.monotonic() - started >= 0.2
    assert connector.texts == ["public", "private"]


async def test_interval_counts_after_a_refusal_too(bus, connector):
    """A send that was refused is a send: the next one keeps its distance."""
    connector.answer = {"service": "robot", "success": False, "error": "no"}
    clock = ManualClock(passes_up_to=100)
    scene = Scene(bus, clock=clock, min_interval_seconds=1.5)
    await scene.send()
    await scene.send()
    assert clock.slept == [1.5]


@pytest.mark.parametrize(("asked", "paused"), [(2.0, 2.0), (3600.0, MAX_PAUSE_SECONDS)])
async def test_cooldown_pauses_the_room_for_a_minute_at_most(bus, connector, asked, paused):
    """A `cooldown` event pauses the room for as long as it says, 60 s at most (SEND-10)."""
    clock = ManualClock(passes_up_to=100)
    scene = Scene(bus, clock=clock)
    scene.hear("cooldown", asked * 1000)
    assert await scene.send(within=100) == SENT
    assert sum(clock.slept) == pytest.approx(paused)


async def test_shorter_pause_does_not_end_a_longer_one(bus, connector):
    """Of two pauses the one that ends later holds."""
    clock = ManualClock(passes_up_to=100)
    scene = Scene(bus, clock=clock)
    scene.pause(30)
    scene.pause(1)
    await scene.send(within=100)
    assert sum(clock.slept) == pytest.approx(30)


async def test_pause_that_comes_while_a_line_waits_holds_it_up_further(bus, connector):
    """What is asked for during the wait counts for the line that waits."""
    clock = ManualClock()
    scene = Scene(bus, clock=clock)
    scene.pause(5)
    sending = asyncio.create_task(scene.send(within=100))
    await asyncio.sleep(0)
    clock.advance(4)
    scene.pause(10)
    clock.advance(1)
    await settled()
    assert connector.requests == []
    clock.advance(9)
    assert await sending == SENT


# --- the deadline ---


async def test_deadline_passes_while_another_line_is_said(bus, connector):
    """Waiting for its turn counts: past the deadline it is too late, and is never said."""
    connector.answer = None
    scene = Scene(bus, request_timeout=0.3)
    first = asyncio.create_task(scene.send("first"))
    await eventually(lambda: connector.requests)
    result = await scene.send("second", within=0.05)
    assert result[0] is Outcome.TOO_LATE
    await first
    assert connector.texts == ["first"]


async def test_deadline_within_a_pause_is_too_late_at_once(bus, connector):
    """A pause longer than what is left: nobody waits for nothing."""
    clock = ManualClock()
    scene = Scene(bus, clock=clock)
    scene.pause(10)
    assert (await scene.send(within=9.9))[0] is Outcome.TOO_LATE
    assert connector.requests == []


async def test_deadline_that_has_passed_already_sends_nothing(bus, connector):
    """Too late before its turn is too late, even if nothing stands in the way."""
    assert (await Scene(bus).send(within=0))[0] is Outcome.TOO_LATE
    assert connector.requests == []


# --- the bus away ---


async def test_line_waits_for_the_bus_and_is_said_once(bus, connector):
    """The bus away and back within the deadline: said once (REQ-8, SEND-11)."""
    scene = Scene(bus)
    bus.disconnect()
    sending = asyncio.create_task(scene.send("hi"))
    await eventually(lambda: scene.buffer.depth == 1)
    bus.reconnect()
    assert await sending == SENT
    assert scene.buffer.depth == 0
    await settled()
    assert connector.texts == ["hi"]


async def test_bus_that_comes_back_too_late_finds_nothing_to_say(bus, connector):
    """The bus back after the deadline: never said, and nothing waits for an echo (REQ-3)."""
    scene = Scene(bus)
    bus.disconnect()
    assert (await scene.send(within=0.05))[0] is Outcome.TOO_LATE
    bus.reconnect()
    await settled()
    assert connector.requests == []
    assert connector.commands == []
    assert len(scene.room.confirmations) == 0
    assert scene.buffer.depth == 0


async def test_full_buffer_fails_at_once(bus, connector):
    """The outbound buffer is bounded over all rooms; what doesn't fit fails (SEND-11)."""
    scene = Scene(bus, buffer_size=0)
    bus.disconnect()
    result = await scene.send()
    assert result[0] is Outcome.DELIVERY_FAILED
    assert "buffer" in result[1]


async def test_bus_that_is_closed_for_good_fails_the_line(bus, connector):
    """A bus that won't come back: failed, before the deadline."""
    scene = Scene(bus)
    bus.disconnect()
    sending = asyncio.create_task(scene.send())
    await eventually(lambda: scene.buffer.depth)
    await bus.close()
    assert (await sending)[0] is Outcome.DELIVERY_FAILED


class FlickeringBus:
    """Says that it is connected, and refuses for so many tries that it isn't."""

    def __init__(self, refusals: int, *, is_connected: bool = True) -> None:
        self.is_connected = is_connected
        self.refusals = refusals
        self.tries = 0
        self.published: list[str] = []

    async def wait_connected(self) -> None:
        self.tries += 1

    async def publish(self, subject: str, data: Body, headers: object = None) -> None:
        self.tries += 1
        if self.tries <= self.refusals:
            raise BusUnavailableError("not connected")
        self.published.append(subject)

    async def request(self, subject: str, data: Body, **_: object) -> Event:
        await self.publish(subject, data)
        return Event("_INBOX.1", json.dumps(ACCEPTED).encode())


async def test_send_that_finds_the_bus_away_after_all_is_tried_again(bus):
    """`BusUnavailableError` means that nothing was sent: it goes out once the bus takes it."""
    flickering = FlickeringBus(refusals=2)
    scene = Scene(flickering)
    assert await scene.send() == SENT
    assert len(flickering.published) == 1
    assert len(scene.room.confirmations) == 1


@pytest.mark.parametrize("is_connected", [True, False])
async def test_bus_that_contradicts_itself_does_not_keep_the_process_busy(is_connected):
    """Between two tries at a bus that can't make up its mind there is a pause."""
    flickering = FlickeringBus(refusals=1_000_000, is_connected=is_connected)
    result = await Scene(flickering).send(within=0.3)
    assert result[0] is Outcome.TOO_LATE
    assert flickering.tries < 50


class RefusingBus(FlickeringBus):
    """Takes nothing, and not because it is away."""

    async def publish(self, subject: str, data: Body, headers: object = None) -> None:
        raise BusError("too many bytes")


async def test_what_the_bus_refuses_is_a_failure_in_its_words(bus):
    """Any other error of the bus fails the delivery."""
    result = await Scene(RefusingBus(0)).send()
    assert result == (Outcome.DELIVERY_FAILED, "too many bytes")


# --- being cancelled ---


async def test_cancelled_send_leaves_neither_turn_nor_expectation_behind(bus, connector):
    """Cancelled in the middle: the next line gets its turn, and no echo is mistaken for another."""
    connector.answer = None
    scene = Scene(bus)
    sending = asyncio.create_task(scene.send("first"))
    await eventually(lambda: connector.requests)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert len(scene.room.confirmations) == 0
    connector.answer = ACCEPTED
    assert await scene.send("second", within=0.5) == SENT


async def test_cancelled_while_it_waits_for_its_turn(bus, connector):
    """Whoever gives up waiting for the turn takes nothing from those behind."""
    connector.answer = None
    scene = Scene(bus, request_timeout=0.2)
    first, second, third = (asyncio.create_task(scene.send(text)) for text in "abc")
    await eventually(lambda: connector.requests)
    second.cancel()
    await asyncio.wait({first, second, third})
    assert second.cancelled()
    assert connector.texts == ["a", "c"]


async def test_cancelled_as_the_bus_comes_back(bus, connector):
    """A cancellation isn't lost when the bus returns in the same moment."""
    scene = Scene(bus)
    bus.disconnect()
    sending = asyncio.create_task(scene.send())
    await eventually(lambda: scene.buffer.depth)
    bus.reconnect()
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait({sending})
    assert sending.cancelled()
    assert scene.buffer.depth == 0


class BrokenBus(FlickeringBus):
    """Has a bug."""

    async def publish(self, subject: str, data: Body, headers: object = None) -> None:
        raise ValueError("a bug")


async def test_bug_in_a_send_leaves_no_expectation_behind():
    """An exception that nobody foresaw passes through, and the turn and the echo are let go."""
    scene = Scene(BrokenBus(0))
    for _ in range(2):
        with pytest.raises(ValueError, match="a bug"):
            await scene.send(within=0.5)
    assert len(scene.room.confirmations) == 0


# --- seeing it arrive ---


async def test_echo_confirms(bus, connector):
    """The own line coming back: replied, echoed, counted once."""
    scene = Scene(bus, confirm_seconds=0.05)
    record = scene.record()
    await scene.send("hi", record=record)
    assert scene.room.tally.decisions == {}
    scene.hear_own("hi")
    assert state(record) == (Outcome.REPLIED, "echoed")
    await eventually(lambda: not scene.service.delivery._timers)
    assert scene.room.tally.deliveries == {"echoed": 1}
    assert scene.room.tally.decisions["replied"] == 1


async def test_echo_before_the_answer_confirms(bus):
    """The own line may be back before the connector has answered."""
    scene = Scene(bus)
    record = scene.record()

    async def robot(event: Event) -> None:
        scene.hear_own("hi")
        await bus.publish(event.reply, ACCEPTED)

    await bus.subscribe("kryten.robot.command", robot)
    assert await scene.send("hi", record=record) == SENT
    assert state(record) == (Outcome.REPLIED, "echoed")
    assert len(scene.room.confirmations) == 0


@pytest.mark.parametrize("answer", [{"stream": "S", "seq": 1}, None])
async def test_echo_outweighs_a_foreign_answer_or_none(bus, answer):
    """A line that was seen to arrive was sent, whatever else answered or didn't (SEND-15)."""
    scene = Scene(bus, request_timeout=0.05)
    record = scene.record()

    async def robot(event: Event) -> None:
        if answer is not None:
            await bus.publish(event.reply, answer)
        scene.hear_own("hi")

    await bus.subscribe("kryten.robot.command", robot)
    assert await scene.send("hi", record=record) == SENT
    assert state(record) == (Outcome.REPLIED, "echoed")


async def test_echo_that_never_comes_leaves_it_unconfirmed(bus, connector, caplog):
    """After `confirm_seconds` without evidence: replied, unconfirmed (SEND-14)."""
    caplog.set_level(logging.INFO)
    scene = Scene(bus, confirm_seconds=0.05)
    record = scene.record()
    await scene.send("hi", record=record)
    assert scene.room.tally.decisions == {}
    await eventually(lambda: state(record) == (Outcome.REPLIED, "unconfirmed"))
    assert scene.room.tally.deliveries == {"unconfirmed": 1}
    assert len(scene.room.confirmations) == 0
    (told,) = [one for one in caplog.records if one.message == "delivery.unconfirmed"]
    assert vars(told)["correlation_id"] == record.correlation_id


async def test_confirm_seconds_zero_waits_for_no_echo(bus, connector):
    """`confirm_seconds: 0`: replied at once, unconfirmed (SEND-14)."""
    scene = Scene(bus, confirm_seconds=0)
    record = scene.record()
    await scene.send("hi", record=record)
    assert state(record) == (Outcome.REPLIED, "unconfirmed")
    assert len(scene.room.confirmations) == 0


async def test_close_counts_what_was_sent_as_said(bus, connector):
    """At the end nobody waits for an echo: replied, unconfirmed, and no timer is left."""
    scene = Scene(bus, confirm_seconds=0.05)
    record = scene.record()
    await scene.send("hi", record=record)
    scene.service.delivery.close()
    assert record.outcome is Outcome.REPLIED
    assert not scene.service.delivery._timers
    assert scene.room.tally.deliveries == {"unconfirmed": 1}


async def test_too_many_unconfirmed_lines_push_out_the_oldest(bus, connector):
    """The lines that wait for their echo are bounded; the oldest counts as unconfirmed."""
    scene = Scene(bus)
    records = [scene.record() for _ in range(101)]
    for number, record in enumerate(records):
        await scene.send(f"line {number}", record=record)
    assert records[0].outcome is Outcome.REPLIED
    assert {record.outcome for record in records[1:]} == {None}
    scene.service.delivery.close()
