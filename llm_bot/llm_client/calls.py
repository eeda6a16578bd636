"""What can be asked of a provider, in a form that the attempts needn't know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from llm_bot.llm_client.adapters import HTTPReply, HTTPRequest, OpenAIAdapter, ServerQuirks
from llm_bot.llm_client.models import LLMRequest, LLMResponse

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Call(ABC, Generic[T_co]):
    """One thing to ask; the adapter gives its words, the answer is a `T_co`."""

    request: LLMRequest

    def model(self, adapter: OpenAIAdapter) -> str:
        return adapter.model_for(self.request)

    @abstractmethod
    def build(self, adapter: OpenAIAdapter, quirks: ServerQuirks) -> HTTPRequest:
        """What to send. Raises `ValidationError` if it can't be written."""

    @abstractmethod
    def mend(
        self, adapter: OpenAIAdapter, reply: HTTPReply, quirks: ServerQuirks
    ) -> tuple[ServerQuirks, str] | None:
        """What a refusal adds to `quirks`, and its words; None if no smaller request would help."""

    @abstractmethod
    def read(self, adapter: OpenAIAdapter, reply: HTTPReply, now: float) -> T_co:
        """The answer. Raises the `LLMError` that it stands for if it is none."""


class ChatCall(Call[LLMResponse]):
    """An answer to a conversation."""

    def build(self, adapter: OpenAIAdapter, quirks: ServerQuirks) -> HTTPRequest:
        return adapter.build_chat(self.request, quirks)

    def mend(
        self, adapter: OpenAIAdapter, reply: HTTPReply, quirks: ServerQuirks
    ) -> tuple[ServerQuirks, str] | None:
        return adapter.mend(self.request, reply, quirks)

    def read(self, adapter: OpenAIAdapter, reply: HTTPReply, now: float) -> LLMResponse:
        return adapter.read_chat(self.request, reply, now)


@dataclass(frozen=True)
class EmbeddingCall(Call[list[list[float]]]):
    """A vector for each text; of `request` only the model counts."""

    texts: Sequence[str]

    def build(self, adapter: OpenAIAdapter, _quirks: ServerQuirks) -> HTTPRequest:
        return adapter.build_embeddings(self.texts, self.model(adapter))

    def mend(self, _adapter: OpenAIAdapter, _reply: HTTPReply, _quirks: ServerQuirks) -> None:
        """Nothing: there is no optional field to leave out."""

    def read(self, adapter: OpenAIAdapter, reply: HTTPReply, now: float) -> list[list[float]]:
        return adapter.read_embeddings(len(self.texts), reply, now)
