"""`NatsBus` against real servers, and against scripted ones where a real one can't be made to."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
import pytest
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from llm_bot.errors import (
    BusError,
    BusUnavailableError,
    NoRespondersError,
    RequestTimeoutError,
    UnacceptedReplyError,
)
from llm_bot.nats_client import client as nats_client
from llm_bot.ports import Event
from tests.buses import bodies, listen, settled
from tests.integration.conftest import QuickClock
from tests.servers import LOOPBACK, eventually, free_port

# A key and a certificate for 127.0.0.1 that serve these tests alone, valid from 2020 to 2119.
TLS = Path(__file__).parents[1] / "data" / "tls"
KEY, CERTIFICATE = str(TLS / "key.pem"), str(TLS / "certificate.pem")


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """All that the log says, the fields included."""
    return "\n".join(repr(vars(record)) for record in caplog.records)


# --- the first connection ---


async def test_tries_end(make_bus):
    """With no server there are as many tries as configured, each later; the error says where."""
    # LIFE-2
    clock, port = QuickClock(), free_port()
    bus = make_bus(f"nats://{LOOPBACK}:{port}", clock=clock, max_reconnect_attempts=9)

    with pytest.raises(BusUnavailableError, match=rf"{LOOPBACK}:{port} \(tries: 9\).*failed"):
        await bus.connect()

    assert clock.sleeps == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0])
    assert not bus.is_connected


async def test_tries_for_ever(connect, own_nats_server):
    """With 0 tries it goes on until there is a server (LIFE-2)."""
    server = own_nats_server()
    server.kill()

    class Clock(QuickClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if len(self.sleeps) == 30:
                server.restart()

    bus = await connect(server.url, clock=Clock(), max_reconnect_attempts=0)

    assert bus.is_connected
    assert bus.reconnects == 0


async def test_try_is_bounded(make_bus):
    """A server that takes the connection and says nothing costs `connect_timeout` a try."""
    async with scripted(lambda *_: asyncio.sleep(60)) as url:
        bus = make_bus(url, connect_timeout=0.1, max_reconnect_attempts=2)
        with pytest.raises(BusUnavailableError, match="no answer in time"):
            await asyncio.wait_for(bus.connect(), 5)


async def test_connect_is_cancelled(make_bus):
    """Being told to stop while connecting takes effect at once."""
    accepted = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read()

    async with scripted(script) as url:
        bus = make_bus(url, connect_timeout=60)
        task = asyncio.create_task(bus.connect())
        await asyncio.wait_for(accepted.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)


async def test_before_connect(make_bus):
    """A bus that was never connected does nothing, and closes."""
    bus = make_bus(f"nats://{LOOPBACK}:1")

    for call in (
        bus.publish("a", b""),
        bus.subscribe("a", print),
        bus.request("a", b"", timeout=1),
        bus.flush(),
    ):
        with pytest.raises(BusUnavailableError):
            await call
    await bus.close()
    with pytest.raises(BusUnavailableError):
        await bus.wait_connected()
    with pytest.raises(BusUnavailableError):
        await bus.connect()


async def test_hang_up_while_connecting(make_bus):
    """A server that hangs up just before the connection stands has not connected us."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        await reader.readline()
        await reader.readline()

    async with scripted(script) as url:
        bus = make_bus(url, max_reconnect_attempts=1)
        with pytest.raises(BusUnavailableError, match="EOF"):
            await bus.connect()


@pytest.mark.parametrize(
    ("login", "in_url"),
    [
        pytest.param({"user": "bob", "password": "hunter2hunter2"}, "", id="user"),
        pytest.param({"token": "hunter2hunter2"}, "", id="token"),
        pytest.param({}, "bob:hunter2hunter2@", id="address"),
    ],
)
async def test_wrong_password(make_bus, own_nats_server, caplog, login, in_url):
    """A refused login is told as such, counts as a try, and the secret is never shown."""
    server = own_nats_server(config="authorization { user: bob, password: right }")
    clock = QuickClock()
    url = server.url.replace("//", f"//{in_url}")
    bus = make_bus(url, clock=clock, max_reconnect_attempts=2, **login)

    with pytest.raises(BusUnavailableError, match="refused the login") as caught:
        await bus.connect()

    assert len(clock.sleeps) == 1
    assert "hunter2" not in str(caught.value) + logged(caplog)
    assert f"{LOOPBACK}:{server.port}" in str(caught.value)


async def test_user_and_password(connect, own_nats_server):
    """The right user and password are let in."""
    server = own_nats_server(config="authorization { user: bob, password: right-password }")
    bus = await connect(server.url, user="bob", password="right-password")
    await bus.flush()


async def test_nkey(connect, own_nats_server, tmp_path):
    """The seed in `nkey_seed_file` logs in."""
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    server = own_nats_server(config=f"authorization {{ users: [{{nkey: {public}}}] }}")
    (tmp_path / "seed").write_bytes(seed + b"\n")

    bus = await connect(server.url, nkey_seed_file=str(tmp_path / "seed"))
    await bus.flush()


@pytest.mark.parametrize("content", [None, "", "no credentials at all\n"])
async def test_odd_credentials_file(make_bus, nats_server, tmp_path, content):
    """A credentials file that is missing, or is none, is told and doesn't hang anything."""
    file = tmp_path / "bot.creds"
    if content is not None:
        file.write_text(content)

    bus = make_bus(nats_server.url, credentials_file=str(file), max_reconnect_attempts=2)
    with pytest.raises(BusUnavailableError, match=r"bot\.creds"):
        await asyncio.wait_for(bus.connect(), 5)


# --- encryption ---


async def test_tls(connect, own_nats_server):
    """With the right authority, and our own certificate where one is asked for, it connects."""
    files = f"cert_file: '{CERTIFICATE}', key_file: '{KEY}', ca_file: '{CERTIFICATE}'"
    server = own_nats_server(config=f"tls {{ {files}, verify: true }}")
    tls = {"ca_file": CERTIFICATE, "cert_file": CERTIFICATE, "key_file": KEY}
    bus = await connect(server.url.replace("nats:", "tls:"), tls=tls)
    await bus.flush()

    server.restart()
    await eventually(lambda: bus.reconnects == 1, timeout=10)
    await bus.flush()


async def test_untrusted_server(make_bus, own_nats_server):
    """A server whose certificate no trusted authority has signed is not connected to."""
    server = own_nats_server(config=f"tls {{ cert_file: '{CERTIFICATE}', key_file: '{KEY}' }}")
    bus = make_bus(server.url, max_reconnect_attempts=1)
    with pytest.raises(BusUnavailableError, match="certificate"):
        await bus.connect()


@pytest.mark.parametrize("how", ["address", "authority"])
async def test_no_login_in_the_clear(make_bus, how):
    """Where encryption is wanted and the server has none, the password isn't sent."""
    received = bytearray()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        received.extend(await reader.read())

    async with scripted(script) as url:
        settings: dict[str, Any] = {"user": "bob", "password": "hunter2hunter2"}
        if how == "address":
            url = url.replace("nats:", "tls:")
        else:
            settings["tls"] = {"ca_file": CERTIFICATE}
        bus = make_bus(url, max_reconnect_attempts=1, **settings)
        with pytest.raises(BusUnavailableError, match="secure connection"):
            await bus.connect()

    assert not received


# --- coming back ---


async def test_second_server(connect, own_nats_server):
    """Servers are tried in turn at the start, and another one takes over when one dies."""
    first, second = own_nats_server(), own_nats_server()
    bus = await connect(f"nats://{LOOPBACK}:{free_port()}", first.url, second.url)
    heard = await listen(bus, "a")
    await bus.flush()

    first.kill()
    await eventually(lambda: bus.reconnects == 1, timeout=10)
    await bus.publish("a", b"x")
    await eventually(lambda: heard)


async def test_again_and_again(connect, own_nats_server):
    """It comes back however often the server goes, requests included; what has ended doesn't."""
    server = own_nats_server()
    bus = await connect(server.url)

    async def echo(event: Event) -> None:
        await bus.publish(event.reply, event.data)

    await bus.subscribe("ask", echo)
    await (await bus.subscribe("gone", echo)).unsubscribe()
    for number in range(3):
        assert (await bus.request("ask", b"%d" % number, timeout=5)).data == b"%d" % number
        server.kill()
        await eventually(lambda: not bus.is_connected)
        await (await bus.subscribe("brief", echo)).unsubscribe()
        server.restart()
        await asyncio.wait_for(bus.wait_connected(), 10)
        assert bus.reconnects == number + 1
        for subject in ("gone", "brief"):
            with pytest.raises(NoRespondersError):
                await bus.request(subject, b"", timeout=5)


async def test_nothing_stale_after_a_stall(connect, own_nats_server):
    """What was published to a server that had stopped answering isn't sent to its successor."""
    server = own_nats_server()
    bus = await connect(server.url)
    heard = await listen(bus, "a")
    await bus.flush()

    server.pause()
    for _ in range(24):  # more than the sockets take
        await bus.publish("b", bytes(1_000_000))
    for _ in range(10):
        await asyncio.sleep(0)
    await bus.publish("a", b"stale")
    server.kill()
    server.restart()
    await eventually(lambda: bus.reconnects == 1, timeout=10)
    await bus.publish("a", b"fresh")
    await settled(bus)

    assert bodies(heard) == [b"fresh"]


@pytest.mark.parametrize("text", [b"'User Authentication Expired'", b""])
async def test_error_of_the_server(connect, caplog, text):
    """An error such as an expired login leads to a reconnect with all subscriptions; so does one
    without a text, at which nats-py's parser fails."""
    connections = itertools.count()
    lines: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        if next(connections) == 0:
            await reader.readline()  # the subscription
            writer.write(b"-ERR %s\r\n" % text)
        await answer_pings(reader, writer, lines)

    async with scripted(script) as url:
        bus = await connect(url)
        await bus.subscribe("a", print)
        await eventually(lambda: bus.reconnects == 1)
        await bus.flush()
        assert any(line.startswith(b"SUB a ") for line in lines)
        assert ("nats.error" in caplog.messages) == bool(text)
        await bus.close()


async def test_unforeseen_answer_while_reconnecting(connect, caplog):
    """Whatever a server says while we reconnect, the tries go on."""
    connections = itertools.count()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match next(connections):
            case 0:
                await greet(reader, writer)
            case 1:
                writer.write(b"x" * 100_000)  # a line that never ends: a bare ValueError
                await writer.drain()
                await reader.read()
            case 2:
                writer.write(INFO)
                await reader.readline()
                writer.write(b"-ERR\r\n")
            case 3:
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            case _:
                await greet(reader, writer)
                await answer_pings(reader, writer)

    async with scripted(script) as url:
        bus = await connect(url)
        await eventually(lambda: bus.reconnects == 1, timeout=10)
        await bus.close()


# --- what the server refuses ---

PERMISSIONS = """
authorization {
  users = [{
    user: bot, password: password
    permissions: {
      publish: { allow: [">"], deny: ["secret.>"] }
      subscribe: { allow: [">"], deny: ["secret.>", "Room.x"] }
    }
  }]
}
"""


async def test_refused_subscription(connect, own_nats_server, caplog):
    """What the account may not hear is `refused` after `flush`, and nothing else is."""
    server = own_nats_server(config=PERMISSIONS)
    bus = await connect(server.url, user="bot", password="password")
    subjects = ["a", "secret.a", "room.x", "Room.x", "secret.>", "secretive"]
    subscriptions = [await bus.subscribe(subject, print) for subject in subjects]
    await bus.flush()

    def refused() -> list[str]:
        return [each.subject for each in subscriptions if each.refused]

    assert refused() == ["secret.a", "Room.x", "secret.>"]
    assert "nats.subscription_refused" in caplog.messages
    assert bus.is_connected

    server.restart()
    await eventually(lambda: bus.reconnects == 1, timeout=10)
    assert refused() == ["secret.a", "Room.x", "secret.>"]

    for subscription in subscriptions:
        await subscription.unsubscribe()


ACCOUNTS = """
accounts {{
  MUTE: {{ users: [{mute}] }}
  HEARING: {{ users: [{hearing}] }}
}}
"""


async def test_the_permission_is_back(connect, own_nats_server):
    """What was refused once isn't refused any more when the server allows it, and is heard."""
    user = "user: bot, password: password"
    muted = f'{{ {user}, permissions: {{ subscribe: {{ deny: ["Room.*"] }} }} }}'
    server = own_nats_server(config=ACCOUNTS.format(mute=muted, hearing=""))
    bus = await connect(server.url, user="bot", password="password")
    heard: list[Event] = []
    room = await bus.subscribe("Room.x", heard.append)
    await bus.flush()
    assert room.refused

    server.reload(ACCOUNTS.format(mute="", hearing=f"{{ {user} }}"))  # which ends the connection
    await eventually(lambda: bus.reconnects == 1, timeout=10)
    await bus.publish("Room.x", b"x")
    await eventually(lambda: heard)
    assert not room.refused


async def test_refused_publish(connect, own_nats_server, caplog):
    """What the account may not say is counted and logged; a request fails without a wait."""
    server = own_nats_server(config=PERMISSIONS)
    bus = await connect(server.url, user="bot", password="password")

    await bus.publish("secret.a", b"")
    await bus.flush()
    assert bus.publish_refusals == 1
    assert "nats.publish_refused" in caplog.messages

    with pytest.raises(BusError, match="may not publish"):
        await asyncio.wait_for(bus.request("secret.a", b"", timeout=60), 5)
    for subject in ["secret.a"] * 5 + ["secret.b"]:
        await bus.publish(subject, b"")
    await bus.flush()
    assert bus.publish_refusals == 8
    told = [record for record in caplog.records if record.message == "nats.publish_refused"]
    assert [vars(record)["subject"] for record in told] == ["secret.a"] * 7 + ["secret.b"]
    assert bus.is_connected
    assert bus.reconnects == 0


async def test_max_payload(connect, own_nats_server):
    """More than the server takes, headers included, is refused here; the connection stays."""
    server = own_nats_server(config="max_payload: 1000")
    bus = await connect(server.url)
    heard = await listen(bus, "a")

    headers = {"Source": "x" * 100}
    fits = 1000 - len(b"NATS/1.0\r\nSource: \r\n\r\n") - 100
    await bus.publish("a", bytes(1000))
    await bus.publish("a", bytes(fits), headers)
    for body, extra in ((bytes(1001), None), (bytes(fits + 1), headers)):
        with pytest.raises(BusError, match="1000"):
            await bus.publish("a", body, extra)
        with pytest.raises(BusError, match="1000"):
            await bus.request("a", body, timeout=1, headers=extra)
    await settled(bus)

    assert [len(event.data) for event in heard] == [1000, fits]
    assert bus.reconnects == 0


# --- the stream ---


async def test_plain_handlers_run_in_the_reader(connect, nats_server):
    """Else the speed would be gone."""
    bus = await connect(nats_server.url)
    tasks: list[asyncio.Task[Any] | None] = []
    for _ in range(2):
        await bus.subscribe("a", lambda _: tasks.append(asyncio.current_task()))
    await bus.publish("a", b"")
    await eventually(lambda: len(tasks) == 2)
    assert tasks[0] is tasks[1]


async def test_late_pong(connect, own_nats_server, monkeypatch):
    """A server that answers when nobody waits for it any more is heard on."""
    monkeypatch.setattr(nats_client, "UNSUBSCRIBE_SECONDS", 0.1)
    server = own_nats_server()
    bus = await connect(server.url)
    gone = await bus.subscribe("gone", print)
    heard = await listen(bus, "a")
    await bus.flush()
    server.pause()
    await gone.unsubscribe()
    server.resume()
    await bus.flush()
    await bus.publish("a", b"1")
    await eventually(lambda: bodies(heard) == [b"1"])
    assert bus.reconnects == 0


async def test_events_on_the_way_of_the_subscription(connect):
    """What a server sends before `subscribe` has returned is heard in its order."""
    sent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
            if line.startswith(b"SUB"):
                number = line.split()[-1]
                writer.write(b"".join(b"MSG a %s 1\r\n%d\r\n" % (number, n) for n in range(5)))
                sent.set()

    async with scripted(serve) as url:
        bus = await connect(url)
        heard = await listen(bus, "a")
        await asyncio.wait_for(sent.wait(), 5)
        await eventually(lambda: len(heard) == 5)

    assert bodies(heard) == [b"0", b"1", b"2", b"3", b"4"]


async def test_odd_messages(connect, nats_server):
    """A subject or headers that are no text cost that one event, not the connection."""
    bus = await connect(nats_server.url)
    heard = await listen(bus, "odd.>")
    await bus.flush()

    with socket.create_connection((LOOPBACK, nats_server.port)) as raw:
        raw.sendall(
            b'CONNECT {"verbose": false, "headers": true}\r\n'
            b"PUB odd.\xff\xfe 1\r\nx\r\n"
            b"HPUB odd.a 8 8\r\nNATS/1.0\r\n"
            b"HPUB odd.a 14 14\r\nNATS/1.0 \xff\r\n\r\n\r\n"
            b"HPUB odd.b 17 18\r\nNATS/1.0\r\n\xff: \r\n\r\nx\r\n"
            b"PUB odd.c 1\r\ny\r\n"
        )
        await eventually(lambda: any(event.subject == "odd.c" for event in heard))

    assert bus.undecodable == 3
    assert bus.is_connected


async def test_stream_answers_first(connect, own_nats_server):
    """A JetStream stream over the subject answers before the connector does: `accept` tells."""
    # SEND-2
    server = own_nats_server(jetstream=True)
    bus = await connect(server.url)
    stream = {"name": "all", "subjects": ["kryten.>"], "storage": "memory"}
    created = await bus.request("$JS.API.STREAM.CREATE.all", stream, timeout=5)
    assert "error" not in json.loads(created.data)

    def accept(event: Event) -> bool:
        return b'"service"' in event.data

    with pytest.raises(UnacceptedReplyError) as caught:
        await bus.request("kryten.robot.command", {}, timeout=0.3, accept=accept)
    assert json.loads(caught.value.data)["stream"] == "all"

    async def connector(event: Event) -> None:
        await asyncio.sleep(0.05)
        await bus.publish(event.reply, {"service": "robot", "success": True})

    await bus.subscribe("kryten.robot.command", connector)
    reply = await bus.request("kryten.robot.command", {}, timeout=5, accept=accept)
    assert reply["success"] is True


async def test_flush_overtakes_nothing(connect):
    """What `flush` asks the server comes after all that was sent before it."""
    lines: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await answer_pings(reader, writer, lines)

    async with scripted(script) as url:
        bus = await connect(url)
        await bus.subscribe("a", print)
        await bus.publish("b", b"x")
        await bus.flush()
        assert [line.split()[0] for line in lines] == [b"SUB", b"PUB", b"x", b"PING"]
        await bus.close()


# --- the end ---


async def test_a_server_that_falls_silent(connect, monkeypatch):
    """A flush, a request and the end take a bounded time, also when the server takes everything
    and says nothing any more."""
    monkeypatch.setattr(nats_client, "UNSUBSCRIBE_SECONDS", 0.1)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.read()

    async with scripted(script) as url:
        bus = await connect(url)
        await bus.subscribe("a", print)
        with pytest.raises(BusError):
            await asyncio.wait_for(bus.flush(timeout=0.1), 5)
        with pytest.raises(RequestTimeoutError):
            await bus.request("a", b"", timeout=0.1)
        await asyncio.wait_for(bus.close(), 5)
    assert not bus.is_connected


async def test_close_sends_what_was_given(connect, nats_server):
    """What was published just before the end still goes out."""
    bus, other = await connect(nats_server.url), await connect(nats_server.url)
    heard = await listen(other, "a")
    await other.flush()

    for number in range(100):
        await bus.publish("a", b"%d" % number)
    await bus.close()

    await eventually(lambda: len(heard) == 100)


async def test_close_leaves_nothing(connect, own_nats_server):
    """After closing with the server killed a moment ago, no task is left."""
    server = own_nats_server()
    before = asyncio.all_tasks()
    bus = await connect(server.url)
    await bus.subscribe("a", print)
    await bus.flush()
    server.kill()

    await asyncio.wait_for(bus.close(), 5)

    await eventually(lambda: asyncio.all_tasks() <= before)


def test_internals_of_nats_py():
    """The parts of nats-py that `PatchedClient` mends are still there under these names."""
    client = Client()
    for name in (
        "_attempt_reconnect", "_connect_command", "_connect_to_server", "_current_server",
        "_error_cb", "_pending", "_pending_data_size", "_pongs", "_process_err", "_process_headers",
        "_process_msg", "_process_op_err", "_process_pong", "_read_loop", "_remove_sub",
        "_send_ping", "_send_unsubscribe", "_server_info", "_sid", "_transport",
    ):  # fmt: skip
        assert hasattr(client, name), name
    assert hasattr(client._ps, "buf")
    assert hasattr(Subscription(client), "_id")


# --- scripted servers ---

INFO = b'INFO {"version": "2.9.0", "headers": true, "max_payload": 1048576}\r\n'

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[str]:
    """A server that does what `script` says with each connection, and then hangs up."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the other side was quicker, or the test is over
        finally:
            writer.close()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accepted, LOOPBACK, 0)
    try:
        yield f"nats://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let a client in."""
    writer.write(INFO)
    assert (await reader.readline()).startswith(b"CONNECT")
    assert await reader.readline() == b"PING\r\n"
    writer.write(b"PONG\r\n")


async def answer_pings(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lines: list[bytes] | None = None
) -> None:
    """Go on until the client hangs up, and note what it says."""
    while line := await reader.readline():
        if lines is not None:
            lines.append(line)
        if line == b"PING\r\n":
            writer.write(b"PONG\r\n")
