"""A reload as the process lives it: one step, or none and the reason."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llm_bot.bus import EventBus
from llm_bot.config import Config
from llm_bot.demo.stand_ins.model_server import StandInModelServer
from llm_bot.errors import BusError, ConfigError, Problem
from llm_bot.llm_client import ConfigurationError, LLMClient
from llm_bot.ports import Handler
from llm_bot.response_processor import FilterReason
from llm_bot.response_processor.guard import GuardRefusal
from tests.servers import eventually
from tests.unit import builders
from tests.unit.program import Program

OLD_KEY, NEW_KEY = "sk-old-0123456789", "sk-new-9876543210"


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A reload sets up the log of the whole process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


class Bus(EventBus):
    """Fails to subscribe with `error`, if there is one."""

    error: Exception | None = None

    async def subscribe(self, subject: str, handler: Handler) -> Any:
        if self.error is not None:
            raise self.error
        return await super().subscribe(subject, handler)


class Scene(Program):
    """The program in RoomA; `file` makes what the next reload finds, or raises."""

    def __init__(self, model: StandInModelServer) -> None:
        self.model = model
        self.file: Callable[[], Config] = self.config
        self.loads = 0
        self.faulty = Bus()
        super().__init__(self.config(), self.faulty, load=self._load)

    def _load(self) -> Config:
        self.loads += 1
        return self.file()

    def config(self, *rooms: str, key: str | None = OLD_KEY, **sections: Any) -> Config:
        llm = {"provider": "openai", "base_url": self.model.base_url, "api_key": key}
        return builders.config(
            *(rooms or ("RoomA",)),
            **{"nats": {"token": "nats-token-1"}, "llm_api": llm, **sections},
        )

    async def reload(self, result: str = "ok") -> None:
        """Ask for it, and return when it has ended as `result` says."""
        before = self.reloads(result)
        self.app.request_reload()
        await eventually(lambda: self.reloads(result) == before + 1, what=result)

    def reloads(self, result: str) -> float:
        found = self.counted("config_reloads_total", result=result)
        assert found is not None
        return found


@pytest.fixture
async def model():
    async with StandInModelServer() as server:
        yield server


def told(caplog: pytest.LogCaptureFixture, message: str) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.message == message]


async def test_new_key_is_used_told_of_and_guarded(model, caplog, capsys):
    """LIFE-7, LIFE-10: the next request carries the new key; the difference names the field and no
    key; both keys are blacked out in the log and refused by the guard."""
    scene = Scene(model)
    async with scene.room() as room, scene:
        await room.say("alice", "MyBot: which film is it?")
        await eventually(lambda: len(model.requests) == 1)
        scene.file = lambda: scene.config("RoomA", "RoomB", key=NEW_KEY, log_level="DEBUG")
        await scene.reload()
        await room.say("bob", "MyBot: and who plays in it?")
        await eventually(lambda: len(model.requests) == 2)
        keys = [one.headers["Authorization"] for one in model.requests]
        assert keys == [f"Bearer {OLD_KEY}", f"Bearer {NEW_KEY}"]
        changes = {one["path"]: (one["old"], one["new"]) for one in told(caplog, "config.changed")}
        assert changes == {
            "llm_api.api_key": ("(changed)", "(changed)"),
            "channels[RoomB]": ("(absent)", "(present)"),
            "log_level": ("'INFO'", "'DEBUG'"),
        }
        logging.getLogger("llm_bot").warning("x.y", extra={"a": OLD_KEY, "b": NEW_KEY})
        shown = capsys.readouterr().err
        assert '"a":"[secret]","b":"[secret]"' in shown
        assert OLD_KEY not in shown
        assert NEW_KEY not in shown
        for service in scene.app._rooms:
            for key in (OLD_KEY, NEW_KEY):
                refusal = GuardRefusal(FilterReason.SECRET)
                assert service.room.guard.check(f"It is {key}, yes.") == refusal


def broken(scene: Scene) -> Config:
    raise ConfigError("config.yaml", [Problem(3, "bot", "5 must be a mapping")])


def raising(scene: Scene) -> Config:
    raise RuntimeError("a bug in the loader")


def keyless(scene: Scene) -> Config:
    return scene.config(key=None)


def refused(scene: Scene) -> Config:
    scene.faulty.error = BusError("not for you")
    return scene.config("RoomA", "RoomB", key=NEW_KEY)


def buggy_bus(scene: Scene) -> Config:
    scene.faulty.error = KeyError("a bug in the bus")
    return scene.config("RoomA", "RoomB", key=NEW_KEY)


def away(scene: Scene) -> Config:
    scene.bus.disconnect()
    return scene.config("RoomA", "RoomB", key=NEW_KEY)


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (broken, "a mapping"),
        (raising, "RuntimeError: a bug in the loader"),
        (keyless, "key"),
        (refused, "not for you"),
        (buggy_bus, "KeyError"),
        (away, "not connected"),
    ],
)
async def test_whatever_fails_the_running_configuration_goes_on(model, caplog, file, why):
    """LIFE-7: told once with its reason and counted; nothing has changed, no client is left, and
    the next reload can succeed."""
    scene = Scene(model)
    async with scene:
        config, (service,) = scene.app.config, scene.app._rooms
        subjects = sorted(one.subject for one in scene.bus._subscriptions)
        clients = clients_open()
        scene.file = lambda: file(scene)
        await scene.reload("failed")
        (failure,) = told(caplog, "config.reload_failed")
        assert why in failure["error"]
        assert (scene.app.config, list(scene.app._rooms)) == (config, [service])
        assert sorted(one.subject for one in scene.bus._subscriptions) == subjects
        assert clients_open() == clients
        scene.faulty.error = None
        scene.bus.reconnect()
        scene.file = lambda: scene.config("RoomA", "RoomB")
        await scene.reload()
        assert scene.app.status.read()["channels"] == {"RoomA": "active", "RoomB": "active"}


@pytest.mark.parametrize("where", ["client", "bus"])
async def test_no_line_of_a_reload_shows_the_key_that_it_brings(model, monkeypatch, capsys, where):
    """LIFE-10: it is blacked out before anything is tried with it, since errors may quote it."""

    async def refuse(_: LLMClient) -> LLMClient:
        raise ConfigurationError(f"{NEW_KEY} is no key")

    def bring_it() -> Config:
        if where == "client":
            monkeypatch.setattr(LLMClient, "__aenter__", refuse)
        scene.faulty.error = BusError(f"{NEW_KEY} may not hear it")
        return scene.config("RoomA", "RoomB", key=NEW_KEY)

    scene = Scene(model)
    async with scene:
        scene.file = bring_it
        await scene.reload("failed")
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "reload_failed" in one]
    assert json.loads(line)["error"].startswith("[secret] ")


def clients_open() -> int:
    """How many model clients there are that aren't closed."""
    gc.collect()
    found = [one for one in gc.get_objects() if type(one) is LLMClient]
    return sum(one._is_open for one in found)


async def test_reload_asked_for_before_it_is_ready_comes_after(model):
    """LIFE-7: an order during the start isn't lost."""
    scene = Scene(model)
    scene.app.request_reload()
    async with scene:
        await eventually(lambda: scene.reloads("ok") == 1)


async def test_orders_during_a_reload_are_one_more(model):
    """LIFE-7: however many come while one is under way, one follows, with the file of then."""
    scene = Scene(model)
    gate = threading.Event()

    def slow() -> Config:
        gate.wait(5)
        return scene.config(f"Room{scene.loads}")

    async with scene:
        scene.file = slow
        scene.app.request_reload()
        await eventually(lambda: scene.loads == 1)
        for _ in range(5):
            scene.app.request_reload()
        gate.set()
        await eventually(lambda: scene.reloads("ok") == 2)
        assert scene.app.status.read()["channels"] == {"Room2": "active"}
    assert scene.loads == 2


async def test_stop_does_not_wait_for_a_reload(model):
    """LIFE-7: an order to stop ends a reload that is being prepared: nothing of it takes effect."""
    scene = Scene(model)
    gate = threading.Event()

    def slow() -> Config:
        gate.wait(5)
        return scene.config("RoomB")

    scene.file = slow
    try:
        async with scene:
            scene.app.request_reload()
            await eventually(lambda: scene.loads == 1)
    finally:
        gate.set()
    assert (scene.reloads("ok"), scene.reloads("failed")) == (0, 0)
    assert [channel.name for channel in scene.app.config.channels] == ["RoomA"]


def objects_of_ours() -> int:
    """How many objects of this project's own classes there are."""
    gc.collect()
    modules = (getattr(type(each), "__module__", None) for each in gc.get_objects())
    return sum(isinstance(name, str) and name.startswith("llm_bot") for name in modules)


async def test_fifty_reloads_leak_nothing(model):
    """LIFE-7: rooms come and go, good files and bad ones: no task, subscription or client stays."""
    scene = Scene(model)
    async with scene:
        subscriptions = len(scene.bus._subscriptions)
        files = [
            lambda: scene.config("RoomA", "RoomB", key=NEW_KEY),
            lambda: broken(scene),
            lambda: scene.config("RoomB"),
            lambda: scene.config(),
        ]

        async def around(times: int) -> None:
            for file in files * times:
                scene.file = file
                await scene.reload("failed" if file is files[1] else "ok")

        await around(2)
        # Maybe with some that are about to end, which are fewer than fifty reloads would leave.
        tasks, objects = len(asyncio.all_tasks()), objects_of_ours()
        await around(12)
        await eventually(
            lambda: (
                clients_open() == 1
                and len(scene.bus._subscriptions) == subscriptions
                and len(asyncio.all_tasks()) <= tasks
                and objects_of_ours() < objects + 100
            ),
            what=f"no more than {tasks} tasks, {subscriptions} subscriptions, {objects} objects",
        )
