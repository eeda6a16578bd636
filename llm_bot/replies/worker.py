"""Works one lane of a room: takes the oldest job, gets a reply, says it, concludes its record."""

from __future__ import annotations

import asyncio
import logging

from llm_bot.agents.chat import NoReply, reply_fields
from llm_bot.decisions import Delivery, Outcome, ReplyRecord
from llm_bot.models import LineKind
from llm_bot.replies.bugs import caught
from llm_bot.replies.delivery import RoomDelivery
from llm_bot.replies.services import SharedServices
from llm_bot.response_processor.guard import Guarded
from llm_bot.room import Room
from llm_bot.room.lane import Job, Lane

log = logging.getLogger(__name__)

CANNED_LINE_SECONDS = 60.0
"""At most one canned line a room in this time."""


class LaneWorker:
    """One at a time, in order. `run` ends when it was told to `finish` and nothing is left."""

    def __init__(
        self, room: Room, lane: Lane, delivery: RoomDelivery, shared: SharedServices
    ) -> None:
        self._room = room
        self._lane = lane
        self._delivery = delivery
        self._agent = shared.agent
        self._clock = shared.clock
        self._rng = shared.rng
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
            while (job := self._lane.take()) is not None:
                job.permit.give_back()
                self._room.conclude(job.record, Outcome.SHUTDOWN)

    async def _work(self, job: Job) -> None:
        """One job, whatever happens, to the end of its record and its permit."""
        try:
            bug = await caught(self._answer(job))
            if bug is not None:
                log.error("reply.error", exc_info=bug, extra=_ids(job))
                self._room.conclude(job.record, Outcome.ERROR, type(bug).__name__)
        except asyncio.CancelledError:
            self._room.conclude(job.record, Outcome.SHUTDOWN)
            raise
        finally:
            job.permit.give_back()

    async def _answer(self, job: Job) -> None:
        reply = job.record.reply = ReplyRecord()
        reply.queued_seconds = self._clock.monotonic() - job.line.arrived
        answer = await self._agent.reply(self._room, job, reply)
        failure = answer if isinstance(answer, NoReply) else await self._say(job, answer)
        reply.total_seconds = self._clock.monotonic() - job.line.arrived
        if isinstance(answer, str) and failure is None:
            self._note_sent(job, reply, answer)
        elif failure is not None:
            self._note_failure(job, reply, failure)
            # Nobody waits for an answer to a tick.
            if failure.outcome is Outcome.LLM_FAILED and job.line.kind is not LineKind.TICK:
                await self._say_canned_line(job)

    async def _say(self, job: Job, text: str) -> NoReply | None:
        """Say `text`, or why it wasn't said. What wasn't sent in a dry run counts as if it was."""
        room = self._room
        if room.config.silenced:  # by a reload, meanwhile
            return NoReply(Outcome.SILENCED)
        if room.config.dry_run:
            failure: NoReply | None = NoReply(Outcome.DRY_RUN)
        else:
            failure = await self._delivery.send(text, job)
            if failure is not None:
                return failure
            room.tally.sent["pm" if job.line.kind is LineKind.PM else "chat"] += 1
        job.permit.send(self._clock.monotonic())
        room.own_lines.append(text)
        return failure

    def _note_sent(self, job: Job, reply: ReplyRecord, text: str) -> None:
        tally = self._room.tally
        tally.response_characters.observe(len(text))
        tally.reply_seconds.observe(reply.total_seconds or 0.0)
        if reply.relevance is not None:
            tally.relevance.observe(reply.relevance)
        self._room.note_reply(job.record)
        is_shown = self._room.config.logging.content == "full"
        texts = {"line": job.line.text, "reply": text} if is_shown else {}
        log.info("reply.sent", extra={**_ids(job), **reply_fields(reply), **texts})

    def _note_failure(self, job: Job, reply: ReplyRecord, failure: NoReply) -> None:
        outcome = failure.outcome
        if outcome is Outcome.DRY_RUN:
            reply.delivery = Delivery.NOT_SENT.value
        elif outcome is Outcome.DELIVERY_FAILED:
            self._room.note_delivery(job.record, Delivery.REFUSED)
        self._room.conclude(job.record, outcome, failure.detail)
        how = {"outcome": outcome.value, "detail": failure.detail}
        log.info(
            "reply.dry_run" if outcome is Outcome.DRY_RUN else "reply.none",
            extra={**_ids(job), **how, **reply_fields(reply)},
        )

    async def _say_canned_line(self, job: Job) -> None:
        """Every provider has failed: say so in the operator's words, once a room and minute.

        The record stays as it is. The line counts for the room like any reply.
        """
        room, now = self._room, self._clock.monotonic()
        settings = room.config.response_processing
        lines = settings.fallback_responses if settings.fallback_responses_enabled else ()
        last = room.canned_line_at
        if not lines or (last is not None and now - last < CANNED_LINE_SECONDS):
            return
        guarded = room.guard.check(lines[int(self._rng() * len(lines)) % len(lines)])
        if room.config.silenced or not isinstance(guarded, Guarded):
            return
        room.canned_line_at = now
        if await self._say(job, guarded.text) is None:
            log.info("reply.canned", extra=_ids(job))


def _ids(job: Job) -> dict[str, object]:
    return {
        "channel": job.record.channel,
        "correlation_id": job.line.correlation_id,
        "user": job.line.user,
        "event": job.line.kind.value,
    }
