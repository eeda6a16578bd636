"""Answers as real servers give them: streams, errors under 200, refusals, thoughts alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_bot.llm_client import (
    AuthenticationError,
    GenerationError,
    LLMError,
    RateLimitError,
)
from llm_bot.llm_client.adapters import HTTPReply, get_adapter
from tests.unit.llm_client.support import config, request


def read(body: Any, status: int = 200) -> Any:
    """The response or the error that an answer stands for."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        return get_adapter(config()).read_chat(request(), HTTPReply(status, {}, raw), now=0)
    except LLMError as exc:
        return exc


def choice(content: str | None, **more: Any) -> dict[str, Any]:
    reason = more.pop("finish_reason", "stop")
    return {"choices": [{"finish_reason": reason, "message": {"content": content, **more}}]}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_stream_where_a_whole_answer_was_asked_for(newline):
    """Its deltas are joined, comments passed over, whatever comes last wins (B10)."""
    chunks = [
        {"model": "m", "choices": [{"delta": {"role": "assistant", "reasoning_content": "hm"}}]},
        {"choices": [{"delta": {"content": "I like "}}]},
        {"choices": [{"delta": {"content": "it."}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 7}},
    ]
    lines = [": keepalive", "", *(f"data: {json.dumps(each)}{newline}" for each in chunks)]
    found = read(newline.join([*lines, "data: [DONE]", ""]).encode())
    assert (found.content, found.reasoning, found.finish_reason) == ("I like it.", "hm", "stop")
    assert (found.model, found.usage.prompt_tokens) == ("m", 7)


def test_comment_lines_before_the_json():
    """They are passed over as in a stream."""
    body = b": waiting\n\n" + json.dumps(choice("Hello.")).encode()
    assert read(body).content == "Hello."


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ({"message": "Insufficient credits", "code": 402}, RateLimitError, "quota"),
        ({"message": "No auth", "code": 401}, AuthenticationError, "authentication"),
        ({"message": "Slow down", "code": 429}, RateLimitError, "rate_limited"),
        (
            {"message": "Error code: 429 - daily limit", "code": "rate_limit_daily"},
            RateLimitError,
            "rate_limited",
        ),
        ({"message": "upstream idle", "code": 502}, GenerationError, "server_error"),
    ],
)
def test_an_error_under_the_status_of_a_success(error, kind, code):
    """The body knows the status better than the status line (B20)."""
    found = read({"error": error})
    assert (type(found), found.code) == (kind, code)


@pytest.mark.parametrize("reason", ["error", "network_error", "abort"])
def test_half_a_sentence_and_an_error(reason):
    """It is a failure that may pass, never an answer (B22)."""
    found = read(choice("Well, I think the director of", finish_reason=reason))
    assert (type(found), found.retryable) == (GenerationError, True)
    broken = choice("Well, I think")
    broken["choices"][0]["error"] = {"code": 502, "message": "upstream idle"}
    assert read(broken).retryable


@pytest.mark.parametrize(
    "answer",
    [
        choice(None, refusal="I can't help with that."),
        choice("", finish_reason="content_filter"),
        choice("Half", finish_reason="SAFETY"),
        choice("", finish_reason="PROHIBITED_CONTENT"),
        choice("", finish_reason="RECITATION"),
        choice("", finish_reason="BLOCKLIST"),
        choice("", finish_reason="SPII"),
    ],
)
def test_an_answer_that_is_kept_back(answer):
    """One outcome under every name, and no second request (B24)."""
    found = read(answer)
    assert (type(found), found.code, found.retryable) == (GenerationError, "empty", False)


def test_a_model_that_only_thought():
    """The error says so, and what to do about it (B25)."""
    found = read(choice("", reasoning_content="They ask about the film."))
    assert "the model thought and said nothing" in str(found)


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (
            [
                {
                    "error": {
                        "message": "API key not valid.",
                        "details": [{"reason": "API_KEY_INVALID"}],
                    }
                }
            ],
            AuthenticationError,
            "authentication",
        ),
        ({"error": {"message": "Your credit balance is too low"}}, RateLimitError, "quota"),
        ({"error": {"message": "Access denied", "code": "Arrearage"}}, RateLimitError, "quota"),
        (
            {"error": {"message": "called a tool", "code": "tool_use_failed"}},
            GenerationError,
            "tool_use_failed",
        ),
    ],
)
def test_a_bad_request_that_is_none(body, kind, code):
    """A 400 that speaks of the key, the account or the model's own output (B19, B30)."""
    found = read(body, status=400)
    assert (type(found), found.code) == (kind, code)
