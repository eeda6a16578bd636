"""A million lines by a hundred thousand people leave nothing behind that grows.

The lines go to the handlers of two rooms at work, on a clock moved by hand, so that five and a half
hours pass and idle state is dropped; a smaller part goes to the daemon as a process, over NATS.
Each part prints the growth of its process after a warm-up. `-s` shows it.

The million has a process of its own, in which nothing else grows and coverage isn't measured: that
would take four times as long.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llm_bot.bus import EventBus
from llm_bot.config import Config
from llm_bot.llm_client import LLMRequest, LLMResponse
from llm_bot.models import Dialect
from llm_bot.ports import Event
from llm_bot.runtime.room_service import RoomService
from llm_bot.runtime.rooms import Rooms
from tests.daemon import ROOT, Daemon, Peer, settings
from tests.fakes import ManualClock, llm_response
from tests.servers import eventually
from tests.unit import builders
from tests.unit.llm_client.scripted_server import ScriptedServer, chat

LINES = 1_000_000
WARM_UP_LINES = 250_000  # 5,000 s of the room's time, more than a history lives without use
MOST_GROWTH = 20e6

BATCH = 50  # lines in a second of the room's time; after each the replies are worked
TURNS = 40  # of the event loop, enough for a reply from the question to its echo

PROCESS_LINES = 100_000
PROCESS_WARM_UP_LINES = 25_000
CHUNK = 5_000  # published before the daemon is waited for: its queue must not be what grows

LIMITS = {
    "max_per_channel_per_minute": 20,
    "max_per_channel_per_hour": 600,
    "global_cooldown_seconds": 1,
    "max_per_user_per_minute": 2,
    "max_per_user_per_hour": 5,
}


def resident(process: int) -> int:
    """Bytes of memory that a process has now."""
    pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def tell(what: str, before: int, after: int) -> None:
    grown = (after - before) / 1e6
    print(f"\n{what}: {before / 1e6:.1f} MB after warm-up, {grown:+.1f} MB grown")  # noqa: T201


def user(number: int) -> str:
    """Who says line `number`: a hundred people for a thousand lines, then never again."""
    return f"user{number // 1000 * 100 + number % 100}"


def body(name: str, payload: Any, channel: str, now: float) -> bytes:
    stamp = datetime.fromtimestamp(now, UTC).isoformat()
    whole = {"event_name": name, "payload": payload, "channel": channel, "domain": "cytu.be"}
    return json.dumps({**whole, "timestamp": stamp}).encode()


def said(number: int, now: float, text: str, **more: str) -> dict[str, Any]:
    return {"username": user(number), "msg": text, "meta": {}, "time": int(now * 1000), **more}


class QuickModel:
    """Answers at once, each time something else, and remembers nothing."""

    answered = 0

    async def generate(self, request: LLMRequest) -> LLMResponse:
        self.answered += 1
        return llm_response(f"That is answer {self.answered}, and all that I know.")


class Crowd:
    """Two rooms at work, everybody who talks in them, and the connector."""

    def __init__(self, bus: EventBus, clock: ManualClock) -> None:
        self.bus, self.clock = bus, clock
        self.model = QuickModel()
        self.rooms = Rooms()
        self.shared = builders.shared(
            bus, model=self.model, clock=clock, dialects=(Dialect.KRYTEN,)
        )
        self.limiter = self.shared.limiter
        self.services: list[RoomService] = []

    async def open(self, tasks: asyncio.TaskGroup) -> None:
        sections = settings(
            nats="nats://127.0.0.1:4222",
            model="http://127.0.0.1:9/v1",
            rooms=("First", "Second"),
            bot={"username": "MyBot"},
            rate_limits=LIMITS,
            replies={"queue_size": 4, "confirm_seconds": 0.01},
        )
        await self.bus.subscribe("kryten.robot.command", self._on_request)
        await self.rooms.open(Config.model_validate(sections), self.shared, tasks)
        self.services = list(self.rooms)

    async def _on_request(self, event: Event) -> None:
        """The connector: every third line is never seen in the room."""
        request = json.loads(event.data)
        await self.bus.publish(event.reply, {"service": "robot", "success": True})
        channel = request.get("meta", {}).get("channel")
        if channel and self.model.answered % 3 and "message" in request.get("args", {}):
            now = self.clock.time()
            own = {**said(0, now, request["args"]["message"]), "username": "MyBot"}
            service = self.rooms.get(channel)
            assert service is not None
            self._hear(service, "chatMsg", own)

    def _hear(self, service: RoomService, name: str, payload: Any) -> None:
        room = service.room.config.name
        subject = f"kryten.events.cytube.{room.lower()}.{name.lower()}"
        now = self.clock.time()
        service.handler.handle(Event(subject, body(name, payload, room, now)), Dialect.KRYTEN)

    async def talk(self, first: int, last: int) -> None:
        """The lines of those numbers, and what else happens meanwhile."""
        for start in range(first, last, BATCH):
            now = self.clock.time()
            service = self.services[start // BATCH % len(self.services)]
            subject, usual = self._usual(service, now)
            handle = service.handler.handle
            for number in range(start, start + BATCH):
                # Many who speak to it once, and some who don't stop.
                if number % 53 == 0 or number % 1000 in (7, 107, 207, 307):
                    self._happen(service, number, now)
                else:
                    handle(Event(subject, usual % (user(number), number)), Dialect.KRYTEN)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            self.clock.advance(1.0)

    def _usual(self, service: RoomService, now: float) -> tuple[str, _Template]:
        name = service.room.config.name
        template = {**said(0, now, "%d lines ago this was quiet"), "username": "%s"}
        whole = body("chatMsg", template, name, now).decode()
        return f"kryten.events.cytube.{name.lower()}.chatmsg", _Template(whole)

    def _happen(self, service: RoomService, number: int, now: float) -> None:
        """A line to the bot, by somebody who comes and may not go, and every sort of event."""
        text = f"MyBot, what about {number}?"
        if number % 3 == 0:
            self._hear(service, "pm", said(number, now, text, to="MyBot"))
        else:
            self._hear(service, "chatMsg", said(number, now, text))
        self._hear(service, "addUser", {"name": user(number), "rank": 1, "meta": {"afk": False}})
        if number % 2:
            self._hear(service, "userLeave", {"name": user(number)})
        if number % 11 == 0:
            self._hear(service, "changeMedia", {"id": str(number), "title": "A film", "type": "yt"})
            self._hear(service, "chatMsg", {"username": "\x00" * (number % 40), "msg": "odd"})
            self._hear(service, "errorMsg", {"msg": f"no {number}"})
            self._hear(service, f"made{number}Up", {})
        if number % 1009 == 0:
            here = [{"name": user(number - one), "rank": 1, "meta": {}} for one in range(100)]
            self._hear(service, "userlist", here)

    def outcomes(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for service in self.services:
            found.update({str(key): n for key, n in service.room.tally.decisions.items()})
        return found


class _Template:
    """JSON of a line, with places for a name and a number; much quicker than to encode it."""

    def __init__(self, whole: str) -> None:
        self._head, rest = whole.split("%s")
        self._between, self._tail = rest.split("%d")

    def __mod__(self, values: tuple[str, int]) -> bytes:
        name, number = values
        return f"{self._head}{name}{self._between}{number}{self._tail}".encode()


async def tell_of_a_million() -> None:
    """What the test reads: memory before and after, and what happened meanwhile, as JSON."""
    bus = EventBus()
    crowd = Crowd(bus, ManualClock(passes_up_to=4.0))  # insights look every 5 s
    async with asyncio.TaskGroup() as tasks:
        await crowd.open(tasks)
        await crowd.talk(0, WARM_UP_LINES)
        gc.collect()
        before = resident(os.getpid())
        await crowd.talk(WARM_UP_LINES, LINES)
        gc.collect()
        after = resident(os.getpid())
        await crowd.rooms.finish(1.0)
    await bus.close()
    told = {
        "before": before,
        "after": after,
        "outcomes": crowd.outcomes(),
        "answers": crowd.model.answered,
        "histories": len(crowd.limiter),
        "handler_errors": bus.handler_errors,
    }
    json.dump(told, sys.stdout)


def test_a_million_lines():
    """REQ-7: no user, line or reply leaves anything behind for longer than it is needed."""
    unmeasured = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.test_memory"],
        cwd=ROOT,
        env=unmeasured,
        stdout=subprocess.PIPE,
        timeout=200,
        check=True,
    )
    told = json.loads(done.stdout)
    before, after, outcomes = told.pop("before"), told.pop("after"), told["outcomes"]
    tell("a million lines to the handlers of two rooms", before, after)
    print(told)  # noqa: T201
    assert sum(outcomes.values()) - outcomes["own_line"] == LINES
    expected = {"no_match", "replied", "own_line", "user_limit", "channel_limit", "delivery_failed"}
    assert expected <= outcomes.keys()
    assert told["handler_errors"] == 0
    assert after - before < MOST_GROWTH


async def test_many_lines_through_the_process(tmp_path, nats_server):
    """REQ-7: the same for the daemon as it is, with its client of NATS, its logs and metrics."""
    async with ScriptedServer() as model:
        model.script(*(chat(f"This is answer {number}.") for number in range(1000)))
        whole = settings(nats=nats_server.url, model=model.url, rate_limits=LIMITS)
        async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
            before = 0
            for start in range(0, PROCESS_LINES, CHUNK):
                if start == PROCESS_WARM_UP_LINES:
                    before = resident(daemon.process.pid)
                await publish(peer, range(start, start + CHUNK))
                heard = start + CHUNK
                await eventually(
                    lambda: daemon.health()["metrics"]["events_received"] >= heard,  # noqa: B023
                    timeout=30,
                    what="all lines heard",
                )
            after = resident(daemon.process.pid)
            outcomes = await daemon.decided(PROCESS_LINES)
            dropped = daemon.metric("events_dropped_total")
    tell(f"{PROCESS_LINES} lines through the process", before, after)
    print(outcomes)  # noqa: T201
    assert dropped == 0
    assert outcomes["replied"] > 0
    assert after - before < MOST_GROWTH


async def publish(peer: Peer, numbers: range) -> None:
    now = datetime.now(UTC).timestamp()
    subject = peer.address.event_subject("chatMsg")
    for number in numbers:
        text = f"RigBot: number {number}?" if number % 53 == 0 else f"line {number}"
        payload = said(number, now, text)
        await peer.client.publish(subject, body("chatMsg", payload, peer.address.channel, now))
    await peer.flush()


if __name__ == "__main__":
    logging.disable()
    asyncio.run(tell_of_a_million())
