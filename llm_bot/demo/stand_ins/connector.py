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
from typing import Any, Self

from llm_bot.demo.recording import RecordedEvent
from llm_bot.demo.stand_ins import cytube
from llm_bot.demo.stand_ins.kryten import (
    Address,
    Dialect,
    RefusedError,
    Said,
    read_command,
    read_request,
)
from llm_bot.ports import Bus, Clock, Event, Subscription, SystemClock

ROBOT_SUBJECT = "kryten.robot.command"  # one for all robots on a server
BOT_RANK = 2
REMEMBERED = 1000  # lines, commands, refusals: more than a demo or a test looks at
FILM_SECONDS = 5400

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
    ) -> None:
        self.address = Address(channel, domain, Dialect(dialect))
        self.bot_name = bot_name
        self.said: deque[tuple[str | None, str]] = deque(maxlen=REMEMBERED)
        self.executed_commands: deque[str] = deque(maxlen=REMEMBERED)
        self.refused: deque[str] = deque(maxlen=REMEMBERED)
        self.room = cytube.Room(bot_name, rank=BOT_RANK)
        self._bus = bus
        self._clock = clock or SystemClock()
        self._commands_enabled = commands_enabled
        self._flood = cytube.FloodLimiter()
        self._subscriptions: list[Subscription] = []

    async def __aenter__(self) -> Self:
        if self.address.dialect is Dialect.KRYTEN:  # only today's connector answers requests
            level = f"kryten.user_level.{self.address.domain}.{self.address.channel}"
            await self._listen(ROBOT_SUBJECT, self._on_request)
            await self._listen(level, self._on_level)
        if self._commands_enabled:
            await self._listen(self.address.command_subjects(), self._on_command)
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._subscriptions:
            await self._subscriptions.pop().unsubscribe()

    async def _listen(self, subject: str, handler: Callable[[Event], Any]) -> None:
        self._subscriptions.append(await self._bus.subscribe(subject, handler))

    # --- what people do ---

    async def say(self, user: str, text: str, *, meta: Mapping[str, Any] | None = None) -> None:
        """`user` types `text` in the room; of a blank line nobody hears."""
        self.room.see_user(user)
        text = cytube.without_controls(cytube.cut(text))
        if text.strip():
            await self._show(user, text, meta)

    async def pm(self, user: str, text: str) -> None:
        """`user` writes to the bot alone."""
        self.room.see_user(user)
        await self._show_privately(user, self.bot_name, cytube.cut(text))

    async def change_media(self, title: str) -> None:
        """Another film starts, in three seconds."""
        media = {
            "id": re.sub(r"\W+", "-", title.lower()),
            "title": title[:100],
            "seconds": FILM_SECONDS,
            "duration": "01:30:00",
            "type": "yt",
            "meta": {},
            "currentTime": -3,
            "paused": True,
        }
        await self.publish("changeMedia", media)

    async def join(self, user: str) -> None:
        self.room.see_user(user)
        here = self.room.users[user.lower()]
        await self.publish("addUser", here)
        await self._notice(f"{user} joined (aliases: {user})")
        await self.publish("setUserRank", {"name": user, "rank": here["rank"]})

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

    # --- what the bot wants ---

    async def _on_request(self, event: Event) -> None:
        try:
            said = read_request(event.data, self.address)
        except RefusedError as error:
            await self._decline(event, str(error))
            return
        if said is not None and not self._commands_enabled:
            await self._decline(event, "Not connected or sender not available")
        elif said is not None:
            done = {"command": said.command, "success": True, "data": {"success": True}}
            await self._answer(event, done)
            await self._receive(said)

    async def _decline(self, event: Event, problem: str) -> None:
        self.refused.append(problem)
        await self._answer(event, {"success": False, "error": problem})

    async def _answer(self, event: Event, body: dict[str, Any]) -> None:
        if event.reply:
            await self._bus.publish(event.reply, {"service": "robot", **body})

    async def _on_level(self, event: Event) -> None:
        # Wrong about the rank, as the real one: it never learns its own.
        await self._answer(event, {"success": True, "rank": 1, "username": self.bot_name})

    async def _on_command(self, event: Event) -> None:
        try:
            said = read_command(event.data)
        except RefusedError as error:
            self.refused.append(str(error))
        else:
            await self._receive(said)

    async def _receive(self, said: Said) -> None:
        """What CyTube makes of a line that the bot's account sent."""
        text = cytube.cut(said.text)
        if said.to is None:
            await self._receive_public(cytube.without_controls(text))
        else:
            await self._receive_private(said.to, text)

    async def _receive_public(self, text: str) -> None:
        if not text.strip():
            self.refused.append("blank")
        elif await self._stops_flood():
            return
        elif text.startswith("/"):
            self.executed_commands.append(text)
        else:
            self.said.append((None, text))
            await self._show(self.bot_name, text)

    async def _receive_private(self, to: str, text: str) -> None:
        user = self.room.users.get(to.lower())
        if to.lower() == self.bot_name.lower():
            await self._refuse("errorMsg", {"msg": "You can't PM yourself!"})
        elif not _USER_NAME.fullmatch(to):
            problem = f"PM failed: {to.lower()} isn't a valid username."
            await self._refuse("errorMsg", {"msg": problem})
        elif await self._stops_flood():
            return
        elif user is None:
            problem = f"PM failed: {to.lower()} isn't connected to this channel."
            await self._refuse("errorMsg", {"msg": problem})
        else:
            self.said.append((user["name"], text))
            await self._show_privately(self.bot_name, user["name"], text)

    async def _stops_flood(self) -> bool:
        if self._flood.allows(self._clock.monotonic()):
            return False
        await self._refuse("cooldown", cytube.FLOOD_COOLDOWN_MS)
        return True

    async def _refuse(self, name: str, payload: Any) -> None:
        self.refused.append(payload["msg"] if isinstance(payload, dict) else name)
        await self.publish(name, payload)

    async def _show(self, user: str, text: str, meta: Mapping[str, Any] | None = None) -> None:
        await self.publish("chatMsg", cytube.chat_line(user, text, self._clock.time(), meta))

    async def _show_privately(self, user: str, to: str, text: str) -> None:
        payload = {**cytube.chat_line(user, text, self._clock.time()), "to": to}
        await self.publish("pm", payload)

    async def _notice(self, text: str) -> None:
        """A line of `[server]`, which only moderators see, the bot among them."""
        meta = {"addClass": "server-whisper", "addClassToNameAndTimestamp": True}
        await self._show(cytube.SERVER, text, meta)
