"""What stands in for the world outside: small, in memory, moved by hand."""

from __future__ import annotations

import asyncio

from llm_bot.decisions import DecisionRecord
from llm_bot.llm_client import (
    Attempt,
    AttemptStatus,
    LLMError,
    LLMRequest,
    LLMResponse,
    Usage,
)
from llm_bot.models import ChatLine, LineKind
from llm_bot.room import RoomObserver


class Recorder(RoomObserver):
    """Keeps the records of what was decided, and of what has ended."""

    def __init__(self) -> None:
        self.records: list[DecisionRecord] = []
        self.lines: list[ChatLine] = []
        self.concluded: list[DecisionRecord] = []

    @property
    def ticks(self) -> list[DecisionRecord]:
        return [record for record in self.records if record.event == LineKind.TICK]

    def on_decision(self, record: DecisionRecord, line: ChatLine) -> None:
        self.records.append(record)
        self.lines.append(line)

    def on_concluded(self, record: DecisionRecord) -> None:
        self.concluded.append(record)


class ManualClock:
    """Time that passes when told to.

    A sleep of up to `passes_up_to` seconds passes at once; a longer one lasts until `advance` goes
    beyond it.
    """

    def __init__(self, passes_up_to: float = 0.0) -> None:
        self.now = 1000.0
        self.epoch = 1_700_000_000.0
        self.slept: list[float] = []
        self._passes_up_to = passes_up_to
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.epoch + self.now

    async def sleep(self, seconds: float) -> None:
        if seconds <= self._passes_up_to:
            self.slept.append(seconds)
            self.now += max(0.0, seconds)
            await asyncio.sleep(0)
            return
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, waker))
        await waker

    @property
    def sleeping(self) -> int:
        """How many sleep now."""
        return sum(not waker.done() for _, waker in self._sleepers)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass and wake whoever slept until then."""
        self.now += seconds
        due = [waker for moment, waker in self._sleepers if moment <= self.now]
        self._sleepers = [each for each in self._sleepers if each[0] > self.now]
        for waker in due:
            if not waker.done():
                waker.set_result(None)


class ScriptedLLM:
    """A model that gives `answers` in turn, the last one for ever: texts are said, errors raised.

    `requests` holds what it was asked. While `gate` isn't set it thinks.
    """

    def __init__(self, *answers: str | LLMResponse | BaseException) -> None:
        self.requests: list[LLMRequest] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._answers = answers or ("Sure thing, alice.",)

    async def generate(self, request: LLMRequest) -> LLMResponse:
        answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
        self.requests.append(request)
        await self.gate.wait()
        if isinstance(answer, BaseException):
            raise answer
        return llm_response(answer) if isinstance(answer, str) else answer


def llm_attempt(outcome: AttemptStatus = AttemptStatus.SUCCESS) -> Attempt:
    """One request that went out to the provider `fake`."""
    return Attempt("fake", "asked", None, None, 0.1, outcome)


def llm_response(content: str) -> LLMResponse:
    """An answer that took one request and tells its tokens."""
    return LLMResponse(
        content,
        model="answered",
        provider="fake",
        usage=Usage(prompt_tokens=7, completion_tokens=3),
        attempt_log=(llm_attempt(),),
    )


def llm_failure(error: LLMError, *, attempts: int = 1) -> LLMError:
    """`error` as the client raises it after so many requests went out."""
    error.attempts = attempts
    error.attempt_log = tuple(llm_attempt(error.outcome) for _ in range(attempts))
    return error
