"""What one call of `relevance` costs, in microseconds, by the length of the window.

Run it with `.venv/bin/python benchmarks/relevance.py`. `warm`: the window's lines were read before,
as in the daemon, where a window gains one line at a time. `cold`: no line was, but the words were
met before. `first`: neither. Every call has another reply. 20 lines that were read
before must stay under 200.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from llm_bot.evaluation import relevance  # noqa: E402
from llm_bot.evaluation.lines import read  # noqa: E402
from llm_bot.evaluation.words import stem  # noqa: E402

CALLS = 300


def main() -> None:
    """Print a row for each length of the window."""
    data = ROOT / "tests" / "data" / "relevance_pairs.jsonl"
    pairs = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    said = list(dict.fromkeys(line for pair in pairs for line in pair["context"]))
    replies = [pair["reply"] for pair in pairs]
    print("lines  state   median   95th percentile (µs)")
    for length in (1, 20, 50):
        windows = [said[at : at + length] for at in range(0, len(said) - length, 5)]
        for state in ("warm", "cold", "first"):
            taken = [
                one_call(windows[call % len(windows)], replies[call % len(replies)], state)
                for call in range(CALLS)
            ]
            slow = statistics.quantiles(taken, n=20)[-1]
            print(f"{length:5}  {state:6}{statistics.median(taken):8.0f}{slow:10.0f}")


def one_call(window: list[str], reply: str, state: str) -> float:
    """Microseconds for one call in that state of the memories."""
    relevance(window, "")  # the first call of all would pay for imports
    if state == "warm":
        relevance(window, "hi")
    else:
        read.cache_clear()
    if state == "first":
        stem.cache_clear()
    started = time.perf_counter_ns()
    relevance(window, reply)
    return (time.perf_counter_ns() - started) / 1000


if __name__ == "__main__":
    main()
