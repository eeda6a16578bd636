"""Relevance separates replies on topic from replies off topic, better than shared words do.

tests/data/relevance_pairs.jsonl holds contexts with replies, written for this project and labelled
by reading before anything was measured: `on` answers or goes on with what is talked about, `off`
is about something else, `partly` would fit many talks, or an older subject of this one. Areas
under the ROC curve are of `on` against `off`; `partly` is printed beside them and not counted.

A scene's pairs are in one part. `tune` and `report` were drawn by a fixed seed; the weights were
chosen on `tune`. `fresh` was written after the weights were set and before they met `report`. The
tables, the weights and the pairs have the same author, so this measures less than strangers would.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llm_bot.evaluation import relevance

PAIRS = Path(__file__).parents[1] / "data" / "relevance_pairs.jsonl"
SEED = 2024
Scored = dict[str, list[float]]


@cache
def pairs() -> list[dict[str, Any]]:
    return [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def overlap(context: list[str], reply: str) -> float:
    """The baseline: the share of the reply's words that the context has."""
    own = words(reply)
    return len(own & words(" ".join(context))) / max(1, len(own))


def scored(part: str, measure: Callable[[list[str], str], float]) -> Scored:
    found: Scored = {"on": [], "partly": [], "off": []}
    for pair in pairs():
        if pair["part"] == part:
            found[pair["label"]].append(measure(pair["context"], pair["reply"]))
    return found


def area(higher: list[float], lower: list[float]) -> float:
    """The chance that one of `higher` lies above one of `lower`, half of it where they tie."""
    wins = sum((one > other) + 0.5 * (one == other) for one in higher for other in lower)
    return wins / len(higher) / len(lower)


@pytest.mark.parametrize(("part", "least"), [("tune", 0.85), ("report", 0.85), ("fresh", 0.85)])
def test_relevance_beats_shared_words(part, least):
    """On against off: 0.85 or more, and a fifth above the baseline; all figures are printed."""
    areas = {}
    for name, measure in (("relevance", relevance), ("overlap", overlap)):
        found = scored(part, measure)
        areas[name] = area(found["on"], found["off"])
        print(  # noqa: T201 - the figures are what this is for
            f"{part:7}{name:10}on/off {areas[name]:.3f}"
            f"  on/partly {area(found['on'], found['partly']):.3f}"
            f"  partly/off {area(found['partly'], found['off']):.3f}"
        )
    assert areas["relevance"] >= least
    assert areas["relevance"] >= areas["overlap"] + 0.2


def test_partly_lies_between():
    """On the average, replies that are partly on topic stand between the others."""
    for part in ("tune", "report", "fresh"):
        means = {label: sum(found) / len(found) for label, found in scored(part, relevance).items()}
        assert means["on"] > means["partly"] > means["off"]


def test_the_split_is_the_seed_s():
    """The seed's shuffle of the names of scenes makes the two parts, and nobody's choice."""
    names = sorted({pair["scene"] for pair in pairs() if pair["part"] != "fresh"})
    random.Random(SEED).shuffle(names)
    tuned = set(names[: len(names) // 2])
    assert {pair["scene"] for pair in pairs() if pair["part"] == "tune"} == tuned


def test_scenes_are_in_one_part():
    """No context is tuned on and reported on."""
    parts = {(pair["scene"], pair["part"]) for pair in pairs()}
    assert len(parts) == len({scene for scene, _ in parts})


@pytest.mark.parametrize("part", ["tune", "report", "fresh"])
def test_many_good_replies_share_few_words(part):
    """A quarter of the replies on topic, or more, have at most a tenth of their words in common."""
    shares = scored(part, overlap)["on"]
    assert sum(share <= 0.1 for share in shares) >= len(shares) / 4


def test_the_pairs_are_many_and_whole():
    """80 pairs or more, 1 to 12 lines each, no pair twice."""
    assert len(pairs()) >= 80
    assert all(1 <= len(pair["context"]) <= 12 and pair["reply"].strip() for pair in pairs())
    seen = {(*pair["context"], pair["reply"]) for pair in pairs()}
    assert len(seen) == len(pairs())
