"""From the body of a success to the answer in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from llm_bot.llm_client.adapters.bodies import decoded, unusable
from llm_bot.llm_client.adapters.error_body import ErrorBody, error_in
from llm_bot.llm_client.adapters.errors import is_word_of_moderation
from llm_bot.llm_client.adapters.event_stream import joined_chunks
from llm_bot.llm_client.adapters.http import HTTPReply
from llm_bot.llm_client.exceptions import GenerationError
from llm_bot.llm_client.models import LLMResponse, Usage
from llm_bot.llm_client.reasoning import split_reasoning

_REASONING_FIELDS = ("reasoning_content", "reasoning")
_REASONING_PARTS = ("reasoning", "thinking")
# What ends an answer that is none, even with half a sentence.
_BROKEN_OFF = frozenset({"error", "network_error", "abort"})
_MAX_NAME = 200

Show = Callable[[str], str]


def read_tree(reply: HTTPReply, show: Show) -> dict[str, Any]:
    """The JSON object that `reply` is, or that the chunks of a stream make together.

    Raises:
        GenerationError: It is none.
    """
    if reply.is_cut:
        raise unusable(reply, "the answer is too large", "too_large")
    try:
        tree = decoded(reply.body)
    except ValueError:
        tree = joined_chunks(reply.body)
        if tree is None:
            kind = show(reply.headers.get("content-type", "")) or "unnamed"
            raise unusable(
                reply, f"the answer isn't JSON (content type {kind})", "bad_json"
            ) from None
    return tree if isinstance(tree, dict) else {}


def error_of(tree: dict[str, Any]) -> ErrorBody | None:
    """The error that stands where the choices should be; None if there is none."""
    found = None if _first_choice(tree) else error_in(tree)
    return found if found and (found.message or found.codes or found.status) else None


def read_answer(reply: HTTPReply, tree: dict[str, Any], *, model: str, show: Show) -> LLMResponse:
    """The first choice of `tree`, which `reply` held.

    Raises:
        GenerationError: It holds no usable choice.
    """
    choice = _first_choice(tree)
    if choice is None:
        raise unusable(reply, "the answer has no choices")
    finish_reason = _text(choice.get("finish_reason"))
    if finish_reason in _BROKEN_OFF or isinstance(choice.get("error"), dict):
        why = show(finish_reason or "error")
        raise unusable(reply, f"the answer broke off ({why})", "server_error")
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else 0
    if not isinstance(message, dict) or not isinstance(content, str | list | None):
        raise unusable(reply, "the first choice has no readable message")
    if _text(message.get("refusal")) or is_word_of_moderation(finish_reason or ""):
        error = unusable(
            reply, f"the answer was kept back ({show(finish_reason or 'refusal')})", "empty"
        )
        error.retryable = False
        raise error
    parts = content if isinstance(content, list) else [content]
    thoughts = [_thought(part) for part in parts if isinstance(part, dict) and _is_thought(part)]
    said, inline = split_reasoning("".join(_words(part) for part in parts if not _is_thought(part)))
    reasoning = _joined(*_reasoning_fields(message), *thoughts, inline)
    if not said:
        raise _emptiness(reply, finish_reason, show, has_thought=reasoning is not None)
    return LLMResponse(
        content=said,
        reasoning=reasoning,
        model=_name(tree.get("model")) or model,
        finish_reason=finish_reason,
        usage=_usage(tree.get("usage")),
    )


def _first_choice(tree: dict[str, Any]) -> dict[str, Any] | None:
    choices = tree.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _is_thought(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") in _REASONING_PARTS


def _words(part: object) -> str:
    return (_text(part.get("text")) if isinstance(part, dict) else _text(part)) or ""


def _thought(part: dict[str, Any]) -> str:
    inner = part.get("thinking") or part.get("reasoning") or part.get("text") or part.get("summary")
    return "".join(map(_words, inner if isinstance(inner, list) else [inner]))


def _reasoning_fields(message: dict[str, Any]) -> Iterator[str]:
    """What the server keeps apart as reasoning; the same text under two names once."""
    found = dict.fromkeys(filter(None, (_text(message.get(name)) for name in _REASONING_FIELDS)))
    details = message.get("reasoning_details")  # OpenRouter's
    if not found and isinstance(details, list):
        found = dict.fromkeys(_thought(each) for each in details if isinstance(each, dict))
    yield from found


def _emptiness(
    reply: HTTPReply, finish_reason: str | None, show: Show, *, has_thought: bool
) -> GenerationError:
    if finish_reason == "length":
        text = "the token cap was reached before any answer; raise max_tokens"
        return unusable(reply, text, "length")
    reason = f" (finish_reason {show(finish_reason)})" if finish_reason else ""
    if not has_thought:
        return unusable(reply, f"the answer is empty{reason}", "empty")
    advice = "switch its thinking off, or look at the server's chat template"
    return unusable(reply, f"the model thought and said nothing{reason}: {advice}", "empty")


def _usage(usage: object) -> Usage:
    counts = usage if isinstance(usage, dict) else {}
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return Usage(*(_count(counts.get(name)) for name in names))


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
