"""The client: who owns the connections, the slots and the patience."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.adapters import HTTPReply, HTTPRequest, get_adapter
from llm_bot.llm_client.clock import Clock, Deadline, SystemClock, within
from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.connection import Connection, Transport
from llm_bot.llm_client.models import Attempt, AttemptStatus, LLMRequest, LLMResponse
from llm_bot.llm_client.retry import RetryPolicy, next_wait

log = logging.getLogger(__name__)

OnAttempt = Callable[[Attempt], None]


class LLMClient:
    """Asks a model over HTTP, again where that may help, never past the deadline.

    Proxies (`HTTPS_PROXY`, `NO_PROXY`) and certificates (`SSL_CERT_FILE`) of the environment are
    honoured, since that is where operators name them; this machine itself is always direct.

    Args:
        config: The provider.
        clock: What the time is and how it passes.
        chance: Gives numbers from 0 to 1, for the jitter of pauses.
        transport: Instead of real connections; closed with the client.
        on_attempt: Called with each request that ended in an answer or an error (not in a
            cancellation), before `generate` goes on.

    Raises:
        ConfigurationError: The provider isn't known, or it needs a key and has none.

    >>> import httpx
    >>> from llm_bot.llm_client import LLMClient, LLMConfig, LLMRequest, Message
    >>> answer = {"choices": [{"message": {"content": "Hi!"}}]}
    >>> pretended = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    >>> async def ask() -> str:
    ...     config = LLMConfig(provider="ollama", base_url="http://127.0.0.1:11434", model="m")
    ...     async with LLMClient(config, transport=pretended) as client:
    ...         return (await client.generate(LLMRequest([Message("user", "Hello")]))).content
    >>> asyncio.run(ask())
    'Hi!'
    """

    def __init__(
        self,
        config: LLMConfig,
        *,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        transport: Transport | None = None,
        on_attempt: OnAttempt | None = None,
    ) -> None:
        self._adapter = get_adapter(config)
        self._policy = RetryPolicy(
            config.max_attempts, config.retry_delay_seconds, config.max_retry_delay_seconds
        )
        self._slots = asyncio.Semaphore(config.max_concurrent_requests)
        self._clock = clock or SystemClock()
        self._chance = chance
        self._connection = Connection(transport)
        self._on_attempt = on_attempt

    async def __aenter__(self) -> Self:
        self._connection.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Idempotent; nothing can be asked afterwards."""
        await self._connection.aclose()

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Ask, and ask again while that may help and the deadline allows.

        Cancelling it leaves no connection and no slot behind.

        Raises:
            LLMError: The last error of the provider, as it was; `DeadlineExceededError` if the
                deadline passed before there was one, or cut the last request short.
            RuntimeError: The client isn't open.
        """
        if not self._connection.is_open:
            raise RuntimeError("the LLMClient isn't open")
        started = self._clock.monotonic()
        attempts: list[Attempt] = []
        try:
            response = await self._ask(request, attempts)
        except errors.LLMError as exc:
            exc.attempts = len(attempts)
            exc.attempt_log = tuple(attempts)
            raise
        return replace(
            response,
            latency_seconds=self._clock.monotonic() - started,
            attempts=len(attempts),
            retries=len(attempts) - 1,
            attempt_log=tuple(attempts),
        )

    async def _ask(self, request: LLMRequest, attempts: list[Attempt]) -> LLMResponse:
        self._check_patience(request)
        outgoing = self._adapter.build_chat(request)
        deadline = Deadline(self._clock, request.deadline_seconds)
        failure: errors.LLMError | None = None
        while True:
            if not await self._take_slot(deadline):
                raise failure or self._too_late("the deadline passed before anything was sent")
            try:
                return await self._attempt(request, outgoing, deadline, attempts)
            except errors.LLMError as exc:
                failure = exc
            finally:
                self._slots.release()
            wait = next_wait(
                failure,
                len(attempts),
                policy=self._policy,
                remaining_seconds=deadline.remaining(),
                chance=self._chance(),
            )
            if wait is None:
                raise failure
            log.info("llm.retry", extra=_retry_fields(failure, len(attempts), wait))
            await self._clock.sleep(wait)

    async def _take_slot(self, deadline: Deadline) -> bool:
        """Wait for a slot; false if the deadline passes before there is one."""
        remaining = deadline.remaining()
        if remaining is not None and remaining <= 0:
            return False
        if remaining is None or not self._slots.locked():
            return await self._slots.acquire()
        try:
            return await within(self._clock, remaining, self._slots.acquire())
        except TimeoutError:
            return False

    async def _attempt(
        self,
        request: LLMRequest,
        outgoing: HTTPRequest,
        deadline: Deadline,
        attempts: list[Attempt],
    ) -> LLMResponse:
        """Send once, and note how it ended."""
        started = self._clock.monotonic()
        error: errors.LLMError | None = None
        status: int | None = None
        try:
            reply = await self._exchange(request, outgoing, deadline)
            status = reply.status
            response = self._adapter.read_chat(request, reply, self._clock.time())
        except errors.LLMError as exc:
            error = exc
        attempt = Attempt(
            self._adapter.name,
            self._adapter.model_for(request),
            status,
            error.code if error else None,
            self._clock.monotonic() - started,
            error.outcome if error else AttemptStatus.SUCCESS,
        )
        attempts.append(attempt)
        if self._on_attempt is not None:
            self._on_attempt(attempt)
        if error is not None:
            raise error
        return response

    async def _exchange(
        self,
        request: LLMRequest,
        outgoing: HTTPRequest,
        deadline: Deadline,
    ) -> HTTPReply:
        """One HTTP request, bounded as a whole: httpx's own time-outs are per phase."""
        limit = request.timeout_seconds or self._adapter.config.timeout_seconds
        remaining = deadline.remaining()
        is_cut_by_deadline = remaining is not None and remaining < limit
        bound = limit if remaining is None else min(limit, remaining)
        try:
            sending = self._connection.send(outgoing, self._adapter)
            return await within(self._clock, bound, sending)
        except TimeoutError as exc:
            if is_cut_by_deadline:
                raise self._too_late("the deadline cut the request short") from exc
            text = f"no whole answer within {limit:g} s"
            raise errors.TimeoutError(text, provider=self._adapter.name) from exc

    def _check_patience(self, request: LLMRequest) -> None:
        timeout, deadline = request.timeout_seconds, request.deadline_seconds
        if timeout is not None and not 0 < timeout < math.inf:
            text = "timeout_seconds must be above 0"
            raise errors.ValidationError(text, provider=self._adapter.name)
        if deadline is not None and not -math.inf < deadline < math.inf:
            text = "deadline_seconds must be a finite number"
            raise errors.ValidationError(text, provider=self._adapter.name)

    def _too_late(self, text: str) -> errors.DeadlineExceededError:
        return errors.DeadlineExceededError(text, provider=self._adapter.name)


def _retry_fields(failure: errors.LLMError, attempt: int, wait: float) -> dict[str, object]:
    return {
        "provider": failure.provider,
        "error": failure.code,
        "status": failure.status,
        "attempt": attempt,
        "wait_seconds": round(wait, 3),
    }
