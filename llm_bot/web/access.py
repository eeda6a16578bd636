"""Who may see the page: this machine, or whoever has the token. And from which site."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from aiohttp import web

from llm_bot.config import is_loopback

COOKIE = "llm_bot_session"
SESSION_SECONDS = 7 * 86_400
MAX_FAILURES = 10
FAILURE_SECONDS = 60.0
"""So many wrong tokens of one address in this time, and none of it is looked at for a while."""
MAX_PEERS = 1000
"""Of so many addresses wrong tokens are remembered."""

_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


class Access:
    """Decides about requests. `token` opens the page; None: there is none.

    Without a token only somebody on this machine who calls it by a name of this machine is let in,
    so that neither a proxy nor a site whose name points here (DNS rebinding) opens the page to
    others. With one, whoever isn't that needs the token, or a session that it was exchanged for.
    """

    def __init__(
        self,
        host: str,
        token: str | None,
        *,
        time: Callable[[], float] = time.time,
    ) -> None:
        self._is_local = is_loopback(host)
        self._token = token
        self._time = time
        self._failures: dict[str, deque[float]] = {}

    def refuse_other_sites(self, request: web.BaseRequest) -> None:
        """Raise 403 for what a page of another site sent. Browsers say so, nobody else has to."""
        origin = request.headers.get("Origin")
        if origin is not None and not _is_same(origin, request.host):
            raise web.HTTPForbidden(text="This page answers no other site.\n")
        if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            raise web.HTTPForbidden(text="This page answers no other site.\n")

    def require(self, request: web.BaseRequest) -> None:
        """Raise 401, 403 or 429 unless it may see the page, and comes from no other site."""
        self.refuse_other_sites(request)
        if not self.is_allowed(request):
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})

    def is_allowed(self, request: web.BaseRequest) -> bool:
        """Whether it comes from this machine, with the token or in a session. Raises 403 where
        there is no token that could open it, 429 after too many wrong ones."""
        if self._is_from_here(request):
            return True
        token = self._token
        if token is None:
            raise web.HTTPForbidden(
                text="Without health.token this answers only on this machine, as 127.0.0.1 or"
                " localhost.\n"
            )
        if self._is_session(request.cookies.get(COOKIE, ""), token):
            return True
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip(), request.remote or "")

    def is_token(self, given: str, peer: str) -> bool:
        """Whether `peer`, an address, knows the token. Raises 429 after too many wrong ones of it:
        others aren't locked out by somebody who guesses."""
        token, now = self._token, self._time()
        failures = self._failures.get(peer)
        if failures and len(failures) == MAX_FAILURES and now - failures[0] < FAILURE_SECONDS:
            raise web.HTTPTooManyRequests(
                text="Too many wrong tokens. Try again in a minute.\n",
                headers={"Retry-After": str(int(FAILURE_SECONDS))},
            )
        if token is not None and hmac.compare_digest(_bytes(given), _bytes(token)):
            return True
        if failures is None:
            failures = self._failures[peer] = deque(maxlen=MAX_FAILURES)
            if len(self._failures) > MAX_PEERS:
                del self._failures[next(iter(self._failures))]
        failures.append(now)
        return False

    def open_session(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Give the browser a cookie that stands for the token and doesn't hold it."""
        token = self._token
        if token is None:
            return
        expires = str(int(self._time()) + SESSION_SECONDS)
        response.set_cookie(
            COOKIE,
            f"{expires}.{_signature(token, expires)}",
            max_age=SESSION_SECONDS,
            path="/",
            secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
            httponly=True,
            samesite="Strict",
        )

    def close_session(self, response: web.StreamResponse) -> None:
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")

    def _is_from_here(self, request: web.BaseRequest) -> bool:
        if not self._is_local or any(name in request.headers for name in _PROXY_HEADERS):
            return False
        try:
            name = urlsplit(f"//{request.host}").hostname or ""
        except ValueError:
            return False
        return is_loopback(name)

    def _is_session(self, cookie: str, token: str) -> bool:
        expires, _, signature = cookie.partition(".")
        expected = _bytes(_signature(token, expires))
        if not hmac.compare_digest(_bytes(signature), expected):
            return False
        return int(expires) > self._time()


def _signature(token: str, expires: str) -> str:
    """The token signs the end of the session: another token ends all sessions, a restart none."""
    key = hashlib.sha256(b"llm_bot session " + _bytes(token)).digest()
    return hmac.new(key, _bytes(expires), hashlib.sha256).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _is_same(origin: str, host: str) -> bool:
    """Whether a page of `origin` is one of ours. The scheme may differ: a proxy may speak TLS."""
    try:
        ours, theirs = urlsplit(f"//{host}"), urlsplit(origin)
        default = {"http": 80, "https": 443}.get(theirs.scheme)
        ports = theirs.port or default, ours.port or default
    except ValueError:
        return False
    return default is not None and theirs.hostname == ours.hostname and ports[0] == ports[1]
