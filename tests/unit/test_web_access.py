"""Who may see the live page: tokens, sessions, hosts, origins."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from llm_bot.web import access as access_module
from llm_bot.web.access import COOKIE, MAX_FAILURES, SESSION_SECONDS, Access
from tests.fakes import ManualClock

TOKEN = "correct horse battery"


class Scene:
    """An `Access`, and requests as they may come."""

    def __init__(self, host: str = "127.0.0.1", token: str | None = TOKEN) -> None:
        self.clock = ManualClock()
        self.token = token
        self.access = Access(host, token, time=self.clock.time)

    def request(self, host: str = "127.0.0.1:8080", **headers: str) -> web.Request:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return make_mocked_request("GET", "/", headers={"Host": host, **named})

    def is_allowed(self, *args: str, **headers: str) -> bool:
        return self.access.is_allowed(self.request(*args, **headers))

    def cookie(self) -> str:
        """What a session of now has."""
        response = web.Response()
        self.access.open_session(self.request(), response)
        return str(response.cookies[COOKIE].value)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080"])
def test_this_machine_needs_no_token(host: str):
    """On loopback, called by a name of this machine, the page is open, token or not."""
    assert Scene(token=None).is_allowed(host)
    assert Scene().is_allowed(host)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8080", "[::1", "", "a@b"])
def test_other_names_of_this_machine_are_refused_without_a_token(host: str):
    """A name that somebody else points here (DNS rebinding) opens nothing."""
    with pytest.raises(web.HTTPForbidden):
        Scene(token=None).is_allowed(host)
    assert not Scene().is_allowed(host)


@pytest.mark.parametrize("header", ["X_Forwarded_For", "Forwarded", "Via", "X_Real_IP"])
def test_what_a_proxy_brings_is_not_from_here(header: str):
    """A proxy on this machine calls it by its own name: its visitors need the token."""
    with pytest.raises(web.HTTPForbidden):
        Scene(token=None).is_allowed(**{header: "x"})
    assert not Scene().is_allowed(**{header: "x"})


def test_elsewhere_even_this_machine_needs_the_token():
    """Where it listens to others, every name may be claimed by them."""
    assert not Scene("0.0.0.0").is_allowed()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer {TOKEN}", True),
        (f"Bearer {TOKEN} ", True),
        ("Bearer wrong", False),
        ("Bearer ", False),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        ("", False),
    ],
)
def test_bearer_token_opens(header: str, expected: bool):
    """`Authorization: Bearer` with the token, and nothing else (OBS-13)."""
    assert Scene("0.0.0.0").is_allowed(Authorization=header) is expected


def test_token_may_be_any_text():
    """What isn't ASCII, or not even UTF-8 on the wire, is compared like everything else."""
    assert not Scene().access.is_token("\udcff", "")
    assert Scene(token="schlüssel").access.is_token("schlüssel", "")


def test_session_opens_until_its_end_and_for_its_token_only():
    """A cookie stands for the token, ends after its time and with the token; a restart keeps it."""
    scene = Scene("0.0.0.0")
    cookie = f"{COOKIE}={scene.cookie()}"
    assert TOKEN not in cookie
    assert scene.is_allowed(Cookie=cookie)
    assert Scene("0.0.0.0").is_allowed(Cookie=cookie)
    assert not Scene("0.0.0.0", token="another").is_allowed(Cookie=cookie)
    scene.clock.advance(SESSION_SECONDS + 1)
    assert not scene.is_allowed(Cookie=cookie)


def test_session_can_not_be_made_up():
    """A changed end, no signature, or nothing of it at all is no session."""
    scene = Scene("0.0.0.0")
    expires, _, signature = scene.cookie().partition(".")
    for forged in (f"{int(expires) + 1}.{signature}", f"{expires}.", expires, ".", "", "x.y"):
        assert not scene.is_allowed(Cookie=f"{COOKIE}={forged}")


def test_cookie_is_for_the_browser_alone():
    """HttpOnly, SameSite=Strict, for the whole page; Secure where the page came over TLS."""
    scene = Scene()
    plain, secure = web.Response(), web.Response()
    scene.access.open_session(scene.request(), plain)
    scene.access.open_session(scene.request(X_Forwarded_Proto="https"), secure)
    cookie = plain.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert not cookie["secure"]
    assert secure.cookies[COOKIE]["secure"]


def test_without_a_token_there_is_no_session():
    """Nothing that could be guessed is handed out, and nothing is taken for the token."""
    scene = Scene(token=None)
    response = web.Response()
    scene.access.open_session(scene.request(), response)
    assert not response.cookies
    assert not scene.access.is_token("", "")


def test_guessing_is_slow():
    """After many wrong tokens of one address none of it is looked at for a while, the right one
    neither; other addresses and sessions go on."""
    scene = Scene("0.0.0.0")
    cookie = f"{COOKIE}={scene.cookie()}"
    for _ in range(MAX_FAILURES):
        assert not scene.access.is_token("guess", "10.0.0.1")
    with pytest.raises(web.HTTPTooManyRequests):
        scene.access.is_token(TOKEN, "10.0.0.1")
    assert scene.access.is_token(TOKEN, "10.0.0.2")
    assert scene.is_allowed(Cookie=cookie)
    scene.clock.advance(access_module.FAILURE_SECONDS)
    assert scene.access.is_token(TOKEN, "10.0.0.1")


def test_guessers_are_bounded():
    """A thousand addresses are remembered, the newest ones."""
    scene = Scene("0.0.0.0")
    for number in range(access_module.MAX_PEERS + 10):
        assert not scene.access.is_token("guess", f"peer {number}")
    assert len(scene.access._failures) == access_module.MAX_PEERS


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://127.0.0.1:8081",
        "http://localhost:8080",
        "null",
        "http://127.0.0.1:x",
        "file://",
        "chrome-extension://abc",
    ],
)
def test_other_origins_are_refused(origin: str):
    """A page of another site, or of another port, gets nothing."""
    scene = Scene()
    with pytest.raises(web.HTTPForbidden):
        scene.access.refuse_other_sites(scene.request(Origin=origin))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_browser_calls_another_site_is_refused(site: str):
    """Scripts and images are loaded without an Origin, but the browser says for whom."""
    scene = Scene()
    with pytest.raises(web.HTTPForbidden):
        scene.access.refuse_other_sites(scene.request(Sec_Fetch_Site=site))


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("bot.example", "https://bot.example"),
        ("bot.example", "http://bot.example:80"),
        ("Bot.Example:443", "https://bot.example"),
    ],
)
def test_own_origin_is_let_in(host: str, origin: str):
    """The page's own requests, behind TLS of a proxy too; and whoever says nothing of a site."""
    scene = Scene()
    scene.access.refuse_other_sites(scene.request(host, Origin=origin))
    scene.access.refuse_other_sites(scene.request(host, Sec_Fetch_Site="same-origin"))
    scene.access.refuse_other_sites(scene.request(host))
