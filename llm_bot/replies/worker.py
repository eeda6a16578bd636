"""Works one lane of a room: takes the oldest job, gets a reply, says it, concludes its record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from llm_bot.agents.chat import ChatAgent, NoReply, Reply, reply_fields
from llm_bot.decisions import Delivery, Outcome, ReplyRecord
from llm_bot.models import ChatLine, LineKind
from llm_bot.ports import Clock
from llm_bot.replies.delivery import RoomDelivery, SendState
from llm_bot.response_processor.guard import Guarded
from llm_bot.room import Room
from llm_bot.room.lane import Job, Lane

log = logging.getLogger(__name__)

CANNED_LINE_SECONDS = 60.0
"""At most one canned line a room in this time."""


class LaneWorker:
    """One at a time, in order. `run` ends when it was told to `finish` and nothing is left."""

    def __init__(
        self,
        room: Room,
        lane: Lane,
        *,
        agent: ChatAgent,
        delivery: RoomDelivery,
        clock: Clock,
        rng: Callable[[], float],
    ) -> None:
        self._room = room
        self._lane = lane
        self._agent = agent
        self._delivery = delivery
        self._clock = clock
        self._rng = rng
        self._wake = asyncio.Event()
        self._is_finishing = False

    def wake(self) -> None:
        """Something may wait in the lane."""
        self._wake.set()

    def finish(self) -> None:
        """Do what is left, then end."""
        self._is_finishing = True
        self.wake()

    async def run(self) -> None:
        """Work until `finish`. Cancelled, it concludes what is left as `shutdown`."""
        try:
            while True:
                job = self._lane.take()
                if job is not None:
                    await self._work(job)
                elif self._is_finishing:
                    return
                else:
                    self._wake.clear()
                    await self._wake.wait()
        finally:
            self._abandon_waiting()

    def _abandon_waiting(self) -> None:
        while (job := self._lane.take()) is not None:
            job.permit.give_back()
            self._room.conclude(job.record, Outcome.SHUTDOWN)

    async def _work(self, job: Job) -> None:
        """One job, whatever happens, to the end of its record and its permit."""
        reply = job.record.reply = ReplyRecord()
        reply.queued_seconds = self._clock.monotonic() - job.line.arrived
        try:
            await self._answer(job, reply)
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                self._room.conclude(job.record, Outcome.SHUTDOWN)
                raise
            # Something that the reply waited for was cancelled. Raised on, it would end the lane,
            # and a task group takes that for an orderly end.
            self._fail(job, exc)
        except Exception as exc:  # noqa: BLE001 - a bug in one reply must not silence the room
            self._fail(job, exc)
        finally:
            job.permit.give_back()

    def _fail(self, job: Job, error: BaseException) -> None:
        """A bug: counted, and told in full."""
        log.error("reply.error", exc_info=error, extra=self._ids(job))
        self._room.conclude(job.record, Outcome.ERROR, type(error).__name__)

    async def _answer(self, job: Job, reply: ReplyRecord) -> None:
        if self._room.config.silenced:  # by a reload, while it waited
            self._conclude(job, reply, Outcome.SILENCED)
            return
        result = await self._agent.reply(self._room, job, reply)
        if isinstance(result, NoReply):
            self._conclude(job, reply, result.outcome, result.detail)
            if result.outcome is Outcome.LLM_FAILED and job.line.kind is not LineKind.TICK:
                await self._say_canned_line(job)  # nobody waits for an answer to a tick
            return
        if self._room.config.silenced:
            self._conclude(job, reply, Outcome.SILENCED)
            return
        if self._room.config.dry_run:
            job.permit.send(self._clock.monotonic())
            reply.delivery = Delivery.NOT_SENT.value
            self._room.own_lines.append(result.text)
            self._conclude(job, reply, Outcome.DRY_RUN)
            return
        await self._say(job, reply, result)

    async def _say(self, job: Job, reply: ReplyRecord, said: Reply) -> None:
        room, line = self._room, job.line
        result = await self._delivery.send(said.text, line, job.record, job.deadline)
        now = self._clock.monotonic()
        if result.state is SendState.TOO_LATE:
            self._conclude(job, reply, Outcome.TOO_LATE, result.detail)
            return
        if result.state is SendState.FAILED:
            reply.delivery = Delivery.REFUSED.value
            room.tally.deliveries[Delivery.REFUSED.value] += 1
            self._conclude(job, reply, Outcome.DELIVERY_FAILED, result.detail)
            return
        job.permit.send(now)
        reply.total_seconds = now - line.arrived
        room.own_lines.append(said.text)
        room.tally.sent[_target(line)] += 1
        room.tally.response_characters.observe(len(said.text))
        room.tally.reply_seconds.observe(reply.total_seconds)
        if reply.relevance is not None:
            room.tally.relevance.observe(reply.relevance)
        room.note_reply(job.record)
        log.info(
            "reply.sent",
            extra={**self._ids(job), **reply_fields(reply), **self._texts(job, said.text)},
        )

    async def _say_canned_line(self, job: Job) -> None:
        """Every provider has failed: say so in the operator's words, once a room and minute.

        The record stays as it is. The line counts for the room like any reply.
        """
        room, now = self._room, self._clock.monotonic()
        settings = room.config.response_processing
        enabled = settings.fallback_responses_enabled and not room.config.silenced
        if not enabled or not settings.fallback_responses:
            return
        last = room.canned_line_at
        if last is not None and now - last < CANNED_LINE_SECONDS:
            return
        lines = settings.fallback_responses
        guarded = room.guard.check(lines[int(self._rng() * len(lines)) % len(lines)])
        if not isinstance(guarded, Guarded):
            return
        room.canned_line_at = now
        if self._room.config.dry_run:
            job.permit.send(now)
            return
        result = await self._delivery.send(guarded.text, job.line, job.record, job.deadline)
        if result.state in (SendState.SENT, SendState.UNKNOWN):
            job.permit.send(self._clock.monotonic())
            room.own_lines.append(guarded.text)
            room.tally.sent[_target(job.line)] += 1
            log.info("reply.canned", extra=self._ids(job))

    def _conclude(self, job: Job, reply: ReplyRecord, outcome: Outcome, detail: str = "") -> None:
        reply.total_seconds = self._clock.monotonic() - job.line.arrived
        self._room.conclude(job.record, outcome, detail)
        log.info(
            "reply.none" if outcome is not Outcome.DRY_RUN else "reply.dry_run",
            extra={
                **self._ids(job),
                "outcome": outcome.value,
                "detail": detail,
                **reply_fields(reply),
            },
        )

    def _texts(self, job: Job, said: str) -> dict[str, str]:
        """What was said, where the operator wants it in the log."""
        if self._room.config.logging_content != "full":
            return {}
        return {"line": job.line.text, "reply": said}

    def _ids(self, job: Job) -> dict[str, object]:
        return {
            "channel": self._room.config.name,
            "correlation_id": job.line.correlation_id,
            "user": job.line.user,
            "event": job.line.kind.value,
        }


def _target(line: ChatLine) -> str:
    """Where a reply to `line` goes, as the metric names it."""
    return "pm" if line.kind is LineKind.PM else "chat"
