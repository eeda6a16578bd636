"""What all sections of the configuration are made of: the base model, field types, mismatches."""

from __future__ import annotations

import re
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


class Section(BaseModel):
    """A frozen part of the configuration.

    Strict: text never turns into a number, nor `true` into 1. Unknown keys are let through here,
    because the loader warns about them with the closest known one; the JSON Schema refuses them,
    so that an editor shows the typo.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=True,  # each part is built once, inside `Config`, not a second time by itself
        json_schema_extra={"additionalProperties": False},
        protected_namespaces=(),  # `model_cache_ttl_seconds` is the user's word
    )


def mismatch(
    found: str, expected: str, suggestion: str = "", *, detail: str = "", field: str = ""
) -> PydanticCustomError:
    """An error in words.

    `found` never holds anything of the value, which may be secret; left empty, whoever reports
    the error describes the value. `detail` does hold some of it and is dropped where the value
    must not be shown. `field` names a sibling, where a check sits on another than it blames.
    """
    words: dict[str, Any] = {
        "found": found,
        "expected": expected,
        "suggestion": suggestion,
        "detail": detail,
        "field": field,
    }
    # pydantic fills in the template's fields, so words go in as fields, never as the template
    return PydanticCustomError("mismatch", "expected {expected}", words)


def _nonblank(text: str) -> str:
    if not text.strip():
        raise mismatch("blank text", "text that isn't blank")
    return text


def _one_line(text: str) -> str:
    if text != text.strip() or _CONTROL.search(text):
        raise mismatch(
            "text with spaces around it or with control characters",
            "one line of text without spaces around it",
        )
    return text


def _secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.strip():
        raise mismatch(
            "a blank secret", "a secret that isn't blank", "give it a value, or leave the key out"
        )
    if text != text.strip() or _CONTROL.search(text):
        raise mismatch(
            "a secret with white space around it or with control characters",
            "a secret on one line",
        )
    return secret


def _header_secret(secret: SecretStr) -> SecretStr:
    if not _secret(secret).get_secret_value().isascii():
        raise mismatch("a secret with characters beyond ASCII", "plain ASCII, for an HTTP header")
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
        raise mismatch("", "an address such as nats://localhost:4222 (nats, tls, ws or wss)")
    return url


def _http_url(url: str) -> str:
    parts = split_url(url)
    if parts is None or parts.scheme not in {"http", "https"}:
        raise mismatch("", "an address such as https://api.openai.com/v1 (http or https)")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise mismatch(
            "an address with a user, a ? or a #",
            "an address that ends with its path",
            "credentials belong into api_key or extra_headers",
        )
    return url.rstrip("/")


_URI: dict[str, JsonValue] = {"format": "uri"}

Text = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_nonblank)]
Prompt = Annotated[
    str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS), AfterValidator(_nonblank)
]
Name = Annotated[str, Field(min_length=1, max_length=50), AfterValidator(_one_line)]
FilePath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_nonblank)]
# Not strict, since strict would take nothing but a ready-made SecretStr.
Secret = Annotated[SecretStr, Field(strict=False), AfterValidator(_secret)]
HeaderSecret = Annotated[SecretStr, Field(strict=False), AfterValidator(_header_secret)]
NatsUrl = Annotated[str, Field(max_length=2000, json_schema_extra=_URI), AfterValidator(_nats_url)]
HttpUrl = Annotated[str, Field(max_length=2000, json_schema_extra=_URI), AfterValidator(_http_url)]
Pause = Annotated[float, Field(ge=0, le=DAY)]
"""A cooldown or an interval in seconds; 0 is allowed and means none."""
Timeout = Annotated[float, Field(ge=0.01, le=600)]
"""How long to wait for something, in seconds."""
Fraction = Annotated[float, Field(ge=0, le=1)]


def repeated(names: list[str | None]) -> list[int]:
    """Where in `names` one comes that came before; None is never one."""
    return [at for at, name in enumerate(names) if name is not None and name in names[:at]]


def only_one(secret: SecretStr | None, file: str | None, name: str) -> None:
    """Refuse a secret that is given twice, by itself and in a file."""
    if secret is not None and file is not None:
        raise mismatch(f"both {name} and {name}_file", "only one of the two")
