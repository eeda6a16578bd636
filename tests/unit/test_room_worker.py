"""One lane at work: a job to the end of its record and its permit, whatever happens to it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from llm_bot import llm_client
from llm_bot.bus import EventBus
from llm_bot.decisions import DecisionRecord, Outcome, ReplyRecord
from llm_bot.llm_client import LLMRequest, LLMResponse
from llm_bot.models import ChatLine
from llm_bot.ports import Event, SystemClock
from llm_bot.rate_limiter import Permit
from llm_bot.room.lane import Job
from llm_bot.runtime.room_service import RoomService
from llm_bot.triggers.configured import room_demand, user_demand
from tests.fakes import ScriptedLLM, llm_failure
from tests.servers import eventually
from tests.unit import builders

HOUR = 3600.0
SERVER_ERROR = llm_client.GenerationError("down", code="server_error")
UNTRIED = llm_client.DeadlineExceededError("nothing was sent")


class Scene:
    """A room whose public lane is worked, with a model that says what it is told."""

    def __init__(
        self,
        bus: EventBus,
        model: Any = None,
        *,
        dry_run: bool = False,
        request_timeout: float = 1.0,
        **sections: Any,
    ) -> None:
        self.bus = bus
        self.clock = SystemClock()
        self.model = model or ScriptedLLM()
        replies = {"min_interval_seconds": 0, **sections.pop("replies", {})}
        limits = {"global_cooldown_seconds": 0}
        self.room = builders.room(replies=replies, rate_limits=limits, dry_run=dry_run, **sections)
        shared = builders.shared(
            bus,
            model=self.model,
            clock=self.clock,
            rng=lambda: 0.0,
            request_timeout=request_timeout,
        )
        self.limiter = shared.limiter
        self.service = RoomService(self.room, shared)
        self.worker, _ = self.service.workers
        self.task = asyncio.create_task(self.worker.run())
        self.said: list[str] = []
        self.answer: dict[str, Any] = {"service": "robot", "success": True}

    async def listen(self) -> Scene:
        await self.bus.subscribe("kryten.robot.command", self._on_request)
        return self

    async def _on_request(self, event: Event) -> None:
        self.said.append(json.loads(event.data)["args"]["message"])
        await self.bus.publish(event.reply, self.answer)

    def put(self, user: str = "alice", *, within: float = 5.0) -> Job:
        """A line of `user` is admitted."""
        now = self.clock.monotonic()
        line: ChatLine = builders.line("MyBot: hi", user=user, arrived=now, correlation_id=user)
        limits = self.room.config.rate_limits
        demands = [room_demand(self.room.key, limits), user_demand(user, limits)]
        permit = self.limiter.admit(demands, now)
        assert isinstance(permit, Permit)
        record = DecisionRecord(user, "MyChannel", user, line.heard_at, "chat", None)
        job = Job(line, permit, record, now + within)
        self.room.public_lane.put(job)
        self.worker.wake()
        return job

    async def done(self, *jobs: Job) -> None:
        """Wait until the worker has ended all jobs, the last word on their arrival apart."""
        self.worker.finish()
        await asyncio.wait_for(self.task, 5)
        self.service.delivery.close()
        assert all(job.record.outcome is not None for job in jobs)

    def stamped(self, user: str = "alice") -> tuple[bool, bool]:
        """Whether something happened in the histories of the room and of `user`."""
        limits = self.room.config.rate_limits
        now = self.clock.monotonic()
        found = []
        for demand in (room_demand(self.room.key, limits), user_demand(user, limits)):
            usage = self.limiter.usage([demand], now)
            assert not any(used for _, _, used in self.limiter.usage([demand], now + HOUR + 1)), (
                "a permit is still held"
            )
            found.append(any(used for _, _, used in usage))
        return found[0], found[1]


@pytest.fixture
async def bus():
    bus = EventBus()
    yield bus
    await bus.close()


def reply_of(job: Job) -> ReplyRecord:
    assert job.record.reply is not None
    return job.record.reply


async def test_reply_is_said_counted_and_its_permit_used(bus):
    """Sent: the room's permit is stamped, the user's spent, and the record says what it took."""
    scene = await Scene(bus).listen()
    job = scene.put()
    await scene.done(job)
    assert scene.said == ["Sure thing, alice."]
    assert job.record.outcome is Outcome.REPLIED
    assert scene.stamped() == (True, True)
    reply = reply_of(job)
    assert reply.provider == "fake"
    assert reply.queued_seconds is not None
    assert reply.model_seconds is not None
    assert reply.total_seconds is not None
    assert reply.total_seconds >= reply.model_seconds
    tally = scene.room.tally
    assert tally.sent == {"chat": 1}
    assert tally.reply_seconds.total == pytest.approx(reply.total_seconds)
    assert tally.response_characters.total == len("Sure thing, alice.")
    assert list(scene.room.own_lines) == ["Sure thing, alice."]


@pytest.mark.parametrize(
    ("answer", "outcome", "is_spent"),
    [
        pytest.param(llm_failure(SERVER_ERROR), Outcome.LLM_FAILED, True, id="llm_failed"),
        pytest.param(
            llm_failure(llm_client.ConfigurationError("x"), attempts=0),
            Outcome.LLM_FAILED,
            False,
            id="llm_failed_before_a_request",
        ),
        pytest.param(
            llm_failure(UNTRIED, attempts=0), Outcome.TOO_LATE, False, id="too_late_untried"
        ),
        pytest.param(
            llm_failure(llm_client.DeadlineExceededError("cut short")),
            Outcome.TOO_LATE,
            True,
            id="too_late",
        ),
        pytest.param(
            llm_failure(llm_client.GenerationError("", code="empty")),
            Outcome.EMPTY_REPLY,
            True,
            id="empty_reply",
        ),
        pytest.param("see https://example.com", Outcome.FILTERED, True, id="filtered"),
        pytest.param("MyBot:", Outcome.EMPTY_REPLY, True, id="nothing_left"),
    ],
)
async def test_no_reply_gives_the_room_back_and_spends_what_was_asked(
    bus, answer, outcome, is_spent
):
    """Nothing sent: the room's permit comes back; the user's only if no request went out."""
    # LIMIT-7
    scene = await Scene(bus, ScriptedLLM(answer)).listen()
    job = scene.put()
    await scene.done(job)
    assert str(job.record.outcome) == outcome.value
    assert scene.stamped() == (False, is_spent)
    assert scene.said == []
    assert scene.room.tally.decisions == {outcome.value: 1}
    assert reply_of(job).total_seconds is not None


async def test_job_whose_deadline_has_passed_asks_nobody(bus):
    """Past its deadline when it is taken up: too late, no request, the whole permit back."""
    # LANE-4
    scene = await Scene(bus).listen()
    job = scene.put(within=0)
    await scene.done(job)
    assert job.record.outcome is Outcome.TOO_LATE
    assert scene.model.requests == []
    assert scene.stamped() == (False, False)


async def test_reply_that_can_not_be_sent_in_time_is_too_late(bus):
    """The bus away beyond the deadline: too late, the room's permit back, the user's spent."""
    scene = await Scene(bus).listen()
    bus.disconnect()
    job = scene.put(within=0.1)
    await scene.done(job)
    assert job.record.outcome is Outcome.TOO_LATE
    assert scene.stamped() == (False, True)
    assert list(scene.room.own_lines) == []


async def test_refused_delivery_gives_the_room_back(bus):
    """The connector refuses: `delivery_failed`, counted as refused, the room's permit back."""
    scene = await Scene(bus).listen()
    scene.answer = {"service": "robot", "success": False, "error": "no"}
    job = scene.put()
    await scene.done(job)
    assert (job.record.outcome, job.record.detail) == (Outcome.DELIVERY_FAILED, "no")
    assert reply_of(job).delivery == "refused"
    assert scene.room.tally.deliveries == {"refused": 1}
    assert scene.room.tally.sent == {}
    assert scene.stamped() == (False, True)


async def test_unknown_delivery_counts_as_said(bus):
    """A time-out gives nothing back: replied, delivery unknown."""
    scene = Scene(bus, request_timeout=0.05)

    def ignore(_: Event) -> None:
        """A connector that hangs."""

    await bus.subscribe("kryten.robot.command", ignore)
    job = scene.put()
    await scene.done(job)
    assert job.record.outcome is Outcome.REPLIED
    assert reply_of(job).delivery == "unknown"
    assert scene.stamped() == (True, True)
    assert scene.room.tally.sent == {"chat": 1}


async def test_unknown_delivery_is_concluded_by_evidence(bus):
    """The outcome of a time-out waits for evidence like any other: it may have been refused."""
    scene = Scene(bus, request_timeout=0.05)
    await bus.subscribe("kryten.robot.command", lambda _: None)
    job = scene.put()
    await eventually(lambda: scene.room.tally.sent)
    assert job.record.outcome is None
    sent = scene.room.confirmations.refuse()
    assert sent is not None
    assert sent.record is job.record


async def test_dry_run_does_everything_but_the_publish(bus):
    """`dry_run`: the model is asked, nothing is said, permits count as sent (LIFE-6)."""
    scene = await Scene(bus, dry_run=True).listen()
    job = scene.put()
    await scene.done(job)
    assert job.record.outcome is Outcome.DRY_RUN
    assert reply_of(job).delivery == "not_sent"
    assert len(scene.model.requests) == 1
    assert scene.said == []
    assert scene.stamped() == (True, True)
    assert list(scene.room.own_lines) == ["Sure thing, alice."]


async def test_canned_line_is_said_once_a_minute_and_changes_no_outcome(bus):
    """All providers failed: a canned line, one a room and minute; both lines are `llm_failed`."""
    # LANE-6
    canned = {"fallback_responses_enabled": True, "fallback_responses": ["I am asleep."]}
    failing = ScriptedLLM(llm_failure(SERVER_ERROR))
    scene = await Scene(bus, failing, response_processing=canned).listen()
    first, second = scene.put("alice"), scene.put("bob")
    await scene.done(first, second)
    assert scene.said == ["I am asleep."]
    assert scene.room.tally.decisions == {"llm_failed": 2}
    assert scene.stamped() == (True, True)


async def test_canned_line_of_unknown_fate_leaves_the_record_as_it_is(bus):
    """What became of a canned line doesn't replace why there was no reply."""
    canned = {"fallback_responses_enabled": True, "fallback_responses": ["I am asleep."]}
    failing = ScriptedLLM(llm_failure(SERVER_ERROR))
    scene = Scene(bus, failing, request_timeout=0.05, response_processing=canned)
    await bus.subscribe("kryten.robot.command", lambda _: None)
    job = scene.put()
    await scene.done(job)
    assert (job.record.outcome, job.record.detail) == (Outcome.LLM_FAILED, "down")


async def test_bug_in_one_reply_ends_as_error_and_the_next_goes_on(bus, caplog):
    """An exception that nobody foresaw: `error`, told in full, permit back, the lane works on."""
    # LANE-5
    scene = await Scene(bus, ScriptedLLM(ValueError("a bug"), "All well.")).listen()
    broken, sound = scene.put("alice"), scene.put("bob")
    await scene.done(broken, sound)
    assert (broken.record.outcome, broken.record.detail) == (Outcome.ERROR, "ValueError")
    assert sound.record.outcome is Outcome.REPLIED
    assert scene.stamped("alice") == (True, False)  # the room's is bob's
    (told,) = [one for one in caplog.records if one.message == "reply.error"]
    assert told.exc_info


class CancelledWithin:
    """A model in which something cancels itself."""

    async def generate(self, request: LLMRequest) -> LLMResponse:
        raise asyncio.CancelledError


async def test_cancellation_from_within_a_reply_does_not_end_the_lane(bus):
    """Something that a reply waited for was cancelled, the worker wasn't: `error`, and on."""
    scene = await Scene(bus, CancelledWithin()).listen()
    first, second = scene.put("alice"), scene.put("bob")
    await scene.done(first, second)
    assert {first.record.outcome, second.record.outcome} == {Outcome.ERROR}


async def test_cancelled_worker_concludes_all_as_shutdown(bus):
    """Cancelled: the job under way and those that wait end as `shutdown`; only what may have been
    asked of the model is spent."""
    scene = await Scene(bus).listen()
    scene.model.gate.clear()
    jobs = [scene.put(user) for user in ("alice", "bob", "carol")]
    await eventually(lambda: scene.model.requests)
    scene.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scene.task
    assert [job.record.outcome for job in jobs] == [Outcome.SHUTDOWN] * 3
    assert scene.stamped() == (False, True)
    assert scene.room.tally.decisions == {"shutdown": 3}
    assert len(scene.model.requests) == 1
    assert scene.said == []


async def test_worker_cancelled_in_mid_send_is_shutdown_and_waits_for_no_echo(bus):
    """Cancelled while the connector is asked: `shutdown`, counted once, nothing left behind."""
    scene = Scene(bus)
    asked: list[Event] = []
    await bus.subscribe("kryten.robot.command", asked.append)
    job = scene.put()
    await eventually(lambda: asked)
    scene.task.cancel()
    await asyncio.wait({scene.task})
    scene.service.delivery.close()
    assert job.record.outcome is Outcome.SHUTDOWN
    assert scene.room.tally.decisions == {"shutdown": 1}
    assert scene.room.tally.deliveries == {}


async def test_finish_works_off_what_is_left(bus):
    """Told to finish, the worker says what was admitted, in order, and ends."""
    scene = await Scene(bus, ScriptedLLM("One.", "Two two.", "Three.")).listen()
    scene.model.gate.clear()
    jobs = [scene.put(user) for user in ("alice", "bob", "carol")]
    await eventually(lambda: scene.model.requests)
    scene.worker.finish()
    scene.model.gate.set()
    await scene.done(*jobs)
    assert scene.said == ["One.", "Two two.", "Three."]


async def test_finish_ends_an_idle_worker(bus):
    """With nothing to do, `finish` ends it at once."""
    scene = Scene(bus)
    await asyncio.sleep(0)
    await scene.done()


async def test_job_that_comes_to_an_idle_worker_is_taken_up(bus):
    """A worker that waits is woken by the next job, again and again."""
    scene = await Scene(bus, ScriptedLLM("One.", "Two two.")).listen()
    scene.put("alice")
    await eventually(lambda: scene.said == ["One."])
    scene.put("bob")
    await eventually(lambda: scene.said == ["One.", "Two two."])
    await scene.done()


async def test_reply_is_one_at_a_time_in_a_lane(bus):
    """First in, first out: the second job waits until the first has ended (LANE-1)."""
    scene = await Scene(bus).listen()
    scene.model.gate.clear()
    first, second = scene.put("alice"), scene.put("bob")
    await eventually(lambda: scene.model.requests)
    assert len(scene.model.requests) == 1
    assert second.record.reply is None
    scene.model.gate.set()
    await scene.done(first, second)
    # The same words to bob are a repetition of what was said to alice.
    assert second.record.outcome is Outcome.FILTERED
