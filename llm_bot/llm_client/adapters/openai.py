"""The dialect of OpenAI's chat completions, which nearly every server speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from llm_bot.llm_client.adapters.answers import read_answer
from llm_bot.llm_client.adapters.base import HTTPReply, HTTPRequest
from llm_bot.llm_client.adapters.refusals import read_refusal
from llm_bot.llm_client.config import RESERVED_FIELDS, LLMConfig
from llm_bot.llm_client.exceptions import ConfigurationError, LLMError, ValidationError
from llm_bot.llm_client.models import ImagePart, LLMRequest, LLMResponse, Message, TextPart
from llm_bot.llm_client.redaction import basic_token, fit_to_show, secrets_of

MAX_CORRELATION_ID = 200
_IMAGE_SCHEMES = ("data:", "http://", "https://")


class OpenAIAdapter:
    """Translates `/chat/completions`.

    With `is_local` the key is optional and `/v1` is appended to an address that lacks it.
    """

    def __init__(self, config: LLMConfig, name: str, *, is_local: bool = False) -> None:
        if not is_local and config.api_key is None:
            raise ConfigurationError("is required", field="api_key", provider=name)
        self.name = name
        self.config = config
        self._secrets = secrets_of(config)
        self._url = _chat_url(config.base_url, is_local=is_local)
        self._headers = _fixed_headers(config)

    def model_for(self, request: LLMRequest) -> str:
        return request.model or self.config.model

    def build_chat(self, request: LLMRequest) -> HTTPRequest:
        headers = dict(self._headers)
        if correlation_id := _as_header(request.correlation_id or ""):
            headers["x-correlation-id"] = correlation_id
        try:
            body = msgspec.json.encode(self._body(request))
        except (TypeError, ValueError, RecursionError) as exc:
            raise ValidationError(
                "the request can't be written as JSON", provider=self.name
            ) from exc
        return HTTPRequest("POST", self._url, headers, body)

    def read_chat(self, request: LLMRequest, reply: HTTPReply, now: float) -> LLMResponse:
        if 200 <= reply.status < 300:
            return read_answer(
                reply,
                provider=self.name,
                model=self.model_for(request),
                token_cap=self._options(request).get("max_tokens"),
                show=self.fit_to_show,
            )
        raise self._refusal(request, reply, now)

    def fit_to_show(self, text: str) -> str:
        return fit_to_show(text, self._secrets)

    def _refusal(self, request: LLMRequest, reply: HTTPReply, now: float) -> LLMError:
        return read_refusal(
            reply,
            provider=self.name,
            model=self.model_for(request),
            now=now,
            show=self.fit_to_show,
        )

    def _options(self, request: LLMRequest) -> dict[str, Any]:
        """The optional fields, the request's over the configuration's; None takes one out."""
        own = {
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "stop": request.stop,
        }
        merged = {
            **self.config.parameters,
            **self.config.extra_body,
            **request.parameters,
            **{name: value for name, value in own.items() if value is not None},
        }
        return {name: value for name, value in merged.items() if value is not None}

    def _body(self, request: LLMRequest) -> dict[str, Any]:
        if reserved := RESERVED_FIELDS & request.parameters.keys():
            raise ValidationError(
                f"parameters.{min(reserved)} is set by the client", provider=self.name
            )
        if not request.messages:
            raise ValidationError("there is no message", provider=self.name)
        return {
            "model": self.model_for(request),
            "messages": [self._message(message) for message in request.messages],
            **self._options(request),
        }

    def _message(self, message: Message) -> dict[str, Any]:
        if isinstance(message.content, str):
            return {"role": message.role, "content": message.content}
        return {"role": message.role, "content": [self._part(part) for part in message.content]}

    def _part(self, part: TextPart | ImagePart) -> dict[str, Any]:
        if isinstance(part, TextPart):
            return {"type": "text", "text": part.text}
        if not part.path_or_data_url.startswith(_IMAGE_SCHEMES):
            raise ValidationError("an image must be a URL here, not a path", provider=self.name)
        return {"type": "image_url", "image_url": {"url": part.path_or_data_url}}


def _chat_url(base_url: str, *, is_local: bool) -> str:
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    if is_local and not path.endswith("/v1"):
        path += "/v1"
    # User and password travel as a header: a URL is what HTTP libraries like to log.
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, f"{path}/chat/completions", parts.query, ""))


def _fixed_headers(config: LLMConfig) -> Mapping[str, str]:
    headers = {
        "accept": "application/json",
        "accept-encoding": "identity",  # answers are small; a compressed one could hide its size
        "content-type": "application/json",
    }
    if (token := basic_token(config)) is not None:
        headers["authorization"] = f"Basic {token}"
    if config.api_key is not None:
        headers["authorization"] = f"Bearer {config.api_key}"
    return headers | {name.lower(): value for name, value in config.extra_headers.items()}


def _as_header(text: str) -> str:
    """`text` with what may not stand in a header taken out: it may come from the network."""
    legal = "".join(char for char in text if char.isascii() and char.isprintable())
    return legal.strip()[:MAX_CORRELATION_ID].rstrip()
