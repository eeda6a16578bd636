"""The world around the bot of `live_bot`: its clock, bus, and model server."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiohttp import web

from llm_bot.bus import EventBus
from llm_bot.bus.base import QueuedSubscription
from llm_bot.config import LoggingConfig
from llm_bot.logging_config import configure_logging
from llm_bot.ports import Event, Handler

LOOPBACK = "127.0.0.1"
EPOCH = 1_767_268_800.0  # 2026-01-01T12:00:00Z
THINKING_SECONDS = 0.8
LONGEST_SLEEP = 0.05


class StillClock:
    """Time that passes when told to. Sleeps are short, but real: whoever loops lets others run."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def time(self) -> float:
        return EPOCH + self.passed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(max(seconds, 0.01), LONGEST_SLEEP))


class WatchedBus(EventBus):
    """Notes what the bot subscribes to; what others hear goes through `overhear`."""

    def __init__(self) -> None:
        super().__init__()
        self.patterns: list[str] = []

    async def connect(self) -> None:
        """Nothing to do: it is there from the start."""

    async def subscribe(self, subject: str, handler: Handler) -> QueuedSubscription:
        self.patterns.append(subject)
        return await super().subscribe(subject, handler)

    async def overhear(self, subject: str, handler: Handler) -> None:
        await super().subscribe(subject, handler)


@asynccontextmanager
async def model_server(clock: StillClock, answers: dict[str, str]) -> AsyncIterator[str]:
    """The address of a server that says, to a prompt with a key of `answers` in it, its value."""

    async def complete(request: web.Request) -> web.Response:
        prompt = json.loads(await request.read())["messages"][-1]["content"]
        said = next(said for asked, said in answers.items() if asked in prompt)
        clock.passed += THINKING_SECONDS
        message = {"role": "assistant", "content": said}
        usage = {"prompt_tokens": 214, "completion_tokens": 9, "total_tokens": 223}
        body = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
        return web.json_response(body)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0).start()
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@contextmanager
def captured_log() -> Iterator[list[dict[str, Any]]]:
    """The lines of the log, there once this is left; the process's own logging is put back."""
    root, stream = logging.getLogger(), io.StringIO()
    level, handlers = root.level, list(root.handlers)
    lines: list[dict[str, Any]] = []
    configure_logging(LoggingConfig(format="json"), "INFO", secrets=(), stream=stream)
    try:
        yield lines
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        lines += [json.loads(line) for line in stream.getvalue().splitlines()]


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def decoded(event: Event) -> dict[str, Any]:
    """The body of a message as the object that it is."""
    body: dict[str, Any] = json.loads(event.data)
    return body
