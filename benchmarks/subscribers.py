"""Processes that hear the publisher's lines and do as little as possible with them.

    python -m benchmarks.subscribers KIND {count,time} URL ROOM... [--uvloop]

KIND is one of `STARTS`. They say `{"ready": true}`, and after each line on standard input how many
events they have heard; with `time` also how many nanoseconds each of them took from the publisher
to here, those since the last answer.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.events import pattern, sent_at

LATENCIES: list[int] = []
HEARD = [0]


def note(data: bytes) -> None:
    """Take the time of one event."""
    LATENCIES.append(time.monotonic_ns() - sent_at(data))
    HEARD[0] += 1


async def bare(url: str, patterns: Sequence[str], *, is_timed: bool) -> object:
    """nats-py with a callback that counts."""
    import nats
    from nats.aio.msg import Msg

    async def count(_: Msg) -> None:
        HEARD[0] += 1

    async def timed(message: Msg) -> None:
        note(message.data)

    client = await nats.connect(url)
    for each in patterns:
        await client.subscribe(each, cb=timed if is_timed else count)
    await client.flush()
    return client


async def bus(url: str, patterns: Sequence[str], *, is_timed: bool) -> object:
    """The project's own bus with a handler that counts."""
    import random

    from llm_bot.config import NatsConfig
    from llm_bot.nats_client import NatsBus
    from llm_bot.ports import Event, SystemClock

    def count(_: Event) -> None:
        HEARD[0] += 1

    def timed(event: Event) -> None:
        note(event.data)

    own = NatsBus(
        NatsConfig(servers=(url,)), clock=SystemClock(), rng=random.random, name="benchmark"
    )
    await own.connect()
    for each in patterns:
        await own.subscribe(each, timed if is_timed else count)
    await own.flush()
    return own


async def faststream(url: str, patterns: Sequence[str], *, is_timed: bool) -> object:
    """FastStream's subscriber with nothing in it, without the logger that it has by default."""
    broker = importlib.import_module("faststream.nats").NatsBroker(url, logger=None)

    async def count(_: Any) -> None:
        HEARD[0] += 1

    async def timed(event: Any) -> None:
        LATENCIES.append(time.monotonic_ns() - int(event["correlation_id"]))
        HEARD[0] += 1

    for each in patterns:
        broker.subscriber(each)(timed if is_timed else count)
    await broker.start()
    return broker


async def stripped(url: str, patterns: Sequence[str], *, is_timed: bool) -> object:
    """FastStream without what it is for: nothing is decoded, checked or injected."""

    async def as_it_is(message: Any, _: Any) -> bytes:
        body: bytes = message.body
        return body

    broker = importlib.import_module("faststream.nats").NatsBroker(
        url, logger=None, apply_types=False, decoder=as_it_is
    )

    async def count(_: Any) -> None:
        HEARD[0] += 1

    async def timed(data: Any) -> None:
        note(data)

    for each in patterns:
        broker.subscriber(each)(timed if is_timed else count)
    await broker.start()
    return broker


STARTS: dict[str, Callable[..., Awaitable[object]]] = {
    "bare": bare,
    "bus": bus,
    "faststream": faststream,
    "stripped": stripped,
}


def answer(told: Callable[[], dict[str, Any]]) -> None:
    """Say what was heard, whenever somebody asks; end with whoever asks."""
    for _ in sys.stdin:
        print(json.dumps(told()), flush=True)
    os._exit(0)


def told() -> dict[str, Any]:
    """How many events, and the latencies since the last time."""
    latencies = LATENCIES[:]
    LATENCIES.clear()
    return {"count": HEARD[0], "latencies": latencies}


async def main(kind: str, mode: str, url: str, rooms: Sequence[str]) -> None:
    patterns = [pattern(room) for room in rooms]
    kept = await STARTS[kind](url, patterns, is_timed=mode == "time")
    threading.Thread(target=answer, args=(told,), daemon=True).start()
    print(json.dumps({"ready": kept is not None}), flush=True)
    await asyncio.Event().wait()


def run(work: Awaitable[None], *, on_uvloop: bool) -> None:
    """`asyncio.run`, on either loop."""
    factory = None
    if on_uvloop:
        factory = importlib.import_module("uvloop").new_event_loop

    async def all_of_it() -> None:
        await work

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(all_of_it())


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--uvloop"]
    run(main(words[0], words[1], words[2], words[3:]), on_uvloop="--uvloop" in sys.argv)
