"""OpenAI itself, and the dialect of it that nearly every server speaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from llm_bot.llm_client.adapters.addresses import Addresses, as_header, fixed_headers
from llm_bot.llm_client.adapters.answers import read_answer
from llm_bot.llm_client.adapters.bodies import read_embedding_list, read_model_list
from llm_bot.llm_client.adapters.folding import opened_by_user, without_repeats, without_system
from llm_bot.llm_client.adapters.http import HTTPReply, HTTPRequest
from llm_bot.llm_client.adapters.knowledge import NOTHING_KNOWN, TOKEN_CAPS, Knowledge, learned
from llm_bot.llm_client.adapters.quotations import in_own_words
from llm_bot.llm_client.adapters.refusals import read_refusal
from llm_bot.llm_client.adapters.said import said_by_server
from llm_bot.llm_client.config import RESERVED_FIELDS, LLMConfig
from llm_bot.llm_client.exceptions import ConfigurationError, ValidationError
from llm_bot.llm_client.images import is_image_url
from llm_bot.llm_client.models import (
    ImagePart,
    LLMRequest,
    LLMResponse,
    Message,
    ModelInfo,
    TextPart,
)
from llm_bot.llm_client.redaction import fit_to_show, secrets_of

_STRICT_TURNS = Knowledge(folds_system=True, folds_repeats=True)


class OpenAIAdapter:
    """OpenAI: a key is needed, and the address is taken as it stands.

    The other adapters are this one with another idea of the address, the key, or some detail.
    """

    is_local: ClassVar[bool] = False
    # Sent where nothing else says how many tokens an answer may have; None leaves it to the server.
    default_token_cap: ClassVar[int | None] = None

    def __init__(self, config: LLMConfig, name: str) -> None:
        if not self.is_local and config.api_key is None:
            raise ConfigurationError("is required", field="api_key", provider=name)
        self.name = name
        self.config = config
        self._secrets = secrets_of(config)
        self._addresses = Addresses(config.base_url, adds_version=self.is_local)
        self._headers = fixed_headers(config)

    def model_for(self, request: LLMRequest) -> str:
        return request.model or self.config.model

    def build_chat(self, request: LLMRequest, known: Knowledge = NOTHING_KNOWN) -> HTTPRequest:
        if reserved := RESERVED_FIELDS & request.parameters.keys():
            raise self._invalid(f"parameters.{min(reserved)} is set by the client")
        if not request.messages:
            raise self._invalid("there is no message")
        body = {
            "model": self.model_for(request),
            "messages": [self._message(each) for each in _folded(request.messages, known)],
            **self._options(request, known),
        }
        return self._post("/chat/completions", body, request.correlation_id)

    def learn(
        self, request: LLMRequest, reply: HTTPReply, known: Knowledge = NOTHING_KNOWN
    ) -> Knowledge | None:
        status = reply.status
        # Chat templates fail with whatever status a server has for errors of its own, a 404 with
        # mlx_lm; parameters are refused as the request's fault.
        if reply.is_cut or not (status in (400, 404, 422) or 500 <= status < 600):
            return None
        turns = list(_folded(request.messages, known))
        return learned(
            in_own_words(said_by_server(reply.body), request.messages),
            self._options(request, known) if status in (400, 422) else (),
            known,
            can_fold=turns != list(_folded(request.messages, _STRICT_TURNS)),
        )

    def read_chat(self, request: LLMRequest, reply: HTTPReply, now: float) -> LLMResponse:
        model = self.model_for(request)
        self._check(reply, model, now, request.messages)
        options = self._options(request, NOTHING_KNOWN)
        caps = [options[name] for name in sorted(TOKEN_CAPS & options.keys())]
        return read_answer(
            reply,
            provider=self.name,
            model=model,
            token_cap=caps[0] if caps else None,
            show=self.fit_to_show,
        )

    def doubt(self, request: LLMRequest, response: LLMResponse) -> str | None:  # noqa: ARG002
        return None

    def build_models(self) -> HTTPRequest:
        return HTTPRequest("GET", self._addresses.under_base("/models"), self._headers)

    def read_models(self, reply: HTTPReply, now: float) -> list[ModelInfo]:
        self._check(reply, self.config.model, now)
        return read_model_list(reply, provider=self.name)

    def build_health(self) -> HTTPRequest:
        return self.build_models()

    def read_health(self, reply: HTTPReply, now: float) -> None:
        self._check(reply, self.config.model, now)

    def build_embeddings(self, texts: Sequence[str], model: str) -> HTTPRequest:
        return self._post("/embeddings", {"model": model, "input": list(texts)}, None)

    def read_embeddings(
        self, count: int, model: str, reply: HTTPReply, now: float
    ) -> list[list[float]]:
        self._check(reply, model, now)
        return read_embedding_list(reply, provider=self.name, count=count)

    def fit_to_show(self, text: str) -> str:
        return fit_to_show(text, self._secrets)

    def _check(
        self, reply: HTTPReply, model: str, now: float, messages: Sequence[Message] = ()
    ) -> None:
        """Nothing for a success, else what it stands for is raised."""
        if not 200 <= reply.status < 300:
            raise read_refusal(
                reply,
                provider=self.name,
                model=model,
                now=now,
                show=self.fit_to_show,
                messages=messages,
            )

    def _options(self, request: LLMRequest, known: Knowledge) -> dict[str, Any]:
        """The optional fields, the request's over the configuration's; None takes one out."""
        own = {
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "stop": request.stop,
        }
        merged: dict[str, Any] = {}
        for layer in (
            self.config.parameters,
            self.config.extra_body,
            request.parameters,
            {name: value for name, value in own.items() if value is not None},
        ):
            if any(layer.get(name) is not None for name in TOKEN_CAPS):
                # A cap is a cap, under whichever name: only the one that wins goes out.
                merged = {name: value for name, value in merged.items() if name not in TOKEN_CAPS}
            merged |= layer
        options = {name: value for name, value in merged.items() if value is not None}
        if self.default_token_cap is not None and not options.keys() & TOKEN_CAPS:
            options["max_tokens"] = self.default_token_cap
        return known.applied_to(options)

    def _post(self, path: str, body: dict[str, Any], correlation_id: str | None) -> HTTPRequest:
        headers = dict(self._headers)
        if legal := as_header(correlation_id or ""):
            headers["x-correlation-id"] = legal
        try:
            written = msgspec.json.encode(body)
        except (TypeError, ValueError, RecursionError) as exc:
            raise self._invalid("the request can't be written as JSON") from exc
        return HTTPRequest("POST", self._addresses.under_base(path), headers, written)

    def _message(self, message: Message) -> dict[str, Any]:
        if isinstance(message.content, str):
            return {"role": message.role, "content": message.content}
        return {"role": message.role, "content": [self._part(part) for part in message.content]}

    def _part(self, part: TextPart | ImagePart) -> dict[str, Any]:
        if isinstance(part, TextPart):
            return {"type": "text", "text": part.text}
        if not is_image_url(part.path_or_data_url):
            raise self._invalid("an image is neither a URL nor was its file read")
        return {"type": "image_url", "image_url": {"url": part.path_or_data_url}}

    def _invalid(self, text: str) -> ValidationError:
        return ValidationError(text, provider=self.name)


def _folded(messages: Sequence[Message], known: Knowledge) -> Sequence[Message]:
    if known.folds_system:
        messages = without_system(messages)
    return opened_by_user(without_repeats(messages)) if known.folds_repeats else messages
