"""Reading a JetStream key-value bucket in plain requests, as NATS documents them.

A bucket is the stream `KV_{bucket}`, a key its subject `$KV.{bucket}.{key}`; what counts is the
last message there. Nothing here creates or changes anything.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from llm_bot.errors import BusError, NoRespondersError, NotPermittedError
from llm_bot.ports import Bus, Event

NOT_FOUND = 404  # no such bucket, or no such key
NOT_AVAILABLE = 503  # JetStream is switched off for this account

_BUCKET = re.compile(r"[-\w]+", re.ASCII)
_KEY = re.compile(r"[-/=\w]+(\.[-/=\w]+)*", re.ASCII)
# What stands where a value was: NATS writes a message of its own without one.
_DELETED = re.compile(rb"^(KV-Operation: (DEL|PURGE)|Nats-Marker-Reason:)", re.MULTILINE)
_DELETED_HEADERS = ("KV-Operation", "Nats-Marker-Reason")


def can_exist(bucket: str, key: str) -> bool:
    """Whether there may be such a bucket and key at all; other names would be other subjects."""
    return bool(_BUCKET.fullmatch(bucket) and _KEY.fullmatch(key))


async def read_value(bus: Bus, bucket: str, key: str, *, timeout: float) -> bytes | None:
    """Two plain requests at most. nats-py's own reading needs one more permission, and where the
    account hasn't got it, waits for an answer until its time is over.

    Raises:
        BusError: What `Bus.read_value` raises.
    """
    if not can_exist(bucket, key):
        return None
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout
    subject, body = stream_request(bucket, key)
    try:
        try:
            return read_stream_answer(await bus.request(subject, body, timeout=timeout))
        except NotPermittedError:
            # An account may be let read this one key, and nothing else of the stream.
            direct, left = direct_subject(bucket, key), max(0.0, ends - loop.time())
            return read_direct_answer(await bus.request(direct, b"", timeout=left))
    except NoRespondersError:
        return None  # no JetStream here


def stream_request(bucket: str, key: str) -> tuple[str, Mapping[str, Any]]:
    """Subject and body of the request that every bucket answers."""
    return f"$JS.API.STREAM.MSG.GET.KV_{bucket}", {"last_by_subj": f"$KV.{bucket}.{key}"}


def direct_subject(bucket: str, key: str) -> str:
    """The subject of the request, without a body, that buckets with direct reading answer."""
    return f"$JS.API.DIRECT.GET.KV_{bucket}.$KV.{bucket}.{key}"


def read_stream_answer(answer: Event) -> bytes | None:
    """The value, None if there is none. Raises `BusError` for an error, or for no answer at all."""
    error = answer.get("error")
    if isinstance(error, dict):
        if error.get("code") in (NOT_FOUND, NOT_AVAILABLE):
            return None
        raise BusError(f"JetStream refuses: {str(error.get('description'))[:200]}")
    message = answer.get("message")
    if not isinstance(message, dict):
        raise BusError("JetStream answers with something else than a message")
    try:
        headers = base64.b64decode(message.get("hdrs") or "", validate=True)
        value = base64.b64decode(message.get("data") or "", validate=True)
    except (TypeError, ValueError, binascii.Error) as exc:
        raise BusError("JetStream answers with a message that is no base64") from exc
    return None if _DELETED.search(headers) else value


def read_direct_answer(answer: Event) -> bytes | None:
    """The value, None if there is none. Raises `BusError` for an error."""
    headers = answer.headers or {}
    status = headers.get("Status")
    if status == str(NOT_FOUND) or any(name in headers for name in _DELETED_HEADERS):
        return None
    if status is not None:
        raise BusError(f"JetStream refuses: {status} {headers.get('Description', '')[:200]}")
    return answer.data
