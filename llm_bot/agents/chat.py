"""The way from an admitted line to a reply: prompt, model, processor, guard."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from llm_bot.agents.base import BaseAgent
from llm_bot.agents.prompts import Prompt
from llm_bot.agents.schemas import AgentResponse, UserMessage
from llm_bot.config import ContextualTriggerConfig
from llm_bot.decisions import DecisionRecord, Outcome, ReplyRecord
from llm_bot.evaluation.relevance import relevance
from llm_bot.llm_client import (
    AllProvidersFailedError,
    DeadlineExceededError,
    GenerationError,
    LLMError,
    LLMRequest,
    LLMResponse,
    TimeoutError,
)
from llm_bot.models import ChatLine, Dialect, LineKind, Origin
from llm_bot.ports import Clock, Model
from llm_bot.rate_limiter import Permit
from llm_bot.response_processor import FilterReason
from llm_bot.response_processor.guard import Guarded
from llm_bot.room import Room
from llm_bot.room.lane import Job
from llm_bot.triggers.contextual import is_yes

log = logging.getLogger(__name__)

PARTICIPATION_TOKENS = 5
"""Room for a yes or a no, and hardly more to pay."""

EMPTY_ANSWER_CODES = frozenset({"empty", "length"})
"""Codes of the client's errors that mean: it answered, and there was nothing in it."""


class NoReply(msgspec.Struct, frozen=True):
    """Nothing will be said, and why."""

    outcome: Outcome
    detail: str = ""


class ChatAgent(BaseAgent):
    """Makes replies for any room: prompt, model, checks. Holds nothing of a room.

    The room's worker takes `reply`. `process_message` is the same way for a message that no room
    heard and no limit was asked about; `room_of` says which room a conversation is, by its id.
    """

    def __init__(
        self, model: Model, clock: Clock, *, room_of: Callable[[str], Room | None] | None = None
    ) -> None:
        super().__init__("chat")
        self._model = model
        self._clock = clock
        self._room_of = room_of

    async def process_message(self, message: UserMessage) -> AgentResponse | None:
        """Answer in the words of the message's room, through its processor and guard.

        None where the conversation is no room, the room is silenced, or nothing may be said.
        Neither says nor remembers anything: that is up to whoever asked.
        """
        room = self._room_of(message.conversation_id) if self._room_of is not None else None
        if room is None:
            return None
        job = _job(room, message, self._clock.monotonic())
        result = await self.reply(room, job, ReplyRecord())
        return self.answer(message, result) if isinstance(result, str) else None

    async def reply(self, room: Room, job: Job, record: ReplyRecord) -> str | NoReply:
        """Ask the model, clean and check its answer: a line that may be published as it stands.

        What it took is noted in `record`.

        The user's and the trigger's permits are spent as soon as a request went out, whatever
        comes of it, so that provoking answers which are filtered away isn't free.
        """
        if room.config.silenced:
            return NoReply(Outcome.SILENCED)
        started = self._clock.monotonic()
        remaining = job.deadline - started
        if remaining <= 0:
            return NoReply(Outcome.TOO_LATE, "the deadline passed while it waited")
        prompt = self._prompt(room, job.line)
        request = LLMRequest(
            prompt.messages(),
            model=room.config.llm_model,
            deadline_seconds=remaining,
            correlation_id=job.line.correlation_id,
            asker=job.line.user.lower(),
            shorten=prompt.shortened,
        )
        taken: LLMResponse | LLMError
        try:
            taken = await self._model.generate(request)
        except asyncio.CancelledError:
            # Whether the request had gone out can't be told; it counts as if it had.
            job.permit.spend(self._clock.monotonic())
            raise
        except LLMError as error:
            taken = error
        now = self._clock.monotonic()
        if taken.attempts:
            job.permit.spend(now)
        record.model_seconds = now - started
        _note(taken, record)
        if isinstance(taken, LLMError):
            return _failed(room, job.line, taken)
        return _checked(room, prompt, taken.content, record)

    async def wants_to_take_part(
        self, room: Room, tick: ChatLine, config: ContextualTriggerConfig
    ) -> bool:
        """Ask the model whether to say something unasked. Raises `LLMError`; too late is a no."""
        seconds = config.participation_timeout_seconds
        request = LLMRequest(
            self._prompt(room, tick).question(config.participation_prompt),
            model=room.config.llm_model,
            max_tokens=PARTICIPATION_TOKENS,
            timeout_seconds=seconds,
            deadline_seconds=seconds,
            correlation_id=tick.correlation_id,
        )
        try:
            response = await self._model.generate(request)
        except (DeadlineExceededError, TimeoutError):
            return False
        return is_yes(response.content)

    def _prompt(self, room: Room, line: ChatLine) -> Prompt:
        return Prompt(
            config=room.config,
            bot_name=room.own_names[0],
            line=line,
            conversation=room.conversation(line, self._clock.time()),
            media_title=room.media.title if room.media else "",
            tag=secrets.token_hex(6),
        )


def _job(room: Room, message: UserMessage, now: float) -> Job:
    """`message` as an admitted line that counts in no limit."""
    heard_at = message.timestamp.timestamp()
    origin = Origin(Dialect.PLAIN, "")
    line = ChatLine(
        LineKind.CHAT, message.user_id, message.content, message.id, origin, heard_at, now
    )
    record = DecisionRecord(message.id, room.config.name, line.user, heard_at, line.kind, None)
    return Job(line, Permit([], []), record, now + room.config.replies.deadline_seconds)


def _note(taken: LLMResponse | LLMError, record: ReplyRecord) -> None:
    record.attempts = taken.attempts
    if taken.attempt_log:
        # As it was asked for: what a server calls itself may be anything, and of any length.
        record.provider = taken.attempt_log[-1].provider
        record.model = taken.attempt_log[-1].model
    if isinstance(taken, LLMResponse):
        record.prompt_tokens = taken.usage.prompt_tokens
        record.completion_tokens = taken.usage.completion_tokens


def _failed(room: Room, line: ChatLine, error: LLMError) -> NoReply:
    told = str(error)  # what a server quoted of the conversation is blacked out in it
    log.warning(
        "llm.failed",
        extra={
            "channel": room.config.name,
            "correlation_id": line.correlation_id,
            "code": error.code,
            "attempts": error.attempts,
            "error": told,
        },
    )
    if isinstance(error, DeadlineExceededError):
        return NoReply(Outcome.TOO_LATE, told)
    return NoReply(Outcome.EMPTY_REPLY if _is_empty(error) else Outcome.LLM_FAILED, told)


def _is_empty(error: LLMError) -> bool:
    """Whether whoever was asked answered with nothing."""
    if isinstance(error, AllProvidersFailedError) and error.errors:
        return all(map(_is_empty, error.errors))
    return isinstance(error, GenerationError) and error.code in EMPTY_ANSWER_CODES


def _checked(room: Room, prompt: Prompt, answer: str, record: ReplyRecord) -> str | NoReply:
    """The answer as it may be said: through processor, relevance and guard."""
    processed = room.processor.process(
        answer,
        line=prompt.line.text,
        own_names=room.own_names,
        recent_own_lines=tuple(room.own_lines),
        asker=prompt.line.user,
        others=room.names(),
    )
    record.filters = processed.steps
    if processed.refusal is not None:
        return _filtered(room, processed.refusal, record)
    record.relevance = relevance(prompt.spoken(), processed.text)
    if record.relevance < room.config.response_processing.min_relevance:
        return _filtered(room, FilterReason.IRRELEVANT, record)
    guarded = room.guard.check(processed.text)
    if not isinstance(guarded, Guarded):
        return _filtered(room, guarded.reason, record)
    record.filters += tuple(f"guard:{change}" for change in guarded.changes)
    return guarded.text


def _filtered(room: Room, reason: FilterReason, record: ReplyRecord) -> NoReply:
    room.tally.filtered[reason.value] += 1
    record.filters += (f"refused:{reason.value}",)
    outcome = Outcome.EMPTY_REPLY if reason is FilterReason.EMPTY else Outcome.FILTERED
    return NoReply(outcome, reason.value)


def reply_fields(record: ReplyRecord) -> dict[str, Any]:
    """What a log line says of a reply."""
    seconds = {
        name: None if (value := getattr(record, name)) is None else round(value, 3)
        for name in ("queued_seconds", "model_seconds", "total_seconds")
    }
    taken = {"provider": record.provider, "model": record.model, "attempts": record.attempts}
    return {**taken, **seconds, "filters": list(record.filters)}
