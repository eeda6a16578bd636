"""Saying it: one line at a time to a room, paced, while its deadline holds, and seen to arrive."""

from __future__ import annotations

import asyncio
import logging

from llm_bot.agents.chat import NoReply
from llm_bot.decisions import Delivery, Outcome
from llm_bot.errors import (
    BusError,
    BusUnavailableError,
    NoRespondersError,
    RequestTimeoutError,
    UnacceptedReplyError,
    UnsupportedByBusError,
)
from llm_bot.models import ChatLine, LineKind, Origin
from llm_bot.replies.services import SharedServices
from llm_bot.response_processor.guard import is_publishable_name
from llm_bot.room import Room
from llm_bot.room.confirmations import Sent
from llm_bot.room.lane import Job
from llm_bot.wire.commands import (
    headers,
    is_robot_reply,
    plain_command,
    robot_refusal,
    robot_request,
)

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.05
"""Between two tries at a bus that says it is there and isn't, or the other way round."""

CONNECTOR_RETRY_SECONDS = 0.5
"""Between two tries at a connector that has answered before and is away."""

COMMANDS_OFF = "Not connected or sender not available"
"""What the connector answers when commands are switched off in its configuration."""


class RoomDelivery:
    """Says the lines of one room. Its two lanes take turns here."""

    def __init__(self, room: Room, shared: SharedServices) -> None:
        self._room = room
        self._shared = shared
        self._bus = shared.bus
        self._clock = shared.clock
        self._has_answered = False
        self._turn = asyncio.Lock()
        self._timers: dict[Sent, asyncio.TimerHandle] = {}

    async def send(self, text: str, job: Job) -> NoReply | None:
        """Say `text` in answer to the line of `job`, once, before its deadline or not at all.

        Returns why it wasn't said; None where it was, as far as is known by now.
        """
        to = job.line.user if job.line.kind is LineKind.PM else ""
        if to and not is_publishable_name(to):
            return _failed("no account of the chat server can have that name")
        try:
            async with asyncio.timeout(job.deadline - self._clock.monotonic()):
                await self._turn.acquire()
        except TimeoutError:
            return NoReply(Outcome.TOO_LATE, "another line of the room was being said")
        try:
            while True:
                hindrance = await self._wait_until_possible(job.deadline)
                if hindrance is not None:
                    return hindrance
                retry_seconds = await self._try(Sent(to, text, job.record), job.line)
                if not isinstance(retry_seconds, float):
                    return retry_seconds
                await self._clock.sleep(retry_seconds)
        finally:
            self._turn.release()

    async def _wait_until_possible(self, deadline: float) -> NoReply | None:
        """Wait for the pause of the room and for the bus; what speaks against sending, or None."""
        while True:
            now = self._clock.monotonic()
            left, pause = deadline - now, self._room.may_send_at - now
            if left <= 0 or pause > left:
                return NoReply(Outcome.TOO_LATE, "the deadline passed before it could be sent")
            if pause > 0:
                await self._clock.sleep(pause)
            elif self._bus.is_connected:
                return None
            else:
                try:
                    if not await self._shared.buffer.wait(self._bus, left):
                        return _failed("the outbound buffer is full")
                except TimeoutError:
                    return NoReply(Outcome.TOO_LATE, "the bus was away until the deadline")
                except BusUnavailableError as exc:
                    return _failed(str(exc))
                if not self._bus.is_connected:
                    await self._clock.sleep(RETRY_SECONDS)

    async def _try(self, sent: Sent, line: ChatLine) -> NoReply | float | None:
        """One try: None if it was said, or in how many seconds to try again, since whoever is to
        hear it is away and nothing was sent."""
        room = self._room
        if room.config.replies.confirm_seconds:
            # Before the send: the own line may be back before the connector's answer is.
            crowded_out = room.confirmations.expect(sent)
            if crowded_out is not None:
                self._unconfirmed(crowded_out)
        try:
            doubt = await self._publish(sent, line)
        except BusUnavailableError:
            room.confirmations.forget(sent)
            return RETRY_SECONDS
        except NoRespondersError:
            room.confirmations.forget(sent)
            return CONNECTOR_RETRY_SECONDS
        except BusError as exc:
            room.confirmations.forget(sent)
            room.note_sent(self._clock.monotonic())
            # Evidence from the room outweighs what the answer says.
            was_seen = sent.is_settled and sent.record.outcome is Outcome.REPLIED
            return None if was_seen else _failed(str(exc))
        except BaseException:
            # Left behind, it would take the echo of a later line for its own.
            room.confirmations.forget(sent)
            raise
        room.note_sent(self._clock.monotonic())
        if doubt and sent.record.outcome is None:
            sent.record.detail = doubt
            if sent.record.reply is not None:
                sent.record.reply.delivery = Delivery.UNKNOWN.value
        self._await_echo(sent)
        return None

    async def _publish(self, sent: Sent, line: ChatLine) -> str:
        """Hand it over: why it isn't known whether it was taken, empty if it was.

        Raises:
            BusError: It wasn't taken; `BusUnavailableError` and `NoRespondersError` if nobody was
                there to take it.
        """
        now = self._clock.time()
        with_headers = headers(line.correlation_id, source=self._shared.source, now=now)
        request = robot_request(
            sent.text,
            sent.to,
            self._address(line.origin),
            source=self._shared.source,
            request_id=line.correlation_id,
            now=now,
        )
        try:
            if request is not None:
                answer = await self._bus.request(
                    request.subject,
                    request.body,
                    timeout=self._shared.request_timeout,
                    headers=with_headers,
                    accept=is_robot_reply,
                )
                self._has_answered = True
                refusal = robot_refusal(answer)
                if refusal is not None:
                    raise BusError(_explained(refusal))
                return ""
        except RequestTimeoutError:
            return "the connector did not answer in time"
        except UnacceptedReplyError as exc:
            raise BusError("something that isn't a connector answered (a stream?)") from exc
        except UnsupportedByBusError:
            pass  # it hears the plain command
        except NoRespondersError:
            # An older connector hears the plain command. One that has answered before is away,
            # and nobody would hear it: after a restart of NATS we may be back before it is.
            if self._has_answered:
                raise
        command = plain_command(sent.text, sent.to, line.origin, self._room.config.name)
        try:
            await self._bus.publish(command.subject, command.body, with_headers)
        except RequestTimeoutError as exc:  # a bus whose server says when it has a message
            return str(exc)
        return ""

    def _address(self, origin: Origin) -> Origin:
        """How the connector spells its channel and domain: from the line's envelope, or, where it
        came without one, from the last envelope that the room was heard in."""
        known = self._room.origin
        if origin.domain or known is None or known.dialect is not origin.dialect:
            return origin
        return known

    # --- whether it arrives ---

    def _await_echo(self, sent: Sent) -> None:
        seconds = self._room.config.replies.confirm_seconds
        if not seconds:
            self._unconfirmed(sent)
        elif not sent.is_settled:
            loop = asyncio.get_running_loop()
            self._timers[sent] = loop.call_later(seconds, self._expire, sent)

    def _expire(self, sent: Sent) -> None:
        del self._timers[sent]
        if not sent.is_settled:
            self._room.confirmations.forget(sent)
            self._unconfirmed(sent)
            record = sent.record
            fields = {"channel": record.channel, "correlation_id": record.correlation_id}
            log.info("delivery.unconfirmed", extra=fields)

    def _unconfirmed(self, sent: Sent) -> None:
        sent.is_settled = True
        reply = sent.record.reply
        if reply is not None and reply.delivery is None:
            reply.delivery = Delivery.UNCONFIRMED.value
        self._room.tally.deliveries[Delivery.UNCONFIRMED.value] += 1
        self._room.conclude(sent.record, Outcome.REPLIED)

    def close(self) -> None:
        """Wait for no echo any more: what was sent counts as said."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        while self._room.confirmations:
            self._unconfirmed(self._room.confirmations.pop())


def _failed(why: str) -> NoReply:
    return NoReply(Outcome.DELIVERY_FAILED, why)


def _explained(refusal: str) -> str:
    """What the connector says, and what to do about it where that is known."""
    if COMMANDS_OFF in refusal:
        return f"{refusal} (if it is connected: set commands.enabled in the connector's config)"
    return refusal
