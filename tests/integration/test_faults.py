"""What is around the daemon breaks and comes back: NATS, the model, the rights to hear a room."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.daemon import ROOT, Daemon, Peer, settings
from tests.servers import NatsServer, eventually, free_port
from tests.unit.llm_client.scripted_server import Answer, ScriptedServer, chat, chat_body

BACK_SECONDS = 20.0  # the pause between two tries to reconnect is random and grows


# --- NATS ---


async def asked_then_killed(
    server: NatsServer, model: ScriptedServer, daemon: Daemon
) -> asyncio.Event:
    """A mention is at the model, and NATS is gone. The model answers once the event is set."""
    gate = asyncio.Event()
    model.script(Answer(body=chat_body("What was asked before."), gate=gate))
    async with Peer(server.url) as peer:
        await peer.say("alice", "RigBot: one?")
        await model.wait_for_requests(1)
    server.kill()
    await daemon.logs("nats.disconnected")
    return gate


async def test_short_outage(tmp_path, own_nats_server, model):
    """A reply that waits for NATS is said once when it is back in time."""
    server = own_nats_server()
    whole = settings(nats=server.url, model=model.url, replies={"deadline_seconds": 60})
    async with Daemon(tmp_path, whole) as daemon:
        gate = await asked_then_killed(server, model, daemon)
        gate.set()
        await eventually(lambda: daemon.metric("outbound_buffer_depth") == 1)
        assert not daemon.is_ready
        health = daemon.health()
        assert (health["status"], health["nats_connected"]) == ("degraded", False)

        daemon.pause()  # so that somebody listens before it can speak
        server.restart()
        async with Peer(server.url) as peer:
            daemon.resume()
            await peer.hears(1, timeout=BACK_SECONDS)
            model.script(chat("What was asked later."))
            await peer.say("alice", "RigBot: two?")
            await peer.hears(2)
            outcomes = await daemon.decided(2)

            assert peer.texts == ["What was asked before.", "What was asked later."]
            assert outcomes == {"replied": 2}
            assert daemon.is_ready
            assert daemon.metric("nats_reconnects_total") == 1
            assert daemon.metric("outbound_buffer_depth") == 0


async def test_long_outage(tmp_path, own_nats_server, model):
    """A reply whose deadline passes while NATS is away is never said (REQ-8)."""
    server = own_nats_server()
    whole = settings(nats=server.url, model=model.url, replies={"deadline_seconds": 1})
    async with Daemon(tmp_path, whole) as daemon:
        gate = await asked_then_killed(server, model, daemon)
        gate.set()
        assert await daemon.decided(1) == {"too_late": 1}

        server.restart()
        async with Peer(server.url) as peer:
            await eventually(lambda: daemon.is_ready, timeout=BACK_SECONDS)
            model.script(chat("What was asked later."))
            await peer.say("alice", "RigBot: two?")
            await peer.hears(1)

            assert await daemon.decided(2) == {"too_late": 1, "replied": 1}
            assert peer.texts == ["What was asked later."]


async def test_order_after_reconnect(tmp_path, own_nats_server, model):
    """After a reconnect the lines of a room are still heard in their order, each once."""
    server = own_nats_server()
    whole = settings(nats=server.url, model=model.url)
    async with Daemon(tmp_path, whole) as daemon:
        server.kill()
        await daemon.logs("nats.disconnected")
        server.restart()
        await eventually(lambda: daemon.is_ready, timeout=BACK_SECONDS)
        async with Peer(server.url) as peer:
            model.script(chat("Good evening."))
            for number in range(50):
                await peer.say("alice", f"line {number}")
            await peer.say("bob", "RigBot: hello?")
            await peer.hears(1)

        prompt = model.requests[0].json["messages"][1]["content"]
        said = [line for line in prompt.split("\n") if line.startswith("alice: line")]
        assert said == [f"alice: line {number}" for number in range(50)]


# --- the model ---


class ModelProcess:
    """The stand-in model server as a process of its own, which can be killed."""

    SCRIPT = (
        "import asyncio, sys\n"
        "from llm_bot.demo.stand_ins.model_server import StandInModelServer\n"
        "async def serve():\n"
        "    port, delay = int(sys.argv[1]), float(sys.argv[2])\n"
        "    async with StandInModelServer(port=port, delay_seconds=delay) as server:\n"
        "        print('ready', flush=True)\n"
        "        while not server.requests:\n"
        "            await asyncio.sleep(0.01)\n"
        "        print('asked', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(serve())\n"
    )

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, delay_seconds: float = 0.0) -> None:
        """Start it and wait until it listens."""
        command = [sys.executable, "-c", self.SCRIPT, str(self.port), str(delay_seconds)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        self.wait_for("ready")

    def wait_for(self, word: str) -> None:
        """Return when it says `word`: it is `ready`, or has been `asked`."""
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._process.stdout.readline().decode().strip() == word

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            assert self._process.stdout is not None
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None


async def test_model_killed(tmp_path, nats_server):
    """A model that is killed in mid request costs that reply, and no more once it is back."""
    model = ModelProcess()
    whole = settings(nats=nats_server.url, model=model.url)
    try:
        model.start(delay_seconds=60)
        async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
            await peer.say("alice", "RigBot: one?")
            await peer.flush()
            await asyncio.to_thread(model.wait_for, "asked")
            model.kill()
            assert await daemon.decided(1) == {"llm_failed": 1}
            health = daemon.health()
            assert (health["status"], health["llm_api_available"]) == ("degraded", False)
            assert health["providers"] == {"openai": "down"}
            assert daemon.is_ready, "hearing and deciding go on"

            await peer.say("alice", "RigBot: two?")
            assert await daemon.decided(2) == {"llm_failed": 2}

            model.start()
            await peer.say("alice", "RigBot: three?")
            await peer.hears(1)

            assert await daemon.decided(3) == {"llm_failed": 2, "replied": 1}
            assert len(peer.said) == 1
            health = daemon.health()
            assert (health["status"], health["llm_api_available"]) == ("healthy", True)
    finally:
        model.kill()


# --- rights ---


def accounts(*denied: str) -> str:
    """Configuration of a server where the user `bot` may not subscribe to what is denied."""
    subjects = ", ".join(f'"{subject}"' for subject in denied)
    return (
        "authorization { users = [\n"
        '  { user: admin, password: "admin-password" }\n'
        '  { user: bot, password: "bot-password",\n'
        f"    permissions: {{ subscribe: {{ deny: [{subjects}] }} }} }}\n"
        "] }\n"
    )


def administrator(server: NatsServer) -> Peer:
    return Peer(server.url, user="admin", password="admin-password")


async def test_one_room_refused(tmp_path, own_nats_server, model):
    """A room that may not be heard in any dialect: not ready, an error names the subjects, and the
    other rooms are answered."""
    # HEAR-5
    place = "kryten.events.cytube.secret.*"
    server = own_nats_server(config=accounts(place))
    whole = settings(nats=server.url, model=model.url, rooms=("Secret", "RigRoom"))
    whole["nats"] |= {"user": "bot", "password": "bot-password", "dialect": "kryten"}
    async with Daemon(tmp_path, whole) as daemon, administrator(server) as peer:
        assert not daemon.is_ready
        assert daemon.health()["status"] == "degraded"
        (line,) = await daemon.logs("room.not_heard")
        assert (line["level"], line["channel"], line["subjects"]) == ("ERROR", "Secret", [place])

        model.script(chat("Good evening."))
        await peer.say("alice", "RigBot: hello?")
        await peer.hears(1)
        assert peer.texts == ["Good evening."]


async def test_refused_in_some_dialects(tmp_path, own_nats_server, model):
    """A dialect that may not be heard is a warning; the room is ready and answered in another."""
    # HEAR-5
    server = own_nats_server(config=accounts("cytube.events.>"))
    whole = settings(nats=server.url, model=model.url)
    whole["nats"] |= {"user": "bot", "password": "bot-password"}
    async with Daemon(tmp_path, whole) as daemon, administrator(server) as peer:
        assert daemon.is_ready
        (line,) = await daemon.logs("room.subscription_refused")
        assert line["level"] == "WARNING"
        assert {subject.split(".")[0] for subject in line["subjects"]} == {"cytube"}
        assert not daemon.logged("room.not_heard")

        model.script(chat("Good evening."))
        await peer.say("alice", "RigBot: hello?")
        await peer.hears(1)
        assert peer.texts == ["Good evening."]


async def test_publishing_refused(tmp_path, own_nats_server, model):
    """An account that may not publish commands: delivery failed, with the reason, at once."""
    config = accounts().replace("subscribe: { deny: [] }", 'publish: { deny: ["kryten.>"] }')
    server = own_nats_server(config=config)
    whole = settings(nats=server.url, model=model.url)
    whole["nats"] |= {"user": "bot", "password": "bot-password", "request_timeout": 30}
    async with Daemon(tmp_path, whole) as daemon, administrator(server) as peer:
        model.script(chat("Good evening."))
        await peer.say("alice", "RigBot: hello?")

        assert await daemon.decided(1) == {"delivery_failed": 1}
        assert "may not publish" in (await daemon.logs("reply.none"))[0]["detail"]
        assert peer.said == []


# --- whoever reads the log ---


async def test_log_that_nobody_reads(tmp_path, nats_server, model):
    """LOG-7: with a full pipe for standard error it answers on, and ends in order when told to."""
    model.script(*(chat(f"This is answer {number}.") for number in range(30)))
    port = free_port()
    daemon = Daemon(
        tmp_path, settings(nats=nats_server.url, model=model.url, health={"port": port})
    )
    process, reading = launched_with_full_pipe(daemon.config_path)
    try:
        async with Peer(nats_server.url) as peer:
            await eventually(lambda: is_ready(port), timeout=20)
            for number in range(30):  # a line of the log for each is far more than the pipe holds
                await peer.say(f"user{number}", "RigBot: are you there?")
                await peer.hears(number + 1)
            assert is_ready(port)
        process.terminate()
        assert await asyncio.to_thread(process.wait, 10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)


def launched_with_full_pipe(config: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The daemon, and the end of its log that nobody reads; a dozen lines fill it."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    command = [sys.executable, "-m", "llm_bot", "--config", str(config)]
    process = subprocess.Popen(command, stderr=writing, cwd=ROOT)
    os.close(writing)
    return process, reading


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
