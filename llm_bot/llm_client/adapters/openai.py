"""OpenAI itself, and the dialect of it that nearly every server speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from llm_bot.llm_client.adapters.addresses import Addresses, as_header, fixed_headers
from llm_bot.llm_client.adapters.answers import read_answer
from llm_bot.llm_client.adapters.bodies import read_embedding_list, read_model_list
from llm_bot.llm_client.adapters.error_body import read_error_body, without_quotations
from llm_bot.llm_client.adapters.errors import is_about_moderation, read_error, status_of
from llm_bot.llm_client.adapters.http import HTTPReply, HTTPRequest
from llm_bot.llm_client.adapters.refusal_grammar import (
    NO_QUIRKS,
    TOKEN_CAPS,
    ServerQuirks,
    mended,
)
from llm_bot.llm_client.adapters.strict_turns import with_strict_turns
from llm_bot.llm_client.config import RESERVED_FIELDS, LLMConfig
from llm_bot.llm_client.exceptions import ConfigurationError, LLMError, ValidationError
from llm_bot.llm_client.images import is_image_url
from llm_bot.llm_client.models import (
    ImagePart,
    LLMRequest,
    LLMResponse,
    Message,
    ModelInfo,
    TextPart,
    characters_of,
)
from llm_bot.llm_client.redaction import fit_to_show, secrets_of

# What may be mended: the other errors say that no request would do better.
_MENDABLE = frozenset({"validation", "server_error"})
# Without these there is no request, or not the one that was meant.
_NEEDED = frozenset({"model", "stream"})


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

    @property
    def may_have_to_load(self) -> bool:
        return self.is_local or self._addresses.is_this_machine

    def model_for(self, request: LLMRequest) -> str:
        return request.model or self.config.model

    def build_chat(self, request: LLMRequest, quirks: ServerQuirks = NO_QUIRKS) -> HTTPRequest:
        if reserved := RESERVED_FIELDS & request.parameters.keys():
            raise self._invalid(f"parameters.{min(reserved)} is set by the client")
        if not request.messages:
            raise self._invalid("there is no message")
        body = {
            "model": self.model_for(request),
            "messages": [self._message(each) for each in _messages(request, quirks)],
            # Some servers stream unless they are told not to.
            "stream": False,
            **self._options(request, quirks),
        }
        return self._post("/chat/completions", body, request.correlation_id)

    def mend(
        self, request: LLMRequest, reply: HTTPReply, quirks: ServerQuirks = NO_QUIRKS
    ) -> tuple[ServerQuirks, str] | None:
        if reply.is_cut or 200 <= reply.status < 400:
            return None
        found = without_quotations(read_error_body(reply.body), request.messages)
        error = self._error(reply, request, now=0)
        if error.code not in _MENDABLE or is_about_moderation(found):
            return None
        sent = _messages(request, quirks)
        options = self._options(request, quirks)
        shorter = characters_of(_shortened(request, characters_of(sent) - 1))
        more = mended(
            found,
            status_of(reply, found),
            quirks,
            optional=options.keys() - TOKEN_CAPS - _NEEDED,
            cap=next(iter(TOKEN_CAPS & options.keys()), None),
            shorter=shorter if shorter < characters_of(sent) else None,
            can_fold=with_strict_turns(sent) != list(sent),
        )
        return None if more is None else (more, self.fit_to_show(found.message))

    def read_chat(self, request: LLMRequest, reply: HTTPReply, now: float) -> LLMResponse:
        if not 200 <= reply.status < 300:
            raise self._error(reply, request, now)
        options = self._options(request, NO_QUIRKS)
        caps = [options[name] for name in sorted(TOKEN_CAPS & options.keys())]
        return read_answer(
            reply,
            provider=self.name,
            model=self.model_for(request),
            token_cap=caps[0] if caps else None,
            show=self.fit_to_show,
            error=lambda: self._error(reply, request, now),
        )

    def doubt(self, request: LLMRequest, response: LLMResponse) -> str | None:  # noqa: ARG002
        return None

    def build_models(self) -> HTTPRequest:
        return HTTPRequest("GET", self._addresses.under_base("/models"), self._headers)

    def read_models(self, reply: HTTPReply, now: float) -> list[ModelInfo]:
        self._check(reply, now)
        return read_model_list(reply, provider=self.name)

    def build_health(self) -> HTTPRequest:
        return self.build_models()

    def read_health(self, reply: HTTPReply, now: float) -> None:
        self._check(reply, now)

    def build_embeddings(self, texts: Sequence[str], model: str) -> HTTPRequest:
        return self._post("/embeddings", {"model": model, "input": list(texts)}, None)

    def read_embeddings(self, count: int, reply: HTTPReply, now: float) -> list[list[float]]:
        self._check(reply, now)
        return read_embedding_list(reply, provider=self.name, count=count)

    def fit_to_show(self, text: str) -> str:
        return fit_to_show(text, self._secrets)

    def _check(self, reply: HTTPReply, now: float) -> None:
        """Nothing for a success, else what it stands for is raised."""
        if not 200 <= reply.status < 300:
            raise self._error(reply, None, now)

    def _error(self, reply: HTTPReply, request: LLMRequest | None, now: float) -> LLMError:
        return read_error(
            reply,
            provider=self.name,
            model=self.config.model if request is None else self.model_for(request),
            address=self.config.address,
            now=now,
            show=self.fit_to_show,
            messages=() if request is None else request.messages,
        )

    def _options(self, request: LLMRequest, quirks: ServerQuirks) -> dict[str, Any]:
        """The optional fields, the request's over the configuration's; None takes one out."""
        own = {
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "stop": request.stop,
        }
        merged: dict[str, Any] = {}
        for layer in (
            self.config.parameters,
            request.parameters,
            {name: value for name, value in own.items() if value is not None},
            self.config.extra_body,
        ):
            if any(layer.get(name) is not None for name in TOKEN_CAPS):
                # A cap is a cap, under whichever name: only the one that wins goes out.
                merged = {name: value for name, value in merged.items() if name not in TOKEN_CAPS}
            merged |= layer
        options = {name: value for name, value in merged.items() if value is not None}
        if self.default_token_cap is not None and not options.keys() & TOKEN_CAPS:
            options["max_tokens"] = self.default_token_cap
        return _kept(options, quirks, self.config.extra_body)

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


def _kept(
    options: dict[str, Any], quirks: ServerQuirks, extra_body: Mapping[str, Any]
) -> dict[str, Any]:
    """Those of `options` that the server takes, the token cap under the name that it takes."""
    cap = next((options[name] for name in sorted(TOKEN_CAPS) if name in options), None)
    if cap is not None and quirks.cap_name is not None:
        options = {name: value for name, value in options.items() if name not in TOKEN_CAPS}
        options[quirks.cap_name] = cap
    if quirks.is_least:
        least = TOKEN_CAPS | extra_body.keys()
        options = {name: value for name, value in options.items() if name in least}
    return {name: value for name, value in options.items() if name not in quirks.dropped}


def _messages(request: LLMRequest, quirks: ServerQuirks) -> Sequence[Message]:
    messages = request.messages
    if quirks.max_characters is not None:
        messages = _shortened(request, quirks.max_characters)
    return with_strict_turns(messages) if quirks.folds_turns else messages


def _shortened(request: LLMRequest, characters: int) -> Sequence[Message]:
    """The conversation in at most so many characters, or the shortest that there is."""
    messages = request.messages
    halvings = 0
    while characters_of(messages) > characters:
        halvings += 1
        shorter = request.shortened(halvings)
        if characters_of(shorter) >= characters_of(messages):
            break
        messages = shorter
    return messages
