"""The demo's controls: the only part of the page that changes anything. There in the demo alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, Protocol

import msgspec
from aiohttp import web

from llm_bot.web.access import Access

Mode = Literal["ok", "timeout", "500", "429"]


class DemoActions(Protocol):
    """What the demo lets its visitors do."""

    def describe(self) -> Mapping[str, Any]:
        """What there is to choose from: `people`, `media` (titles), `speeds` (numbers)."""
        ...

    def state(self) -> Mapping[str, Any]:
        """How it stands: `speed`, `muted`, `model` (a mode)."""
        ...

    async def say(self, user: str, text: str, *, private: bool) -> None: ...

    async def change_media(self, title: str) -> None: ...

    async def flood(self) -> None: ...

    async def mute(self, *, on: bool) -> None: ...

    async def set_model(self, mode: Mode) -> None: ...

    async def set_speed(self, speed: float) -> None: ...


Line = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Order(Protocol):
    """The body of one control."""

    async def give(self, actions: DemoActions) -> None:
        """Have it done. Raises 400 for what wasn't offered."""


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """Whatever else stands in it is a mistake of the page."""


class Say(_Body):
    user: Name
    text: Line
    pm: bool = False

    async def give(self, actions: DemoActions) -> None:
        _require(self.user, actions, "people")
        await actions.say(self.user, self.text, private=self.pm)


class ChangeMedia(_Body):
    title: Name

    async def give(self, actions: DemoActions) -> None:
        _require(self.title, actions, "media")
        await actions.change_media(self.title)


class Flood(_Body):
    async def give(self, actions: DemoActions) -> None:
        await actions.flood()


class Mute(_Body):
    on: bool

    async def give(self, actions: DemoActions) -> None:
        await actions.mute(on=self.on)


class SetModel(_Body):
    mode: Mode

    async def give(self, actions: DemoActions) -> None:
        await actions.set_model(self.mode)


class SetSpeed(_Body):
    speed: float

    async def give(self, actions: DemoActions) -> None:
        _require(self.speed, actions, "speeds")
        await actions.set_speed(self.speed)


class DemoRoutes:
    """`POST /demo/...`, each with a JSON body: 204, or 400 with what is wrong with it."""

    def __init__(self, actions: DemoActions, access: Access) -> None:
        self._actions = actions
        self._access = access

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/demo/say", self._taking(Say)),
            web.post("/demo/media", self._taking(ChangeMedia)),
            web.post("/demo/flood", self._taking(Flood)),
            web.post("/demo/mute", self._taking(Mute)),
            web.post("/demo/model", self._taking(SetModel)),
            web.post("/demo/speed", self._taking(SetSpeed)),
        ]

    def _taking(self, kind: type[Order]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def take(request: web.Request) -> web.Response:
            self._access.require(request)
            if request.content_type != "application/json":  # a form of another site can't have it
                raise web.HTTPUnsupportedMediaType(text="Send application/json.\n")
            try:
                order = msgspec.json.decode(await request.read(), type=kind)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise _bad_request(str(error)) from error
            await order.give(self._actions)
            return web.Response(status=204)

        return take


def _require(chosen: object, actions: DemoActions, among: str) -> None:
    if chosen not in actions.describe().get(among, ()):
        raise _bad_request(f"not one of {among}")


def _bad_request(problem: str) -> web.HTTPBadRequest:
    body = msgspec.json.encode({"error": problem}).decode()
    return web.HTTPBadRequest(text=body, content_type="application/json")
