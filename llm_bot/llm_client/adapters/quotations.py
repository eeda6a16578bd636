"""A server's own words, without what it quotes of the conversation.

What is said in chat must teach nothing about the server, whichever words it borrows.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Iterator, Sequence

from llm_bot.llm_client.adapters.said import ServerSaid
from llm_bot.llm_client.adapters.wording import MAX_WORDS
from llm_bot.llm_client.models import Message, TextPart

# Shorter lines are words that anybody may use.
_SHORTEST_LINE = 12
# As many characters in common are no coincidence.
_RUN = 20
_MAX_COMPLAINTS = 20
# Longer than what any grammar of a refusal reaches over.
_CUT = "…" * 50
# Always matches the whole of a row of backslashes: looked at once, however long.
_ESCAPE = re.compile(r"\\++(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|[abfnrtv])?")
_BETWEEN_WORDS = re.compile(r"[\W_]+")


def in_own_words(said: ServerSaid, messages: Sequence[Message]) -> ServerSaid:
    """`said` without what it quotes of `messages`; silent where a quotation can't be cut out."""
    message = said.message[:MAX_WORDS]
    complaints = said.complaints[:_MAX_COMPLAINTS]
    whole = [message, *(complaint.message[:MAX_WORDS] for complaint in complaints)]
    if not any(whole):
        return said
    texts = list(_texts(messages))
    heads = set().union(*(_pieces(text, _SHORTEST_LINE) for text in whole))
    chunks = {chunk for chunk in _chunks(texts) if chunk[:_SHORTEST_LINE] in heads}
    own = [_without(text, chunks) for text in whole]
    if _share_a_run(own, texts):
        return ServerSaid()
    kept = zip(complaints, own[1:], strict=True)
    return said._replace(
        message=own[0],
        complaints=tuple(complaint._replace(message=text) for complaint, text in kept),
    )


def _texts(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        if isinstance(message.content, str):
            yield message.content
        else:
            yield from (part.text for part in message.content if isinstance(part, TextPart))


def _chunks(texts: Sequence[str]) -> Iterator[str]:
    """Texts and their lines in the ways in which they are quoted."""
    for text in texts:
        for chunk in (text, *text.splitlines()):
            raw = chunk.strip()
            if len(raw) >= _SHORTEST_LINE:
                yield raw
                yield json.dumps(raw)[1:-1]
                yield json.dumps(raw, ensure_ascii=False)[1:-1]
                yield repr(raw)[1:-1]


def _without(text: str, chunks: set[str]) -> str:
    is_quoted = bytearray(len(text))
    for chunk in chunks:
        start = text.find(chunk)
        while start >= 0:
            end = start + len(chunk)
            is_quoted[start:end] = b"\1" * len(chunk)
            start = text.find(chunk, end)
    runs = itertools.groupby(zip(is_quoted, text, strict=True), key=lambda each: each[0])
    return "".join(
        _CUT if quoted else "".join(char for _, char in characters) for quoted, characters in runs
    )


def _share_a_run(own: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether words in a row are in both, whatever was done to quotes, spaces and case."""
    said = set().union(*(_pieces(_bare(text), _RUN) for text in own))
    return bool(said) and any(not said.isdisjoint(_pieces(_bare(text), _RUN)) for text in texts)


def _pieces(text: str, length: int) -> Iterator[str]:
    return (text[start : start + length] for start in range(len(text) - length + 1))


def _bare(text: str) -> str:
    """The words of `text` and nothing else."""
    return _BETWEEN_WORDS.sub(" ", _ESCAPE.sub(_unescaped, html.unescape(text)).casefold())


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else " "
