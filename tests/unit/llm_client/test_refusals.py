"""Rules of the statuses: which exception each one is, and what its text says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.llm_client import (
    AuthenticationError,
    ConfigurationError,
    GenerationError,
    LLMError,
    ModelNotFoundError,
    RateLimitError,
    TimeoutError,
    ValidationError,
)
from llm_bot.llm_client.adapters import HTTPReply, get_adapter
from llm_bot.llm_client.breaker import Verdict, verdict_of
from llm_bot.llm_client.redaction import MASK, MAX_TEXT
from tests.unit.llm_client.support import KEY, config, request

ADAPTER = get_adapter(
    config(
        base_url="https://me:hunter2@host/v1?key=query-secret",
        extra_headers={"x-token": "Token header-secret", "x-short": "yes"},
    )
)


def refusal(status, body=b"", **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(LLMError) as caught:
        ADAPTER.read_chat(request(), HTTPReply(status, named, raw), now=100.0)
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "code", "outcome"),
    [
        (301, ConfigurationError, False, "redirect", "rejected"),
        (308, ConfigurationError, False, "redirect", "rejected"),
        (400, ValidationError, False, "validation", "rejected"),
        (401, AuthenticationError, False, "authentication", "rejected"),
        (402, RateLimitError, False, "quota", "rate_limited"),
        (403, AuthenticationError, False, "authentication", "rejected"),
        (404, ModelNotFoundError, False, "wrong_address", "rejected"),
        (408, TimeoutError, True, "timeout", "timeout"),
        (409, GenerationError, True, "server_error", "error"),
        (418, ValidationError, False, "validation", "rejected"),
        (425, GenerationError, True, "server_error", "error"),
        (429, RateLimitError, True, "rate_limited", "rate_limited"),
        (500, GenerationError, True, "server_error", "error"),
        (504, TimeoutError, True, "timeout", "timeout"),
        (529, GenerationError, True, "server_error", "error"),
        (600, ValidationError, False, "validation", "rejected"),
    ],
)
def test_status(status, kind, retryable, code, outcome):
    """Only what passes by itself is worth asking again."""
    error = refusal(status)
    assert type(error) is kind
    assert (error.retryable, error.code, error.outcome) == (retryable, code, outcome)
    assert error.status == status
    assert f"(HTTP {status})" in str(error)


@given(st.integers(300, 999))
def test_the_rule_of_retries_for_every_status(status):
    """408, 409, 425, 429 and 5xx may be retried, and nothing else (ASK-5)."""
    may = status in (408, 409, 425, 429) or 500 <= status < 600
    assert refusal(status).retryable is may


@pytest.mark.parametrize("status", [400, 409, 422])
def test_an_unknown_model_under_another_status(status):
    """`model_not_found`, or a complaint of the field `model`, says so under any 4xx."""
    coded = {"error": {"message": "no such model", "code": "model_not_found"}}
    blamed = {"error": {"message": "Invalid model name", "param": "model"}}
    named = {"error": {"message": "a/b is not a valid model ID", "code": 400}}
    for body in (coded, blamed, named):
        assert isinstance(refusal(status, body), ModelNotFoundError)
    assert isinstance(refusal(503, coded), GenerationError)
    quoted = {"error": {"message": "flagged: he said x is not a valid model ID"}}
    assert isinstance(refusal(400, quoted), ValidationError)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Your input was flagged for violence."}},
        {"error": {"message": "No.", "code": "content_policy_violation"}},
        {"error": {"message": "No.", "type": "content_filter"}},
        {"error": {"code": 403, "message": "No.", "metadata": {"flagged_input": "x"}}},
        {"error": {"message": "No.", "innererror": {"content_filter_result": {}}}},
        {"error": {"message": "No.", "metadata": {"raw": '{"error": "Moderation says no"}'}}},
        {"message": "Blocked by our safety system"},
        b"Request violates the usage policies",
    ],
)
def test_a_line_that_is_moderated(body):
    """A 403 that speaks of moderation is about the request, not about the key."""
    error = refusal(403, body)
    assert type(error) is ValidationError
    assert (error.retryable, error.status) == (False, 403)
    assert verdict_of(error) is not Verdict.REJECTED
    assert isinstance(refusal(401, body), AuthenticationError)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>policy</html>",
        {"error": "Country, region, or territory not supported"},
        {"error": {"message": "No.", "metadata": {"provider_name": "safety first"}}},
        {"error": {"message": "No.", "metadata": "flagged"}},
    ],
)
def test_a_forbidden_key(body):
    """Any other 403 is about the key."""
    assert isinstance(refusal(403, body), AuthenticationError)


@pytest.mark.parametrize(
    "said",
    [
        "Only 'text' content type is supported.",
        "[METAL] Command buffer execution failed: Insufficient Memory",
        "list index out of range",
        "Conversation roles must alternate user/assistant/user/assistant/...",
    ],
)
def test_a_404_of_something_else(said):
    """Some servers fail with a 404 whatever goes wrong: the model may well be there."""
    error = refusal(404, {"error": said})
    assert type(error) is ValidationError
    assert said in str(error)
    assert verdict_of(error) is not Verdict.REJECTED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>404</html>",
        b"404 page not found",
        {"detail": "Not Found"},
        {"error": {"message": "No.", "code": "model_not_found"}},
        {"error": {"message": "No.", "code": "DeploymentNotFound"}},
        {"error": {"message": "No.", "type": "not_found_error"}},
        {"error": {"message": "No.", "param": "model"}},
        {"error": "The model `x` does not exist or you do not have access to it."},
        {"error": "No endpoints found for x."},
        {"error": "Model x is not loaded"},
        {"error": "[Errno 2] No such file or directory: 'x/config.json'"},
        {"error": "Model type x not supported."},
        {"error": "Unexpected endpoint or method. (POST /chat/completions)"},
        {"message": "no Route matched with those values"},
        {"error": "Unknown request URL: POST /x. Please check the URL"},
        {"error": "invalid model: x"},
        {"error": "x has been deprecated. Use another."},
    ],
)
def test_a_404_of_the_model_or_the_path(body):
    """Silence, an HTML page, or words of what is missing: the model or the path."""
    assert type(refusal(404, body)) is ModelNotFoundError


def said(message, **more):
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(
            429,
            said("You exceeded your current quota.", type="insufficient_quota"),
            (RateLimitError, "quota", None),
            id="OpenAI: quota",
        ),
        pytest.param(
            429,
            said("Rate limit reached. Please try again in 20s.", code="rate_limit_exceeded"),
            (RateLimitError, "rate_limited", 20.0),
            id="OpenAI: rate",
        ),
        pytest.param(
            404,
            said('model "asked-model" not found, try pulling it first', type="api_error"),
            (ModelNotFoundError, "model_not_found", None),
            id="Ollama: model",
        ),
        pytest.param(
            404,
            said("No models loaded. Please load one.", param="model", code="model_not_found"),
            (GenerationError, "loading", None),
            id="LM Studio: loading",
        ),
        pytest.param(
            404,
            {"error": "404 Client Error. Repository Not Found for url: https://h/asked-model"},
            (ModelNotFoundError, "model_not_found", None),
            id="mlx_lm: model",
        ),
        pytest.param(
            503,
            said("Loading model", type="unavailable_error", code=503),
            (GenerationError, "loading", None),
            id="llama.cpp: loading",
        ),
        pytest.param(
            404,
            {"object": "error", "message": "The model `x` does not exist.", "code": 404},
            (ModelNotFoundError, "wrong_address", None),
            id="vLLM: another model",
        ),
        pytest.param(
            400,
            said("/chat/completions: Invalid model name passed in model=x.", code="400"),
            (ModelNotFoundError, "model_not_found", None),
            id="LiteLLM: model",
        ),
        pytest.param(
            429,
            said("Provider returned error", metadata={"raw": "Please retry in 7s."}),
            (RateLimitError, "rate_limited", 7.0),
            id="OpenRouter: upstream",
        ),
        pytest.param(
            429,
            said("Rate limit reached. Please try again in 1m42.6s.", type="tokens"),
            (RateLimitError, "rate_limited", 60.0),  # words count for a minute at most
            id="Groq: rate",
        ),
        pytest.param(
            429,
            [said("Quota exceeded. Please retry in 26.5s.", code=429)],
            (RateLimitError, "rate_limited", 26.5),
            id="Gemini: rate",
        ),
        pytest.param(
            400,
            [said("API key not valid.", details=[{"reason": "API_KEY_INVALID"}])],
            (AuthenticationError, "authentication", None),
            id="Gemini: key",
        ),
        pytest.param(
            400,
            said("Your credit balance is too low"),
            (RateLimitError, "quota", None),
            id="Anthropic: credit",
        ),
        pytest.param(
            400,
            said("Tool choice is none, but model called a tool", code="tool_use_failed"),
            (GenerationError, "tool_use_failed", None),
            id="Groq: tool use",
        ),
        pytest.param(
            200,
            said("Upstream error: error code: 503"),
            (GenerationError, "server_error", None),
            id="a status in words",
        ),
    ],
)
def test_what_servers_say(status, body, expected):
    """The refusals that servers are known for, as they write them."""
    error = refusal(status, body)
    assert (type(error), error.code, error.retry_after) == expected


@pytest.mark.parametrize(
    ("status", "header", "wait"),
    [(429, "3", 3.0), (429, "soon", 9.0), (503, None, None), (400, None, None), (400, "3", 3.0)],
)
def test_a_wait_in_the_body(status, header, wait):
    """The header says it best; without one the words of a busy server count."""
    headers = {} if header is None else {"retry_after": header}
    assert refusal(status, {"error": "try again in 9s"}, **headers).retry_after == wait


def test_retry_after():
    """The header is read, as seconds or against the time of now; then those of limits (LLM-5)."""
    assert refusal(429, retry_after="7").retry_after == 7.0
    assert refusal(503, retry_after="Thu, 01 Jan 1970 00:02:00 GMT").retry_after == 20.0
    assert refusal(503, x_ratelimit_reset="7").retry_after == 7.0
    assert refusal(500, x_ratelimit_reset="7").retry_after is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "out of tokens", "type": "x", "code": 5}}, "out of tokens"),
        ({"error": "model is loading"}, "model is loading"),
        ({"message": "no route"}, "no route"),
        ({"detail": "not allowed"}, "not allowed"),
        (
            {"detail": [{"msg": "too short", "input": "chat"}, {"msg": "too long"}, 5]},
            "too short; too long",
        ),
        ({"error": {"message": None}, "message": "fallback"}, "fallback"),
        ("just a text", "just a text"),
        (b"upstream connect error", "upstream connect error"),
        (b"two\r\nlines\x00", "two lines"),
    ],
)
def test_what_the_server_said_is_in_the_text(body, said):
    """The message is found wherever servers put it, and shown on one line."""
    assert str(refusal(400, body)) == f"{said} (HTTP 400)"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad</html>", b"[1]", b"5", b"null", b"{bad", b"[" * 200_000, {"error": {}}],
)
def test_a_body_that_says_nothing(body):
    """Without a message the text is the client's own."""
    assert str(refusal(400, body)) == "the request is refused (HTTP 400)"


def test_the_text_is_bounded():
    """A long message is cut."""
    text = str(refusal(400, {"error": {"message": "x" * 100_000}}))
    assert len(text) < MAX_TEXT + 50
    assert "x..." in text


@pytest.mark.parametrize("secret", [KEY, "hunter2", "query-secret", "header-secret"])
@pytest.mark.parametrize("status", [301, 400, 401, 429, 500])
def test_no_secret_is_in_the_text(status, secret):
    """What the server echoes of key, password or headers is masked."""
    location = f"https://me:hunter2@other/{secret}"
    error = refusal(status, {"error": {"message": f"bad key {secret}."}}, location=location)
    assert secret not in str(error)
    assert secret not in repr(error)
    if status != 301:
        assert f"bad key {MASK}." in str(error)


def test_short_words_of_headers_are_not_masked():
    """A header value like "yes" is no secret."""
    assert "yes" in str(refusal(400, {"error": "yes"}))


def test_a_redirect_names_its_target():
    """The operator reads where to point the address; nothing follows it."""
    error = refusal(308, location="https://new.host/v1/x?key=1")
    assert isinstance(error, ConfigurationError)
    assert error.field == "base_url"
    assert "https://new.host/v1/x;" in str(error)
    assert "redirects;" in str(refusal(308, location="/v1/"))


def test_a_redirect_to_nonsense():
    """An address that can't be parsed isn't named."""
    assert "redirects;" in str(refusal(302, location="http://[bad"))
