"""A stand-in for the Kryten connector and the CyTube room behind it, on any bus.

It publishes what people do in a room, and treats the bot's commands as Kryten-Robot 1.12 and CyTube
do: an acknowledgement that promises nothing, then the own line back or what refuses it. One thing
is stricter than CyTube, which prints the commands that it doesn't know: every line of the bot with
a leading `/` counts as executed.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from llm_bot.demo.recording import RecordedEvent
from llm_bot.demo.stand_ins import cytube
from llm_bot.demo.stand_ins.kryten import (
    Address,
    Dialect,
    Refused,
    Said,
    read_command,
    read_request,
)
from llm_bot.ports import Bus, Clock, Event, Subscription, SystemClock

ROBOT_SUBJECT = "kryten.robot.command"  # one for all robots on a server
BOT_RANK = 2
REMEMBERED = 1000  # lines, commands, refusals: more than a demo or a test looks at

_USER_NAME = re.compile(r"[\w-]{1,20}", re.ASCII)


class StandInConnector:
    """`async with StandInConnector(bus, channel=..., domain=..., bot_name=...) as room:`

    `said` holds the bot's lines that arrived, as (user or None for the room, text before markup);
    `executed_commands` what it made CyTube execute (never anything, if the guard is right);
    `refused` why commands or lines of the bot weren't carried out; `room` who is here, what is on.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        channel: str,
        domain: str,
        bot_name: str,
        dialect: str = Dialect.KRYTEN,
        clock: Clock | None = None,
        commands_enabled: bool = True,
        answers_requests: bool = True,
    ) -> None:
        """Older connectors knew no `kryten.robot.command`: `answers_requests=False`."""
        self.address = Address(channel, domain, Dialect(dialect))
        self.bot_name = bot_name
        self.said: deque[tuple[str | None, str]] = deque(maxlen=REMEMBERED)
        self.executed_commands: deque[str] = deque(maxlen=REMEMBERED)
        self.refused: deque[str] = deque(maxlen=REMEMBERED)
        self.room = cytube.Room(bot_name, rank=BOT_RANK)
        self._bus = bus
        self._clock = clock or SystemClock()
        self._commands_enabled = commands_enabled
        self._answers_requests = answers_requests and self.address.dialect is Dialect.KRYTEN
        self._flood = cytube.FloodLimiter()
        self._subscriptions: list[Subscription] = []

    async def __aenter__(self) -> Self:
        if self._subscriptions:
            raise RuntimeError("the stand-in connector is already listening")
        if self._answers_requests:
            level = f"kryten.user_level.{self.address.domain}.{self.address.channel}"
            await self._listen(ROBOT_SUBJECT, self._on_request)
            await self._listen(level, self._on_level)
        if self._commands_enabled:
            await self._listen(self.address.command_subjects(), self._on_command)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._subscriptions:
            await self._subscriptions.pop().unsubscribe()

    async def _listen(self, subject: str, handler: Callable[[Event], Any]) -> None:
        self._subscriptions.append(await self._bus.subscribe(subject, handler))

    async def say(
        self, user: str, text: str, *, meta: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """`user` types `text` in the room. Returns the payload published, None for a blank line."""
        self.room.see_user(user)
        text = cytube.without_controls(cytube.cut(text))
        return await self._show(user, text, meta) if text.strip() else None

    async def pm(self, user: str, text: str) -> dict[str, Any]:
        """`user` writes to the bot alone."""
        self.room.see_user(user)
        return await self._show_privately(user, self.bot_name, cytube.cut(text))

    async def change_media(
        self,
        title: str,
        *,
        media_id: str | None = None,
        media_type: str = "yt",
        seconds: int = 5400,
        current_time: float = -3,
    ) -> None:
        """Another film starts. A repeat of the one that plays has a `current_time` of its own."""
        media = {
            "id": media_id or re.sub(r"\W+", "-", title.lower()),
            "title": title[:100],
            "seconds": seconds,
            "duration": f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}",
            "type": media_type,
            "meta": {},
            "currentTime": current_time,
            "paused": current_time < 0,
        }
        await self.publish("changeMedia", media)

    async def join(self, user: str, *, rank: float = 1) -> None:
        self.room.see_user(user, rank=rank)
        await self.publish("addUser", self.room.users[user.lower()])
        await self._notice(f"{user} joined (aliases: {user})")
        await self.publish("setUserRank", {"name": user, "rank": rank})

    async def leave(self, user: str) -> None:
        await self.publish("userLeave", {"name": user})

    async def connect(self) -> None:
        """What a connector is sent when it joins: old lines, its login, who is here, the film."""
        for line in tuple(self.room.history):
            await self.publish("chatMsg", line)
        await self.publish("login", {"success": True, "name": self.bot_name})
        await self.publish("rank", BOT_RANK)
        await self.publish("userlist", list(self.room.users.values()))
        if self.room.media is not None:
            repeat = {**self.room.media, "currentTime": 60.5, "paused": False}
            await self.publish("changeMedia", repeat)
            await self.publish("changeMedia", repeat)  # once more when the player is ready

    async def play(self, event: RecordedEvent) -> None:
        """Publish a recorded event as it is, and learn from it who is here and what is on."""
        self.room.learn(event.name, event.payload)
        await self._bus.publish(event.subject, event.body())

    async def publish(self, name: str, payload: Any) -> None:
        """Publish any CyTube event of the room, in the connector's dialect."""
        self.room.learn(name, payload)
        body = self.address.event_body(name, payload, self._clock.time())
        await self._bus.publish(self.address.event_subject(name), body)

    async def _on_request(self, event: Event) -> None:
        understood = read_request(event.data, self.address)
        if understood is None:
            return
        if isinstance(understood, Said) and not self._commands_enabled:
            understood = Refused("Not connected or sender not available")
        if isinstance(understood, Refused):
            self.refused.append(understood.error)
            await self._answer(event, {"success": False, "error": understood.error})
            return
        done = {"command": understood.command, "success": True, "data": {"success": True}}
        await self._answer(event, done)
        await self._receive(understood)

    async def _answer(self, event: Event, body: dict[str, Any]) -> None:
        if event.reply:
            await self._bus.publish(event.reply, {"service": "robot", **body})

    async def _on_level(self, event: Event) -> None:
        # Wrong about the rank, as the real one: it never learns its own.
        await self._answer(event, {"success": True, "rank": 1, "username": self.bot_name})

    async def _on_command(self, event: Event) -> None:
        understood = read_command(event.data)
        if isinstance(understood, Refused):
            self.refused.append(understood.error)
            return
        await self._receive(understood)

    async def _receive(self, said: Said) -> None:
        """What CyTube makes of a line that the bot's account sent."""
        if not isinstance(said.text, str) or not isinstance(said.to, str | None):
            frame = "chatMsg" if said.to is None else "pm"
            await self._refuse("errorMsg", {"msg": f"Unexpected error for message {frame}"})
            return
        text = cytube.cut(said.text)
        if said.to is None:
            await self._receive_public(cytube.without_controls(text))
            return
        await self._receive_private(said.to, text)

    async def _receive_public(self, text: str) -> None:
        if not text.strip():
            self.refused.append("blank")
            return
        if not await self._pass_flood_limit():
            return
        if text.startswith("/"):
            self.executed_commands.append(text)
            return
        self.said.append((None, text))
        await self._show(self.bot_name, text)

    async def _receive_private(self, to: str, text: str) -> None:
        user = self.room.users.get(to.lower())
        if to.lower() == self.bot_name.lower():
            await self._refuse("errorMsg", {"msg": "You can't PM yourself!"})
        elif not _USER_NAME.fullmatch(to):
            problem = f"PM failed: {to.lower()} isn't a valid username."
            await self._refuse("errorMsg", {"msg": problem})
        elif await self._pass_flood_limit():
            if user is None:
                problem = f"PM failed: {to.lower()} isn't connected to this channel."
                await self._refuse("errorMsg", {"msg": problem})
                return
            self.said.append((user["name"], text))
            await self._show_privately(self.bot_name, user["name"], text)

    async def _pass_flood_limit(self) -> bool:
        if self._flood.allows(self._clock.monotonic()):
            return True
        await self._refuse("cooldown", cytube.FLOOD_COOLDOWN_MS)
        return False

    async def _refuse(self, name: str, payload: Any) -> None:
        self.refused.append(payload["msg"] if isinstance(payload, dict) else name)
        await self.publish(name, payload)

    async def _show(
        self, user: str, text: str, meta: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        payload = cytube.chat_line(user, text, self._clock.time(), meta)
        await self.publish("chatMsg", payload)
        return payload

    async def _show_privately(self, user: str, to: str, text: str) -> dict[str, Any]:
        payload = {**cytube.chat_line(user, text, self._clock.time()), "to": to}
        await self.publish("pm", payload)
        return payload

    async def _notice(self, text: str) -> None:
        """A line of `[server]`, which only moderators see, the bot among them."""
        meta = {"addClass": "server-whisper", "addClassToNameAndTimestamp": True}
        await self._show(cytube.SERVER, text, meta)
