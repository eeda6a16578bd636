"""What can be asked of a provider, in a form that the attempts needn't know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

from llm_bot.llm_client.adapters import BaseAdapter, HTTPReply, HTTPRequest, ServerQuirks
from llm_bot.llm_client.models import LLMRequest, LLMResponse

T_co = TypeVar("T_co", covariant=True)


class Call(Protocol[T_co]):
    """One thing to ask; the adapter gives its words, the answer is a `T_co`."""

    @property
    def timeout_seconds(self) -> float | None: ...

    @property
    def asker(self) -> str | None: ...

    def model(self, adapter: BaseAdapter) -> str: ...

    def build(self, adapter: BaseAdapter, quirks: ServerQuirks, /) -> HTTPRequest: ...

    def mend(
        self, adapter: BaseAdapter, reply: HTTPReply, quirks: ServerQuirks, /
    ) -> tuple[ServerQuirks, str] | None: ...

    def read(self, adapter: BaseAdapter, reply: HTTPReply, now: float, /) -> T_co: ...

    def is_usual(self, adapter: BaseAdapter) -> bool:
        """Whether it asks for what the provider is configured for.

        Otherwise "no such model or path" is said of this call alone.
        """
        ...

    def for_fallback(self) -> Self:
        """The same for another than the first provider, whose models have names of their own."""
        ...


@dataclass(frozen=True, slots=True)
class ChatCall:
    """An answer to a conversation."""

    request: LLMRequest

    @property
    def timeout_seconds(self) -> float | None:
        return self.request.timeout_seconds

    @property
    def asker(self) -> str | None:
        return self.request.asker

    def model(self, adapter: BaseAdapter) -> str:
        return adapter.model_for(self.request)

    def build(self, adapter: BaseAdapter, quirks: ServerQuirks) -> HTTPRequest:
        return adapter.build_chat(self.request, quirks)

    def mend(
        self, adapter: BaseAdapter, reply: HTTPReply, quirks: ServerQuirks
    ) -> tuple[ServerQuirks, str] | None:
        return adapter.mend(self.request, reply, quirks)

    def read(self, adapter: BaseAdapter, reply: HTTPReply, now: float) -> LLMResponse:
        return adapter.read_chat(self.request, reply, now)

    def is_usual(self, adapter: BaseAdapter) -> bool:
        return self.model(adapter) == adapter.config.model

    def for_fallback(self) -> Self:
        return replace(self, request=replace(self.request, model=None))


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """A vector for each text."""

    texts: Sequence[str]
    model_name: str | None = None
    timeout_seconds: float | None = None
    asker: str | None = None

    def model(self, adapter: BaseAdapter) -> str:
        return self.model_name or adapter.config.model

    def build(self, adapter: BaseAdapter, _quirks: ServerQuirks) -> HTTPRequest:
        return adapter.build_embeddings(self.texts, self.model(adapter))

    def mend(self, _adapter: BaseAdapter, _reply: HTTPReply, _quirks: ServerQuirks) -> None:
        """Nothing: there is no optional field to leave out."""

    def read(self, adapter: BaseAdapter, reply: HTTPReply, now: float) -> list[list[float]]:
        return adapter.read_embeddings(len(self.texts), reply, now)

    def is_usual(self, _adapter: BaseAdapter) -> bool:
        return False  # many servers that chat have no such path

    def for_fallback(self) -> Self:
        return replace(self, model_name=None)
