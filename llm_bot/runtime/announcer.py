"""Telling the neighbourhood on the bus that this process is there: startup, heartbeat, shutdown.

The connector keeps a list of the services around it, with the ports where each tells its health
and its metrics. It takes a service that is silent for 90 seconds for gone, and only a startup puts
one on the list.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from llm_bot import __version__
from llm_bot.errors import BusError, BusUnavailableError
from llm_bot.ports import Bus, Clock, Event, Subscription

log = logging.getLogger(__name__)

ENDPOINTS = ("health", "metrics")

ROBOT_STARTUP_SUBJECT = "kryten.lifecycle.robot.startup"
"""One for all connectors on a NATS server, each of which says it twice when it starts."""

HEARTBEAT_SECONDS = 30.0
STARTUP_SECONDS = 3.0
"""Least time between two startups: a connector that starts over and over gets no flood back."""
LOOK_SECONDS = 1.0
FAREWELL_SECONDS = 2.0
"""How long the shutdown may take to go out; the process doesn't stay for it."""


def lifecycle_subject(service: str, happening: str) -> str:
    """Where a service of that name says that it started, lives, ends."""
    return f"kryten.lifecycle.{service}.{happening}"


class Announcer:
    """Says `startup` once started, `heartbeat` every 30 s, and `shutdown` when stopped.

    The startup is said again when a connector starts, and after the bus was away, since either may
    have missed it. Nothing is kept for later, and whatever the bus does, nobody waits for it.
    """

    def __init__(self, bus: Bus, service: str, *, clock: Clock) -> None:
        self._bus = bus
        self._service = service
        self._clock = clock
        self._started_at = clock.monotonic()
        self._metadata: dict[str, Any] = {}
        self._robots: Subscription | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_startup_due = True
        self._startup_from = self._heartbeat_from = self._started_at
        self._reconnects = 0
        self._is_failing = False

    async def listen(self) -> None:
        """Hear it when a connector starts. Raises `BusError`."""
        self._robots = await self._bus.subscribe(ROBOT_STARTUP_SUBJECT, self._hear_robot)

    def start(self, tasks: asyncio.TaskGroup, *, port: int | None) -> None:
        """Say that this process is ready, and from now on that it lives. Call it after a flush.

        `port` is where it serves health and metrics over HTTP, if it does.
        """
        if self._robots is not None and self._robots.refused:
            log.warning("lifecycle.not_heard", extra={"subject": ROBOT_STARTUP_SUBJECT})
        if port is not None:
            endpoints = {name: {"port": port, "path": f"/{name}"} for name in ENDPOINTS}
            self._metadata = {"metadata": {"endpoints": endpoints}}
        self._reconnects = self._bus.reconnects
        self._task = tasks.create_task(self._run())

    async def stop(self, reason: str) -> None:
        """Say that it ends, if it was started, and nothing more. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._say("shutdown", {"reason": reason})

    def _hear_robot(self, _: Event) -> None:
        self._is_startup_due = True

    async def _run(self) -> None:
        # A look each second is simpler than being told of reconnections by three kinds of bus,
        # and makes one of what a connector says twice.
        while True:
            if self._bus.is_connected:
                await self._say_what_is_due(self._clock.monotonic())
            await self._clock.sleep(LOOK_SECONDS)

    async def _say_what_is_due(self, now: float) -> None:
        if self._bus.reconnects != self._reconnects:
            self._reconnects = self._bus.reconnects
            self._is_startup_due = True
        if self._is_startup_due and now >= self._startup_from:
            self._is_startup_due = False
            self._startup_from = now + STARTUP_SECONDS
            happening = "startup"
        elif now >= self._heartbeat_from:
            happening = "heartbeat"
        else:
            return
        self._heartbeat_from = now + HEARTBEAT_SECONDS
        await self._say(happening, self._metadata)

    async def _say(self, happening: str, more: dict[str, Any]) -> None:
        body = {
            "service": self._service,
            "version": __version__,
            "hostname": socket.gethostname(),
            # Not as `Z`: the connector reads it with a function that knew none before Python 3.11.
            "timestamp": datetime.fromtimestamp(self._clock.time(), UTC).isoformat(),
            "uptime_seconds": round(self._clock.monotonic() - self._started_at, 3),
            **more,
        }
        subject = lifecycle_subject(self._service, happening)
        try:
            await self._bus.publish(subject, body)
            self._is_failing = False
        except BusUnavailableError:
            pass  # when it is back, the startup is said
        except BusError as error:
            if not self._is_failing:
                fields = {"subject": subject, "error": str(error)}
                log.warning("lifecycle.not_published", extra=fields)
            self._is_failing = True
