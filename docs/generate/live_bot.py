"""A short evening with a real bot, whose answers are the examples of docs/API.md.

The program is the daemon's own, on a bus in memory, with its HTTP server and a model server on
loopback. Its clock stands still but for the moments that the evening says, so that every time in
the examples is the same at each run.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx

from docs.generate.evening import Evening, Sent, steady
from docs.generate.live_world import (
    LOOPBACK,
    StillClock,
    WatchedBus,
    captured_log,
    decoded,
    free_port,
    model_server,
)
from llm_bot.app import App
from llm_bot.config import Config
from llm_bot.observability.queries import DecisionFilter
from llm_bot.ports import Event
from llm_bot.wire.commands import iso_time

CHANNEL = "MyChannel"
DOMAIN = "cytu.be"
BOT = "MyBot"
INSTANCE = "llm_bot"
START_SECONDS = 12.5
PATIENCE_SECONDS = 30.0

_LINE_IDS = [f"0c7127f9-1474-44c9-a9d5-e40ce7e9{number:04d}" for number in range(1, 10)]
_ANSWERS = {"what year": "1927, and it still looks like the future.", "hello there": "Hello, bob!"}

PATHS = (
    "/health",
    "/ready",
    "/decisions?limit=2&user=alice",
    "/decisions?outcome=nonsense",
    "/metrics",
)
LIVE_EVENTS = frozenset({"hello", "state", "line", "decision", "insight"})


def live_through() -> Evening:
    """One evening; takes a second or so."""
    return asyncio.run(_Stage().play())


class _Stage:
    """The room, its connector and its visitors."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.bus = WatchedBus()
        self.evening = Evening()
        self.ids = iter(_LINE_IDS)
        self.port = free_port()

    async def play(self) -> Evening:
        stop = asyncio.Event()
        await self.bus.overhear(">", self._note)
        await self.bus.overhear("kryten.robot.command", self._dispatch)
        await self.bus.overhear("kryten.user_level.>", self._tell_login)
        with captured_log() as lines:
            await self._run(stop)
        for line in lines:
            line["timestamp"] = iso_time(self.clock.time())  # the log has a clock of its own
            self.evening.log.setdefault(line["message"], steady(line))
        self.evening.heard = tuple(dict.fromkeys(self.bus.patterns))
        return self.evening

    async def _run(self, stop: asyncio.Event) -> None:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            model_server(self.clock, _ANSWERS) as address,
            asyncio.TaskGroup() as tasks,
        ):
            config = Config.model_validate(self._settings(address))
            app = App(
                config,
                stop=stop,
                bus=self.bus,
                clock=self.clock,
                rng=lambda: 0.5,
                announces=True,
            )
            tasks.create_task(app.run())
            await app.ready.wait()
            await self._scenes(app)
            stop.set()

    def _settings(self, address: str) -> dict[str, Any]:
        return {
            "nats": {"servers": ["nats://localhost:4222"]},
            "bus": {"type": "memory"},
            "instance": INSTANCE,
            "channels": [{"name": CHANNEL}],
            "bot": {"username": BOT},
            "llm_api": {"provider": "ollama", "base_url": address, "model": "llama3.2"},
            "rate_limits": {"max_per_user_per_minute": 1},
            "triggers": [{"type": "mention"}, {"type": "pm"}],
            "insights": {"publish": True},
            "replies": {"min_interval_seconds": 0},
            "health": {"port": self.port, "dashboard": True},
        }

    # --- what happens ---

    async def _scenes(self, app: App) -> None:
        await self._until(lambda: self._has_sent(".startup"))
        self.clock.passed = START_SECONDS
        await self._say("alice", f"{BOT}: what year is this film from?")
        await self._until(lambda: _count(app, "replied") == 1)
        await self._until(lambda: self._has_sent(".insights."))
        self.clock.passed += 20
        await self._until(lambda: self._has_sent(".heartbeat"))
        await self._say("bob", "I love this scene")
        await self._until(lambda: _count(app, "no_match") == 1)
        self.clock.passed += 5
        await self._say("alice", f"{BOT}: and who made it?")
        await self._until(lambda: _count(app, "user_limit") == 1)
        await self._say("bob", "hello there", to=BOT)
        await self._until(lambda: _count(app, "replied") == 2)
        await self._until(lambda: "not_yet" not in _asked(app).values())
        for command in ("ping", "status", "why"):
            about = {"last": 1, "user": "alice"} if command == "why" else {}
            body = {"command": command, **about}
            answer = await self.bus.request(f"{INSTANCE}.command", body, timeout=PATIENCE_SECONDS)
            self.evening.answers[command] = steady(decoded(answer))
        address = f"http://{LOOPBACK}:{self.port}"
        async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
            await self._visit(client)
        for family in app.metrics.registry.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            self.evening.metrics[name] = (family.type, family.documentation)

    async def _visit(self, client: httpx.AsyncClient) -> None:
        for path in PATHS:
            answer = await client.get(path)
            is_json = "json" in answer.headers["content-type"]
            body = steady(answer.json()) if is_json else answer.text
            self.evening.pages[path] = (answer.status_code, body)
        name = ""
        async with client.stream("GET", "/events", timeout=PATIENCE_SECONDS) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    data = steady(json.loads(line.removeprefix("data: ")))
                    self.evening.live.setdefault(name, data)
                if self.evening.live.keys() >= LIVE_EVENTS:
                    break

    async def _say(self, user: str, text: str, *, to: str = "") -> None:
        """`user` says something in the room, or to one user."""
        now = self.clock.time()
        name = "pm" if to else "chatMsg"
        payload = {"username": user, "msg": text, "meta": {}, "time": int(now * 1000)}
        envelope = {
            "event_name": name,
            "payload": {**payload, "to": to} if to else payload,
            "channel": CHANNEL,
            "domain": DOMAIN,
            "timestamp": iso_time(now),
            "correlation_id": next(self.ids),
        }
        self.evening.envelopes.append(envelope)
        await self.bus.publish(f"kryten.events.cytube.{CHANNEL.lower()}.{name.lower()}", envelope)

    def _has_sent(self, part: str) -> bool:
        return any(part in each.subject for each in self.evening.sent)

    async def _until(self, is_true: Callable[[], bool]) -> None:
        while not is_true():  # noqa: ASYNC110 - the bot knows nothing of who watches it
            await asyncio.sleep(0.01)

    # --- the connector ---

    def _note(self, event: Event) -> None:
        """Whatever is published; the connector's own events and answers aren't the bot's."""
        others = ("_INBOX.", "kryten.events.", f"{INSTANCE}.command", "kryten.lifecycle.robot.")
        if not event.subject.startswith(others):
            headers = {
                name: _LINE_IDS[0] if name == "Correlation-Id" else value
                for name, value in (event.headers or {}).items()
            }
            self.evening.sent.append(Sent(event.subject, steady(decoded(event)), headers))

    async def _dispatch(self, event: Event) -> None:
        command = decoded(event)
        accepted = {
            "service": "robot",
            "command": command["command"],
            "success": True,
            "data": {"success": True},
        }
        await self.bus.publish(event.reply, accepted)
        arguments = command["args"]
        await self._say(BOT, arguments["message"], to=arguments.get("to", ""))

    async def _tell_login(self, event: Event) -> None:
        known = {"success": True, "rank": 1, "username": BOT}
        await self.bus.publish(event.reply, known)


def _count(app: App, outcome: str) -> int:
    return len(app.queries.decisions(DecisionFilter(outcome=outcome)))


def _asked(app: App) -> dict[str, str]:
    """What came of the questions about the room."""
    asked: dict[str, str] = app.status.read()["rooms"][CHANNEL]["asked"]
    return asked
