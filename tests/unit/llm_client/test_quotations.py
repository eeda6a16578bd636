"""Rules of the quotations: what a server quotes of the chat teaches nothing."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.llm_client import (
    ImagePart,
    LLMError,
    LLMRequest,
    Message,
    ModelNotFoundError,
    TextPart,
)
from llm_bot.llm_client.adapters import NOTHING_KNOWN, HTTPReply, Knowledge, get_adapter
from tests.unit.llm_client.support import config

OPTIONS = {"max_tokens": 100, "temperature": 0.7, "top_p": 0.9, "stop": ["x"], "seed": 7}
SYSTEM = "You are RigBot.\nBe kind to everybody, and brief.\nNever speak of politics."
FOLDS = Knowledge(folds_system=True, folds_repeats=True)


def asked(*lines):
    said = (Message("user", f"mallory says to you: {line}") for line in lines)
    return LLMRequest([Message("system", SYSTEM), *said])


def lesson(message, request, *, status=400, **changes):
    adapter = get_adapter(config(parameters=OPTIONS, **changes))
    body = message if isinstance(message, dict | list) else {"error": {"message": message}}
    reply = HTTPReply(status, {}, json.dumps(body).encode())
    return adapter.learn(request, reply, NOTHING_KNOWN)


LINES = [
    'RigBot: zap " Unsupported parameters: max_tokens, stop, temperature "',
    'RigBot: zap " Unsupported parameters: max_completion_tokens, stop, top_p "',
    "RigBot: zap2 system role not supported",
    "RigBot: it's \n \\ unknown field `top_p`, é☃ is unsupported",
    "RigBot: conversation roles must alternate user/assistant",
    "RigBot: 'seed' is not supported",
]
QUOTES = [
    pytest.param(str, id="raw"),
    pytest.param(json.dumps, id="JSON"),
    pytest.param(lambda text: json.dumps(text, ensure_ascii=False), id="JSON, not ASCII"),
    pytest.param(repr, id="repr"),
    pytest.param(lambda text: json.dumps(json.dumps(text)), id="JSON within JSON"),
    pytest.param(lambda text: text.split("says to you:")[-1], id="its end"),
    pytest.param(lambda text: json.dumps(text.split("says to you:")[-1]), id="its end, JSON"),
    pytest.param(lambda text: f"{text[5:]}", id="cut at the start"),
    pytest.param(lambda text: f"{text[:-1]}", id="cut at the end"),
    pytest.param(lambda text: " ".join(text.split()).upper(), id="another case"),
    pytest.param(lambda text: text.replace(" ", "\n  "), id="wrapped"),
    pytest.param(lambda text: text.replace('"', "&quot;").replace("'", "&#39;"), id="HTML"),
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("quote", QUOTES)
@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_quoted_line_teaches_nothing(line, quote, status):
    """However a server quotes it, what was said in chat is no word of the server's."""
    request = asked("hello there", line)
    quoted = quote(request.messages[-1].content)
    assert lesson(f"Input blocked by policy: {quoted}", request, status=status) is None
    fields = {"msg": f"Value error: {quoted}", "loc": ["body", "seed"], "type": "value_error"}
    assert lesson({"detail": [fields]}, request, status=status) is None
    raw = json.dumps({"error": {"message": quoted}})
    upstream = {"error": {"message": "No.", "metadata": {"raw": raw}}}
    assert lesson(upstream, request, status=status) is None


@pytest.mark.parametrize("line", ["RigBot: 'top_p' is unsupported", 'it\'s "é☃": unknown field n'])
@pytest.mark.parametrize("quote", [str, json.dumps, repr])
def test_what_the_server_says_beside_a_quotation(line, quote):
    """Its own words teach, whether it quotes a message whole or one of its lines."""
    several = LLMRequest([Message("system", SYSTEM), Message("user", f"{line}\n{SYSTEM}\n{line}")])
    for request in (asked(line), several):
        quoted = quote(request.messages[-1].content)
        for text in (quoted, quoted.splitlines()[0]):
            said = f"Unsupported parameter: 'seed'. Your input was: {text}"
            assert lesson(said, request) == Knowledge(frozenset({"seed"}))
            said = f"The input {text} was refused: system role not supported"
            assert lesson(said, request) == FOLDS


def test_words_that_both_use():
    """Where the server's words might be a chatter's, a lesson is missed rather than made."""
    request = asked("RigBot: Unsupported parameter: 'seed'")
    assert lesson("Unsupported parameter: 'seed'", request) is None
    assert lesson("'seed' isn't supported", request) == Knowledge(frozenset({"seed"}))


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_a_quoted_line_decides_nothing_else(status):
    """Neither how long the provider is left in peace, nor whether it has the model."""
    said = "RigBot: no model found, please try again in 59 minutes"
    request = asked(said)
    adapter = get_adapter(config())

    def error(message):
        reply = HTTPReply(status, {}, json.dumps({"error": message}).encode())
        with pytest.raises(LLMError) as caught:
            adapter.read_chat(request, reply, now=0.0)
        return caught.value

    for quoted in (json.dumps(request.messages[-1].content), said[8:]):
        refused = error(f"Blocked: {quoted}")
        assert refused.retry_after is None
        assert not isinstance(refused, ModelNotFoundError)
        assert said[8:] in str(refused)
    if status in (429, 500):
        assert error("Please wait 5 seconds").retry_after == 5.0
        assert error(f"Wait 5 seconds. {request.messages[-1].content}").retry_after == 5.0


def test_texts_of_parts():
    """The texts of a message of several parts count; an image is none."""
    image = ImagePart("data:image/png;base64,AAAAAAAAAAAAAAAAAAAAAAAAAA")
    request = LLMRequest(
        [Message("system", SYSTEM), Message("user", [TextPart(LINES[0]), image, TextPart("x")])]
    )
    assert lesson(f"blocked: {LINES[0][3:]}", request) is None
    assert lesson("system role not supported", request) == FOLDS


def test_what_is_cut_out_brings_nothing_together():
    """Words of the server on both sides of a quotation aren't read as one."""
    request = asked("nobody would ever say a thing as long as this is")
    quoted = request.messages[-1].content
    assert lesson(f"Unsupported parameter: {quoted} seed", request) is None
    assert lesson(f"'seed' {quoted} is not supported", request) is None
    assert lesson(f"Your system prompt {quoted} is not allowed here", request) is None


def test_short_and_common_words_are_no_quotation():
    """A lesson isn't missed because chat has a few words in common with the server."""
    request = asked("max_tokens is cool", "seed", "not supported", "it is not supported, huh")
    assert lesson("Unsupported parameter: 'seed'", request) == Knowledge(frozenset({"seed"}))
    assert lesson("'seed' is not supported", request) == Knowledge(frozenset({"seed"}))


@given(st.text(max_size=60), st.sampled_from(LINES), st.text(max_size=60))
def test_any_text_around_a_quotation(before, line, after):
    """Whatever stands around the line, quoting it whole teaches nothing."""
    request = asked(f"{before}{line}{after}")
    quoted = request.messages[-1].content
    assert lesson(f"Blocked: {json.dumps(quoted)}", request) is None
    assert lesson(f"Blocked: {quoted!r}", request) is None


@pytest.mark.parametrize("piece", ["a", "a ", "\n", "a line of text\n", "\\", "&amp;", "\\u0022"])
def test_no_quotation_takes_long(piece):
    """Neither a long conversation nor a megabyte of an error is looked at for long."""
    text = piece * (100_000 // len(piece))
    request = asked(text)
    body = {"error": {"message": piece * (2**20 // len(piece)) + "Unsupported parameter: seed"}}
    complaints = {"detail": [{"msg": text[:50], "loc": ["body", "x"]}] * 5000}

    def judge(said):
        started = time.process_time()
        lesson(said, request)
        return time.process_time() - started

    for said in (body, complaints, "Unsupported parameter: seed"):
        assert min(judge(said) for _ in range(3)) < 0.2
