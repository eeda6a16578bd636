"""Answers on the bus: `ping`, `status` and `why` on `{instance}.command`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from llm_bot import __version__
from llm_bot.errors import BusError
from llm_bot.observability.queries import DecisionFilter, DecisionQueries, QueryError
from llm_bot.ports import Bus, Event

log = logging.getLogger(__name__)

DEFAULT_LAST = 10
MAX_REPLY_BYTES = 900_000
"""Below the 1 MiB that a NATS server takes unless it is set up otherwise."""

COMMANDS = ("ping", "status", "why")


class CommandService:
    """Hears requests and answers them; one that names no subject for an answer is left alone.

    A request is `{"command": "ping" | "status" | "why"}`, `why` with `channel`, `last`, `id`,
    `user` and `outcome` beside it. The answer is `{"service", "command", "success", "data" or
    "error"}`, whatever the request was.
    """

    def __init__(
        self,
        bus: Bus,
        instance: str,
        *,
        status: Callable[[], dict[str, Any]],
        queries: DecisionQueries,
    ) -> None:
        self._bus = bus
        self._instance = instance
        self._status = status
        self._queries = queries

    async def listen(self) -> None:
        """Answer from now on. Raises `BusError`."""
        self._requests = await self._bus.subscribe(f"{self._instance}.command", self._hear)

    def tell_refusal(self) -> None:
        """Log it where the account may not hear commands. Call it after a flush."""
        if self._requests.refused:
            log.warning("command.not_heard", extra={"subject": self._requests.subject})

    async def _hear(self, event: Event) -> None:
        if not event.reply:
            return
        try:
            await self._bus.publish(event.reply, self._answer(event.data))
        except BusError as exc:
            log.warning("command.not_answered", extra={"error": str(exc)})

    def _answer(self, body: bytes) -> bytes:
        command: object = None
        try:
            request = _request(body)
            command = request.pop("command", None)
            answer = self._reply(command, success=True, data=self._dispatch(command, request))
        except QueryError as exc:
            return self._reply(command, success=False, error=str(exc))
        if len(answer) > MAX_REPLY_BYTES:
            error = f"the answer has {len(answer):,} bytes, too many for the bus; ask for fewer"
            return self._reply(command, success=False, error=error)
        return answer

    def _dispatch(self, command: object, rest: dict[str, Any]) -> dict[str, Any]:
        match command:
            case "ping":
                return {"version": __version__}
            case "status":
                return self._status()
            case "why":
                rest.setdefault("last", DEFAULT_LAST)
                wanted = DecisionFilter.of(rest, limit="last")
                return {"decisions": self._queries.decisions(wanted)}
        problem = "no command" if command is None else "no such command"
        raise QueryError(f"{problem}; known are {', '.join(COMMANDS)}")

    def _reply(self, command: object, **rest: object) -> bytes:
        known = command if command in COMMANDS else None
        return msgspec.json.encode({"service": self._instance, "command": known, **rest})


def _request(body: bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.ValidationError as exc:
        raise QueryError("the request isn't a JSON object") from exc
    except (ValueError, RecursionError) as exc:
        raise QueryError("the request isn't JSON") from exc
    # What Kryten's other services put beside a command is none of ours.
    return {name: value for name, value in request.items() if name not in ("service", "meta")}
