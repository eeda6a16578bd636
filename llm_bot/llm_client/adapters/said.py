"""From an error body to what it says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec

# OpenRouter's and Azure's.
_DETAILS = ("metadata", "innererror")

T = TypeVar("T")


class Complaint(NamedTuple):
    """What pydantic has to say of one field."""

    message: str
    field: str
    code: str


class ServerSaid(NamedTuple):
    """The words of an error body; empty where it has none."""

    message: str = ""
    codes: frozenset[str] = frozenset()
    param: str = ""  # the field of the request that the server blames
    complaints: tuple[Complaint, ...] = ()
    details: frozenset[str] = frozenset()  # names of what it says besides


def said_by_server(body: bytes) -> ServerSaid:
    """What an error body says.

    Servers put it into `error.message`, `error`, `message` or `detail` (a text, or a list of
    objects with `msg` and `loc`); a body that is neither JSON nor HTML is a message itself.
    """
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return ServerSaid("" if text.startswith(("<", "{", "[")) else text)
    if isinstance(tree, list):  # Google wraps its error in one
        tree = next((each for each in tree if isinstance(each, dict)), None)
    if isinstance(tree, dict):
        return _said_in(tree)
    return ServerSaid(tree if isinstance(tree, str) else "")


def _said_in(tree: dict[str, Any]) -> ServerSaid:
    error = tree.get("error")
    inner: dict[str, Any] = error if isinstance(error, dict) else {}
    # Mistral has its list of complaints in `message`.
    complaints = _first(map(_complaints, (tree.get("detail"), tree.get("message"))), ())
    texts = (
        inner.get("message"),
        error,
        tree.get("message"),
        tree.get("detail"),
        "; ".join(complaint.message for complaint in complaints),
    )
    message = _first((text for text in texts if isinstance(text, str) and text.strip()), "")
    codes = (source.get(key) for source in (inner, tree) for key in ("code", "type"))
    params = (_param(source.get("param")) for source in (inner, tree))
    said = ServerSaid(
        message,
        frozenset(code for code in codes if isinstance(code, str)),
        _first(params, ""),
        complaints,
        frozenset(name for key in _DETAILS for name in _names(inner.get(key))),
    )
    return _with_upstream(said, inner.get("metadata"))


def _with_upstream(said: ServerSaid, metadata: object) -> ServerSaid:
    """`said`, and what the server behind it said: OpenRouter passes that on as a text."""
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not isinstance(raw, str):
        return said
    upstream = said_by_server(raw.encode())
    message = ": ".join(filter(None, (said.message, upstream.message)))
    return upstream._replace(
        message=message,
        codes=said.codes | upstream.codes,
        param=said.param or upstream.param,
        details=said.details | upstream.details,
    )


def _names(tree: object) -> Iterable[str]:
    return tree.keys() if isinstance(tree, dict) else ()


def _complaints(detail: object) -> tuple[Complaint, ...]:
    """The complaints of a server with pydantic: what is wrong, and with which field."""
    if isinstance(detail, dict):
        detail = detail.get("detail")
    items = detail if isinstance(detail, list) else []
    return tuple(
        Complaint(item["msg"], _field(item.get("loc")), str(item.get("type")))
        for item in items
        if isinstance(item, dict) and isinstance(item.get("msg"), str)
    )


def _field(location: object) -> str:
    steps = location if isinstance(location, list) else []
    return _first((step for step in steps if isinstance(step, str) and step != "body"), "")


def _param(value: object) -> str:
    """A name; LiteLLM writes "None" where it has none, others a number."""
    is_name = isinstance(value, str) and value[:1].isalpha() and value not in ("None", "null")
    return str(value) if is_name else ""


def _first(values: Iterable[T], default: T) -> T:
    """The first that isn't empty."""
    return next(filter(None, values), default)
