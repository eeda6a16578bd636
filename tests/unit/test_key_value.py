"""What JetStream answers when a bucket is read (KNOW-5)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from llm_bot.errors import BusError
from llm_bot.nats_client.key_value import (
    can_exist,
    read_direct_answer,
    read_stream_answer,
)
from llm_bot.ports import Event


def answer(body: Any) -> Event:
    return Event("_INBOX.1", body if isinstance(body, bytes) else json.dumps(body).encode())


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def message(value: str = "", headers: str = "") -> Event:
    return answer({"message": {"data": encoded(value), "hdrs": encoded(headers)}})


@pytest.mark.parametrize(
    ("bucket", "key", "can"),
    [
        ("kryten_MyChannel_userlist", "users", True),
        ("a-b_1", "x/y=z.a-1", True),
        ("", "users", False),
        ("a.b", "users", False),
        ("a b", "users", False),
        ("a>", "users", False),
        ("é", "users", False),
        ("a", "", False),
        ("a", "*", False),
        ("a", "x.", False),
        ("a", ".x", False),
        ("a", "x\n", False),
    ],
)
def test_names(bucket, key, can):
    """Only names that NATS allows are asked for: any other would be another subject."""
    assert can_exist(bucket, key) is can


@pytest.mark.parametrize(
    "header", ["KV-Operation: DEL", "KV-Operation: PURGE", "Nats-Marker-Reason: MaxAge"]
)
def test_deleted(header):
    """A key that was deleted or has expired has no value."""
    name, _, value = header.partition(": ")
    assert read_stream_answer(message("", f"NATS/1.0\r\n{header}\r\n\r\n")) is None
    assert read_direct_answer(Event("x", b"", {name: value})) is None


def test_nothing_there():
    """No bucket, no key, no JetStream for this account: no value, and no error."""
    for code in (404, 503):
        assert read_stream_answer(answer({"error": {"code": code}})) is None
    assert read_direct_answer(Event("x", b"", {"Status": "404"})) is None


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 500, "description": "broken"}},
        {"error": {}},
        {"message": {"data": "no base64!"}},
        {"message": {"data": 7}},
        {"message": {"data": "", "hdrs": ["x"]}},
        {"message": []},
        {"stream": "ROOMS", "seq": 1},
        {},
        [],
        b"",
        b"no json",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_odd_answers(body):
    """Whatever else comes is a `BusError`."""
    with pytest.raises(BusError):
        read_stream_answer(answer(body))


def test_error_of_direct_reading():
    """A status that isn't 404 is an error."""
    with pytest.raises(BusError, match="408 Bad Request"):
        read_direct_answer(Event("x", b"", {"Status": "408", "Description": "Bad Request"}))
