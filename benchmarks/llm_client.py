"""What a request costs: this project's client beside aiohttp's own and httpx with its own pool.

    python benchmarks/llm_client.py [--rounds 5] [--requests 2000]

Each round asks an endpoint in another process in each way, one way after the other, so that what
else the machine does hits all of them alike; the ratios are those of one round. All ways send the
same 21 messages and read the whole answer. The endpoint is far faster than any client, so that
the rates are the clients' own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import cast

import aiohttp
import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from llm_bot.llm_client import LLMClient, LLMConfig, LLMRequest, Message
from llm_bot.llm_client.adapters import HTTPRequest, get_adapter
from llm_bot.llm_client.connection import Connection

CONCURRENT = (1, 10, 50, 100)
DELAYS = (0.0, 0.5)
REFERENCE = "aiohttp"
MESSAGES = [
    Message(("user", "assistant")[number % 2], f"Message {number}: " + "which film is this? " * 8)
    for number in range(21)
]
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "It is the one with the boat. " * 8},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 900, "completion_tokens": 60, "total_tokens": 960},
    }
).encode()
REPLY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver: benchmark\r\n"
    b"x-request-id: 0123456789\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
) + ANSWER

Ask = Callable[[], Awaitable[object]]


class Endpoint(asyncio.Protocol):
    """Answers each request with the same, after `delay` seconds."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return
        self._received = b""
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(REPLY)


def serve(pipe: Pipe) -> None:
    """Listen on a port for each delay, and tell which."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        servers = [
            await loop.create_server(partial(Endpoint, delay), "127.0.0.1", backlog=500)
            for delay in DELAYS
        ]
        pipe.send([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.Event().wait()

    asyncio.run(run())


@asynccontextmanager
async def ways(base_url: str) -> AsyncIterator[dict[str, Ask]]:
    """Each way to ask, by its name."""
    config = LLMConfig(
        provider="openai",
        base_url=base_url,
        api_key="sk-0123456789",
        model="m",
        max_concurrent_requests=max(CONCURRENT),
    )
    adapter = get_adapter(config)
    question = LLMRequest(MESSAGES)
    built: HTTPRequest = adapter.build_chat(question)
    headers = dict(built.headers)
    connection = Connection(adapter)
    limits = httpx.Limits(max_keepalive_connections=20, keepalive_expiry=30)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        httpx.AsyncClient(timeout=None, limits=limits) as own_pool,
        LLMClient(config) as client,
    ):

        async def by_aiohttp() -> None:
            async with session.post(built.url, data=built.body, headers=headers) as response:
                await response.read()

        async def by_httpx() -> None:
            await own_pool.post(built.url, content=built.body, headers=headers)

        yield {
            REFERENCE: by_aiohttp,
            "httpx, its own pool": by_httpx,
            "Connection.send": lambda: connection.send(built),
            "LLMClient.generate": lambda: client.generate(question),
        }
    await connection.aclose()


@dataclass(frozen=True)
class Run:
    """What one way did in one round."""

    rate: float
    cpu_us: float
    seconds: list[float]


async def measure(ask: Ask, concurrent: int, requests: int) -> Run:
    """Ask `requests` times, `concurrent` at once, after one unmeasured request of each."""
    took: list[float] = []
    left = iter(range(requests))

    async def work() -> None:
        for _ in left:
            begun = time.perf_counter()
            await ask()
            took.append(time.perf_counter() - begun)

    await asyncio.gather(*(ask() for _ in range(concurrent)))
    gc.collect()  # what the way before left behind isn't this one's
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(concurrent)))
    spent = time.process_time() - cpu
    rate = requests / (time.perf_counter() - started)
    return Run(rate, spent / requests * 1e6, sorted(took))


def table(runs: dict[str, list[Run]]) -> list[str]:
    """A line for each way: medians over the rounds, ratios within each."""
    lines = []
    for name, each in runs.items():
        seconds = sorted(second for run in each for second in run.seconds)
        p50, p99 = (seconds[int(len(seconds) * part)] * 1000 for part in (0.5, 0.99))
        pairs = zip(each, runs[REFERENCE], strict=True)
        ratios = [run.rate / reference.rate for run, reference in pairs]
        rate = statistics.median(run.rate for run in each)
        cpu = statistics.median(run.cpu_us for run in each)
        lines.append(
            f"  {name:<20}{rate:>8.0f}{cpu:>10.0f}{p50:>10.2f}{p99:>10.2f}"
            f"{statistics.median(ratios):>10.2f}{min(ratios):>8.2f}"
        )
    return lines


async def compare(port: int, delay: float, rounds: int, requests: int) -> None:
    """Write the tables for an endpoint."""
    async with ways(f"http://127.0.0.1:{port}/v1") as asking:
        for concurrent in CONCURRENT:
            # With a delay, a few answers each show what is added to it.
            count = concurrent * 4 if delay else requests
            runs: dict[str, list[Run]] = {name: [] for name in asking}
            for _ in range(rounds):
                for name, ask in asking.items():
                    runs[name].append(await measure(ask, concurrent, count))
            title = f"endpoint {delay * 1000:.0f} ms, {concurrent} at once, {rounds} x {count}"
            head = "                       req/s  CPU us/rq    p50 ms    p99 ms     ratio   worst"
            sys.stdout.write("\n".join([title, head, *table(runs), "\n"]))
            sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    try:
        for port, delay in zip(ours.recv(), DELAYS, strict=True):
            rounds = min(options.rounds, 2) if delay else options.rounds
            asyncio.run(compare(port, delay, rounds, options.requests))
    finally:
        process.terminate()
        process.join()


if __name__ == "__main__":
    main()
