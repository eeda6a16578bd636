"""Rules of the answer: what is read, and what can't be used."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.llm_client import GenerationError, LLMError, LLMResponse, Usage, ValidationError
from llm_bot.llm_client.adapters import HTTPReply, get_adapter
from llm_bot.llm_client.breaker import Verdict, verdict_of
from tests.unit.llm_client.scripted_server import chat_body
from tests.unit.llm_client.support import config, request

ADAPTER = get_adapter(config())


def read(body, *, status=200, headers=None, asked=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = HTTPReply(status, headers or {"content-type": "application/json"}, raw)
    return ADAPTER.read_chat(asked or request(), reply, now=0.0)


def refused(body, **options):
    with pytest.raises(GenerationError) as caught:
        read(body, **options)
    assert caught.value.retryable
    return caught.value


def test_everything_is_read():
    """The first choice's text, who said it, why it ended, and what it cost."""
    body = chat_body(" Hello there. ")
    body["choices"].append({"message": {"content": "second"}})
    assert read(body) == LLMResponse(
        content="Hello there.",
        model="served-model",
        finish_reason="stop",
        usage=Usage(11, 5, 16),
    )


def test_what_the_server_does_not_say():
    """Without them: the model that was asked, no finish reason, no usage."""
    response = read({"choices": [{"message": {"content": "Hi"}}]}, asked=request(model="other"))
    assert (response.model, response.finish_reason, response.usage) == ("other", None, Usage())


@pytest.mark.parametrize(
    "usage", [None, [], "5", {"prompt_tokens": "5", "completion_tokens": -1, "total_tokens": True}]
)
def test_usage_that_makes_no_sense_is_unknown(usage):
    """Counts that aren't counts are None."""
    assert read({**chat_body(), "usage": usage}).usage == Usage()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}], "Hello"),
        (["Hel", "lo"], "Hello"),
        ([{"type": "output_text", "text": "Hello"}, {"type": "image"}], "Hello"),
        ([{"type": "text", "text": 5}, {"type": "text", "text": "Hello"}], "Hello"),
    ],
)
def test_parts_are_joined(content, expected):
    """A content that is a list of parts is their text."""
    assert read(chat_body(content)).content == expected


@pytest.mark.parametrize(
    ("message", "reasoning"),
    [
        ({"content": "<think>hm</think>Hi"}, "hm"),
        ({"content": "Hi", "reasoning_content": "hm\n"}, "hm"),
        ({"content": "Hi", "reasoning": "hm"}, "hm"),
        ({"content": "Hi", "reasoning_content": None, "reasoning": "hm"}, "hm"),
        ({"content": "Hi", "reasoning_content": "hm", "reasoning": "hm"}, "hm"),
        ({"content": "Hi", "reasoning": {"a": 1}}, None),
        ({"content": "Hi", "reasoning_content": "  "}, None),
        ({"content": "<think>b</think>Hi", "reasoning": "a"}, "a\nb"),
        ({"content": [{"type": "thinking", "thinking": "hm"}, "Hi"]}, "hm"),
        (
            {"content": [{"type": "thinking", "thinking": [{"text": "h"}, {"text": "m"}]}, "Hi"]},
            "hm",
        ),
        ({"content": [{"type": "reasoning", "reasoning": 5}, "Hi"]}, None),
    ],
)
def test_reasoning_is_apart(message, reasoning):
    """What the model thought aloud is in `reasoning`, wherever the server put it."""
    response = read({"choices": [{"message": message}]})
    assert (response.content, response.reasoning) == ("Hi", reasoning)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_json"),
        (b"<html>Bad gateway</html>", "bad_json"),
        (b'data: {"choices": []}\n\n', "bad_json"),
        (b'{"choices": [', "bad_json"),
        (b"\xff\xfe{}", "bad_json"),
        (b"[" * 200_000, "bad_json"),
        (b'{"choices":' + b"[" * 200_000, "bad_json"),
        (None, "bad_shape"),
        ([], "bad_shape"),
        ({}, "bad_shape"),
        ({"choices": None}, "bad_shape"),
        ({"choices": {}}, "bad_shape"),
        ({"choices": []}, "bad_shape"),
        ({"choices": [None]}, "bad_shape"),
        ({"choices": [{}]}, "bad_shape"),
        ({"choices": [{"message": None}]}, "bad_shape"),
        ({"choices": [{"message": "Hi"}]}, "bad_shape"),
        ({"choices": [{"message": {"content": 5}}]}, "bad_shape"),
        ({"choices": [{"message": {"content": {"text": "Hi"}}}]}, "bad_shape"),
        ({"choices": [{"message": {"content": [5]}}]}, "empty"),
        ({"choices": [{"message": {}}]}, "empty"),
        ({"choices": [{"message": {"content": None}}]}, "empty"),
        ({"choices": [{"message": {"content": ""}}]}, "empty"),
        ({"choices": [{"message": {"content": " \n"}}]}, "empty"),
        ({"choices": [{"message": {"content": []}}]}, "empty"),
        ({"choices": [{"message": {"content": "<think>hm"}}]}, "empty"),
        ({"choices": [{"message": {"content": "", "reasoning": "hm"}}]}, "empty"),
    ],
)
def test_an_answer_that_cannot_be_used(body, code):
    """No JSON, no choices, no message, no text: a GenerationError that may be retried."""
    error = refused(body)
    assert (error.code, error.status) == (code, 200)


def test_the_text_says_what_is_wrong():
    """The error names the content type, the finish reason, or what the server said."""
    assert "text/html" in str(refused(b"<html>", headers={"content-type": "text/html"}))
    assert "unnamed" in str(refused(b"<html>", headers={"a": "b"}))
    assert "tool_calls" in str(refused(chat_body(None, finish_reason="tool_calls")))
    assert "out of memory" in str(refused({"error": {"message": "out of memory"}}))


def test_empty_because_of_the_token_cap_is_told_apart():
    """With `finish_reason: length` the error has a code of its own and names the cap."""
    error = refused(chat_body("<think>long", finish_reason="length"))
    assert (error.code, "token cap" in str(error)) == ("length", True)


@pytest.mark.parametrize(
    ("finish_reason", "retryable"),
    [("content_filter", False), ("SAFETY", False), ("stop", True), (None, True), ("x", True)],
)
def test_empty_because_of_a_filter(finish_reason, retryable):
    """What a filter kept back is kept back again; whatever is empty, somebody answered."""
    with pytest.raises(GenerationError) as caught:
        read(chat_body("", finish_reason=finish_reason))
    assert (caught.value.code, caught.value.retryable) == ("empty", retryable)
    assert verdict_of(caught.value) is Verdict.ALIVE


@pytest.mark.parametrize(
    "error",
    ["flagged", {"message": "No.", "type": "moderation"}, {"metadata": {"flagged_input": "x"}}],
)
def test_a_success_that_is_a_refusal(error):
    """An error of moderation under a 200 is about the request."""
    with pytest.raises(ValidationError) as caught:
        read({"error": error})
    assert (caught.value.status, caught.value.retryable) == (200, False)
    assert verdict_of(caught.value) is Verdict.ALIVE
    assert verdict_of(refused({"error": {"message": "out of memory"}})) is Verdict.PROVOKED
    assert verdict_of(refused(b"flagged")) is Verdict.PROVOKED


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ("m" * 200, "m" * 200),
        ("m" * 201, "asked-model"),
        ("a\nb", "asked-model"),
        ("\u202em", "asked-model"),
        ("", "asked-model"),
        (5, "asked-model"),
    ],
)
def test_the_name_of_the_model(named, shown):
    """The server's name for the model, if it can be one; else the one that was asked for."""
    assert read({**chat_body(), "model": named}).model == shown


def test_a_cut_answer_with_text_is_an_answer():
    """`finish_reason: length` with text is no error."""
    response = read(chat_body("Once upon", finish_reason="length"))
    assert (response.content, response.finish_reason) == ("Once upon", "length")


def test_a_body_that_was_too_large_is_an_error():
    """What was too large to read can't be used."""
    with pytest.raises(GenerationError) as caught:
        ADAPTER.read_chat(request(), HTTPReply(200, {}, b"", is_cut=True), now=0.0)
    assert caught.value.code == "too_large"


def stream(*chunks, before=b""):
    return before + b"".join(b"data: %s\n\n" % json.dumps(each).encode() for each in chunks)


def delta(**parts):
    return {"choices": [{"delta": parts, "finish_reason": None}]}


@pytest.mark.parametrize(
    ("raw", "content", "reasoning"),
    [
        (stream(delta(content="Hel"), delta(content="lo")) + b"data: [DONE]\n\n", "Hello", None),
        (stream(delta(reasoning="h"), delta(reasoning="m"), delta(content="Hi")), "Hi", "hm"),
        (stream({"choices": [{"message": {"content": "Hi"}}]}), "Hi", None),
        (b": OPENROUTER PROCESSING\r\r" + json.dumps(chat_body("Hi")).encode(), "Hi", None),
        (stream([], 5, {"choices": [5]}, delta(content="Hi"), before=b"event: x\n{\n"), "Hi", None),
    ],
)
def test_a_stream_that_nobody_asked_for(raw, content, reasoning):
    """Is read as one answer, whatever its content type says."""
    response = read(raw)
    assert (response.content, response.reasoning) == (content, reasoning)


def test_a_stream_s_end():
    """What comes last wins; an error in it is one."""
    last = {"model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {}}
    response = read(stream(delta(content="Hi"), last))
    assert (response.model, response.finish_reason) == ("m", "stop")
    assert refused(stream({"error": {"message": "no", "code": 500}})).code == "server_error"
    broken = {"choices": [{"delta": {}, "error": {"message": "no"}}]}
    assert refused(stream(delta(content="Half a"), broken)).code == "server_error"
    assert refused(chat_body("Half a", finish_reason="error")).code == "server_error"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "text", "type", "error", "usage"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


def paths(tree, here=()):
    yield here
    inner = dict(enumerate(tree)) if isinstance(tree, list) else tree
    for key, value in inner.items() if isinstance(inner, dict) else ():
        yield from paths(value, (*here, key))


WHOLE = chat_body([{"type": "text", "text": "Hi"}, {"type": "thinking", "thinking": [{}]}])


def changed(path, value):
    if not path:
        return value
    tree = inner = copy.deepcopy(WHOLE)
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return tree


WRONG = st.builds(changed, st.sampled_from(sorted(paths(WHOLE), key=str)), json_values)


@given(WRONG | json_values | st.binary() | st.builds(lambda each: stream(each), WRONG))
def test_any_body(body):
    """Any value at any level, any JSON, any bytes: an answer with text or an LLMError."""
    try:
        response = read(body)
    except LLMError:
        return
    assert response.content.strip()
    assert isinstance(response.model, str)
