"""Works one lane of a room: takes the oldest job, gets a reply, says it, concludes its record."""

from __future__ import annotations

import asyncio
import logging

from llm_bot.agents.chat import ChatAgent, NoReply, Reply, reply_fields
from llm_bot.deciding import Job
from llm_bot.decisions import Delivery, Outcome, ReplyRecord
from llm_bot.delivery import RoomDelivery, SendState
from llm_bot.lane import Lane
from llm_bot.models import LineKind
from llm_bot.ports import Clock
from llm_bot.room import Room

log = logging.getLogger(__name__)


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
        dry_run: bool,
    ) -> None:
        self._room = room
        self._lane = lane
        self._agent = agent
        self._delivery = delivery
        self._clock = clock
        self._dry_run = dry_run
        self._wake = asyncio.Event()
        self._is_finishing = False
        lane.on_put = self._wake.set

    def finish(self) -> None:
        """Do what is left, then end."""
        self._is_finishing = True
        self._wake.set()

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
        except asyncio.CancelledError:
            self._room.conclude(job.record, Outcome.SHUTDOWN)
            raise
        except Exception as exc:
            # A bug in one reply must not silence the room; it is counted and told in full.
            log.exception("reply.error", extra=self._ids(job))
            self._room.conclude(job.record, Outcome.ERROR, type(exc).__name__)
        finally:
            job.permit.give_back()

    async def _answer(self, job: Job, reply: ReplyRecord) -> None:
        result = await self._agent.reply(self._room, job, reply)
        if isinstance(result, NoReply):
            self._conclude(job, reply, result.outcome, result.detail)
            return
        if self._dry_run:
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
        room.tally.sent[line.kind.value] += 1
        room.tally.response_characters.observe(len(said.text))
        room.tally.reply_seconds.observe(reply.total_seconds)
        if result.state is SendState.UNKNOWN:
            reply.delivery = reply.delivery or Delivery.UNKNOWN.value
            room.conclude(job.record, Outcome.REPLIED, result.detail)
        log.info("reply.sent", extra={**self._ids(job), **reply_fields(reply)})

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

    def _ids(self, job: Job) -> dict[str, object]:
        return {
            "channel": self._room.config.name,
            "correlation_id": job.line.correlation_id,
            "user": job.line.user,
            "event": "pm" if job.line.kind is LineKind.PM else "chat",
        }
