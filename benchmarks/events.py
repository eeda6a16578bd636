"""What the publisher sends: chat lines as today's connector publishes them, in NATS's protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

DOMAIN = "cytu.be"
ID_DIGITS = 36  # as long as the UUID that a connector sends

# As CyTube sends them: text is escaped, links and markup are HTML.
TEXTS = (
    "hello everyone",
    "is this the one with the lighthouse?",
    "lol",
    "I never understood why he goes back for the map",
    "that score is so good",
    "wait what just happened",
    "brb, getting something to drink",
    "the dog is the best actor in this",
    "who added this &lt;3",
    "no way",
    "I saw it when it came out, half of the people left before the end",
    'trailer is at <a href="https://example.com/v" target="_blank">https://example.com/v</a>',
    "this is <strong>my</strong> favourite part",
    "same director as last week, isn&#39;t it",
    "next one is mine",
    "good night all, see you on friday",
)
# None of these names holds the bot's own.
USERS = tuple(f"viewer{number:02}" for number in range(20))


def subject(room: str, event: str = "chatmsg") -> bytes:
    """Where the events of a room are published."""
    return f"kryten.events.cytube.{room.lower()}.{event}".encode()


def pattern(room: str) -> str:
    """What a subscriber to a room asks for."""
    return f"kryten.events.cytube.{room.lower()}.*"


def body(room: str, user: str, html: str, now: float, number: int) -> bytes:
    """One line in the connector's envelope; `number` becomes its correlation id."""
    payload = {"username": user, "msg": html, "meta": {}, "time": int(now * 1000)}
    return envelope(room, "chatMsg", payload, now, number)


def envelope(room: str, name: str, payload: object, now: float, number: int) -> bytes:
    """Any event of a room, in the form of the recordings in `tests/data`."""
    event = {
        "event_name": name,
        "payload": payload,
        "channel": room,
        "domain": DOMAIN,
        "timestamp": iso(now),
        "correlation_id": f"{number:0{ID_DIGITS}}",
    }
    return json.dumps(event).encode()


def iso(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")


def sent_at(data: bytes) -> int:
    """The number that `body` was given."""
    return int(data[-ID_DIGITS - 2 : -2])


def frame(to: bytes, data: bytes) -> bytes:
    """A publication as it goes over the wire."""
    return b"PUB %b %d\r\n%b\r\n" % (to, len(data), data)


def lines(rooms: Sequence[str], count: int, now: float, first: int = 0) -> Iterator[bytes]:
    """Frames of so many lines, over all rooms in turn. No two are the same.

    Put together from parts that are made once: for a flood `body` takes too long.
    """
    places = [
        (
            b"PUB %b " % subject(room),
            b'", "meta": {}, "time": %d}, "channel": %b, "domain": "%b", "timestamp": "%b", '
            b'"correlation_id": "'
            % (now * 1000, json.dumps(room).encode(), DOMAIN.encode(), iso(now).encode()),
        )
        for room in rooms
    ]
    starts = [
        b'{"event_name": "chatMsg", "payload": {"username": "%b", "msg": %b '
        % (user.encode(), json.dumps(text).encode()[:-1])
        for text in TEXTS
        for user in USERS
    ]
    for number in range(first, first + count):
        head, tail = places[number % len(places)]
        start = starts[number % len(starts)]
        data = b'%b%d%b%0*d"}' % (start, number, tail, ID_DIGITS, number)
        yield b"%b%d\r\n%b\r\n" % (head, len(data), data)


def newcomers(rooms: Sequence[str], count: int, now: float) -> Iterator[bytes]:
    """Frames of so many people, each of whom joins one of the rooms and says a line."""
    for number in range(count):
        room, name = rooms[number % len(rooms)], f"guest{number:06}"
        person = {
            "name": name,
            "rank": 1,
            "profile": {"image": "", "text": ""},
            "meta": {"afk": False, "muted": False, "smuted": False},
        }
        yield frame(subject(room, "adduser"), envelope(room, "addUser", person, now, number))
        text = TEXTS[number % len(TEXTS)]
        yield frame(subject(room), body(room, name, text, now, count + number))
