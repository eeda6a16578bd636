"""Rules of the lessons: what a refusal teaches, and above all what it doesn't."""

from __future__ import annotations

import json
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.llm_client import LLMRequest, Message
from llm_bot.llm_client.adapters import NOTHING_KNOWN, HTTPReply, Knowledge, get_adapter
from llm_bot.llm_client.adapters.said import said_by_server
from llm_bot.llm_client.adapters.wording import is_code_of_refusal, refused_names
from tests.unit.llm_client.support import config

OPTIONS = {
    "max_tokens": 100,
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 40,
    "stop": ["\n"],
    "seed": 7,
    "user": "bot",
    "n": 1,
    "presence_penalty": 0.5,
    "reasoning_effort": "low",
    "response_format": {"type": "text"},
    "tools": [],
    "metadata": {},
}
CHAT = LLMRequest([Message("system", "Be kind."), Message("user", "Hello")])


def body_of(error):
    return error if isinstance(error, bytes) else json.dumps(error).encode()


def lesson(error, *, status=400, known=NOTHING_KNOWN, asked=CHAT, is_cut=False, **changes):
    """What the refusal `error` of a request with all the options teaches."""
    adapter = get_adapter(config(**{"parameters": OPTIONS, **changes}))
    return adapter.learn(asked, HTTPReply(status, {}, body_of(error), is_cut), known)


def says(message, **fields):
    return {"error": {"message": message, "type": "invalid_request_error", **fields}}


def pydantic(*complaints):
    """As FastAPI has it."""
    return {
        "detail": [
            {"type": kind, "loc": ["body", *where], "msg": text, "input": "seed unsupported"}
            for kind, where, text in complaints
        ]
    }


EXTRA = "Extra inputs are not permitted"
AS_REPR = "[{'type': 'extra_forbidden', 'loc': ('body', 'top_k'), 'msg': '" + EXTRA + "'}]"
OPENAI_CAP = (
    "Unsupported parameter: 'max_tokens' is not supported with this model."
    " Use 'max_completion_tokens' instead."
)
OPENAI_TEMPERATURE = (
    "Unsupported value: 'temperature' does not support 0.7 with this model."
    " Only the default (1) value is supported."
)
LITELLM = (
    "litellm.UnsupportedParamsError: openai does not support parameters: ['top_k', 'seed'], for"
    " model=gpt-5. To drop these, set `litellm.drop_params=True`"
)
LITELLM_GPT5 = (
    "litellm.UnsupportedParamsError: gpt-5 models don't support temperature=0.7. Only temperature=1"
    " is supported. For gpt-5.1, temperature is supported when reasoning_effort='none'. To drop"
    " unsupported params set `litellm.drop_params = True`"
)


@pytest.mark.parametrize(
    ("error", "names"),
    [
        pytest.param(
            says(OPENAI_TEMPERATURE, param="temperature", code="unsupported_value"),
            {"temperature"},
            id="OpenAI: value",
        ),
        pytest.param(says(OPENAI_TEMPERATURE), {"temperature"}, id="OpenAI: value, no param"),
        pytest.param(
            says("Unknown parameter: 'top_k'.", param="top_k", code="unknown_parameter"),
            {"top_k"},
            id="OpenAI: unknown",
        ),
        pytest.param(says("No.", param="top_k", code="unknown_parameter"), {"top_k"}, id="code"),
        pytest.param(
            says("Unrecognized request argument supplied: top_k"), {"top_k"}, id="OpenAI: old"
        ),
        pytest.param(
            says("Unrecognized request arguments supplied: top_k, seed"),
            {"top_k", "seed"},
            id="OpenAI: old, two",
        ),
        pytest.param(
            says("Invalid parameter: 'response_format' of type 'json_schema' is not supported."),
            {"response_format"},
            id="OpenAI: of type",
        ),
        pytest.param(
            says("Unsupported.", param="response_format.type", code="unsupported_value"),
            {"response_format"},
            id="path",
        ),
        pytest.param(
            says("`top_k` is not supported with this model", param="top_k"), {"top_k"}, id="Groq"
        ),
        pytest.param(says("property 'seed' is unsupported"), {"seed"}, id="Groq: property"),
        pytest.param(
            says("body.seed: property 'body.seed' is unsupported", param="body.seed"),
            {"seed"},
            id="Cerebras",
        ),
        pytest.param(
            pydantic(("extra_forbidden", ["top_k"], EXTRA), ("extra_forbidden", ["seed"], EXTRA)),
            {"top_k", "seed"},
            id="FastAPI",
        ),
        pytest.param(
            pydantic(
                ("less_than", ["temperature"], "Input should be less than 0.5"),
                ("extra_forbidden", ["seed"], EXTRA),
            ),
            {"seed"},
            id="FastAPI: one refused, one wrong",
        ),
        pytest.param(
            {"message": {"detail": pydantic(("extra_forbidden", ["seed"], EXTRA))["detail"]}},
            {"seed"},
            id="Mistral: object",
        ),
        pytest.param(
            {"message": pydantic(("extra_forbidden", ["seed"], EXTRA))["detail"]},
            {"seed"},
            id="Mistral: list",
        ),
        pytest.param(
            {"message": json.dumps(pydantic(("extra_forbidden", ["seed"], EXTRA)))},
            {"seed"},
            id="Mistral: text",
        ),
        pytest.param({"object": "error", "message": AS_REPR}, {"top_k"}, id="vLLM: repr"),
        pytest.param(
            says(f"1 validation error for Request\nseed\n  {EXTRA} [type=extra_forbidden, input_"),
            {"seed"},
            id="vLLM: pydantic's text",
        ),
        pytest.param(
            says(f"{EXTRA}, field: 'seed', value: 1"), {"seed"}, id="Fireworks: field after"
        ),
        pytest.param(says(f"seed: {EXTRA}"), {"seed"}, id="Anthropic"),
        pytest.param(
            says(LITELLM, type="None", param="None", code="400"), {"top_k", "seed"}, id="LiteLLM"
        ),
        pytest.param(says(LITELLM_GPT5, param="None"), {"temperature"}, id="LiteLLM: a value"),
        pytest.param(
            says(
                "Error code: 400 - {'error': {'message': \"Unsupported parameter: 'seed' is not"
                " supported\", 'type': 'x', 'param': 'seed', 'code': 'unsupported_parameter'}}"
            ),
            {"seed"},
            id="proxy that quotes an error",
        ),
        pytest.param(
            {
                "error": {
                    "message": "Provider returned error",
                    "code": 400,
                    "metadata": {"raw": json.dumps(says("No", param="seed", code="unknown_arg"))},
                }
            },
            {"seed"},
            id="OpenRouter: upstream",
        ),
        pytest.param(
            [{"error": {"code": 400, "message": 'Unknown name "seed": Cannot find field.'}}],
            {"seed"},
            id="Gemini",
        ),
        pytest.param(
            {"error": "Argument not supported on this model: presencePenalty"},
            {"presence_penalty"},
            id="xAI: after a colon",
        ),
        pytest.param(
            {"error": "Model grok-4 does not support parameter presencePenalty."},
            {"presence_penalty"},
            id="xAI",
        ),
        pytest.param(
            {"error": "unknown field `top_k`, expected one of `temperature`, `seed`"},
            {"top_k"},
            id="serde: what it knows isn't refused",
        ),
        pytest.param(
            {"error": "Additional properties are not allowed ('top_k', 'seed' were unexpected)"},
            {"top_k", "seed"},
            id="JSON schema",
        ),
        pytest.param(
            {"error": "create() got an unexpected keyword argument 'top_k'"}, {"top_k"}, id="Python"
        ),
        pytest.param({"error": {"message": "Unsupported param: seed"}}, {"seed"}, id="llama.cpp"),
        pytest.param({"detail": "temperature is not supported"}, {"temperature"}, id="unquoted"),
        pytest.param("This model doesn't support the 'stop' parameter", {"stop"}, id="stop"),
        pytest.param("`temperature` is deprecated for this model", {"temperature"}, id="old"),
        pytest.param("temperature=0.7 isn't supported", {"temperature"}, id="with a value"),
        pytest.param("tools and seed are unsupported", {"seed"}, id="the last of two"),
        pytest.param("It does not support tools.", {"tools"}, id="support"),
        pytest.param("Unsupported parameter(s): seed, top_k", {"seed", "top_k"}, id="(s)"),
        pytest.param("`seed` is an unknown parameter", {"seed"}, id="an unknown"),
        pytest.param("'user' is not supported", {"user"}, id="a word, quoted"),
        pytest.param(f"stop: {EXTRA}", {"stop"}, id="a word, as a field"),
        pytest.param("Argument not supported on this model: stop", {"stop"}, id="a word, named"),
        pytest.param(b"unknown parameter top_k", {"top_k"}, id="no JSON"),
    ],
)
def test_what_is_refused_is_left_out(error, names):
    """A parameter that the server's words refuse, however it says so, is dropped; no other is."""
    assert lesson(error) == Knowledge(dropped=frozenset(names))


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(
            says(
                "This model's maximum context length is 8192 tokens. However, you requested 9000"
                " tokens (8000 in the messages, 1000 in the completion). Please reduce the length"
                " of the messages or completion.",
                param="messages",
                code="context_length_exceeded",
            ),
            id="OpenAI: context",
        ),
        pytest.param(
            says(
                "max_tokens is too large: 100000. This model supports at most 16384 completion"
                " tokens, whereas you provided 100000.",
                param="max_tokens",
                code="invalid_value",
            ),
            id="OpenAI: cap",
        ),
        pytest.param(
            says(
                "Invalid 'max_tokens': integer above maximum value. Expected a value <= 32768.",
                param="max_tokens",
                code="integer_above_max_value",
            ),
            id="OpenAI: cap of another model",
        ),
        pytest.param(
            {
                "object": "error",
                "message": "'max_tokens' or 'max_completion_tokens' is too large: 5000. This"
                " model's maximum context length is 4096 tokens and your request has 200 input"
                " tokens (5000 > 4096 - 200).",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
            id="vLLM: cap",
        ),
        pytest.param("max_tokens=100000 is not supported, maximum is 4096", id="cap in one"),
        pytest.param("max_tokens is not allowed to exceed 4096", id="not allowed to"),
        pytest.param("temperature is not allowed to be 3", id="not allowed to be"),
        pytest.param(
            says("Invalid parameter: temperature must be from 0 to 1", param="temperature"),
            id="wrong value with param",
        ),
        pytest.param(
            says("Invalid value: 'bot'. Supported values are: 'system' and 'user'.", param="user"),
            id="OpenAI: wrong value",
        ),
        pytest.param(
            pydantic(("less_than", ["temperature"], "Input should be less than or equal to 2")),
            id="FastAPI: wrong value",
        ),
        pytest.param(
            pydantic(("extra_forbidden", ["messages", 1, "user", "name"], EXTRA)),
            id="FastAPI: within the messages",
        ),
        pytest.param(
            pydantic(("string_type", ["messages", 0, "content"], "'seed' is unsupported")),
            id="FastAPI: text of a message",
        ),
        pytest.param(
            says(f"1 validation error\nmessages.0.user.name\n  {EXTRA} [type=extra_forbidden]"),
            id="vLLM: within the messages",
        ),
        pytest.param(
            says(
                "1 validation error\nmessages.0.content\n  Input should be a valid string"
                " [type=string_type, input_value='temperature is not supported', input_type=dict]"
            ),
            id="quoted chat",
        ),
        pytest.param(
            says('Flagged by the filter: "Unsupported parameter: temperature, seed"'),
            id="quoted chat, double",
        ),
        pytest.param(
            says("Unsupported value: 'seed'.", param="messages[1].content", code="unknown_value"),
            id="param is a message",
        ),
        pytest.param(says("model is not supported", param="model"), id="model"),
        pytest.param("logprobs is not supported when seed is set", id="something else"),
        pytest.param("image input is not supported by this model: see the user guide", id="image"),
        pytest.param("The user is not allowed here", id="a word"),
        pytest.param("you are not allowed to use temperature", id="use"),
        pytest.param("Use temperature or top_p, but not both", id="advice"),
        pytest.param("'temperature' must be a non-negative float", id="mlx_lm"),
        pytest.param({"error": {"message": None}}, id="silence"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>unsupported parameter temperature</html>", id="HTML"),
        pytest.param({"param": "400", "message": "no"}, id="param is a number"),
        pytest.param({"detail": [5, {"msg": 5}, {"loc": 5, "msg": EXTRA}]}, id="odd details"),
    ],
)
def test_what_is_not_refused_stays(error):
    """A wrong value, a text that quotes names, a refusal of something else: nothing is learned."""
    assert lesson(error) is None


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (says(OPENAI_CAP, param="max_tokens", code="unsupported_parameter"), "max_tokens"),
        (says(OPENAI_CAP), "max_tokens"),
        (says("Argument not supported: max_tokens"), "max_tokens"),
        (pydantic(("extra_forbidden", ["max_completion_tokens"], EXTRA)), "max_completion_tokens"),
    ],
)
def test_the_token_cap_changes_its_name(error, sent):
    """A cap that is refused goes under its other name, and is never left out."""
    parameters = {sent: 100}
    first = lesson(error, parameters=parameters)
    assert first == Knowledge(refused_caps=frozenset({sent}))
    assert first.swaps_token_cap
    (other,) = first.applied_to(parameters)
    assert other != sent
    assert first.applied_to({other: 5}) == {other: 5}
    refused = says(f"Unsupported parameter: {other}")
    assert lesson(refused, parameters=parameters, known=first) is None


def test_both_names_of_the_cap():
    """If both were sent, the one that isn't refused keeps its value."""
    both = {"max_tokens": 1, "max_completion_tokens": 2}
    known = lesson(says("Unsupported parameter: max_tokens"), parameters=both)
    assert known is not None
    assert known.applied_to(both) == {"max_completion_tokens": 2}


@pytest.mark.parametrize(
    "local",
    [
        {"provider": "mlx", "parameters": {"seed": 1}},
        {"provider": "openai", "parameters": {"seed": 1, "max_tokens": 512}},
    ],
)
def test_a_cap_is_never_left_out(local):
    """Whatever a server says: without one, an answer is as long and dear as the model likes."""
    first = lesson(says("Unsupported parameter: max_tokens"), **local)
    assert first == Knowledge(refused_caps=frozenset({"max_tokens"}))
    again = says("Unsupported parameters: max_completion_tokens")
    assert lesson(again, known=first, **local) is None
    with_seed = says("Unsupported parameters: max_completion_tokens, seed")
    seedless = lesson(with_seed, known=first, **local)
    assert seedless == Knowledge(frozenset({"seed"}), frozenset({"max_tokens"}))
    both = says("Unsupported parameters: max_tokens, max_completion_tokens")
    assert lesson(both, **local) == first
    assert lesson(both, known=first, **local) is None
    other = Knowledge(refused_caps=frozenset({"max_completion_tokens"}))
    assert (first | other).applied_to({"max_tokens": 5}) == {"max_tokens": 5}


STRICT = [
    "System role not supported",
    "Conversation roles must alternate user/assistant/user/assistant/...",
    "After the optional system message, conversation roles must alternate user and assistant",
    "Only user and assistant roles are supported!",
    "Only user, assistant and tool roles are supported",
    'roles must alternate between "user" and "assistant", but found multiple "user" roles',
    "System message must be at the beginning.",
    "System prompts aren't supported",
    "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
    "This model does not support system messages",
    "Developer instruction is not enabled for models/gemma-3-27b-it",
    "A conversation must start with a user message. Try again with one.",
    "The first message must use the user role",
]


@pytest.mark.parametrize("text", STRICT)
@pytest.mark.parametrize("status", [400, 404, 422, 500, 502])
def test_a_template_that_wants_strict_turns(text, status):
    """The words of a chat template teach to fold, under whatever status a server fails."""
    known = lesson({"error": f'Error rendering prompt: "{text}"\n at line 5'}, status=status)
    assert known == Knowledge(folds_system=True, folds_repeats=True)


@pytest.mark.parametrize("status", [200, 302, 401, 402, 403, 429, 600])
@pytest.mark.parametrize("text", [STRICT[0], "Unsupported parameter: seed"])
def test_other_statuses_teach_nothing(text, status):
    """Only what is a refusal of the request teaches anything."""
    assert lesson({"error": text}, status=status) is None


@pytest.mark.parametrize("status", [404, 500])
def test_parameters_are_refused_by_their_own_statuses(status):
    """A server that failed may name anything."""
    assert lesson({"error": "Unsupported parameter: seed"}, status=status) is None


def test_a_body_that_was_too_large_teaches_nothing():
    """What wasn't read isn't guessed."""
    assert lesson(b"", is_cut=True) is None


def test_nothing_is_folded_where_nothing_can_be():
    """A single user message stays as it is: asking again with it would be no use."""
    alone = LLMRequest([Message("user", "Hello")])
    assert lesson({"error": STRICT[0]}, asked=alone) is None
    folded = Knowledge(folds_system=True, folds_repeats=True)
    assert lesson({"error": STRICT[0]}, known=folded) is None


def test_what_two_know_together():
    """Lessons that came at the same time add up."""
    one = Knowledge(frozenset({"a"}), frozenset({"max_tokens"}), folds_system=True)
    other = Knowledge(frozenset({"b"}), folds_repeats=True)
    assert one | other == Knowledge(
        frozenset({"a", "b"}), frozenset({"max_tokens"}), folds_system=True, folds_repeats=True
    )


def test_what_is_learned_is_left_out_of_the_body():
    """The next body is without what was refused, and its messages are folded."""
    known = Knowledge(frozenset({"seed"}), frozenset({"max_tokens"}), True, True)
    parameters = {"seed": 1, "max_tokens": 5, "top_p": 0.5}
    built = get_adapter(config(parameters=parameters)).build_chat(CHAT, known)
    assert json.loads(built.body) == {
        "model": "asked-model",
        "messages": [{"role": "user", "content": "Be kind.\n\nHello"}],
        "top_p": 0.5,
        "max_completion_tokens": 5,
    }


PIECES = ["Unsupported parameter:", "is not supported", "does not support", EXTRA]
words = st.lists(
    st.sampled_from([*OPTIONS, *STRICT, *PIECES, "max_completion_tokens", "'", ",", " and ", "["]),
    max_size=8,
).map(" ".join)


@given(
    st.lists(words | st.text(max_size=20), min_size=1, max_size=3),
    st.sets(st.sampled_from([*OPTIONS, "max_completion_tokens"])),
    st.none() | st.sampled_from([*OPTIONS, "max_completion_tokens", "messages"]),
    st.sampled_from(["openai", "mlx"]),
)
def test_learning_ends(messages, names, param, provider):
    """Each lesson changes the request, and there are few of them, whatever a server says."""
    adapter = get_adapter(
        config(provider=provider, parameters={name: OPTIONS.get(name, 1) for name in names})
    )
    known = NOTHING_KNOWN
    bodies = [adapter.build_chat(CHAT, known).body]
    for turn in range(len(names) + 4):
        code = "unsupported_parameter" if param else None
        error = says(messages[turn % len(messages)], param=param, code=code)
        new = adapter.learn(CHAT, HTTPReply(400, {}, body_of(error)), known)
        if new is not None:
            known |= new
            bodies.append(adapter.build_chat(CHAT, known).body)
    assert len(set(bodies)) == len(bodies)
    assert len(bodies) <= len(names) + 4


HOSTILE = [
    "a",
    "a ",
    " ",
    "'",
    '"',
    "'a', ",
    "a.",
    "system message ",
    "not supported: a, ",
    "does not support a and ",
    "unsupported parameter a, ",
    "unsupported ",
    "a is not ",
    "try again in 1 ",
    "try again in ",
    "wait " + " " * 50,
    "1m",
    "extra_forbidden', 'loc': (",
    "<",
    "\\u0022",
]


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("form", ["error", "detail", "raw", "text"])
def test_no_text_takes_long(piece, form):
    """A megabyte of anything is judged in no time."""
    text = piece * (2**20 // len(piece))
    body = {
        "error": json.dumps({"error": {"message": text}}),
        "detail": json.dumps({"detail": [{"msg": text, "loc": ["body", text]}]}),
        "raw": json.dumps({"error": {"metadata": {"raw": text}}}),
        "text": text,
    }[form].encode()
    adapter = get_adapter(config(parameters=OPTIONS))

    def judge():
        started = time.process_time()
        adapter.learn(CHAT, HTTPReply(400, {}, body), NOTHING_KNOWN)
        with pytest.raises(Exception, match="HTTP 429"):
            adapter.read_chat(CHAT, HTTPReply(429, {}, body), now=0.0)
        return time.process_time() - started

    limit = 0.05 * (6 if sys.gettrace() else 1)
    assert min(judge() for _ in range(3)) < limit


def test_words_that_are_not_ascii():
    """A name may stand in typographic quotes; a code may be anything."""
    assert list(refused_names("Unsupported parameter: “seed”")) == ["seed"]
    assert not is_code_of_refusal("unsupported_country")
    assert said_by_server(b'"\xe2\x98\x83"').message == "☃"
