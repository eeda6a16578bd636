"""Saying it: one line at a time to a room, paced, while its deadline holds, and seen to arrive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum

import msgspec

from llm_bot.decisions import DecisionRecord, Delivery, Outcome
from llm_bot.errors import (
    BusError,
    BusUnavailableError,
    NoRespondersError,
    RequestTimeoutError,
    UnacceptedReplyError,
    UnsupportedByBusError,
)
from llm_bot.models import ChatLine, LineKind, Origin
from llm_bot.ports import Bus, Clock
from llm_bot.response_processor.guard import is_publishable_name
from llm_bot.room import Room
from llm_bot.room.confirmations import Sent
from llm_bot.wire.commands import (
    Command,
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


class SendState(StrEnum):
    """What became of a line that was to be said. `UNKNOWN`: handed over, no answer in time."""

    SENT = "sent"
    UNKNOWN = "unknown"
    FAILED = "failed"
    TOO_LATE = "too_late"


class SendResult(msgspec.Struct, frozen=True):
    """How a send ended, and why where it went wrong."""

    state: SendState
    detail: str = ""


class OutboundBuffer:
    """How many replies of all rooms wait for the bus to come back, bounded."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.depth = 0

    async def wait(self, bus: Bus, seconds: float) -> bool:
        """Wait for the bus; false if there was no place. Raises TimeoutError."""
        if self.depth >= self._size:
            return False
        self.depth += 1
        try:
            # Not `wait_for`: Python 3.11's loses a cancellation that comes with the connection.
            async with asyncio.timeout(seconds):
                await bus.wait_connected()
        finally:
            self.depth -= 1
        return True


class RoomDelivery:
    """Says the lines of one room. Its two lanes take turns here."""

    def __init__(
        self,
        room: Room,
        *,
        bus: Bus,
        clock: Clock,
        buffer: OutboundBuffer,
        source: str,
        request_timeout: float,
    ) -> None:
        self._room = room
        self._bus = bus
        self._clock = clock
        self._buffer = buffer
        self._source = source
        self._request_timeout = request_timeout
        self._has_answered = False
        self._turn = asyncio.Lock()
        self._timers: set[asyncio.TimerHandle] = set()

    async def send(
        self, text: str, line: ChatLine, record: DecisionRecord, deadline: float
    ) -> SendResult:
        """Say `text` in answer to `line`, once, before `deadline` (monotonic) or not at all."""
        if line.kind is LineKind.PM and not is_publishable_name(line.user):
            return SendResult(SendState.FAILED, "no account of the chat server can have that name")
        try:
            async with asyncio.timeout(self._left(deadline)):
                await self._turn.acquire()
        except TimeoutError:
            return SendResult(SendState.TOO_LATE, "another line of the room was being said")
        try:
            return await self._send_in_turn(text, line, record, deadline)
        finally:
            self._turn.release()

    def _left(self, deadline: float) -> float:
        return deadline - self._clock.monotonic()

    async def _send_in_turn(
        self, text: str, line: ChatLine, record: DecisionRecord, deadline: float
    ) -> SendResult:
        while True:
            refused = await self._wait_until_possible(deadline)
            if refused is not None:
                return refused
            to = line.user if line.kind is LineKind.PM else ""
            sent = self._expect_echo(text, to, record)
            try:
                result = await self._publish(text, to, line)
            except (BusUnavailableError, NoRespondersError) as exc:
                # Nothing was sent: wait for whoever is away, as long as the deadline holds.
                self._room.confirmations.forget(sent)
                is_bus = isinstance(exc, BusUnavailableError)
                await self._clock.sleep(RETRY_SECONDS if is_bus else CONNECTOR_RETRY_SECONDS)
                continue
            except BusError as exc:
                result = SendResult(SendState.FAILED, str(exc))
            except BaseException:
                # Left behind, it would take the echo of a later line for its own.
                self._room.confirmations.forget(sent)
                raise
            return self._judge(sent, result)

    def _judge(self, sent: Sent, result: SendResult) -> SendResult:
        """The end of a send: `result` is what the answer says, evidence from the room outweighs."""
        room = self._room
        earliest = self._clock.monotonic() + room.config.replies.min_interval_seconds
        room.may_send_at = max(room.may_send_at, earliest)
        if result.state is SendState.FAILED:
            self._room.confirmations.forget(sent)
            was_seen = sent.is_settled and sent.record.outcome is Outcome.REPLIED
            return SendResult(SendState.SENT) if was_seen else result
        if result.state is SendState.UNKNOWN and sent.record.outcome is None:
            sent.record.detail = result.detail
            if sent.record.reply is not None:
                sent.record.reply.delivery = Delivery.UNKNOWN.value
        self._await_echo(sent)
        return result

    async def _wait_until_possible(self, deadline: float) -> SendResult | None:
        """Wait for the pause of the room and for the bus; what speaks against sending, or None."""
        while True:
            left = self._left(deadline)
            pause = self._room.may_send_at - self._clock.monotonic()
            if left <= 0 or pause > left:
                return SendResult(SendState.TOO_LATE, "the deadline passed before it could be sent")
            if pause > 0:
                await self._clock.sleep(pause)
            elif self._bus.is_connected:
                return None
            else:
                try:
                    if not await self._buffer.wait(self._bus, left):
                        return SendResult(SendState.FAILED, "the outbound buffer is full")
                except TimeoutError:
                    return SendResult(SendState.TOO_LATE, "the bus was away until the deadline")
                except BusUnavailableError as exc:
                    return SendResult(SendState.FAILED, str(exc))
                if not self._bus.is_connected:
                    await self._clock.sleep(RETRY_SECONDS)

    async def _publish(self, text: str, to: str, line: ChatLine) -> SendResult:
        now = self._clock.time()
        sent_with = headers(line.correlation_id, source=self._source, now=now)
        request = robot_request(
            text,
            to,
            self._address(line.origin),
            source=self._source,
            request_id=line.correlation_id,
            now=now,
        )
        if request is not None:
            try:
                return await self._request(request, sent_with)
            except UnsupportedByBusError:
                pass  # it hears the plain command
            except NoRespondersError:
                # An older connector hears the plain command. One that has answered before is away,
                # and nobody would hear it: after a restart of NATS we may be back before it is.
                if self._has_answered:
                    raise
        command = plain_command(text, to, line.origin, self._room.config.name)
        try:
            await self._bus.publish(command.subject, command.body, sent_with)
        except RequestTimeoutError as exc:  # a bus whose server says when it has a message
            return SendResult(SendState.UNKNOWN, str(exc))
        return SendResult(SendState.SENT)

    def _address(self, origin: Origin) -> Origin:
        """How the connector spells its channel and domain: from the line's envelope, or, where it
        came without one, from the last envelope that the room was heard in."""
        known = self._room.origin
        if origin.domain or known is None or known.dialect is not origin.dialect:
            return origin
        return known

    async def _request(self, request: Command, sent_with: dict[str, str]) -> SendResult:
        try:
            answer = await self._bus.request(
                request.subject,
                request.body,
                timeout=self._request_timeout,
                headers=sent_with,
                accept=is_robot_reply,
            )
        except RequestTimeoutError:
            return SendResult(SendState.UNKNOWN, "the connector did not answer in time")
        except UnacceptedReplyError:
            return SendResult(
                SendState.FAILED, "something that isn't a connector answered (a stream?)"
            )
        self._has_answered = True
        refusal = robot_refusal(answer)
        if refusal is None:
            return SendResult(SendState.SENT)
        if COMMANDS_OFF in refusal:
            refusal += " (if it is connected: set commands.enabled in the connector's config)"
        return SendResult(SendState.FAILED, refusal)

    def _expect_echo(self, text: str, to: str, record: DecisionRecord) -> Sent:
        """Before the send: the own line may be back before the connector's answer is."""
        sent = Sent(to, text, record)
        if self._room.config.replies.confirm_seconds:
            crowded_out = self._room.confirmations.expect(sent)
            if crowded_out is not None:
                self._unconfirmed(crowded_out)
        return sent

    def _await_echo(self, sent: Sent) -> None:
        seconds = self._room.config.replies.confirm_seconds
        if not seconds:
            self._unconfirmed(sent)
            return
        if not sent.is_settled:
            self._in(seconds, lambda: self._expire(sent))

    def _in(self, seconds: float, call: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(seconds, fire)
        self._timers.add(timer)

    def _expire(self, sent: Sent) -> None:
        if not sent.is_settled:
            self._room.confirmations.forget(sent)
            self._unconfirmed(sent)
            fields = {
                "channel": self._room.config.name,
                "correlation_id": sent.record.correlation_id,
            }
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
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        while self._room.confirmations:
            sent = self._room.confirmations.pop()
            self._unconfirmed(sent)
