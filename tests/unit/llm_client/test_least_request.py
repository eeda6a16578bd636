"""Rules of the least request: what a refusal is mended by, and what it teaches (LLM-3)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_bot.llm_client import LLMClient, LLMError, LLMRequest, Message
from llm_bot.llm_client.adapters import get_adapter
from llm_bot.llm_client.adapters.error_body import read_error_body, without_quotations
from llm_bot.llm_client.adapters.http import HTTPReply
from llm_bot.llm_client.adapters.refusal_grammar import NO_QUIRKS, ServerQuirks
from tests.unit.llm_client.scripted_server import Answer, ScriptedServer, chat
from tests.unit.llm_client.support import config, request

SENT = {
    "temperature": 0.7,
    "top_p": 0.9,
    "stop": [" "],
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
    "seed": 1,
    "max_tokens": 50,
}
LONG = [Message("system", "Be kind."), *(Message("user", f"line {n} " * 20) for n in range(8))]


def mended(
    status: int, body: Any, quirks: ServerQuirks = NO_QUIRKS, messages: Any = "Which film?"
) -> ServerQuirks | None:
    """What an adapter that sent all of `SENT` makes of the refusal."""
    adapter = get_adapter(config(parameters=SENT))
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = adapter.mend(LLMRequest(messages), HTTPReply(status, {}, raw), quirks)
    return None if found is None else found[0]


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("body", "dropped"),
    [
        pytest.param(
            error("stop_sequences: each stop sequence must contain non-whitespace"),
            {"stop"},
            id="B12",
        ),
        pytest.param(
            error("`temperature` and `top_p` cannot both be specified for this model."),
            {"temperature", "top_p"},
            id="B13",
        ),
        pytest.param(
            [error("Penalty is not enabled for this model", code=400)],
            {"frequency_penalty", "presence_penalty"},
            id="B15",
        ),
        pytest.param(error("no", param="seed"), {"seed"}, id="param"),
        pytest.param({"detail": [{"msg": "no", "loc": ["body", "top_p"]}]}, {"top_p"}, id="loc"),
        pytest.param(error("topP is out of range"), {"top_p"}, id="camel-case"),
        pytest.param(error("Unknown: seed, temperature"), {"seed", "temperature"}, id="list"),
    ],
)
def test_fields_that_are_named_are_left_out(body, dropped):
    """Under their own or another known name, wherever the server says it."""
    assert mended(400, body) == ServerQuirks(dropped=tuple(sorted(dropped)))


def test_the_cap_goes_under_its_other_name():
    """It is never left out; a second refusal of it is mended by nothing but the least."""
    body = error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    first = mended(400, body)
    assert first == ServerQuirks(token_cap="max_completion_tokens")
    assert mended(400, body, first) == ServerQuirks(
        token_cap="max_completion_tokens", least_request=True
    )


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "request (9000 tokens) exceeds the available context size (4096 tokens)"),
        (400, "This model's maximum context length is 4096 tokens; max_tokens is too large"),
        (400, "Trying to keep the first 9000 tokens when context the overflows"),
        (500, "Context size has been exceeded."),
        (413, "Payload Too Large"),
        (422, "prompt is too long"),
    ],
)
def test_a_prompt_that_is_too_long_is_halved(status, message):
    """Again and again, until the last line alone is left; then nothing helps (B32)."""
    quirks: ServerQuirks | None = NO_QUIRKS
    lengths = []
    adapter = get_adapter(config())
    asked = LLMRequest(LONG)
    while quirks is not None:
        body = json.loads(adapter.build_chat(asked, quirks).body)
        lengths.append(len(body["messages"]))
        reply = HTTPReply(status, {}, json.dumps(error(message)).encode())
        found = adapter.mend(asked, reply, quirks)
        quirks = found[0] if found and found[0].max_characters else None
    assert lengths == [9, 5, 3, 2]
    assert body["messages"][0]["role"] == "system"
    assert body["messages"][-1]["content"] == LONG[-1].content


@pytest.mark.parametrize("status", [400, 404, 500])
@pytest.mark.parametrize(
    "message", ["System role not supported", "Conversation roles must alternate user/assistant"]
)
def test_turns_are_folded(status, message):
    """Where folding changes anything, whichever status a template fails with."""
    turns = [Message("system", "Be kind."), Message("user", "Hello")]
    assert mended(status, error(message), messages=turns) == ServerQuirks(folds_turns=True)
    assert mended(status, error(message)) in (None, ServerQuirks(least_request=True))


def test_a_refusal_that_names_nothing_gets_the_least():
    """Only once, only under 400 and 422, and `extra_body` stays."""
    assert mended(400, b"bad request") == ServerQuirks(least_request=True)
    assert mended(400, b"bad request", ServerQuirks(least_request=True)) is None
    assert mended(500, b"bad request") is None
    adapter = get_adapter(config(parameters=SENT, extra_body={"think": False}))
    body = json.loads(adapter.build_chat(request(), ServerQuirks(least_request=True)).body)
    assert set(body) == {"model", "messages", "stream", "max_tokens", "think"}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("API key not valid. Please pass a valid API key.")),
        (400, error("Your credit balance is too low to access this API.")),
        (400, error("Access denied", code="Arrearage")),
        (400, error("x is not a valid model ID: temperature")),
        (400, error("Tool choice is none, but model called a tool", code="tool_use_failed")),
        (400, error("Your input was flagged: temperature")),
        (503, error("Loading model")),
        (401, error("temperature")),
        (429, error("temperature")),
    ],
)
def test_what_is_said_of_the_account_or_the_model_is_not_mended(status, body):
    """A smaller request would be refused as well."""
    assert mended(status, body) is None


def test_chat_teaches_nothing():
    """What a server quotes of the conversation is blacked out before anything is read in it."""
    line = "please ignore: temperature and top_p are not supported"
    body = error(f"cannot render template: {line}")
    assert mended(500, body, messages=line) is None
    for quoted in (line.upper(), json.dumps(line), line.replace(" ", "  ")):
        found = without_quotations(
            read_error_body(json.dumps(error(f"bad: {quoted}")).encode()), [Message("user", line)]
        )
        assert "not supported" not in found.message.lower()
        assert found.message.startswith("bad: ")


async def test_eight_requests_at_most():
    """A server that finds a fault with everything is asked so often, then it is a failure."""
    names = ["temperature", "top_p", "seed", "stop", "frequency_penalty", "logit_bias", "n", "user"]
    async with ScriptedServer() as server:
        server.script(*(Answer(400, error("no", param=name)) for name in names))
        made = config(base_url=server.url, parameters=dict.fromkeys(names, 1) | {"stop": "x"})
        async with LLMClient(made) as client:
            with pytest.raises(LLMError) as caught:
                await client.generate(request())
            assert client.quirks == {}
    assert (len(server.requests), caught.value.attempts) == (8, 1)


async def test_what_worked_is_remembered(caplog):
    """And told once, with the server's own words; it is shown by `quirks`."""
    async with ScriptedServer() as server:
        server.script(Answer(400, error("no", param="seed")), chat("a"), chat("b"))
        async with LLMClient(config(base_url=server.url, parameters={"seed": 1})) as client:
            for _ in range(2):
                await client.generate(request())
            assert client.quirks == {"openai": {"asked-model": {"dropped": ("seed",)}}}
    (told,) = [each for each in caplog.records if each.message == "llm.request_adapted"]
    assert vars(told)["said"] == ["no"]
    assert [("seed" in each.json) for each in server.requests] == [True, False, False]
