"""Rules of the request: where it goes, with which headers, and what it says."""

from __future__ import annotations

import base64
import json

import pytest

from llm_bot.llm_client import (
    ConfigurationError,
    ImagePart,
    LLMRequest,
    LLMResponse,
    Message,
    TextPart,
    Usage,
    ValidationError,
)
from llm_bot.llm_client.adapters import ADAPTER_REGISTRY, NO_QUIRKS, get_adapter
from llm_bot.llm_client.adapters.addresses import MAX_CORRELATION_ID
from tests.unit.llm_client.support import KEY, config, request

LOOP: list[object] = []
LOOP.append(LOOP)


def built(asked=None, **changes):
    return get_adapter(config(**changes)).build_chat(asked or request())


def body_of(asked=None, **changes):
    return json.loads(built(asked, **changes).body)


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
        "stream": False,
    }


def test_who_wins():
    """The extra body, the request's own options, its parameters, the configured parameters."""
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
        "seed": 2,
        "stream": False,
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


@pytest.mark.parametrize(
    ("configured", "asked", "sent"),
    [
        ({}, {}, {}),
        ({"max_tokens": 9}, {}, {"max_tokens": 9}),
        ({"max_completion_tokens": 9}, {}, {"max_completion_tokens": 9}),
        ({"max_completion_tokens": 9}, {"max_tokens": 5}, {"max_tokens": 5}),
        (
            {"max_tokens": 9},
            {"parameters": {"max_completion_tokens": 5}},
            {"max_completion_tokens": 5},
        ),
        ({"max_tokens": 9}, {"parameters": {"max_tokens": None}}, {}),
        ({"max_tokens": 9}, {"parameters": {"max_completion_tokens": None}}, {"max_tokens": 9}),
    ],
)
def test_one_token_cap(configured, asked, sent):
    """A cap is a cap, under whichever of its names: the request's own wins."""
    body = body_of(request(**asked), parameters=configured)
    assert {name: body[name] for name in body if name.startswith("max_")} == sent


@pytest.mark.parametrize(
    ("configured", "asked", "sent"),
    [
        ({}, {}, {"max_tokens": 512}),
        ({"max_tokens": 9}, {}, {"max_tokens": 9}),
        ({"max_completion_tokens": 9}, {}, {"max_completion_tokens": 9}),
        ({"max_tokens": 9}, {"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 9}, {"parameters": {"max_tokens": None}}, {"max_tokens": 512}),
    ],
)
def test_mlx_always_sends_a_cap(configured, asked, sent):
    """Its servers keep none of their own that is worth the name."""
    body = body_of(request(**asked), provider="mlx", parameters=configured)
    assert {name: body[name] for name in body if name.startswith("max_")} == sent


@pytest.mark.parametrize(
    ("configured", "variable", "model"),
    [
        ("configured", "of-the-variable", "configured"),
        (None, "of-the-variable", "of-the-variable"),
        (None, "", "asked-model"),
        (None, None, "asked-model"),
    ],
)
def test_where_images_go(configured, variable, model, monkeypatch):
    """With mlx a request with images goes to the vision model, any other doesn't."""
    monkeypatch.delenv("VISION_MODEL", raising=False)
    if variable is not None:
        monkeypatch.setenv("VISION_MODEL", variable)
    adapter = get_adapter(config(provider="mlx", vision_model=configured))
    image = LLMRequest([Message("user", [ImagePart("https://h/x.png")])])
    assert json.loads(adapter.build_chat(image).body)["model"] == model
    assert adapter.model_for(image) == model
    assert adapter.model_for(request()) == "asked-model"
    assert get_adapter(config(vision_model="v")).model_for(image) == "asked-model"


def long_request(length):
    half = TextPart("x" * (length // 2))
    image = ImagePart("data:image/png;base64," + "A" * 10_000)
    return LLMRequest([Message("system", half.text), Message("user", [half, image])])


@pytest.mark.parametrize(
    ("length", "counted", "doubts"),
    [
        (40_000, 2048, True),
        (40_000, 10_000, False),
        (40_000, 5000, False),
        (40_000, 4999, True),
        (40_000, 0, False),
        (40_000, None, False),
        (1998, 10, False),
        (2000, 10, True),
    ],
)
def test_a_prompt_that_was_cut(length, counted, doubts):
    """Ollama is doubted if it counted far fewer tokens than were sent; others never are."""
    response = LLMResponse("Hi", usage=Usage(prompt_tokens=counted))
    doubt = get_adapter(config(provider="ollama")).doubt(long_request(length), response)
    assert (doubt is not None) is doubts
    if doubt is not None:
        assert str(length) in doubt
        assert "num_ctx" in doubt
    assert get_adapter(config()).doubt(long_request(length), response) is None


@pytest.mark.parametrize("provider", sorted(ADAPTER_REGISTRY))
def test_who_needs_a_key(provider):
    """Only openai does."""
    if provider == "openai":
        with pytest.raises(ConfigurationError) as caught:
            get_adapter(config(provider=provider, api_key=None))
        assert caught.value.field == "api_key"
        return
    adapter = get_adapter(config(provider=provider, api_key=None))
    assert adapter.name == provider
    assert adapter.fit_to_show("a\nb") == "a b"
    keyed = get_adapter(config(provider=provider))
    assert keyed.build_models().headers["authorization"] == f"Bearer {KEY}"


def test_what_is_known_changes_nothing_by_itself():
    """With nothing known the body is as it was asked for."""
    adapter = get_adapter(config())
    assert adapter.build_chat(request()) == adapter.build_chat(request(), NO_QUIRKS)
