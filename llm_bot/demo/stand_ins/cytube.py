"""What CyTube does to a line before anybody sees it, its flood limit, and what a room remembers."""

from __future__ import annotations

import html
import re
from collections import deque
from collections.abc import Mapping
from typing import Any

MAX_MESSAGE_UNITS = 320  # UTF-16 units, the server's default
HISTORY_LINES = 15  # chat lines that a joining client is shown again
FLOOD_BURST = 20
FLOOD_PER_SECOND = 10
FLOOD_COOLDOWN_MS = 1000 // FLOOD_PER_SECOND
SERVER = "[server]"

_LINK = re.compile(r"\w+://[^\s/]+(?:/\S*)?")
_CONTROL = re.compile(r"[\x00-\x1f]+")
_HELD_LINK = "\ue000"  # keeps a link's place while the filters run
# The filters of a new channel, in their order. Everybody's text passes them, the bot's too.
_FILTERS = (
    (re.compile(r"`(.+?)`"), r"<code>\1</code>"),
    (re.compile(r"\*(.+?)\*"), r"<strong>\1</strong>"),
    (re.compile(r"_(.+?)_"), r"<em>\1</em>"),
    (re.compile(r"~~(.+?)~~"), r"<s>\1</s>"),
    (re.compile(r"\[sp\](.*?)\[/sp\]", re.IGNORECASE), r'<span class="spoiler">\1</span>'),
)


def cut(text: str) -> str:
    """The first 320 UTF-16 units; half a surrogate pair arrives as U+FFFD."""
    units = text.encode("utf-16-le", "surrogatepass")[: 2 * MAX_MESSAGE_UNITS]
    return units.decode("utf-16-le", "replace")


def without_controls(text: str) -> str:
    """Each run of control characters, line ends among them, becomes one space (not in PMs)."""
    return _CONTROL.sub(" ", text)


def as_html(text: str) -> str:
    """`text` as the `msg` of an event: escaped, then the channel's filters, then links."""
    escaped = html.escape(text.replace(_HELD_LINK, ""), quote=False)
    links = iter(_LINK.findall(escaped))
    filtered = _LINK.sub(_HELD_LINK, escaped)
    for pattern, replacement in _FILTERS:
        filtered = pattern.sub(replacement, filtered)
    return re.sub(_HELD_LINK, lambda _: _anchor(next(links)), filtered)


def _anchor(link: str) -> str:
    return f'<a href="{link}" target="_blank" rel="noopener noreferrer">{link}</a>'


class FloodLimiter:
    """One user's: 20 messages at once, then 10 a second; a pause of 2 s makes all of it new."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._count = 0

    def allows(self, now: float) -> bool:
        if now - self._last > FLOOD_BURST / FLOOD_PER_SECOND:
            self._count = 0
        if self._count < FLOOD_BURST:
            self._count += 1
        elif now - self._last < 1 / FLOOD_PER_SECOND:
            return False
        self._last = now
        return True


def chat_line(
    user: str, text: str, now: float, meta: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The payload of a `chatMsg`."""
    green = {"addClass": "greentext"} if text.startswith(">") else {}
    return {
        "username": user,
        "msg": as_html(text),
        "meta": {**green, **(meta or {})},
        "time": int(now * 1000),
    }


class Room:
    """What the server knows of a room: who is here, what is on, the lines that it shows again."""

    def __init__(self, own_name: str, *, rank: float) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.media: dict[str, Any] | None = None
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY_LINES)
        self._own_key = own_name.lower()
        self.see_user(own_name, rank=rank)

    def see_user(self, name: str, *, rank: float = 1) -> None:
        """Whoever speaks is here, even if nobody saw him come."""
        meta = {"afk": False, "muted": False, "smuted": False}
        user = {"name": name, "rank": rank, "profile": {"image": "", "text": ""}, "meta": meta}
        self.users.setdefault(name.lower(), user)

    def learn(self, name: str, payload: Any) -> None:
        """Take in an event that is published."""
        match name.lower(), payload:
            case "userlist", list():
                own = {self._own_key: self.users[self._own_key]}
                self.users = own | {user["name"].lower(): user for user in payload}
            case "adduser", {"name": str(user)}:
                self.users[user.lower()] = payload
            case "userleave", {"name": str(user)} if user.lower() != self._own_key:
                self.users.pop(user.lower(), None)
            case "changemedia", dict():
                self.media = payload
            case "chatmsg", {"username": str(user)} if user != SERVER:
                self._keep(payload)

    def _keep(self, line: dict[str, Any]) -> None:
        is_shadowed = isinstance(line.get("meta"), dict) and line["meta"].get("shadow")
        if not is_shadowed and line not in self.history:
            self.history.append(line)
