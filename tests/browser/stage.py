"""The whole program on the memory bus, a scripted model, and the live page in a real browser."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

from playwright.async_api import Browser, Page, async_playwright, expect

from llm_bot.app import App
from llm_bot.bus import EventBus
from llm_bot.config import Config
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.health import HealthServer
from llm_bot.web.server import LivePage
from tests.servers import LOOPBACK
from tests.unit.llm_client.scripted_server import ScriptedServer

BOT, ROOM, DOMAIN = "Marvin", "FilmNight", "cytube.example"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)
TOKEN = "a-token-of-the-tests"
PATIENCE_SECONDS = 60

expect.set_options(timeout=1000 * PATIENCE_SECONDS)


def chromium() -> str | None:
    """The browser of this machine, if it has one."""
    return next(filter(None, map(shutil.which, CHROMIUMS)), None)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A headless one with nothing remembered."""
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=chromium(), args=[*ARGUMENTS])
        try:
            yield opened
        finally:
            await opened.close()


@asynccontextmanager
async def demo(*arguments: str) -> AsyncIterator[str]:
    """`llm-bot demo` as a process of its own, which has to end in order; where its page is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "llm_bot", "demo", "--no-browser", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            rows = [await process.stdout.readline(), await process.stdout.readline()]
        yield rows[1].decode().removeprefix("  Page").strip()
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Stage:
    """Entered, the bot hears its rooms and the page can be had at `url`."""

    def __init__(
        self,
        *,
        rooms: tuple[str, ...] = (ROOM,),
        limits: Mapping[str, float] | None = None,
        shows_text: bool = True,
        token: str | None = None,
    ) -> None:
        self.model = ScriptedServer()
        self.bus = EventBus()
        self._names = rooms
        self._limits = limits or {}
        self._shows_text = shows_text
        self._token = token
        self._stop = asyncio.Event()
        self._stack = AsyncExitStack()
        self.rooms: dict[str, StandInConnector] = {}

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.model)
        app = self.app = App(self._config(), stop=self._stop, bus=self.bus, rng=lambda: 0.7)
        page = app._parts[-1]
        assert isinstance(page, LivePage)
        self.page = page
        for name in self._names:
            connector = StandInConnector(self.bus, channel=name, domain=DOMAIN, bot_name=BOT)
            self.rooms[name] = await self._stack.enter_async_context(connector)
        running = asyncio.create_task(app.run())
        self._stack.push_async_callback(self._end, running)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await app.ready.wait()
        await self.serve(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.go_away()
        await self._stack.aclose()

    async def _end(self, running: asyncio.Task[None]) -> None:
        self._stop.set()
        await asyncio.wait_for(running, PATIENCE_SECONDS)

    def _config(self) -> Config:
        limits = {"global_cooldown_seconds": 0, "media_change_cooldown_seconds": 0, **self._limits}
        return Config.model_validate(
            {
                "nats": {"servers": ["nats://127.0.0.1:9"]},
                "channels": [{"name": name} for name in self._names],
                "bot": {"username": BOT},
                "llm_api": {
                    "provider": "openai",
                    "base_url": f"{self.model.url}/v1",
                    "api_key": "sk-test-0123456789",
                    "model": "stand-in",
                    "retry_attempts": 0,
                },
                "triggers": [{"type": "mention"}, {"type": "pm"}],
                "rate_limits": limits,
                "replies": {"min_interval_seconds": 0, "confirm_seconds": 1},
                "health": {
                    "host": LOOPBACK,
                    "enabled": False,  # served below, so that it can go away
                    "dashboard": True,
                    "token": self._token,
                },
                "logging": {"content": "full" if self._shows_text else "redacted"},
                "shutdown_grace_seconds": 1,
            }
        )

    async def serve(self, port: int) -> None:
        """Let the page be had, at any free port if it is 0."""
        self.page.feed.is_closed = False
        self._server = HealthServer(
            self.app.config.health.model_copy(update={"port": port}),
            status=self.app.status.read,
            is_ready=self.app.status.is_ready,
            registry=self.app.metrics.registry,
            parts=[self.page],
        )
        await self._server.__aenter__()
        self.port = self._server.port

    async def go_away(self) -> None:
        """The page can't be had any more; what is connected is let go."""
        await self._server.__aexit__(None, None, None)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def room(self) -> StandInConnector:
        return self.rooms[self._names[0]]


async def opened(browser: Browser, stage: Stage, **context: Any) -> Page:
    """The page of `stage`; an error in it fails whatever waits for it."""
    page = await (await browser.new_context(**context)).new_page()
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    await page.goto(f"{stage.url}/")
    return page
