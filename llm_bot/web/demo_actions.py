"""The demo's controls: the only part of the page that changes anything. There in the demo alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, Protocol, TypeVar

import msgspec
from aiohttp import web

from llm_bot.web.access import Access

MAX_BODY_BYTES = 4096

Mode = Literal["ok", "timeout", "500", "429"]
MODES: tuple[Mode, ...] = ("ok", "timeout", "500", "429")


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


class Say(msgspec.Struct, forbid_unknown_fields=True):
    user: Name
    text: Line
    pm: bool = False


class ChangeMedia(msgspec.Struct, forbid_unknown_fields=True):
    title: Name


class Flood(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Mute(msgspec.Struct, forbid_unknown_fields=True):
    on: bool


class SetModel(msgspec.Struct, forbid_unknown_fields=True):
    mode: Mode


class SetSpeed(msgspec.Struct, forbid_unknown_fields=True):
    speed: float


Body = TypeVar("Body", bound=msgspec.Struct)


class DemoRoutes:
    """`POST /demo/...`, each with a JSON body: 204, or 400 with what is wrong with it."""

    def __init__(self, actions: DemoActions, access: Access) -> None:
        self._actions = actions
        self._access = access

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/demo/say", self._taking(Say, self._say)),
            web.post("/demo/media", self._taking(ChangeMedia, self._media)),
            web.post("/demo/flood", self._taking(Flood, self._flood)),
            web.post("/demo/mute", self._taking(Mute, self._mute)),
            web.post("/demo/model", self._taking(SetModel, self._model)),
            web.post("/demo/speed", self._taking(SetSpeed, self._speed)),
        ]

    def _taking(
        self, kind: type[Body], act: Callable[[Body], Awaitable[None]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self._access.refuse_other_sites(request)
            if not self._access.is_allowed(request):
                raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
            await act(await _body(request, kind))
            return web.Response(status=204)

        return handle

    async def _say(self, body: Say) -> None:
        self._require(body.user, "people")
        await self._actions.say(body.user, body.text, private=body.pm)

    async def _media(self, body: ChangeMedia) -> None:
        self._require(body.title, "media")
        await self._actions.change_media(body.title)

    async def _flood(self, _: Flood) -> None:
        await self._actions.flood()

    async def _mute(self, body: Mute) -> None:
        await self._actions.mute(on=body.on)

    async def _model(self, body: SetModel) -> None:
        await self._actions.set_model(body.mode)

    async def _speed(self, body: SetSpeed) -> None:
        self._require(body.speed, "speeds")
        await self._actions.set_speed(body.speed)

    def _require(self, chosen: object, among: str) -> None:
        if chosen not in self._actions.describe().get(among, ()):
            raise _bad_request(f"not one of {among}")


async def _body(request: web.Request, kind: type[Body]) -> Body:
    """The JSON body, as `kind` wants it. A form of another site can't have this content type."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="Send application/json.\n")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, request.content_length or 0)
    data = await request.content.read(MAX_BODY_BYTES + 1)
    try:
        return msgspec.json.decode(data[:MAX_BODY_BYTES], type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad_request(str(error)) from error


def _bad_request(problem: str) -> web.HTTPBadRequest:
    body = msgspec.json.encode({"error": problem}).decode()
    return web.HTTPBadRequest(text=body, content_type="application/json")
