"""The live page and its events, as a part of the HTTP server."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

from aiohttp import web

from llm_bot import __version__
from llm_bot.ports import Clock
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room import Room
from llm_bot.web.access import COOKIE, Access
from llm_bot.web.demo_actions import DemoActions, DemoRoutes, Mode
from llm_bot.web.feed import Feed
from llm_bot.web.state import LiveState, Status
from llm_bot.web.stream import StateCache, Stream

MAX_READERS = 20
STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class LivePage:
    """`/`, `/events`, `/static/...`, `/login`, and in the demo `/demo/...`. Changes nothing
    outside the demo.

    `feed` is to be told what happens. `shows_text` says whether chat text may be seen.
    """

    def __init__(
        self,
        access: Access,
        *,
        rooms: Callable[[], Iterable[Room]],
        limiter: RateLimiter,
        clock: Clock,
        status: Status,
        shows_text: Callable[[], bool],
        demo: DemoActions | None = None,
        feed: Feed | None = None,
    ) -> None:
        self.feed = Feed() if feed is None else feed
        self.access = access
        self._live = LiveState(rooms=rooms, limiter=limiter, clock=clock, status=status)
        self._state = StateCache(self._read_state)
        self._shows_text = shows_text
        self._demo = demo
        self._files = {path.name: path.read_bytes() for path in STATIC.iterdir()}

    def routes(self) -> Iterable[web.RouteDef]:
        """What the HTTP server is to serve."""
        found = [
            web.get("/", self._page),
            web.get("/events", self._events, allow_head=False),
            web.get("/static/{name}", self._static),
            web.post("/login", self._login),
            web.post("/logout", self._logout),
        ]
        if self._demo is not None:
            found += DemoRoutes(self._demo, self.access).routes()
        return found

    async def close(self) -> None:
        """Let all readers go."""
        self.feed.close()

    # --- who may see it ---

    async def _page(self, request: web.Request) -> web.StreamResponse:
        """The page; a form for the token to those who may not see it."""
        if not _is_link(request):
            self.access.refuse_other_sites(request)
        is_allowed = self.access.is_allowed(request)
        if "token" in request.query:
            # It isn't to stay in the address, whoever sees it there.
            if is_allowed or self.access.is_token(request.query["token"], request.remote or ""):
                return self._let_in(request)
            return self._form("That is not the token.")
        if not is_allowed:
            return self._form("")
        return web.Response(body=self._files["index.html"], content_type="text/html")

    def _form(self, problem: str) -> web.Response:
        page = self._files["login.html"].decode().replace("{problem}", html.escape(problem))
        headers = {"WWW-Authenticate": "Bearer"}
        return web.Response(text=page, status=401, content_type="text/html", headers=headers)

    def _let_in(self, request: web.Request) -> web.Response:
        response = web.Response(status=303, headers={"Location": "/"})
        self.access.open_session(request, response)
        return response

    async def _login(self, request: web.Request) -> web.StreamResponse:
        self.access.refuse_other_sites(request)
        given = (await request.post()).get("token")
        if isinstance(given, str) and self.access.is_token(given.strip(), request.remote or ""):
            return self._let_in(request)
        return self._form("That is not the token.")

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        self.access.refuse_other_sites(request)
        response = web.Response(status=303, headers={"Location": "/"})
        self.access.close_session(response)
        return response

    # --- what there is to see ---

    async def _static(self, request: web.Request) -> web.StreamResponse:
        """These give nothing away, and the form needs them."""
        self.access.refuse_other_sites(request)
        name = request.match_info["name"]
        kind = TYPES.get(Path(name).suffix)
        if name not in self._files or kind is None:
            raise web.HTTPNotFound
        return web.Response(body=self._files[name], content_type=kind)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.access.require(request)
        bells = self.feed.bells
        if len(bells) >= MAX_READERS:
            raise web.HTTPServiceUnavailable(
                text=f"{MAX_READERS} readers are enough.\n", headers={"Retry-After": "10"}
            )
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        stream = Stream(
            self.feed,
            response,
            hello=lambda: self._hello(has_session=COOKIE in request.cookies),
            state=self._state,
            shows_text=self._may_see_text,
        )
        place = request.headers.get("Last-Event-ID") or request.query.get("after", "")
        bell = asyncio.Event()
        bells.add(bell)
        try:
            await response.prepare(request)
            await stream.run(place, bell)
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()  # nobody takes what is still to be sent
        finally:
            bells.discard(bell)
        return response

    def _may_see_text(self) -> bool:
        return self._demo is not None or self._shows_text()

    def _hello(self, *, has_session: bool) -> dict[str, Any]:
        demo = None
        if self._demo is not None:
            demo = {**self._demo.describe(), "modes": list(get_args(Mode))}
        return {
            "version": __version__,
            "rooms": self._live.room_names,
            "shows_text": self._may_see_text(),
            "has_session": has_session,
            "demo": demo,
        }

    def _read_state(self) -> dict[str, Any]:
        demo = {} if self._demo is None else {"demo": dict(self._demo.state())}
        return {**self._live.read(), **demo}


def _is_link(request: web.Request) -> bool:
    """Whether somebody followed a link here, which may stand anywhere."""
    return (
        "Origin" not in request.headers
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
    )
