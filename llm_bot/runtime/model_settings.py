"""The client library's configuration, made from the daemon's."""

from __future__ import annotations

from llm_bot.config import LLMApiConfig, LLMProviderConfig
from llm_bot.llm_client import LLMConfig

LONGEST_RETRY_SECONDS = 8.0
"""Within a reply's deadline longer pauses would cost more than they spare the server."""


def client_config(settings: LLMApiConfig) -> LLMConfig:
    """The first provider with its fallbacks. Raises the client's `ConfigurationError`."""
    fallbacks = tuple(provider_config(fallback) for fallback in settings.fallbacks)
    return provider_config(settings, fallbacks)


def provider_config(
    settings: LLMProviderConfig, fallbacks: tuple[LLMConfig, ...] = ()
) -> LLMConfig:
    """`settings` of one provider as the client wants them. Raises its `ConfigurationError`."""
    parameters = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in settings.parameters
        if value is not None and value != ()
    }
    return LLMConfig(
        provider=settings.provider,
        base_url=settings.base_url,
        model=settings.model,
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        timeout_seconds=settings.timeout_seconds,
        max_attempts=settings.retry_attempts + 1,
        retry_delay_seconds=settings.retry_delay_seconds,
        max_retry_delay_seconds=LONGEST_RETRY_SECONDS,
        max_concurrent_requests=settings.max_concurrent_requests,
        model_cache_ttl_seconds=settings.model_cache_ttl_seconds,
        parameters=parameters,
        fallbacks=fallbacks,
        breaker_failures=settings.breaker.failures,
        breaker_cooling_seconds=settings.breaker.cooling_seconds,
        extra_headers=settings.extra_headers,
        extra_body=settings.extra_body,
        vision_model=settings.vision_model,
    )
