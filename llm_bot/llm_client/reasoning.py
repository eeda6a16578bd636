"""Telling what a model thought aloud from what it says."""

from __future__ import annotations

import re

_NAMES = "think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection|scratchpad"


def _tag(before: str = "", after: str = "") -> str:
    """A tag of any such name, in angles or triangles; `before` and `after`: where a slash is."""
    return (
        rf"[<◁]\s{{0,5}}{before}\s{{0,5}}(?:[a-z]{{1,20}}:)?(?:{_NAMES})"
        rf"(?:\s[^<>◁▷]{{0,100}}?)?{after}\s{{0,5}}[>▷]"
    )


# What opens and what closes reasoning, in any case. Bounded repetitions alone: the search stays
# linear, whatever the model wrote.
_MARKS = (
    (_tag(), _tag(before="/")),
    (r"(?-i:\[THINK\])", r"(?-i:\[/THINK\])"),
    (r"<\|channel>\s{0,5}thought\b", r"<channel\|>"),
    (r"<details\s{1,5}type=[\"']?reasoning\b[^>]{0,100}>", r"</details>"),
    # Harmony's channels where the server took the tokens away.
    (r"\A(?-i:analysis(?=[A-Z]))", r"(?-i:assistantfinal)"),
    (
        r"<\|channel\|>\s{0,5}(?:analysis|commentary)\b(?:[^<]{0,100}<\|message\|>)?",
        r"(?:<\|end\|>\s{0,5})?(?:<\|start\|>assistant\s{0,5})?"
        r"<\|channel\|>\s{0,5}final\s{0,5}<\|message\|>",
    ),
)
_MARK = re.compile(
    rf"(?P<nothing>{_tag(after='/')})"
    f"|(?P<opens>{'|'.join(opens for opens, _ in _MARKS)})"
    f"|(?P<closes>{'|'.join(closes for _, closes in _MARKS)})",
    re.IGNORECASE,
)


def split_reasoning(text: str) -> tuple[str, str | None]:
    """The answer, and the reasoning that was in it (None if there was none), both stripped.

    A block that is never closed is reasoning to its end. A closing mark that nothing opened ends
    reasoning that began at the start: servers often keep the opening mark in the prompt. So marks
    needn't be nested properly, any of them closes any other, and what is doubtful is never taken
    for the answer.

    >>> split_reasoning("<think>They greet me.</think>Hello!")
    ('Hello!', 'They greet me.')
    >>> split_reasoning("They greet me.</think>Hello!")
    ('Hello!', 'They greet me.')
    """
    answer: list[str] = []
    thoughts: list[str] = []
    inside = False
    position = 0
    for mark in _MARK.finditer(text):
        (thoughts if inside else answer).append(text[position : mark.start()])
        position = mark.end()
        if mark.lastgroup == "nothing":
            continue
        if mark.lastgroup == "closes" and not inside:
            thoughts += answer
            answer.clear()
        inside = mark.lastgroup == "opens"
    (thoughts if inside else answer).append(text[position:])
    return "".join(answer).strip(), "\n".join(filter(None, map(str.strip, thoughts))) or None
