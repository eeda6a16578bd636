"""What all sections of the configuration are made of: the base model and the types of fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, SecretStr
from pydantic_core import PydanticCustomError

HOUR = 3600.0
DAY = 24 * HOUR
# No sensible prompt is longer; the bound keeps a wrong `${NAME}` from filling every request.
MAX_PROMPT_CHARACTERS = 20_000
# A shorter "secret" would be found in innocent text and have half of it blacked out.
MIN_SECRET_CHARACTERS = 6

CHANNEL_NAME = r"^[A-Za-z0-9_-]{1,30}$"
INSTANCE_NAME = r"^[A-Za-z0-9_-]{1,50}$"
DOMAIN = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(:[0-9]{1,5})?$"
HOST = r"^[A-Za-z0-9_.:%\[\]-]+$"
IN_WORDS = {
    CHANNEL_NAME: "1 to 30 letters (A to Z), digits, _ or -",
    INSTANCE_NAME: "1 to 50 letters (A to Z), digits, _ or -",
    DOMAIN: "a host name such as cytu.be",
    HOST: "an address or a host name such as 127.0.0.1",
}
"""What the patterns ask for, said to somebody who reads no regular expressions."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

DataPath = tuple[str | int, ...]
"""Keys and indices from the top of the file to a value."""


class Section(BaseModel):
    """A frozen part of the configuration.

    Strict: text never turns into a number, nor `true` into 1. Unknown keys are refused, which the
    loader turns into warnings.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=True,  # each part is built once, inside `Config`, not a second time by itself
        protected_namespaces=(),  # `model_cache_ttl_seconds` is the user's word
    )


def leaves(value: object, path: DataPath = ()) -> Iterator[tuple[DataPath, object]]:
    """Every value in a section or list that is neither itself, with its path."""
    if isinstance(value, Section):
        for name in type(value).model_fields:
            yield from leaves(getattr(value, name), (*path, name))
    elif isinstance(value, tuple):
        for at, item in enumerate(value):
            yield from leaves(item, (*path, at))
    else:
        yield path, value


def mismatch(
    message: str, suggestion: str = "", *, detail: str = "", field: str = ""
) -> PydanticCustomError:
    """An error in words.

    `{found}` in the message stands for the value, which may be secret; so may `detail`, which is
    told after the message where the value may be shown. `field` names a sibling, where a check
    sits on another than it blames.
    """
    words: dict[str, Any] = {
        "message": message,
        "suggestion": suggestion,
        "detail": detail,
        "field": field,
    }
    return PydanticCustomError("mismatch", "{message}", words)


def nonblank(text: str) -> str:
    if not text.strip():
        raise mismatch("must not be blank")
    return text


def _one_line(text: str) -> str:
    if not text.strip():
        raise mismatch("must not be blank")
    if text != text.strip() or _CONTROL.search(text):
        raise mismatch("must be one line without white space around it")
    return text


def _ascii(text: str) -> str:
    if not text.isascii():
        raise mismatch("must be plain ASCII, as it goes into an HTTP header")
    return text


def _secret(secret: SecretStr) -> SecretStr:
    _one_line(secret.get_secret_value())
    return secret


def _header_secret(secret: SecretStr) -> SecretStr:
    _ascii(_secret(secret).get_secret_value())
    return secret


def split_url(url: str) -> SplitResult | None:
    """The parts of `url`, or None if it isn't one that names a host."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # read for its check alone
    except ValueError:
        return None
    return parts if parts.hostname and not re.search(r"[\s\x00-\x1f]", url) else None


def _nats_url(url: str) -> str:
    parts = split_url(url)
    if parts is None or parts.scheme not in {"nats", "tls", "ws", "wss"}:
        raise mismatch("must be a URL such as nats://localhost:4222 (nats, tls, ws or wss)")
    return url


def _http_url(url: str) -> str:
    parts = split_url(url)
    if parts is None or parts.scheme not in {"http", "https"}:
        raise mismatch("must be a URL such as https://api.openai.com/v1 (http or https)")
    if "@" in parts.netloc or "#" in url:
        raise mismatch(
            "must be a URL without a user or a #",
            "credentials belong into api_key or extra_headers",
        )
    return url.rstrip("/")


URI: dict[str, JsonValue] = {"format": "uri"}

Text = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(nonblank)]
Prompt = Annotated[
    str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS), AfterValidator(nonblank)
]
Name = Annotated[str, Field(min_length=1, max_length=50), AfterValidator(_one_line)]
# Not strict, since strict would take nothing but a ready-made SecretStr.
Secret = Annotated[SecretStr, Field(strict=False), AfterValidator(_secret)]
HeaderSecret = Annotated[SecretStr, Field(strict=False), AfterValidator(_header_secret)]
NatsUrl = Annotated[str, Field(max_length=2000, json_schema_extra=URI), AfterValidator(_nats_url)]
HttpUrl = Annotated[str, Field(max_length=2000, json_schema_extra=URI), AfterValidator(_http_url)]
Pause = Annotated[float, Field(ge=0, le=DAY)]
"""A cooldown or an interval in seconds; 0 is allowed and means none."""
Timeout = Annotated[float, Field(ge=0.01, le=600)]
"""How long to wait for something, in seconds."""
Fraction = Annotated[float, Field(ge=0, le=1)]
