"""The live page on a real port, with a room of its own and a plain client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry

from llm_bot.config import HealthConfig
from llm_bot.decisions import DecisionRecord, Outcome
from llm_bot.health import HealthServer
from llm_bot.rate_limiter import RateLimiter
from llm_bot.web.access import Access
from llm_bot.web.demo_actions import DemoActions, Mode
from llm_bot.web.feed import Feed
from llm_bot.web.server import LivePage
from tests.fakes import ManualClock
from tests.servers import LOOPBACK
from tests.unit import builders

PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Seen:
    """One event as a reader got it."""

    name: str
    data: Any
    place: str


class Reader:
    """Reads server-sent events one by one."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> Seen:
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                row = (await self.answer.content.readline()).decode()
                if not row:
                    raise EOFError
                if row == "\n" and "data" in fields:
                    place = fields.get("id", "")
                    return Seen(fields["event"], json.loads(fields["data"]), place)
                name, _, value = row.rstrip("\n").partition(": ")
                fields[name] = value

    async def until(self, name: str) -> Seen:
        """The next event of that name; others are passed over."""
        while (seen := await self.next()).name != name:
            pass
        return seen

    async def lines(self, count: int) -> list[Any]:
        """The texts of the next lines."""
        return [(await self.until("line")).data["text"] for _ in range(count)]


class PageStage:
    """Entered, the page is served at `url`; `note` is a line that was decided about."""

    def __init__(
        self,
        *,
        token: str | None = None,
        shows_text: bool = True,
        demo: DemoActions | None = None,
        feed: Feed | None = None,
    ) -> None:
        self.config = HealthConfig.model_validate({"host": LOOPBACK, "port": 0, "token": token})
        self.room = builders.room()
        self.status: dict[str, Any] = {
            "uptime_seconds": 1.0,
            "nats_connected": True,
            "providers": {"openai": "up"},
            "channels": {"MyChannel": "active"},
        }
        secret = self.config.token
        self.page = LivePage(
            Access(self.config.host, secret.get_secret_value() if secret else None),
            rooms=lambda: [self.room],
            limiter=RateLimiter(),
            clock=ManualClock(),
            status=lambda: self.status,
            shows_text=lambda: shows_text,
            demo=demo,
            feed=feed,
        )
        self.room.observers = (self.page.feed,)
        self.server = HealthServer(
            self.config,
            status=lambda: self.status,
            is_ready=lambda: True,
            registry=CollectorRegistry(),
            parts=[self.page],
        )

    async def __aenter__(self) -> PageStage:
        await self.server.__aenter__()
        self.client = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.server.__aexit__(None, None, None)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.server.port}"

    def note(self, text: str = "hello", outcome: Outcome | None = Outcome.NO_MATCH) -> None:
        record = DecisionRecord("id-1", "MyChannel", "alice", 1.0, "chat", outcome, text=text)
        self.page.feed.on_decision(record, builders.line(text))

    async def ask(
        self, path: str, method: str = "GET", **options: Any
    ) -> tuple[int, str, Mapping[str, str]]:
        """Status, body and headers; redirections aren't followed."""
        options.setdefault("allow_redirects", False)
        async with self.client.request(method, self.url + path, **options) as answer:
            return answer.status, await answer.text(), answer.headers

    @asynccontextmanager
    async def reading(self, query: str = "", **headers: str) -> AsyncIterator[Reader]:
        """A reader of `/events`."""
        async with self.client.get(f"{self.url}/events{query}", headers=headers) as answer:
            assert answer.status == 200, answer.status
            yield Reader(answer)


class FakeActions:
    """Demo actions that only note what was asked for."""

    def __init__(self, **offered: Any) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.shown: dict[str, Any] = {"speed": 1, "muted": False, "model": "ok"}
        self.offered: dict[str, Any] = {
            "people": ["Ana"],
            "media": ["Stalker", "Solaris"],
            "speeds": [1, 2.5],
            **offered,
        }

    def describe(self) -> Mapping[str, Any]:
        return self.offered

    def state(self) -> Mapping[str, Any]:
        return self.shown

    async def say(self, user: str, text: str, *, private: bool) -> None:
        self.asked.append(("say", user, text, private))

    async def change_media(self, title: str) -> None:
        self.asked.append(("media", title))

    async def flood(self) -> None:
        self.asked.append(("flood",))

    async def mute(self, *, on: bool) -> None:
        self.shown["muted"] = on
        self.asked.append(("mute", on))

    async def set_model(self, mode: Mode) -> None:
        self.shown["model"] = mode
        self.asked.append(("model", mode))

    async def set_speed(self, speed: float) -> None:
        self.shown["speed"] = speed
        self.asked.append(("speed", speed))
