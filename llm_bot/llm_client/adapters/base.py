"""What an adapter is: a translator between the client's words and a server's HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.models import LLMRequest, LLMResponse


@dataclass(frozen=True, slots=True)
class HTTPRequest:
    """What goes to the server. Only the method is in its repr: the rest may hold secrets."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HTTPReply:
    """What came back, header names in lower case.

    `is_cut` says that the body was too large to read, and is left out.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    is_cut: bool = False


class BaseAdapter(Protocol):
    """Translates for one provider. Knows no clock, no network and no state of its own.

    `name` is unique among the providers of a client, `config` is the provider's.
    """

    name: str
    config: LLMConfig

    def model_for(self, request: LLMRequest) -> str:
        """The model that `request` goes to."""
        ...

    def build_chat(self, request: LLMRequest) -> HTTPRequest:
        """The HTTP request for `request`. Raises `ValidationError` if it can't be written."""
        ...

    def read_chat(self, request: LLMRequest, reply: HTTPReply, now: float) -> LLMResponse:
        """The answer in `reply`, or the `LLMError` that it stands for, raised.

        `now` (Unix epoch) is what a `Retry-After` with a date is measured from.
        """
        ...

    def fit_to_show(self, text: str) -> str:
        """`text` from outside, bounded, on one line and without the provider's secrets."""
        ...
