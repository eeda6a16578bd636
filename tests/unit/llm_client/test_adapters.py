"""Rules of the request: where it goes, with which headers, and what it says."""

from __future__ import annotations

import base64
import json

import pytest

from llm_bot.llm_client import ImagePart, LLMRequest, Message, TextPart, ValidationError
from llm_bot.llm_client.adapters import get_adapter
from llm_bot.llm_client.adapters.openai import MAX_CORRELATION_ID
from tests.unit.llm_client.support import KEY, config, request

LOOP: list[object] = []
LOOP.append(LOOP)


def built(asked=None, **changes):
    return get_adapter(config(**changes)).build_chat(asked or request())


def body_of(asked=None, **changes):
    return json.loads(built(asked, **changes).body)


@pytest.mark.parametrize(
    ("provider", "base_url", "url"),
    [
        ("openai", "https://h/v1", "https://h/v1/chat/completions"),
        ("openai", "https://h/v1/", "https://h/v1/chat/completions"),
        ("openai", "https://h/api/paas/v4", "https://h/api/paas/v4/chat/completions"),
        ("openai", "https://h", "https://h/chat/completions"),
        ("openai", "https://h/d/x?api-version=1", "https://h/d/x/chat/completions?api-version=1"),
        ("ollama", "http://h:11434", "http://h:11434/v1/chat/completions"),
        ("ollama", "http://h:11434/v1", "http://h:11434/v1/chat/completions"),
        ("ollama", "http://h:11434/v1/", "http://h:11434/v1/chat/completions"),
        ("lmstudio", "http://h:1234/", "http://h:1234/v1/chat/completions"),
        ("mlx", "http://[::1]:8080", "http://[::1]:8080/v1/chat/completions"),
    ],
)
def test_url(provider, base_url, url):
    """The address is taken as it stands; the local ones get `/v1` where it is missing."""
    made = built(provider=provider, base_url=base_url)
    assert (made.method, made.url) == ("POST", url)


def test_key_goes_out_as_bearer():
    """The key is a bearer token; without one there is no such header."""
    assert built().headers["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in built(provider="mlx", api_key=None).headers


def test_user_and_password_leave_the_url():
    """What stands before the host goes out as basic authentication, not in the URL."""
    made = built(provider="mlx", api_key=None, base_url="http://me:p%40ss@h/v1")
    assert made.url == "http://h/v1/chat/completions"
    sent = made.headers["authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent) == b"me:p@ss"
    only_user = built(provider="mlx", api_key=None, base_url="http://me@h/v1")
    assert base64.b64decode(only_user.headers["authorization"].removeprefix("Basic ")) == b"me:"


def test_extra_headers_win_whatever_their_case():
    """Extra headers are added, and replace the client's own of the same name."""
    headers = built(extra_headers={"X-Title": "bot", "AUTHORIZATION": "Token t"}).headers
    assert headers["x-title"] == "bot"
    assert headers["authorization"] == "Token t"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("abc-1", "abc-1"),
        (" a\r\nX-Evil: 1 ", "aX-Evil: 1"),
        ("é☃", None),
        ("", None),
        (None, None),
        ("x" * 500, "x" * MAX_CORRELATION_ID),
    ],
)
def test_correlation_id(given, sent):
    """The correlation id is a header; what may not stand in one is taken out (SEND-8)."""
    assert built(request(correlation_id=given)).headers.get("x-correlation-id") == sent


def test_unset_options_are_omitted():
    """A bare request holds the model and the messages, and no null."""
    assert body_of(request("Hi")) == {
        "model": "asked-model",
        "messages": [{"role": "user", "content": "Hi"}],
    }


def test_who_wins():
    """The request's own options, its parameters, the extra body, the configured parameters."""
    body = body_of(
        request(model="other", max_tokens=5, parameters={"top_p": 0.3, "seed": 1, "stop": None}),
        parameters={"max_tokens": 100, "temperature": 0.7, "top_p": 0.9, "stop": ["User:"]},
        extra_body={"temperature": 0.1, "seed": 2, "keep_alive": "5m"},
    )
    del body["messages"]
    assert body == {
        "model": "other",
        "max_tokens": 5,
        "temperature": 0.1,
        "top_p": 0.3,
        "seed": 1,
        "keep_alive": "5m",
    }


def test_zero_is_an_option():
    """A temperature of 0 and a stop are sent as they are."""
    body = body_of(request(temperature=0.0, stop=["\n"]), parameters={"temperature": 0.7})
    assert (body["temperature"], body["stop"]) == (0.0, ["\n"])


def test_parts():
    """A content of several parts goes out as such; an image may be a URL."""
    parts: list[TextPart | ImagePart] = [
        TextPart("What is this?"),
        ImagePart("data:image/png;base64,AA=="),
    ]
    body = body_of(LLMRequest([Message("user", parts)]))
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(LLMRequest([]), id="no message"),
        pytest.param(request(parameters={"stream": True}), id="stream"),
        pytest.param(request(parameters={"messages": []}), id="messages"),
        pytest.param(request(parameters={"a": object()}), id="not JSON"),
        pytest.param(request(parameters={"a": LOOP}), id="endless"),
        pytest.param(request("\ud800"), id="half a surrogate pair"),
        pytest.param(LLMRequest([Message("user", [ImagePart("/etc/passwd")])]), id="path"),
    ],
)
def test_a_request_that_cannot_be_written_is_refused(asked):
    """What can't be sent is a ValidationError before anything goes out."""
    with pytest.raises(ValidationError) as caught:
        built(asked)
    assert caught.value.provider == "openai"


def test_no_repr_shows_what_is_sent():
    """Neither headers nor body of a request are in its repr."""
    made = built(request("a private line"))
    assert KEY not in repr(made)
    assert "private" not in repr(made)


def test_a_name_of_its_own():
    """Two providers of one kind can be told apart."""
    assert get_adapter(config(), "openai-2").name == "openai-2"
