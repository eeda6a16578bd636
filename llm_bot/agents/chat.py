"""The way from an admitted line to a reply: prompt, model, processor, guard."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_bot.config import ContextualTriggerConfig
from llm_bot.deciding import Job
from llm_bot.decisions import Outcome, ReplyRecord
from llm_bot.guard import FilterReason, Guarded
from llm_bot.llm_client import (
    AllProvidersFailedError,
    DeadlineExceededError,
    GenerationError,
    LLMError,
    LLMRequest,
    LLMResponse,
    TimeoutError,
    ValidationError,
)
from llm_bot.models import ChatLine
from llm_bot.ports import Clock, Model
from llm_bot.prompts import Prompt
from llm_bot.room import Room
from llm_bot.triggers.contextual import is_yes

log = logging.getLogger(__name__)

PARTICIPATION_TOKENS = 5
"""Room for a yes or a no, and hardly more to pay."""

EMPTY_ANSWER_CODES = frozenset({"empty", "length"})
"""Codes of the client's errors that mean: it answered, and there was nothing in it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A line that may be published as it stands."""

    text: str


@dataclass(frozen=True, slots=True)
class NoReply:
    """Nothing will be said, and why."""

    outcome: Outcome
    detail: str = ""


class ChatAgent:
    """Makes replies for any room. Holds nothing of a room."""

    name = "chat"

    def __init__(self, model: Model, clock: Clock) -> None:
        self._model = model
        self._clock = clock

    async def reply(self, room: Room, job: Job, record: ReplyRecord) -> Reply | NoReply:
        """Ask the model, clean and check its answer. What it took is noted in `record`.

        The user's and the trigger's permits are spent as soon as a request went out, whatever
        comes of it, so that provoking answers which are filtered away isn't free.
        """
        started = self._clock.monotonic()
        remaining = job.deadline - started
        if remaining <= 0:
            return NoReply(Outcome.TOO_LATE, "the deadline passed while it waited")
        try:
            response = await self._model.generate(self._request(room, job, remaining))
        except asyncio.CancelledError:
            # Whether the request had gone out can't be told; it counts as if it had.
            job.permit.spend(self._clock.monotonic())
            raise
        except LLMError as error:
            record.model_seconds = self._clock.monotonic() - started
            return self._failed(room, job, error, record)
        record.model_seconds = self._clock.monotonic() - started
        job.permit.spend(self._clock.monotonic())
        _note(response, record)
        return self._checked(room, job, response.content, record)

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

    def _request(self, room: Room, job: Job, remaining: float) -> LLMRequest:
        return LLMRequest(
            self._prompt(room, job.line).messages(),
            model=room.config.llm_model,
            deadline_seconds=remaining,
            correlation_id=job.line.correlation_id,
        )

    def _failed(self, room: Room, job: Job, error: LLMError, record: ReplyRecord) -> NoReply:
        if error.attempts:
            job.permit.spend(self._clock.monotonic())
            record.provider = error.attempt_log[-1].provider
            record.model = error.attempt_log[-1].model
        record.attempts = error.attempts
        told = _told(error, room)
        log.warning(
            "llm.failed",
            extra={
                "channel": job.record.channel,
                "correlation_id": job.record.correlation_id,
                "code": error.code,
                "attempts": error.attempts,
                "error": told,
            },
        )
        if isinstance(error, DeadlineExceededError):
            return NoReply(Outcome.TOO_LATE, told)
        if isinstance(error, GenerationError) and error.code in EMPTY_ANSWER_CODES:
            return NoReply(Outcome.EMPTY_REPLY, told)
        return NoReply(Outcome.LLM_FAILED, told)

    def _checked(self, room: Room, job: Job, answer: str, record: ReplyRecord) -> Reply | NoReply:
        processed = room.processor.process(
            answer,
            line=job.line.text,
            own_names=room.own_names,
            recent_own_lines=tuple(room.own_lines),
        )
        record.filters = processed.steps
        if processed.refusal is not None:
            return _filtered(room, processed.refusal, record)
        guarded = room.guard.check(processed.text)
        if not isinstance(guarded, Guarded):
            return _filtered(room, guarded.reason, record)
        record.filters += tuple(f"guard:{change}" for change in guarded.changes)
        return Reply(guarded.text)


def _told(error: LLMError, room: Room) -> str:
    """What may be told of `error`: a server that minds a request may quote the chat in it."""
    if room.config.logging_content == "full":
        return str(error)
    if isinstance(error, AllProvidersFailedError) and error.errors:
        return "; ".join(_told(each, room) for each in error.errors)
    if isinstance(error, ValidationError | GenerationError) and (error.status or 0) >= 400:
        return f"{error.provider}: {error.code} (HTTP {error.status})"
    return str(error)


def _filtered(room: Room, reason: FilterReason, record: ReplyRecord) -> NoReply:
    room.tally.filtered[reason.value] += 1
    record.filters += (f"refused:{reason.value}",)
    outcome = Outcome.EMPTY_REPLY if reason is FilterReason.EMPTY else Outcome.FILTERED
    return NoReply(outcome, reason.value)


def _note(response: LLMResponse, record: ReplyRecord) -> None:
    record.provider = response.provider
    record.model = response.model
    record.attempts = response.attempts
    record.prompt_tokens = response.usage.prompt_tokens
    record.completion_tokens = response.usage.completion_tokens


def reply_fields(record: ReplyRecord) -> Mapping[str, Any]:
    """What a log line says of a reply."""
    return {
        "provider": record.provider,
        "model": record.model,
        "attempts": record.attempts,
        "queued_seconds": _rounded(record.queued_seconds),
        "model_seconds": _rounded(record.model_seconds),
        "total_seconds": _rounded(record.total_seconds),
        "filters": list(record.filters),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
