"""From the body of a success to the answer in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from llm_bot.llm_client.adapters.http import HTTPReply
from llm_bot.llm_client.adapters.refusals import is_about_moderation
from llm_bot.llm_client.adapters.said import said_by_server
from llm_bot.llm_client.adapters.wording import is_about_moderation as is_word_of_moderation
from llm_bot.llm_client.exceptions import GenerationError, ValidationError
from llm_bot.llm_client.models import LLMResponse, Usage
from llm_bot.llm_client.reasoning import split_reasoning

_REASONING_FIELDS = ("reasoning_content", "reasoning")
_REASONING_PARTS = ("reasoning", "thinking")

_MAX_NAME = 200

Show = Callable[[str], str]


def read_answer(
    reply: HTTPReply, *, provider: str, model: str, token_cap: object, show: Show
) -> LLMResponse:
    """The first choice of `reply`.

    Raises:
        ValidationError: It is a refusal for what the request says, under the status of a success.
        GenerationError: It holds no usable one.
    """

    def fail(text: str, code: str, *, may_pass: bool = True) -> NoReturn:
        raise GenerationError(
            text, provider=provider, status=reply.status, code=code, retryable=may_pass
        )

    if reply.is_cut:
        fail("the answer is too large", "too_large")
    try:
        tree = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        kind = show(reply.headers.get("content-type", "")) or "unnamed"
        fail(f"the answer isn't JSON (content type {kind})", "bad_json")
    choice = _first_choice(tree)
    if choice is None:
        said = said_by_server(reply.body)
        text = show(said.message)
        if is_about_moderation(said):
            text = text or "the request is refused"
            raise ValidationError(text, provider=provider, status=reply.status)
        fail(text or "the answer has no choices", "bad_shape")
    message = choice.get("message")
    pieces = _pieces(message.get("content")) if isinstance(message, dict) else None
    if not isinstance(message, dict) or pieces is None:
        fail("the first choice has no readable message", "bad_shape")
    content, inline = split_reasoning(pieces[0])
    finish_reason = _text(choice.get("finish_reason"))
    if not content:
        is_kept_back = is_word_of_moderation(finish_reason or "")
        fail(*_emptiness(finish_reason, token_cap, show), may_pass=not is_kept_back)
    return LLMResponse(
        content=content,
        reasoning=_joined(_text(message.get(_reasoning_field(message))), pieces[1], inline),
        model=_name(tree.get("model")) or model,
        provider=provider,
        finish_reason=finish_reason,
        usage=_usage(tree.get("usage")),
    )


def _first_choice(tree: object) -> dict[str, Any] | None:
    choices = tree.get("choices") if isinstance(tree, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    return choices[0]


def _pieces(content: object) -> tuple[str, str] | None:
    """Text and reasoning of a content, which is a text or a list of parts; None if malformed."""
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list):
        return None
    text: list[str] = []
    thoughts: list[str] = []
    for part in content:
        if isinstance(part, str):
            text.append(part)
        elif not isinstance(part, dict):
            return None
        elif part.get("type") in _REASONING_PARTS:
            thoughts.append(_thought(part))
        else:
            text.append(_text(part.get("text")) or "")
    return "".join(text), "\n".join(filter(None, thoughts))


def _thought(part: dict[str, Any]) -> str:
    inner = part.get("thinking") or part.get("reasoning") or part.get("text")
    if isinstance(inner, list):
        texts = (_text(each.get("text")) for each in inner if isinstance(each, dict))
        return "".join(text or "" for text in texts)
    return _text(inner) or ""


def _reasoning_field(message: dict[str, Any]) -> str:
    present = (name for name in _REASONING_FIELDS if _text(message.get(name)))
    return next(present, _REASONING_FIELDS[0])


def _emptiness(finish_reason: str | None, token_cap: object, show: Show) -> tuple[str, str]:
    if finish_reason == "length":
        cap = f"max_tokens={token_cap}" if isinstance(token_cap, int) else "the server's own"
        return f"the token cap ({cap}) was reached before any answer", "length"
    reason = f" (finish_reason {show(finish_reason)})" if finish_reason else ""
    return f"the answer is empty{reason}", "empty"


def _usage(usage: object) -> Usage:
    counts = usage if isinstance(usage, dict) else {}
    return Usage(
        _count(counts.get("prompt_tokens")),
        _count(counts.get("completion_tokens")),
        _count(counts.get("total_tokens")),
    )


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count and isinstance(value, int) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _name(value: object) -> str | None:
    """A name that can be shown: it goes into logs and metrics."""
    name = _text(value)
    return name if name and len(name) <= _MAX_NAME and name.isprintable() else None


def _joined(*thoughts: str | None) -> str | None:
    return "\n".join(text.strip() for text in thoughts if text and text.strip()) or None
