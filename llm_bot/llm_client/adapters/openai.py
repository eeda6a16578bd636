"""OpenAI itself, and the dialect of it that nearly every server speaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from llm_bot.llm_client.adapters.addresses import CHAT_PATH, Addresses, as_header, fixed_headers
from llm_bot.llm_client.adapters.answers import error_of, read_answer, read_tree
from llm_bot.llm_client.adapters.bodies import read_embedding_list, read_model_list
from llm_bot.llm_client.adapters.error_body import ErrorBody, read_error_body, without_quotations
from llm_bot.llm_client.adapters.errors import error_for, is_about_moderation, status_of
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

    The other adapters are this one with another idea of the address, the key, or some detail. An
    adapter translates between the client's words and a server's HTTP, and knows no clock, no
    network and no state of its own. What is built raises `ValidationError` if it can't be written;
    what is read raises the `LLMError` that a reply stands for. `now` (Unix epoch) is what a pause
    until a date is measured from.

    Attributes:
        name: Unique among the providers of a client.
        config: The provider's.
        is_local: Whether the address may lack `/v1` and the key may be missing.
        default_token_cap: Sent where nothing else says how many tokens an answer may have; None
            leaves it to the server.
    """

    is_local: ClassVar[bool] = False
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
        """Whether the server runs on this machine or nearby, and loads models when asked."""
        return self.is_local or self._addresses.is_this_machine

    def model_for(self, request: LLMRequest) -> str:
        """The model that `request` goes to."""
        return request.model or self.config.model

    def build_chat(self, request: LLMRequest, quirks: ServerQuirks = NO_QUIRKS) -> HTTPRequest:
        """The HTTP request for `request`, without what the server is known to refuse."""
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
        return self._post(CHAT_PATH, body, request.correlation_id)

    def mend(
        self, request: LLMRequest, reply: HTTPReply, quirks: ServerQuirks = NO_QUIRKS
    ) -> tuple[ServerQuirks, str] | None:
        """What a refusal of the request, as built with `quirks`, adds to them; and its words.

        None if no smaller request would help. The words are fit to be shown.
        """
        if reply.is_cut or 200 <= reply.status < 400:
            return None
        found = _said(reply, request)
        error = self._error(reply, found, self.model_for(request), now=0)
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
        """The answer in `reply`."""
        tree = read_tree(reply, self.fit_to_show) if reply.is_success else {}
        if not reply.is_success or error_of(tree) is not None:
            raise self._error(reply, _said(reply, request), self.model_for(request), now)
        return read_answer(reply, tree, model=self.model_for(request), show=self.fit_to_show)

    def doubt(self, request: LLMRequest, response: LLMResponse) -> str | None:  # noqa: ARG002 - for subclasses
        """Why `response` may not be what it seems, in words for a log; None if nothing is odd."""
        return None

    def build_models(self) -> HTTPRequest:
        """The question which models there are."""
        return HTTPRequest("GET", self._addresses.under_base("/models"), self._headers)

    def read_models(self, reply: HTTPReply, now: float) -> list[ModelInfo]:
        """The models in `reply`."""
        self.read_health(reply, now)
        return read_model_list(reply, provider=self.name)

    def build_health(self) -> HTTPRequest:
        """A question that costs the server next to nothing."""
        return self.build_models()

    def read_health(self, reply: HTTPReply, now: float) -> None:
        """Nothing, if `reply` is a success."""
        if not reply.is_success:
            raise self._error(reply, read_error_body(reply.body), self.config.model, now)

    def build_embeddings(self, texts: Sequence[str], model: str) -> HTTPRequest:
        """The question for a vector for each of `texts`."""
        return self._post("/embeddings", {"model": model, "input": list(texts)}, None)

    def read_embeddings(self, count: int, reply: HTTPReply, now: float) -> list[list[float]]:
        """The `count` vectors in `reply`, in the order of the texts."""
        self.read_health(reply, now)
        return read_embedding_list(reply, count=count)

    def fit_to_show(self, text: str) -> str:
        """`text` from outside, bounded, on one line and without the provider's secrets."""
        return fit_to_show(text, self._secrets)

    def _error(self, reply: HTTPReply, found: ErrorBody, model: str, now: float) -> LLMError:
        address, show = self.config.address, self.fit_to_show
        return error_for(reply, found, model=model, address=address, now=now, show=show)

    def _options(self, request: LLMRequest, quirks: ServerQuirks) -> dict[str, Any]:
        """The optional fields that the server takes, the request's over the configuration's."""
        own = {
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "stop": request.stop,
        }
        options: dict[str, Any] = {}
        for layer in (
            self.config.parameters,
            request.parameters,
            {name: value for name, value in own.items() if value is not None},
            self.config.extra_body,
        ):
            if any(layer.get(name) is not None for name in TOKEN_CAPS):
                # A cap is a cap, under whichever name: only the one that wins goes out.
                options = {name: each for name, each in options.items() if name not in TOKEN_CAPS}
            options |= layer
        # None takes a field out.
        options = {name: value for name, value in options.items() if value is not None}
        cap = next(iter(TOKEN_CAPS & options.keys()), None)
        if cap is None and self.default_token_cap is not None:
            cap, options["max_tokens"] = "max_tokens", self.default_token_cap
        if cap is not None and quirks.token_cap is not None:
            options[quirks.token_cap] = options.pop(cap)
        if quirks.least_request:
            least = TOKEN_CAPS | self.config.extra_body.keys()
            options = {name: value for name, value in options.items() if name in least}
        return {name: value for name, value in options.items() if name not in quirks.dropped}

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


def _said(reply: HTTPReply, request: LLMRequest) -> ErrorBody:
    return without_quotations(read_error_body(reply.body), request.messages)


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
