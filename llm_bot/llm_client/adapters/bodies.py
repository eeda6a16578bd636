"""From the bodies of successes to what they hold: JSON, lists of models, embeddings."""

from __future__ import annotations

from typing import Any

import msgspec

from llm_bot.llm_client.adapters.http import HTTPReply
from llm_bot.llm_client.exceptions import GenerationError
from llm_bot.llm_client.models import ModelInfo


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int | None = None


class _Embeddings(msgspec.Struct):
    data: list[_Vector]


def unusable(reply: HTTPReply, text: str, code: str = "bad_shape") -> GenerationError:
    """The error for a success that holds no answer."""
    return GenerationError(text, status=reply.status, code=code)


def decoded(body: bytes) -> Any:
    """What a JSON text holds. Raises `ValueError` for anything else, however deep."""
    try:
        return msgspec.json.decode(body)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def read_model_list(reply: HTTPReply, *, provider: str) -> list[ModelInfo]:
    """The models in `reply`. An empty body is an empty list: `mlx_lm.server` answers so.

    Raises:
        GenerationError: It holds no list.
    """
    if reply.is_cut:
        raise unusable(reply, "the answer is too large", "too_large")
    try:
        tree = decoded(reply.body) if reply.body.strip() else []
    except ValueError as exc:
        raise unusable(reply, "the answer isn't JSON", "bad_json") from exc
    if isinstance(tree, dict) and tree.keys() & {"data", "models"}:
        # Ollama without a model: null is Go's empty list.
        lists = (tree.get("data"), tree.get("models"))
        tree = next((each for each in lists if each is not None), [])
    if not isinstance(tree, list):
        raise unusable(reply, "the answer holds no list of models")
    entries = ({"id": entry} if isinstance(entry, str) else entry for entry in tree)
    named = (
        (entry.get("id") or entry.get("name"), entry)
        for entry in entries
        if isinstance(entry, dict)
    )
    return [
        ModelInfo(name, provider, {key: value for key, value in entry.items() if key != "id"})
        for name, entry in named
        if isinstance(name, str) and name
    ]


def read_embedding_list(reply: HTTPReply, *, count: int) -> list[list[float]]:
    """The `count` vectors in `reply`, in the order of the texts.

    Raises:
        GenerationError: They aren't that many, or not all of one length.
    """
    if reply.is_cut:
        raise unusable(reply, "the answer is too large", "too_large")
    try:
        entries = msgspec.json.decode(reply.body, type=_Embeddings).data
    except msgspec.ValidationError as exc:
        raise unusable(reply, "the answer holds no embeddings") from exc
    except (ValueError, RecursionError) as exc:
        raise unusable(reply, "the answer isn't JSON", "bad_json") from exc
    # The index says which text a vector is for; a server that gives none keeps the order.
    places = [place if each.index is None else each.index for place, each in enumerate(entries)]
    order = sorted(range(len(entries)), key=places.__getitem__)
    vectors = [entries[place].embedding for place in order]
    lengths = set(map(len, vectors))
    if len(vectors) != count or len(lengths) > 1 or 0 in lengths:
        raise unusable(reply, f"the answer doesn't hold {count} embeddings of one length")
    return vectors
