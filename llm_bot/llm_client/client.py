"""The client: who owns the connections and the providers."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, TypeVar

from llm_bot.llm_client import exceptions as errors
from llm_bot.llm_client.adapters import get_adapter
from llm_bot.llm_client.attempts import Attempts, Candidate, OnAttempt, Signal
from llm_bot.llm_client.calls import Call, ChatCall, EmbeddingCall
from llm_bot.llm_client.clock import Clock, SystemClock
from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.connection import Connection, Transport
from llm_bot.llm_client.images import with_images_inlined
from llm_bot.llm_client.models import (
    Attempt,
    LLMRequest,
    LLMResponse,
    Message,
    ModelInfo,
    ProviderHealth,
    ProviderState,
)
from llm_bot.llm_client.provider import Provider, unique_names

log = logging.getLogger(__name__)

T = TypeVar("T")

# Keeps an answer of long vectors (3,072 numbers of 20 characters) below the bound of a body.
_EMBEDDINGS_AT_ONCE = 16


class LLMClient:
    """Asks a model over HTTP, again and elsewhere where that may help, never past the deadline.

    Proxies (`HTTPS_PROXY`, `NO_PROXY`) and certificates (`SSL_CERT_FILE`) of the environment are
    honoured, since that is where operators name them; this machine itself is always direct. All
    methods need an open client, and raise `RuntimeError` without. The examples of the methods ask
    the server that is `pretended` here.

    Args:
        config: The first provider, and in its `fallbacks` the others.
        clock: What the time is and how it passes.
        rng: Gives numbers from 0 to 1, for the jitter of pauses.
        transport: Instead of real connections; closed with the client.
        on_attempt: Called with each request that ended in an answer or an error (not in a
            cancellation), before `generate` goes on.

    Raises:
        ConfigurationError: A provider isn't known, or it needs a key and has none.

    >>> import httpx
    >>> from llm_bot.llm_client import LLMConfig, Message
    >>> answer = {"choices": [{"message": {"content": "Hi!"}}]}
    >>> pretended = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    >>> config = LLMConfig(provider="ollama", base_url="http://127.0.0.1:11434", model="m")
    >>> async def ask() -> str:
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
        rng: Callable[[], float] = random.random,
        transport: Transport | None = None,
        on_attempt: OnAttempt | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._rng = rng
        self._on_attempt = on_attempt
        self._came_free = Signal()
        self._was_opened = self._is_open = False
        configs = (config, *config.fallbacks)
        adapters = map(get_adapter, configs, unique_names(configs))
        self._providers = [
            Provider(each, Connection(each, transport), self._clock, self._came_free.fire)
            for each in adapters
        ]

    async def __aenter__(self) -> Self:
        if self._was_opened:
            raise RuntimeError("an LLMClient can be entered only once")
        self._was_opened = self._is_open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Idempotent; whoever still waits finds out with the next request.

        >>> asyncio.run(LLMClient(config).aclose())
        """
        if self._is_open:
            self._is_open = False
            await asyncio.gather(*(provider.aclose() for provider in self._providers))

    @property
    def quirks(self) -> dict[str, dict[str, dict[str, object]]]:
        """What servers refuse and isn't sent to them any more: by provider, then by model.

        >>> LLMClient(config).quirks
        {}
        """
        return {
            provider.name: {model: quirks.shown() for model, quirks in provider.quirks.items()}
            for provider in self._providers
            if provider.quirks
        }

    @property
    def problems(self) -> dict[str, str]:
        """Why providers don't work: those that rest, or that others answer for.

        >>> LLMClient(config).problems
        {}
        """
        return {each.name: each.problem for each in self._providers if each.problem is not None}

    @property
    def states(self) -> dict[str, ProviderState]:
        """How each provider stands, by its unique name, in their order.

        >>> LLMClient(replace(config, fallbacks=[config])).states
        {'ollama': <ProviderState.UP: 'up'>, 'ollama-2': <ProviderState.UP: 'up'>}
        """
        return {provider.name: provider.state for provider in self._providers}

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Ask, and ask again or the next provider while that may help and the deadline allows.

        `request.model` is the first provider's; the others are asked for their own. Cancelling it
        leaves no connection and no slot behind.

        Raises:
            ValidationError: The request can't be sent, to whomever.
            LLMError: The last error of the provider, as it was, if there is only one;
                `DeadlineExceededError` if the deadline was all that stood in the way.
            AllProvidersFailedError: Each of several failed.

        >>> async def ask() -> None:
        ...     async with LLMClient(config, transport=pretended) as client:
        ...         response = await client.generate(LLMRequest([Message("user", "Hello")]))
        ...         print(response.content, response.attempts)
        >>> asyncio.run(ask())
        Hi! 1
        """
        self._check_open()
        started = self._clock.monotonic()
        own = ChatCall(await with_images_inlined(request))
        # Fallbacks have models with names of their own.
        others = [ChatCall(replace(own.request, model=None)) for _ in self._providers[1:]]
        seconds = math.inf if request.deadline_seconds is None else request.deadline_seconds
        tried: list[Attempt] = []
        response, answered = await self._attempts([own, *others], started + seconds, tried).answer()
        answered.provider.warn_if_suspicious(answered.call, response)
        return replace(
            response,
            provider=answered.provider.name,
            latency_seconds=self._clock.monotonic() - started,
            attempts=len(tried),
            retries=sum(attempt.is_retry for attempt in tried),
            fallback_used=answered.call is not own,
            attempt_log=tuple(tried),
        )

    async def complete(
        self,
        messages: str | Sequence[Message | Mapping[str, Any]],
        correlation_id: str | None = None,
    ) -> str | None:
        """The text of an answer, for whoever needs no more; None where there is none.

        What went wrong is logged as `llm.failed`.

        Args:
            messages: One text as a user's message, or messages as values or mappings.
            correlation_id: Goes out as the header `X-Correlation-Id`, and into the log.

        Raises:
            TypeError: The messages aren't messages.
            ValueError: A role isn't known.

        >>> async def complete() -> str | None:
        ...     async with LLMClient(config, transport=pretended) as client:
        ...         return await client.complete([{"role": "user", "content": "Hello"}])
        >>> asyncio.run(complete())
        'Hi!'
        """
        request = LLMRequest(messages, correlation_id=correlation_id)  # type: ignore[arg-type]
        try:
            return (await self.generate(request)).content
        except errors.LLMError as exc:
            fields = {"correlation_id": correlation_id, "error": str(exc), "code": exc.code}
            log.warning("llm.failed", extra=fields)
            return None

    async def embed(self, texts: Sequence[str], *, model: str | None = None) -> list[list[float]]:
        """A vector for each of `texts`, from the first provider alone.

        Vectors of different models can't be compared, so there is no falling back.

        Args:
            texts: Any number; they are sent in portions.
            model: A model that makes embeddings, where the configured one doesn't.

        Raises:
            LLMError: As it was; nothing is returned unless all is.

        >>> async def embed() -> list[list[float]]:
        ...     async with LLMClient(config, transport=pretended) as client:
        ...         return await client.embed(["Alien", "Brazil"], model="e")
        >>> asyncio.run(embed())
        [[0.5, 1.0], [0.5, 1.0]]
        """
        self._check_open()
        if isinstance(texts, str):
            raise errors.ValidationError("texts must be a sequence of texts, not one text")
        vectors: list[list[float]] = []
        tried: list[Attempt] = []
        for start in range(0, len(texts), _EMBEDDINGS_AT_ONCE):
            portion = texts[start : start + _EMBEDDINGS_AT_ONCE]
            call = EmbeddingCall(LLMRequest((), model=model), portion)
            found, _ = await self._attempts([call], math.inf, tried).answer()
            vectors += found
        return vectors

    async def list_models(self, *, refresh: bool = False) -> list[ModelInfo]:
        """The models of all providers that give their list, in the order of the providers.

        Lists are believed for `model_cache_ttl_seconds`, unless `refresh`.

        Raises:
            LLMError: No provider gave its list; `AllProvidersFailedError` if there are several.

        >>> async def ids() -> list[str]:
        ...     async with LLMClient(config, transport=pretended) as client:
        ...         return [model.id for model in await client.list_models()]
        >>> asyncio.run(ids())
        ['m', 'e']
        """
        self._check_open()
        outcomes = await asyncio.gather(
            *(provider.list_models(refresh=refresh) for provider in self._providers)
        )
        failures = [each for each in outcomes if isinstance(each, errors.LLMError)]
        for each in failures:
            log.info("llm.models_unknown", extra={"provider": each.provider, "error": each.code})
        if len(failures) == len(outcomes):
            raise errors.failure_of_all(failures)
        lists = (each for each in outcomes if not isinstance(each, errors.LLMError))
        return list(itertools.chain.from_iterable(lists))

    def invalidate_cache(self) -> None:
        """Believe no list of models that is there, nor one that is on its way.

        >>> LLMClient(config).invalidate_cache()
        """
        for provider in self._providers:
            provider.models.invalidate()

    async def health_check(self) -> dict[str, ProviderHealth]:
        """Ask every provider whether it is there; by unique names, in their order.

        Goes past retries, slots and breakers, and changes none of them. Never an `LLMError`.

        >>> async def check() -> bool:
        ...     async with LLMClient(config, transport=pretended) as client:
        ...         return (await client.health_check())["ollama"].available
        >>> asyncio.run(check())
        True
        """
        self._check_open()
        checks = await asyncio.gather(*(provider.check_health() for provider in self._providers))
        return dict(zip((provider.name for provider in self._providers), checks, strict=True))

    def _attempts(
        self, calls: Sequence[Call[T]], deadline: float, tried: list[Attempt]
    ) -> Attempts[T]:
        """One for each of `calls`, which are for the providers in their order."""
        return Attempts(
            [Candidate(*each) for each in zip(self._providers, calls, strict=False)],
            deadline,
            self._clock,
            self._came_free,
            self._rng,
            self._on_attempt,
            tried,
        )

    def _check_open(self) -> None:
        if not self._is_open:
            raise RuntimeError("the LLMClient isn't open")
