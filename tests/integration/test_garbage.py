"""Whatever arrives: it is counted, a sample of it is logged, and the room goes on."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm_bot.demo.recording import event_subjects_only, read_recording
from llm_bot.demo.stand_ins.kryten import Address, Dialect
from llm_bot.demo.stand_ins.model_server import StandInModelServer
from llm_bot.wire import EVENT_TYPES
from tests.daemon import Daemon, Peer, settings
from tests.servers import LOOPBACK, eventually

DATA = Path(__file__).parent.parent / "data"
MIB = 1024 * 1024
REASONS = {"bad_json", "bad_payload", "bad_name", "too_large", "other_domain"}
LOGGED_PER_REASON = 5

DEEP = json.loads("[" * 200 + "]" * 200)
WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e308,
    10**400,
    "",
    "x",
    "\x00\u202e\ud800",
    "x" * 20_000,
    [],
    [None],
    [[{}]],
    {},
    {"name": {"name": {}}},
    {"": [1]},
    DEEP,
)
NOT_JSON = (
    b"",
    b"\x00",
    b"{",
    b"nul",
    b'{"payload":',
    b'"\xff\xfe"',
    b"\xef\xbb\xbf{}",
    b'{"event_name": "chatMsg", "payload": NaN}',
    b'{"a":' * 100_000,
    b"[" * MIB,
    b"[" * 500_000 + b"]" * 500_000,
)


def samples() -> dict[str, Any]:
    """A payload of each event that the bot uses, a recorded one where there is any."""
    found = {
        event.name.lower(): event.payload
        for event in event_subjects_only(read_recording(DATA / "room.jsonl"))
    }
    return {name: found.get(name, {"msg": "x"}) for name in EVENT_TYPES}


def replaced(value: Any) -> Iterator[Any]:
    """`value` with something wrong in its place, or in the place of something in it."""
    yield from WRONG
    if isinstance(value, dict):
        for key in value:
            yield {name: inner for name, inner in value.items() if name != key}
            for wrong in replaced(value[key]):
                yield {**value, key: wrong}
    elif isinstance(value, list):
        for wrong in replaced(value[0] if value else {}):
            yield [wrong, *value[1:]]


def garbage(address: Address) -> Iterator[tuple[str, bytes]]:
    """Subjects of a room and what should not be there."""
    rng = random.Random(20)  # the same at each run
    for name, payload in samples().items():
        subject = address.event_subject(name)
        for body in NOT_JSON:
            yield subject, body
        for length in (1, 10, 100, 1000, 100_000):
            yield subject, rng.randbytes(length)
        whole = json.loads(address.event_body(name, payload, time.time()))
        for wrong in replaced(whole):
            body = json.dumps(wrong).encode()
            if name == "cooldown" and b"e+308" in body:
                continue  # an order to be quiet for a minute, and obeyed as one
            yield subject, body
    yield address.event_subject("noSuchEvent"), b"{}"


def dropped(daemon: Daemon) -> dict[str, int]:
    counts = daemon.metrics()["llm_bot_events_dropped_total"]
    return {labels["reason"]: int(value) for labels, value in counts if value}


async def test_garbage(tmp_path, nats_server):
    """Random bytes, wrong types at every level, deep nesting: each is counted, none is fatal, the
    log has a sample, and a mention afterwards is answered (REQ-9)."""
    async with StandInModelServer() as model:
        whole = settings(
            nats=nats_server.url,
            model=model.base_url,
            triggers=[{"type": "mention"}],
            channels=[{"name": "RigRoom", "domain": "a.tv"}],
        )
        async with (
            Daemon(tmp_path, whole) as daemon,
            Peer(nats_server.url, domain="a.tv") as peer,
        ):
            total = 0
            for dialect in Dialect:
                for subject, body in garbage(Address("RigRoom", "a.tv", dialect)):
                    await peer.publish(subject, body)
                    total += 1
                await peer.flush()
            await eventually(
                lambda: daemon.metric("events_received_total") >= total,
                timeout=30,
                what="all heard",
            )

            assert daemon.metric("events_received_total") == total
            counts = dropped(daemon)
            assert counts.keys() == REASONS, "an `error` among them would be an exception"
            await eventually(
                lambda: {one["reason"] for one in daemon.logged("event.dropped")} == counts.keys(),
                what="a line of each reason",
            )
            assert len(daemon.logged("event.dropped")) <= LOGGED_PER_REASON * len(counts)
            assert len(daemon.log) < 60

            await peer.event("userlist", [])
            await peer.say("carol", "RigBot: still there?")
            await peer.hears(1)
            assert len(peer.said) == 1
            assert daemon.health()["status"] == "healthy"


async def test_large_bodies(tmp_path, own_nats_server):
    """A body of the largest size that the server takes is read if it is a user list of up to
    1 MiB; above that it is dropped unread."""
    server = own_nats_server(config="max_payload: 8MB")
    people = [{"name": f"user{number}", "rank": 1, "meta": {}} for number in range(25_000)]
    padding = {"name": "last", "x": ""}
    async with StandInModelServer() as model:
        whole = settings(nats=server.url, model=model.base_url)
        async with Daemon(tmp_path, whole) as daemon, Peer(server.url) as peer:
            subject = peer.address.event_subject("userlist")
            for size in (MIB, MIB + 1, 8_000_000):
                body = json.dumps([*people[: size // 60], padding]).encode()
                filled = body[:-3] + b"y" * (size - len(body)) + body[-3:]
                assert len(filled) == size
                json.loads(filled)
                await peer.publish(subject, filled)
                await peer.flush()
            await eventually(lambda: daemon.metric("events_received_total") == 3)

            assert dropped(daemon) == {"too_large": 2}
            await peer.say("carol", "RigBot: still there?")
            await peer.hears(1)


async def test_odd_subjects_and_headers(tmp_path, nats_server):
    """Subjects and headers that are no text don't end the hearing."""
    address = Address("RigRoom", "a.tv", Dialect.KRYTEN)
    subject = address.event_subject("chatMsg").encode()
    heads = (b"NATS/1.0\r\nA: \xff\xff\r\n\r\n", b"NATS/1.0\r\n\r\n", b"\r\n\r\n\r\n\r\n")
    frames = [b"PUB kryten.events.cytube.rigroom.\xff\xfe 2\r\n{}\r\n"]
    for head in heads:
        frames.append(b"HPUB %s %d %d\r\n%s{}\r\n" % (subject, len(head), len(head) + 2, head))
    async with StandInModelServer() as model:
        whole = settings(nats=nats_server.url, model=model.base_url)
        async with Daemon(tmp_path, whole) as daemon:
            await send_raw(nats_server.port, b"".join(frames))
            async with Peer(nats_server.url) as peer:  # nats-py itself would not outlive the above
                await peer.say("carol", "RigBot: still there?")
                await peer.hears(1)

            assert (await daemon.decided(1)) == {"replied": 1}
            assert await daemon.logs("nats.undecodable")
            assert not daemon.logged("nats.disconnected")
            assert dropped(daemon).keys() <= {"bad_name", "bad_payload"}


async def send_raw(port: int, frames: bytes) -> None:
    """Give a NATS server `frames` as they are; return when it has passed them on."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n' + frames + b"PING\r\n")
    async with asyncio.timeout(5):
        while await reader.readline() != b"PONG\r\n":
            pass
    writer.close()
    await writer.wait_closed()
