"""From the bodies of lists of models and of embeddings to what they hold."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from llm_bot.llm_client.adapters.http import HTTPReply
from llm_bot.llm_client.exceptions import GenerationError
from llm_bot.llm_client.models import ModelInfo


def read_model_list(reply: HTTPReply, *, provider: str) -> list[ModelInfo]:
    """The models in `reply`. An empty body is an empty list: `mlx_lm.server` answers so.

    Raises:
        GenerationError: It holds no list.
    """
    if not reply.is_cut and not reply.body.strip():
        return []
    tree = _tree(reply, provider)
    entries = tree.get("data") if isinstance(tree, dict) else tree
    if isinstance(tree, dict) and entries is None:
        entries = tree.get("models")
        if entries is None and tree.keys() & {"data", "models"}:
            return []  # Ollama without a model: null is Go's empty list
    if not isinstance(entries, list):
        raise _bad(reply, provider, "the answer holds no list of models")
    models = (_model(entry, provider) for entry in entries)
    return [model for model in models if model is not None]


def _model(entry: object, provider: str) -> ModelInfo | None:
    if isinstance(entry, str):
        entry = {"id": entry}
    if not isinstance(entry, dict):
        return None
    name = entry.get("id") or entry.get("name")
    if not isinstance(name, str) or not name:
        return None
    return ModelInfo(name, provider, {key: value for key, value in entry.items() if key != "id"})


def read_embedding_list(reply: HTTPReply, *, provider: str, count: int) -> list[list[float]]:
    """The `count` vectors in `reply`, in the order of the texts.

    Raises:
        GenerationError: They aren't that many, or not all finite numbers of one length.
    """
    tree = _tree(reply, provider)
    entries = tree.get("data") if isinstance(tree, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _bad(reply, provider, "the answer holds no embeddings")
    # The index says which text a vector is for; a server that gives none keeps the order.
    entries = [entry for _, entry in sorted(enumerate(entries), key=lambda each: _place(*each))]
    vectors = [_vector(entry.get("embedding")) for entry in entries]
    whole = [vector for vector in vectors if vector]
    if len(whole) != count or len({len(vector) for vector in whole}) > 1:
        raise _bad(reply, provider, f"the answer doesn't hold {count} embeddings of one length")
    return whole


def _place(position: int, entry: dict[str, Any]) -> int:
    index = entry.get("index")
    return index if isinstance(index, int) else position


def _vector(value: object) -> list[float] | None:
    if not isinstance(value, list):
        return None
    if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in value):
        return None
    try:
        vector = [float(each) for each in value]
    except OverflowError:  # JSON's whole numbers have no bound
        return None
    return vector if all(map(math.isfinite, vector)) else None


def _tree(reply: HTTPReply, provider: str) -> Any:
    if reply.is_cut:
        raise _bad(reply, provider, "the answer is too large", "too_large")
    try:
        return msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise _bad(reply, provider, "the answer isn't JSON", "bad_json") from exc


def _bad(reply: HTTPReply, provider: str, text: str, code: str = "bad_shape") -> GenerationError:
    return GenerationError(text, provider=provider, status=reply.status, code=code)
