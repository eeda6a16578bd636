"""Telling what a model thought aloud from what it says."""

from __future__ import annotations

import re

# Bounded repetitions keep the search linear, whatever the model wrote.
_TAG = re.compile(
    r"<\s{0,5}(?P<close>/?)\s{0,5}(?:[a-z]{1,20}:)?"
    r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection|scratchpad)"
    r"(?:\s[^<>]{0,100}?)?(?P<alone>/?)\s{0,5}>"
    r"|◁(?P<close2>/?)think▷"
    r"|(?-i:\[(?P<close3>/?)THINK\])",
    re.IGNORECASE,
)


def split_reasoning(text: str) -> tuple[str, str | None]:
    """The answer, and the reasoning that was in it (None if there was none), both stripped.

    A block that is never closed is reasoning to its end. A closing tag that nothing opened ends
    reasoning that began at the start: servers often keep the opening tag in the prompt. So tags
    needn't be nested properly, and what is doubtful is never taken for the answer.

    >>> split_reasoning("<think>They greet me.</think>Hello!")
    ('Hello!', 'They greet me.')
    >>> split_reasoning("They greet me.</think>Hello!")
    ('Hello!', 'They greet me.')
    """
    answer: list[str] = []
    thoughts: list[str] = []
    inside = False
    position = 0
    for tag in _TAG.finditer(text):
        (thoughts if inside else answer).append(text[position : tag.start()])
        position = tag.end()
        if tag["alone"]:
            continue
        closes = bool(tag["close"] or tag["close2"] or tag["close3"])
        if closes and not inside:
            thoughts += answer
            answer.clear()
        inside = not closes
    (thoughts if inside else answer).append(text[position:])
    return "".join(answer).strip(), "\n".join(filter(None, map(str.strip, thoughts))) or None
