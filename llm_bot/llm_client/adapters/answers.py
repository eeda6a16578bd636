"""From the body of a success to the answer in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import msgspec

from llm_bot.llm_client.adapters.error_body import error_in
from llm_bot.llm_client.adapters.errors import is_word_of_moderation
from llm_bot.llm_client.adapters.event_stream import joined_chunks
from llm_bot.llm_client.adapters.http import HTTPReply
from llm_bot.llm_client.exceptions import GenerationError, LLMError
from llm_bot.llm_client.models import LLMResponse, Usage
from llm_bot.llm_client.reasoning import split_reasoning

_REASONING_FIELDS = ("reasoning_content", "reasoning")
_REASONING_PARTS = ("reasoning", "thinking")
# What ends an answer that is none, even with half a sentence.
_BROKEN_OFF = frozenset({"error", "network_error", "abort"})

_MAX_NAME = 200

Show = Callable[[str], str]


def read_answer(
    reply: HTTPReply,
    *,
    provider: str,
    model: str,
    token_cap: object,
    show: Show,
    error: Callable[[], LLMError],
) -> LLMResponse:
    """The first choice of `reply`, which may have come as a stream.

    Args:
        error: Makes the error that a body speaks of under the status of a success.

    Raises:
        LLMError: It speaks of an error.
        GenerationError: It holds no usable choice.
    """

    def fail(text: str, code: str, *, may_pass: bool = True) -> NoReturn:
        raise GenerationError(
            text, provider=provider, status=reply.status, code=code, retryable=may_pass
        )

    if reply.is_cut:
        fail("the answer is too large", "too_large")
    tree = _tree(reply.body)
    if tree is None:
        kind = show(reply.headers.get("content-type", "")) or "unnamed"
        fail(f"the answer isn't JSON (content type {kind})", "bad_json")
    choice = _first_choice(tree)
    if choice is None:
        found = error_in(tree) if isinstance(tree, dict) else None
        if found is not None and (found.message or found.codes or found.status):
            raise error()
        fail("the answer has no choices", "bad_shape")
    message = choice.get("message")
    finish_reason = _text(choice.get("finish_reason"))
    if finish_reason in _BROKEN_OFF or isinstance(choice.get("error"), dict):
        fail(f"the answer broke off ({show(finish_reason or 'error')})", "server_error")
    pieces = _pieces(message.get("content")) if isinstance(message, dict) else None
    if not isinstance(message, dict) or pieces is None:
        fail("the first choice has no readable message", "bad_shape")
    if _text(message.get("refusal")) or is_word_of_moderation(finish_reason or ""):
        fail(
            f"the answer was kept back ({show(finish_reason or 'refusal')})",
            "empty",
            may_pass=False,
        )
    content, inline = split_reasoning(pieces[0])
    reasoning = _joined(*_reasoning_fields(message), pieces[1], inline)
    if not content:
        fail(*_emptiness(finish_reason, token_cap, show, has_thought=reasoning is not None))
    return LLMResponse(
        content=content,
        reasoning=reasoning,
        model=_name(tree.get("model")) or model,
        provider=provider,
        finish_reason=finish_reason,
        usage=_usage(tree.get("usage")),
    )


def _tree(body: bytes) -> Any:
    """The body decoded, None if it is no JSON."""
    try:
        return msgspec.json.decode(body) or {}
    except (msgspec.DecodeError, ValueError, RecursionError):
        return joined_chunks(body)


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
    inner = part.get("thinking") or part.get("reasoning") or part.get("text") or part.get("summary")
    if isinstance(inner, list):
        texts = (_text(each.get("text")) for each in inner if isinstance(each, dict))
        return "".join(text or "" for text in texts)
    return _text(inner) or ""


def _reasoning_fields(message: dict[str, Any]) -> Iterator[str]:
    """What the server keeps apart as reasoning; the same text under two names once."""
    found = dict.fromkeys(filter(None, (_text(message.get(name)) for name in _REASONING_FIELDS)))
    details = message.get("reasoning_details")  # OpenRouter's
    if not found and isinstance(details, list):
        found = dict.fromkeys(_thought(each) for each in details if isinstance(each, dict))
    yield from filter(None, found)


def _emptiness(
    finish_reason: str | None, token_cap: object, show: Show, *, has_thought: bool
) -> tuple[str, str]:
    if finish_reason == "length":
        cap = f"max_tokens={token_cap}" if isinstance(token_cap, int) else "the server's own"
        return f"the token cap ({cap}) was reached before any answer; raise max_tokens", "length"
    reason = f" (finish_reason {show(finish_reason)})" if finish_reason else ""
    if has_thought:
        return (
            f"the model thought and said nothing{reason}: switch its thinking off, or look at the "
            "server's chat template"
        ), "empty"
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
