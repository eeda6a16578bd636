"""What an adapter is: a translator between the client's words and a server's HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llm_bot.llm_client.adapters.http import HTTPReply, HTTPRequest
from llm_bot.llm_client.adapters.refusal_grammar import NO_QUIRKS, ServerQuirks
from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.models import LLMRequest, LLMResponse, ModelInfo


class BaseAdapter(Protocol):
    """Translates for one provider. Knows no clock, no network and no state of its own.

    `name` is unique among the providers of a client, `config` is the provider's. What is built
    raises `ValidationError` if it can't be written; what is read raises the `LLMError` that a
    reply stands for. `now` (Unix epoch) is what a `Retry-After` with a date is measured from.
    """

    name: str
    config: LLMConfig

    @property
    def may_have_to_load(self) -> bool:
        """Whether the server runs on this machine or nearby, and loads models when asked."""
        ...

    def model_for(self, request: LLMRequest) -> str:
        """The model that `request` goes to."""
        ...

    def build_chat(self, request: LLMRequest, quirks: ServerQuirks = NO_QUIRKS) -> HTTPRequest:
        """The HTTP request for `request`, without what the server is known to refuse."""
        ...

    def mend(
        self, request: LLMRequest, reply: HTTPReply, quirks: ServerQuirks = NO_QUIRKS
    ) -> tuple[ServerQuirks, str] | None:
        """What a refusal of the request, as built with `quirks`, adds to them; and its words.

        None if no smaller request would help. The words are fit to be shown.
        """
        ...

    def read_chat(self, request: LLMRequest, reply: HTTPReply, now: float) -> LLMResponse:
        """The answer in `reply`."""
        ...

    def doubt(self, request: LLMRequest, response: LLMResponse) -> str | None:
        """Why `response` may not be what it seems, in words for a log; None if nothing is odd."""
        ...

    def build_models(self) -> HTTPRequest:
        """The question which models there are."""
        ...

    def read_models(self, reply: HTTPReply, now: float) -> list[ModelInfo]:
        """The models in `reply`."""
        ...

    def build_health(self) -> HTTPRequest:
        """A question that costs the server next to nothing."""
        ...

    def read_health(self, reply: HTTPReply, now: float) -> None:
        """Nothing, if `reply` is a success."""
        ...

    def build_embeddings(self, texts: Sequence[str], model: str) -> HTTPRequest:
        """The question for a vector for each of `texts`."""
        ...

    def read_embeddings(self, count: int, reply: HTTPReply, now: float) -> list[list[float]]:
        """The `count` vectors in `reply`, in the order of the texts."""
        ...

    def fit_to_show(self, text: str) -> str:
        """`text` from outside, bounded, on one line and without the provider's secrets."""
        ...
