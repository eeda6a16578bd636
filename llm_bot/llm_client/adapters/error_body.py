"""From an error body to what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeGuard

from llm_bot.llm_client.adapters.bodies import decoded
from llm_bot.llm_client.models import Message, texts_of

# Servers say first what is wrong; what follows is the request, a template or a traceback.
MAX_CHARACTERS = 10_000
# A run of so many characters that the conversation has as well is a quotation of it.
QUOTED_RUN = 12
_CODE_KEYS = ("code", "type", "status", "reason")
# OpenRouter's and Azure's names of what they say besides.
_DETAIL_KEYS = ("metadata", "innererror")
_STATUS = re.compile(r"[45][0-9]{2}")
_STATUS_IN_WORDS = re.compile(r"\berror code: ([45][0-9]{2})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What a server says of an error.

    Attributes:
        message: Its words; empty where it has none.
        codes: Short names that it gives the error, as it spells them.
        params: Fields of the request that it blames.
        status: An HTTP status that the body names, which may not be that of the reply.
    """

    message: str = ""
    codes: frozenset[str] = frozenset()
    params: tuple[str, ...] = ()
    status: int | None = None


def read_error_body(body: bytes) -> ErrorBody:
    """What `body` says.

    Servers put it into `error.message`, `error`, `message` or `detail` (a text, or a list of
    objects with `msg` and `loc`); a body that is neither JSON nor HTML is a message itself.
    """
    try:
        tree = decoded(body)
    except ValueError:
        text = body.decode("utf-8", "replace").strip()
        return ErrorBody("" if text.startswith(("<", "{", "[")) else text[:MAX_CHARACTERS])
    if isinstance(tree, list):  # Google wraps its error in one
        tree = next((each for each in tree if isinstance(each, dict)), None)
    if isinstance(tree, dict):
        return error_in(tree)
    return ErrorBody(tree[:MAX_CHARACTERS] if isinstance(tree, str) else "")


def error_in(tree: dict[str, Any]) -> ErrorBody:
    """What a decoded body says; empty if it speaks of no error."""
    error = tree.get("error")
    inner: dict[str, Any] = error if isinstance(error, dict) else {}
    # Mistral has its list of complaints in `message`.
    complaints = _complaints(tree.get("detail")) or _complaints(tree.get("message"))
    texts = [inner.get("message"), error, tree.get("message"), tree.get("detail")]
    texts.append("; ".join(text for text, _ in complaints))
    message = next((text for text in texts if isinstance(text, str) and text.strip()), "")
    params = [inner.get("param"), tree.get("param"), *(name for _, name in complaints)]
    found = ErrorBody(
        message[:MAX_CHARACTERS],
        frozenset(_codes((inner, tree))),
        tuple(name for name in params if _is_name(name)),
        _status(inner, message),
    )
    metadata = inner.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not isinstance(raw, str):
        return found
    upstream = read_error_body(raw.encode())  # OpenRouter passes on what the server behind it said
    return replace(
        found,
        message=": ".join(filter(None, (found.message, upstream.message)))[:MAX_CHARACTERS],
        codes=found.codes | upstream.codes,
        params=found.params + upstream.params,
    )


def _codes(trees: Iterable[dict[str, Any]]) -> Iterator[str]:
    for tree in trees:
        yield from filter(_is_name, map(tree.get, _CODE_KEYS))
        for key in _DETAIL_KEYS:
            yield from tree[key] if isinstance(tree.get(key), dict) else ()
        details = tree.get("details")  # Google's
        if isinstance(details, list):
            yield from _codes(each for each in details if isinstance(each, dict))


def _complaints(detail: object) -> list[tuple[str, str]]:
    """What a server with pydantic complains of, and of which field."""
    if isinstance(detail, dict):
        detail = detail.get("detail")
    items = detail if isinstance(detail, list) else []
    return [
        (item["msg"], _field(item.get("loc")))
        for item in items
        if isinstance(item, dict) and isinstance(item.get("msg"), str)
    ]


def _field(location: object) -> str:
    steps = location if isinstance(location, list) else []
    return next((step for step in steps if isinstance(step, str) and step != "body"), "")


def _is_name(value: object) -> TypeGuard[str]:
    """LiteLLM writes "None" where it has no name, others a number."""
    return isinstance(value, str) and value[:1].isalpha() and value not in ("None", "null")


def _status(error: dict[str, Any], message: str) -> int | None:
    for key in ("code", "status"):
        if _STATUS.fullmatch(str(error.get(key))):
            return int(error[key])
    found = _STATUS_IN_WORDS.search(message)
    return int(found[1]) if found else None


def without_quotations(found: ErrorBody, messages: Sequence[Message]) -> ErrorBody:
    """`found` with `…` for whatever its message has in common with `messages`.

    What is said in chat must neither be logged nor teach anything about the server.
    """
    text = found.message
    # Servers quote a text as it is or as JSON, some of them in upper case.
    said = [spelled for each in texts_of(messages) for spelled in (each, json.dumps(each))]
    quoted = set(_runs(text)).intersection(run for each in said for run in _runs(each))
    marked = bytearray(len(text))
    for at, run in enumerate(_runs(text)):
        if run in quoted:
            marked[at : at + QUOTED_RUN] = b"\1" * QUOTED_RUN
    pieces = groupby(range(len(text)), key=marked.__getitem__)
    kept = ("…" if mark else "".join(text[at] for at in places) for mark, places in pieces)
    return replace(found, message="".join(kept))


def _runs(text: str) -> Iterator[str]:
    return (text[at : at + QUOTED_RUN].casefold() for at in range(len(text) - QUOTED_RUN + 1))
