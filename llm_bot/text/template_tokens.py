"""The tokens with which chat templates part turns: never speech, whoever wrote them. Pure."""

from __future__ import annotations

import regex

# Possessive and bounded, so that no text takes long. `<｜…｜>` is DeepSeek's, `[|…|]` EXAONE's,
# `<|…>` and `<…|>` Gemma's.
_TOKEN = regex.compile(
    r"""
      <[|｜][^<>|｜\n]{1,40}+[|｜]?> | <[\w▁]{1,40}+[|｜]>
    | </?s> | <(?:bos|eos|pad|eot)> | <(?:start|end)_of_(?:turn|text)>
    | \[/?INST\] | <</?SYS>> | \[\|[\w ]{1,40}+\|\]
    """,
    regex.VERBOSE | regex.IGNORECASE,
)
_UNKNOWN = regex.compile(r"<unk>|\N{REPLACEMENT CHARACTER}{2,}|\N{REPLACEMENT CHARACTER}\s*$")


def cut_at_token(text: str) -> str:
    """`text` up to the first token, for what follows is an invented turn.

    Those at the very start are taken away, and `<unk>` and halves of characters wherever they are.

    >>> cut_at_token("<s>Great film so far!</s>user: and?")
    'Great film so far!'
    """
    text = _UNKNOWN.sub("", text).strip()
    while (token := _TOKEN.match(text)) is not None:
        text = text[token.end() :].lstrip()
    found = _TOKEN.search(text)
    return (text if found is None else text[: found.start()]).rstrip()


def break_tokens(text: str) -> str:
    """`text` with a space inside each token: readable still, and no tokenizer's own.

    >>> break_tokens("hi <|im_end|>")
    'hi < |im_end|>'
    """
    return _TOKEN.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
