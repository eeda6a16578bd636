"""Rules of the configuration: what is refused, and what is never shown."""

from __future__ import annotations

import dataclasses
import math

import pytest

from llm_bot.llm_client import ConfigurationError, LLMConfig
from llm_bot.llm_client.adapters import ADAPTER_REGISTRY, get_adapter
from tests.unit.llm_client.support import KEY, config

LOOP: dict[str, object] = {}
LOOP["self"] = LOOP


def test_defaults():
    """What isn't said has the documented default."""
    made = LLMConfig(provider="ollama", base_url="http://host", model="m")
    assert made.api_key is None
    assert (made.timeout_seconds, made.max_attempts, made.max_concurrent_requests) == (30, 3, 10)
    assert (made.retry_delay_seconds, made.max_retry_delay_seconds) == (1, 8)
    assert (made.breaker_failures, made.breaker_cooling_seconds) == (5, 30)
    assert (made.breaker_rejected_seconds, made.model_cache_ttl_seconds) == (300, 300)
    assert (made.parameters, made.extra_headers, made.extra_body) == ({}, {}, {})
    assert (made.fallbacks, made.vision_model) == ((), None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("provider", ""),
        ("provider", 5),
        ("model", " "),
        ("model", None),
        ("vision_model", ""),
        ("base_url", None),
        ("base_url", "ftp://host"),
        ("base_url", "http://"),
        ("base_url", "http://host:99999/v1"),
        ("base_url", "http://[::1/v1"),
        ("base_url", "http://ho st/v1"),
        ("base_url", "http://host/v1\n"),
        ("base_url", "http://host/v1#part"),
        ("api_key", ""),
        ("api_key", f"{KEY}\n"),
        ("api_key", f"{KEY}\x00"),
        ("api_key", f"{KEY}é"),
        ("api_key", 12345),
        ("timeout_seconds", 0),
        ("timeout_seconds", -1),
        ("timeout_seconds", math.inf),
        ("timeout_seconds", math.nan),
        ("timeout_seconds", "30"),
        ("timeout_seconds", True),
        ("timeout_seconds", 10**400),
        ("retry_delay_seconds", -0.1),
        ("max_retry_delay_seconds", -0.1),
        ("model_cache_ttl_seconds", None),
        ("breaker_cooling_seconds", -1),
        ("breaker_rejected_seconds", -1),
        ("max_attempts", 0),
        ("max_attempts", 1.5),
        ("max_concurrent_requests", True),
        ("breaker_failures", 0),
        ("parameters", None),
        ("parameters", {1: 2}),
        ("extra_headers", ["a"]),
        ("extra_body", "a"),
        ("extra_body", {"a": object()}),
        ("extra_body", LOOP),
        ("fallbacks", "openai"),
        ("fallbacks", [{}]),
        ("fallbacks", 5),
        ("fallbacks", [config(fallbacks=[config()])]),
        ("fallbacks", config()),
    ],
)
def test_a_wrong_value_is_refused_by_name(field, value):
    """A wrong value is a ConfigurationError that names the field, never the secret in it."""
    with pytest.raises(ConfigurationError, match=rf"^{field}: ") as caught:
        config(**{field: value})
    assert caught.value.field == field
    assert KEY not in str(caught.value)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("parameters", {"temperature": 2.1}, "parameters.temperature"),
        ("parameters", {"temperature": "hot"}, "parameters.temperature"),
        ("parameters", {"top_p": -0.1}, "parameters.top_p"),
        ("parameters", {"frequency_penalty": -2.1}, "parameters.frequency_penalty"),
        ("parameters", {"presence_penalty": 3}, "parameters.presence_penalty"),
        ("parameters", {"max_tokens": 0}, "parameters.max_tokens"),
        ("parameters", {"stop": 5}, "parameters.stop"),
        ("parameters", {"stop": ["a", 5]}, "parameters.stop"),
        ("parameters", {"stream": True}, "parameters.stream"),
        ("extra_body", {"messages": []}, "extra_body.messages"),
        ("extra_headers", {"a b": "c"}, "extra_headers"),
        ("extra_headers", {"x-a": "b\r\nc"}, "extra_headers.x-a"),
        ("extra_headers", {"x-a": 5}, "extra_headers.x-a"),
    ],
)
def test_a_wrong_part_is_refused_by_name(field, value, named):
    """Within a mapping the part is named."""
    with pytest.raises(ConfigurationError) as caught:
        config(**{field: value})
    assert caught.value.field == named


def test_parameters_in_range_are_taken():
    """Limits belong to the range; None leaves a parameter out; unknown names pass."""
    parameters = {
        "temperature": 0,
        "top_p": 1,
        "frequency_penalty": -2,
        "presence_penalty": 2.0,
        "max_tokens": 1,
        "stop": "x",
        "min_p": 0.1,
    }
    assert config(parameters=parameters).parameters == parameters
    assert config(parameters={"stop": None}).parameters == {"stop": None}


def test_it_is_frozen():
    """Nothing can be changed afterwards, nor through what it was made from."""
    headers = {"x-a": "b"}
    made = config(extra_headers=headers, fallbacks=[config()])
    headers["x-a"] = "c"
    assert made.extra_headers == {"x-a": "b"}
    assert isinstance(made.fallbacks, tuple)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.model = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        made.extra_headers["x-a"] = "c"  # type: ignore[index]


def test_a_changed_copy_is_checked():
    """`dataclasses.replace` makes a checked copy."""
    assert dataclasses.replace(config(), model="other").model == "other"
    with pytest.raises(ConfigurationError):
        dataclasses.replace(config(), max_attempts=0)


def test_no_repr_shows_a_secret():
    """Key, headers, body and what an address may carry are in no repr."""
    made = config(
        base_url="https://me:hunter22@host:8443/v1?key=querysecret",
        extra_headers={"x-token": "headersecret"},
        extra_body={"token": "bodysecret"},
    )
    shown = f"{made!r} {made} {made.address} {get_adapter(made)!r}"
    for secret in (KEY, "hunter22", "querysecret", "headersecret", "bodysecret"):
        assert secret not in shown
    assert made.address == "https://host:8443/v1"


def test_an_unknown_provider_is_refused_with_the_known_ones():
    """Any name that isn't in the registry is an error that lists those that are."""
    with pytest.raises(ConfigurationError, match=", ".join(sorted(ADAPTER_REGISTRY))) as caught:
        get_adapter(config(provider="opanai"))
    assert caught.value.field == "provider"


def test_openai_needs_a_key_and_the_local_ones_do_not():
    """Without a key only the local providers can be used."""
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        get_adapter(config(api_key=None))
    assert caught.value.field == "api_key"
    for provider in ("ollama", "lmstudio", "mlx"):
        assert get_adapter(config(provider=provider, api_key=None)).name == provider
