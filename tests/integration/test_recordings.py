"""Recorded rooms, played through a real nats-server into the daemon with a real model server."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from llm_bot.demo.recording import (
    RecordedEvent,
    as_plain,
    event_subjects_only,
    read_recording,
    shifted,
)
from llm_bot.demo.stand_ins.kryten import Dialect
from llm_bot.demo.stand_ins.model_server import ReceivedRequest, StandInModelServer
from llm_bot.demo.stand_ins.scene import answer_to
from tests.daemon import Daemon, Peer, Said, settings

DATA = Path(__file__).parent.parent / "data"
DOMAIN = "localhost:18443"
MENTION = "RigBot: what's playing? 😀 ünïcødé"
PRIVATE = "hi bot, private"
PAUSE_SECONDS = 0.03


def recorded(name: str) -> tuple[RecordedEvent, ...]:
    return event_subjects_only(read_recording(DATA / name))


def lines_in(events: Iterable[RecordedEvent]) -> int:
    """How many of `events` are lines; each gets one outcome."""
    return sum(event.name.lower() in ("chatmsg", "pm") for event in events)


def split_after(
    events: Sequence[RecordedEvent], text: str
) -> tuple[Sequence[RecordedEvent], Sequence[RecordedEvent]]:
    """`events` up to the line `text`, and the rest."""
    place = next(
        number
        for number, event in enumerate(events)
        if isinstance(event.payload, dict) and event.payload.get("msg") == text
    )
    return events[: place + 1], events[place + 1 :]


async def play(peer: Peer, events: Sequence[RecordedEvent], *, plain: bool = False) -> None:
    """Publish `events` without the recorded pauses, each restamped as if it happened now.

    What came at once is moved as one: replayed lines keep their places in time to the millisecond.
    """
    for burst in bursts(events):
        for event in shifted(burst, time.time()):
            now = as_plain(event) if plain else event
            await peer.publish(now.subject, now.body())
    await peer.flush()


def bursts(events: Sequence[RecordedEvent]) -> list[list[RecordedEvent]]:
    found: list[list[RecordedEvent]] = []
    for event in events:
        if found and event.t - found[-1][-1].t < PAUSE_SECONDS:
            found[-1].append(event)
        else:
            found.append([event])
    return found


def without_meta(said: Said) -> dict[str, Any]:
    return {key: value for key, value in said.body.items() if key != "meta"}


def say(request: ReceivedRequest) -> dict[str, Any]:
    """What a public reply to `request` is on `kryten.robot.command`, apart from its meta."""
    return {"service": "robot", "command": "say", "args": {"message": answer_to(request.body)}}


def assert_meta(said: Said) -> None:
    """The address of the room, spelled as the connector spells it, and nothing else but ids."""
    meta = said.body["meta"]
    assert meta.keys() == {"source", "timestamp", "domain", "channel", "request_id"}
    assert (meta["domain"], meta["channel"], meta["source"]) == (DOMAIN, "RigRoom", "llm_bot")
    assert meta["request_id"] == said.headers["Correlation-Id"]
    assert said.headers.keys() == {"Correlation-Id", "Timestamp", "Source", "Schema-Version"}


def prompt_lines(request: ReceivedRequest) -> list[str]:
    """The conversation that the model was shown."""
    prompt = request.prompt
    tag = prompt.partition("<<<")[2].partition("\n")[0]
    return prompt.partition(f"<<<{tag}\n")[2].partition(f"\n{tag}>>>")[0].split("\n")


def assert_sober(model: StandInModelServer) -> None:
    """No notice of the server and nothing about addresses ever gets into a prompt."""
    for request in model.requests:
        for unwanted in ("[server]", "aliases", "yFA.j8g"):
            assert unwanted not in request.prompt


async def test_room(tmp_path, nats_server):
    """A live mention and a live private message are answered, nothing else of 60 lines is."""
    events = recorded("room.jsonl")
    early, later = split_after(events, MENTION)
    middle, late = split_after(later, PRIVATE)
    async with (
        StandInModelServer() as model,
        Daemon(tmp_path, settings(nats=nats_server.url, model=model.base_url)) as daemon,
        Peer(nats_server.url, domain=DOMAIN) as peer,
    ):
        await play(peer, early)
        await peer.hears(1)
        await play(peer, middle)
        await peer.hears(2)
        await play(peer, late)
        outcomes = await daemon.decided(lines_in(events))
        await peer.say("carol", "RigBot, who said waves?")
        await peer.hears(3)

        mention, private, fresh = model.requests
        assert [one.subject for one in peer.said] == ["kryten.robot.command"] * 3
        assert [without_meta(one) for one in peer.said] == [
            say(mention),
            {
                "service": "robot",
                "command": "pm",
                "args": {"to": "alice", "message": answer_to(private.body)},
            },
            say(fresh),
        ]
        for one in peer.said[:2]:
            assert_meta(one)
        assert outcomes["replied"] == 2
        assert outcomes["replayed"] == 1
        assert outcomes["ignored_prefix"] == 1
        assert sum(outcomes.values()) == lines_in(events)
        assert "alice: hello from the node client" in prompt_lines(mention)
        assert prompt_lines(private) == ["(nothing yet)"]
        shown = prompt_lines(fresh)
        assert shown[0].startswith('alice: <b>html</b> & "quotes"'), "clearchat empties the window"
        assert "alice: waves" in shown
        assert "alice: [i]bb[/i]" in shown
        assert "RigBot (you): burst 18" in shown
        assert not any("private" in line for line in shown)
        assert_sober(model)


async def test_rejoin(tmp_path, nats_server):
    """Lines that CyTube replays are never answered, a mention among them neither, but the next
    prompt has all of them."""
    events = recorded("rejoin.jsonl")
    async with (
        StandInModelServer() as model,
        Daemon(tmp_path, settings(nats=nats_server.url, model=model.base_url)) as daemon,
        Peer(nats_server.url, domain=DOMAIN) as peer,
    ):
        await play(peer, events)
        outcomes = await daemon.decided(lines_in(events))
        assert outcomes == {"replayed": 11, "own_line": 4}

        await peer.say("carol", "RigBot: did I miss much?")
        await peer.hears(1)
        await daemon.decided(lines_in(events) + 1)

        (request,) = model.requests
        assert [without_meta(one) for one in peer.said] == [say(request)]
        assert_meta(peer.said[0])
        assert prompt_lines(request) == [
            *(f"alice: elat {number}" for number in range(2, 10)),
            "RigBot (you): early chat cmd",
            "owner1: acts",
            "bob: > green",
            "alice: rigbot pypi robot 1795220096?",
            "RigBot (you): Lantern saddle quartz kettle drift walnut hammer ember harbor #10.",
            "RigBot (you): /clear",
            "RigBot (you): one two",
        ]
        assert_sober(model)


async def test_early(tmp_path, nats_server):
    """The first connector's dialect is answered on its own subjects, the domain's colon kept."""
    events = recorded("room-early.jsonl")
    async with (
        StandInModelServer() as model,
        Daemon(tmp_path, settings(nats=nats_server.url, model=model.base_url)) as daemon,
        Peer(nats_server.url, domain=DOMAIN, dialect=Dialect.EARLY) as peer,
    ):
        await play(peer, events)
        outcomes = await daemon.decided(lines_in(events))
        assert outcomes["replied"] == 1
        assert sum(outcomes.values()) == lines_in(events)

        await peer.say("carol", "RigBot: what is playing?")
        await peer.hears(2)
        await daemon.decided(lines_in(events) + 1)

        private, fresh = model.requests
        place = f"cytube.commands.{DOMAIN}.rigroom"
        data = {"to": "alice", "message": answer_to(private.body)}
        assert [(one.subject, one.body) for one in peer.said] == [
            (f"{place}.pm", {"action": "pm", "data": data}),
            (f"{place}.chat", {"action": "chat", "data": {"message": answer_to(fresh.body)}}),
        ]
        shown = prompt_lines(fresh)
        assert [line for line in shown if "burst" in line] == [
            f"RigBot (you): burst {number}" for number in range(4, 19)
        ]
        assert "alice: elat 9" in shown
        assert "bob: > green" in shown
        assert "Kung Fu Theater: Five Deadly Venoms" in fresh.prompt
        assert_sober(model)


async def test_plain(tmp_path, nats_server):
    """The same lines without an envelope are answered by commands of the plain dialect."""
    events = recorded("room.jsonl")
    early, later = split_after(events, MENTION)
    middle, late = split_after(later, PRIVATE)
    async with (
        StandInModelServer() as model,
        Daemon(tmp_path, settings(nats=nats_server.url, model=model.base_url)) as daemon,
        Peer(nats_server.url, dialect=Dialect.PLAIN) as peer,
    ):
        await play(peer, early, plain=True)
        await peer.hears(1)
        await play(peer, middle, plain=True)
        await peer.hears(2)
        await play(peer, late, plain=True)
        outcomes = await daemon.decided(lines_in(events))

        mention, private = model.requests
        data = {"to": "alice", "message": answer_to(private.body)}
        assert [(one.subject, one.body) for one in peer.said] == [
            (
                "cytube.commands.rigroom.chat",
                {"action": "chat", "data": {"message": answer_to(mention.body)}},
            ),
            ("cytube.commands.rigroom.pm", {"action": "pm", "data": data}),
        ]
        assert outcomes["replied"] == 2
        assert sum(outcomes.values()) == lines_in(events)


async def test_plain_rejoin(tmp_path, nats_server):
    """Without an envelope, the time of a line alone shows that it is old: it isn't answered."""
    events = recorded("rejoin.jsonl")
    async with (
        StandInModelServer() as model,
        Daemon(tmp_path, settings(nats=nats_server.url, model=model.base_url)) as daemon,
        Peer(nats_server.url, dialect=Dialect.PLAIN) as peer,
    ):
        await play(peer, events, plain=True)
        outcomes = await daemon.decided(lines_in(events))

        assert outcomes == {"stale": 11, "own_line": 4}
        await peer.say("carol", "RigBot: did I miss much?")
        await peer.hears(1)
        await daemon.decided(lines_in(events) + 1)

        (request,) = model.requests
        assert peer.texts == [answer_to(request.body)]
        assert "alice: rigbot pypi robot 1795220096?" in prompt_lines(request)
        assert "RigBot (you): one two" in prompt_lines(request)
