"""Rules of lists of models and of embeddings."""

from __future__ import annotations

import copy
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.llm_client import GenerationError, LLMError, ModelInfo, ValidationError
from llm_bot.llm_client.adapters import HTTPReply, get_adapter
from tests.unit.llm_client.support import config

ADAPTER = get_adapter(config())


def reply(body, status=200, *, is_cut=False):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HTTPReply(status, {}, raw, is_cut)


def models(body, **options):
    return ADAPTER.read_models(reply(body, **options), now=0.0)


def vectors(body, count=2, **options):
    return ADAPTER.read_embeddings(count, reply(body, **options), now=0.0)


def entry(vector, index=None):
    return {"embedding": vector} | ({} if index is None else {"index": index})


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({"data": [{"id": "a"}, {"id": "b"}]}, ["a", "b"]),
        ({"models": [{"name": "llama3:8b"}]}, ["llama3:8b"]),
        ({"data": None, "models": [{"name": "a"}]}, ["a"]),
        ([{"id": "a"}], ["a"]),
        (["a", "b"], ["a", "b"]),
        ({"data": [{"id": "a"}, {"id": ""}, {"id": 5}, {}, None, 5, {"id": None}]}, ["a"]),
        ({"data": []}, []),
        ({"data": None}, []),
        ({"models": None}, []),
        ([], []),
        (b"", []),
        (b" \n", []),
    ],
)
def test_models(body, ids):
    """Models are found wherever servers put them; an empty list is no error."""
    assert [model.id for model in models(body)] == ids


def test_what_else_is_said_of_a_model():
    """Everything but the name is metadata."""
    assert models({"data": [{"id": "a", "owned_by": "me", "created": 5}]}) == [
        ModelInfo("a", "openai", {"owned_by": "me", "created": 5})
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "bad_shape"),
        (None, "bad_shape"),
        ("a", "bad_shape"),
        ({"error": "Unexpected endpoint or method. (GET /models)"}, "bad_shape"),
        ({"data": {}}, "bad_shape"),
        ({"data": "a"}, "bad_shape"),
        (b"<html>", "bad_json"),
        (b"[" * 200_000, "bad_json"),
    ],
)
def test_no_list_of_models(body, code):
    """What isn't a list is an error."""
    with pytest.raises(GenerationError) as caught:
        models(body)
    assert (caught.value.code, caught.value.status) == (code, 200)


@pytest.mark.parametrize("read", [models, vectors])
def test_what_was_too_large(read):
    """What wasn't read is an error, not an empty list."""
    with pytest.raises(GenerationError) as caught:
        read(b"", is_cut=True)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    "body",
    [
        {"data": [entry([1, 2.5], 0), entry([3, 4], 1)]},
        {"data": [entry([3, 4], 1), entry([1, 2.5], 0)]},
        {"data": [entry([1, 2.5]), entry([3, 4])]},
        {"data": [entry([1, 2.5], 0), entry([3, 4], 0)]},
    ],
)
def test_embeddings(body):
    """Vectors come in the order of the texts, whatever that of the answer is."""
    assert vectors(body) == [[1.0, 2.5], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"data": [entry([1.0])]}, "bad_shape"),
        ({"data": [entry([1.0]), entry([1.0]), entry([1.0])]}, "bad_shape"),
        ({"data": [entry([1.0]), entry([1.0, 2.0])]}, "bad_shape"),
        ({"data": [entry([1.0]), entry([])]}, "bad_shape"),
        ({"data": [entry([1.0]), entry(["1"])]}, "bad_shape"),
        ({"data": [entry([1.0]), entry([True])]}, "bad_shape"),
        ({"data": [entry([1.0]), entry([None])]}, "bad_shape"),
        ({"data": [entry([1.0]), entry([10**400])]}, "bad_shape"),
        ({"data": [entry([1.0]), entry("AACAPw==")]}, "bad_shape"),
        ({"data": [entry([1.0]), {}]}, "bad_shape"),
        ({"data": [entry([1.0]), None]}, "bad_shape"),
        ({"data": {}}, "bad_shape"),
        ({"data": None}, "bad_shape"),
        ({}, "bad_shape"),
        ([], "bad_shape"),
        (b"", "bad_json"),
        (b'{"data": [{"embedding": [NaN]}]}', "bad_json"),
        (b'{"data": [{"embedding": [1e999]}]}', "bad_shape"),
    ],
)
def test_embeddings_that_cannot_be_used(body, code):
    """Too few, too many, not of one length, no finite numbers: an error."""
    with pytest.raises(GenerationError) as caught:
        vectors(body)
    assert caught.value.code == code
    assert caught.value.retryable


def test_texts_that_cannot_be_written():
    """Half a surrogate pair is the request's fault."""
    with pytest.raises(ValidationError):
        ADAPTER.build_embeddings(["\ud800"], "m")


def test_embeddings_are_asked_for():
    """Model and texts are all that goes out."""
    made = ADAPTER.build_embeddings(("a", "b"), "m")
    assert (made.method, made.url) == ("POST", "http://127.0.0.1:9/v1/embeddings")
    assert json.loads(made.body) == {"model": "m", "input": ["a", "b"]}


FIELDS = ["data", "models", "id", "name", "embedding", "index", "error", "message", "detail"]
FIELDS += ["msg", "loc", "code", "type", "param", "metadata", "raw"]
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
MODELS = {"object": "list", "data": [{"id": "a", "owned_by": "x"}, {"name": "b"}]}
EMBEDDINGS = {"data": [entry([1.0, 2.0], 1), entry([3.0, 4.0], 0)]}
ERROR = {
    "error": {
        "message": "no",
        "type": "x",
        "code": 5,
        "param": None,
        "metadata": {"raw": '{"error": {"message": "no"}}'},
    },
    "message": {"detail": [{"msg": "no", "loc": ["body", "x"], "type": "x"}]},
    "detail": [{"msg": "no", "loc": ["body", "x"], "type": "x"}],
}


def places(tree, here=()):
    yield here
    inner = dict(enumerate(tree)) if isinstance(tree, list) else tree
    for key, value in inner.items() if isinstance(inner, dict) else ():
        yield from places(value, (*here, key))


def changed(tree, place, value):
    """`tree` with `value` at `place`."""
    if not place:
        return value
    whole = inner = copy.deepcopy(tree)
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return whole


def wrong(tree):
    """`tree` with any value at any place."""
    return st.builds(changed, st.just(tree), st.sampled_from(sorted(places(tree), key=str)), trees)


@given(wrong(MODELS) | trees)
def test_any_list_of_models(body):
    """Any value at any level gives models with names, or an LLMError."""
    try:
        found = models(body)
    except LLMError:
        return
    assert all(model.id and isinstance(model.id, str) for model in found)


@given(wrong(EMBEDDINGS) | trees)
def test_any_embeddings(body):
    """Any value at any level gives so many finite vectors, or an LLMError."""
    try:
        found = vectors(body)
    except LLMError:
        return
    assert len(found) == 2
    assert len({len(vector) for vector in found}) == 1
    assert all(math.isfinite(number) for vector in found for number in vector)


@given(wrong(ERROR) | trees, st.integers(300, 999))
def test_any_error_body(body, status):
    """Any value at any level of an error body is an LLMError, of models and health as well."""
    with pytest.raises(LLMError) as caught:
        models(body, status=status)
    assert caught.value.status == status
    with pytest.raises(LLMError):
        ADAPTER.read_health(reply(body, status), now=0.0)
