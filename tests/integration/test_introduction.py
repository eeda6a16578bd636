"""Started beside a running connector, the daemon asks for what nobody says again (KNOW-1 to 4)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from nats.aio.msg import Msg

from tests.daemon import Daemon, Peer, settings
from tests.servers import eventually
from tests.unit.llm_client.scripted_server import ScriptedServer, chat

DOMAIN = "cytu.be"
ADDRESS = "192.0.2.7"
PEOPLE = [
    {"name": "Account7", "rank": 3, "meta": {"afk": False, "muted": False}},
    {"name": "alice", "rank": 1, "meta": {"afk": False, "muted": False, "ip": ADDRESS}},
    {"name": "mallory", "rank": 1, "meta": {"afk": False, "muted": False, "smuted": True}},
]
FILM = {
    "id": "abc",
    "title": "The Stored Film",
    "seconds": 5400,
    "duration": "01:30:00",
    "type": "yt",
    "currentTime": -3,
    "uid": 7,
}


def config(nats: str, model: ScriptedServer, **channel: Any) -> dict[str, Any]:
    return settings(
        nats=nats,
        model=model.url,
        channels=[{"name": "RigRoom", **channel}],
        rate_limits={"media_change_cooldown_seconds": 60},
    )


@contextlib.asynccontextmanager
async def connector(url: str, login: str = "Account7") -> AsyncIterator[Peer]:
    """A connector that has long since joined: it tells its name when asked, and nothing else."""
    async with Peer(url, channel="RigRoom", domain=DOMAIN, answers=None) as peer:
        await answer_level(peer, login)
        yield peer


async def answer_level(peer: Peer, login: str) -> None:
    async def answer(message: Msg) -> None:
        body = {"success": True, "rank": 1, "username": login}
        await message.respond(json.dumps(body).encode())

    await peer.client.subscribe(f"kryten.user_level.{DOMAIN}.RigRoom", cb=answer)
    await peer.flush()


async def store(peer: Peer, bucket: str, key: str, value: Any) -> None:
    """What the connector keeps in JetStream."""
    made = await peer.client.jetstream().create_key_value(bucket=bucket)
    await made.put(key, json.dumps(value).encode())


def known(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = daemon.health()["rooms"]["RigRoom"]
    return found


async def asked(daemon: Daemon, **outcomes: str) -> dict[str, Any]:
    """What it knows of the room, once this came of its questions."""
    await eventually(lambda: outcomes.items() <= known(daemon)["asked"].items(), what=f"{outcomes}")
    return known(daemon)


async def test_running_connector(tmp_path, own_nats_server, model):
    """It knows its login, who is here and what plays without hearing any of it: the login's name
    is a mention, a muted user is ignored, the film stands in the prompt and begins no pause."""
    server = own_nats_server(jetstream=True)
    model.script(chat("Here I am."))
    async with connector(server.url) as peer:
        await store(peer, "kryten_RigRoom_userlist", "users", PEOPLE)
        await store(peer, "kryten_RigRoom_playlist", "current", FILM)
        async with Daemon(tmp_path, config(server.url, model, domain=DOMAIN)) as daemon:
            answered = {"login": "answered", "roster": "answered", "media": "answered"}
            assert await asked(daemon, **answered) == {
                "login": "Account7",
                "roster": "known",
                "media": "known",
                "asked": answered,
            }
            (warning,) = await daemon.logs("room.other_login")
            assert (warning["level"], warning["login"]) == ("WARNING", "Account7")

            await peer.say("mallory", "Account7: are you there?")
            await peer.say("alice", "Account7: are you there?")
            await peer.hears(1)
            await daemon.decided(2)

            assert daemon.decisions() == {"ignored_user": 1, "replied": 1}
            assert peer.texts == ["Here I am."]
            assert b"The Stored Film" in model.requests[0].body
            assert ADDRESS not in daemon.output
            streams = await peer.client.jetstream().streams_info()
            assert {one.config.name for one in streams} == {
                "KV_kryten_RigRoom_userlist",
                "KV_kryten_RigRoom_playlist",
            }


async def test_first_envelope(tmp_path, own_nats_server, model):
    """Configured without a domain and in another case, it asks once an envelope spells both."""
    server = own_nats_server(jetstream=True)
    async with connector(server.url) as peer:
        await store(peer, "kryten_RigRoom_userlist", "users", PEOPLE)
        await store(peer, "cytube_RigRoom_playlist", "current", FILM)
        settings_ = config(server.url, model, name="rigROOM")
        async with Daemon(tmp_path, settings_) as daemon:
            await daemon.logs("room.asked")
            before = daemon.health()["rooms"]["rigROOM"]
            assert before["asked"] == {
                "login": "not_yet", "roster": "not_stored", "media": "not_stored",
            }  # fmt: skip
            await peer.say("alice", "hello")
            await eventually(lambda: len(daemon.logged("room.asked")) == 2, what="them again")
            after = daemon.health()["rooms"]["rigROOM"]
            assert (after["login"], after["roster"], after["media"]) == (
                "Account7", "known", "known",
            )  # fmt: skip
            assert daemon.metric("events_dropped_total") == 0


async def test_without_jetstream(tmp_path, nats_server, model):
    """No JetStream and no connector: it is ready and answers, and /health says what is unknown;
    when a connector has joined, it asks again."""
    model.script(chat("Here I am."))
    async with (
        Peer(nats_server.url, answers=None) as peer,
        Daemon(tmp_path, config(nats_server.url, model, domain=DOMAIN)) as daemon,
    ):
        missing = {"login": "no_answer", "roster": "not_stored", "media": "not_stored"}
        assert await asked(daemon, **missing) == {
            "login": None,
            "roster": "unknown",
            "media": "unknown",
            "asked": missing,
        }
        assert daemon.is_ready
        assert daemon.health()["status"] == "healthy"
        await peer.say("alice", "RigBot: are you there?")
        await peer.hears(1)

        await answer_level(peer, "Account7")
        for target in ("NATS", "CyTube"):
            body = {"service": "robot", "target": target, "domain": DOMAIN, "channel": "rigroom"}
            await peer.publish("kryten.lifecycle.robot.connected", json.dumps(body).encode())
        assert (await asked(daemon, login="answered"))["login"] == "Account7"
        assert not [line for line in daemon.log if line["level"] in ("ERROR", "CRITICAL")]
        daemon.terminate()
        assert await daemon.wait() == 0


async def test_silent_connector(tmp_path, nats_server, model):
    """Somebody hears the questions and never answers: nothing waits for it, not even the end."""
    model.script(chat("Here I am."))
    settings_ = config(nats_server.url, model, domain=DOMAIN)
    settings_["nats"]["request_timeout"] = 60
    async with Peer(nats_server.url, domain=DOMAIN) as peer, Daemon(tmp_path, settings_) as daemon:
        await peer.say("alice", "RigBot: are you there?")
        await peer.hears(1)
        assert known(daemon)["asked"]["login"] == "not_yet"
        daemon.terminate()
        assert await daemon.wait() == 0
