"""What a PromQL expression names: metrics, and values that labels have to have. Enough for ours."""

from __future__ import annotations

import re
from collections.abc import Iterator

RECORDED = re.compile(r"\b\w+:[\w:]+")
SELECTOR = re.compile(r"\b((?:llm_bot|process)_\w+|up|ALERTS)\b(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")


def recorded(expr: str) -> set[str]:
    """The recording rules that it uses."""
    return set(RECORDED.findall(expr))


def selectors(expr: str) -> Iterator[tuple[str, set[tuple[str, str]]]]:
    """Each metric with the pairs of label and value that it is asked for, or asked without."""
    for metric, matchers in SELECTOR.findall(RECORDED.sub("", expr)):
        yield (
            metric,
            {
                (label, value)
                for label, operator, text in MATCHER.findall(matchers)
                for value in (text.split("|") if "~" in operator else [text])
            },
        )
