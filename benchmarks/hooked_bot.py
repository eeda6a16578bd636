"""The daemon with an ear: when it decides about a line, the time since it was published is noted.

    python -m benchmarks.hooked_bot count|time CONFIG [--uvloop] [--profile]

The same as `python -m llm_bot`, which has no place to look at a decision the moment it falls, but
for the hook that the live page uses, too. It answers like `benchmarks.subscribers`; with
`--profile` where it was, whenever a timer of CPU time rang.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.sampling import Sampler
from benchmarks.subscribers import HEARD, LATENCIES, answer, run, told
from llm_bot.app import App
from llm_bot.config.loader import load_config
from llm_bot.decisions import DecisionRecord
from llm_bot.logging_config import configure_logging
from llm_bot.models import ChatLine
from llm_bot.room import RoomObserver


class Count(RoomObserver):
    """Counts decisions."""

    def on_decision(self, record: DecisionRecord, _line: ChatLine) -> None:
        HEARD[0] += record.outcome is not None


class Note(RoomObserver):
    """Counts decisions, and how long each took."""

    def on_decision(self, record: DecisionRecord, line: ChatLine) -> None:
        LATENCIES.append(time.monotonic_ns() - int(line.correlation_id))
        HEARD[0] += record.outcome is not None


async def main(mode: str, path: Path, sampler: Sampler | None) -> None:
    config = load_config(path, os.environ).config
    configure_logging(config.logging, config.log_level, secrets=config.secrets())

    def said() -> dict[str, Any]:
        return told() | ({} if sampler is None else {"samples": sampler.taken()})

    observer = Note() if mode == "time" else Count()
    app = App(config, stop=asyncio.Event(), observers=[observer])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(app.run())
        await app.ready.wait()
        threading.Thread(target=answer, args=(said,), daemon=True).start()
        print(json.dumps({"ready": True}), flush=True)


if __name__ == "__main__":
    sampled = Sampler() if "--profile" in sys.argv else None
    run(
        main(sys.argv[1], Path(sys.argv[2]), sampled),
        on_uvloop="--uvloop" in sys.argv,
    )
