"""The way to the live page over real connections: token, form, session, other sites."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.web_stage import PageStage

TOKEN = "correct horse battery"
ELSEWHERE = {"X-Forwarded-For": "192.0.2.1"}


async def ask(stage: PageStage, path: str, method: str = "GET", **headers: str) -> Any:
    return await stage.ask(path, method, headers={**ELSEWHERE, **headers})


async def test_everything_that_shows_something_asks_for_the_token():
    """`/` answers with the form, `/events` with 401; neither says anything of a room."""
    async with PageStage(token=TOKEN) as stage:
        stage.note("hello")
        status, body, headers = await ask(stage, "/")
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert 'name="token"' in body
        status, body, _ = await ask(stage, "/events")
        assert status == 401
        assert "hello" not in body
        assert (await ask(stage, "/", Authorization=f"Bearer {TOKEN}"))[0] == 200


async def test_token_in_the_address_is_exchanged_once():
    """`/?token=` answers with the cookie and sends on to an address without it; a wrong one gets
    the form."""
    async with PageStage(token=TOKEN) as stage:
        status, _, headers = await ask(stage, f"/?token={TOKEN}")
        assert (status, headers["Location"]) == (303, "/")
        cookie = headers["Set-Cookie"].partition(";")[0]
        assert (await ask(stage, "/", Cookie=cookie))[0] == 200
        status, body, headers = await ask(stage, "/?token=wrong")
        assert status == 401
        assert "That is not the token." in body
        assert "Set-Cookie" not in headers
        # From here no token is needed; it isn't to stay in the address all the same.
        assert (await stage.ask("/?token=whatever"))[0] == 303


async def test_form_opens_and_closes_a_session():
    """The form's token opens a session, a wrong one doesn't; signing out takes the cookie away."""
    async with PageStage(token=TOKEN) as stage:
        for token, expected in (("wrong", 401), (f" {TOKEN} ", 303), (None, 401)):
            data = {} if token is None else {"token": token}
            status, _, headers = await stage.ask("/login", "POST", data=data, headers=ELSEWHERE)
            assert status == expected
            assert ("Set-Cookie" in headers) is (expected == 303)
        status, _, headers = await stage.ask("/logout", "POST", headers=ELSEWHERE)
        assert status == 303
        assert "Max-Age=0" in headers["Set-Cookie"]


async def test_form_that_is_too_large_is_refused():
    """Nobody fills the memory with a token."""
    async with PageStage(token=TOKEN) as stage:
        status, *_ = await stage.ask("/login", "POST", data={"token": "x" * 10_000})
        assert status == 413


@pytest.mark.parametrize(
    ("path", "method"),
    [("/", "GET"), ("/events", "GET"), ("/static/page.js", "GET"), ("/login", "POST")],
)
async def test_other_sites_get_nothing(path: str, method: str):
    """With another site's Origin every path says 403, token or not (OBS-14)."""
    async with PageStage(token=TOKEN) as stage:
        headers = {"Origin": "http://evil.example", "Authorization": f"Bearer {TOKEN}"}
        assert (await ask(stage, path, method, **headers))[0] == 403


async def test_link_from_another_site_leads_here():
    """Whoever follows a link gets the page; whoever puts it into a frame doesn't."""
    async with PageStage() as stage:
        navigation = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        link = {**navigation, "Sec-Fetch-Dest": "document"}
        frame = {**navigation, "Sec-Fetch-Dest": "iframe"}
        assert (await stage.ask("/", headers=link))[0] == 200
        assert (await stage.ask("/", headers=frame))[0] == 403
        assert (await stage.ask("/events", headers=link))[0] == 403


async def test_foreign_host_gets_nothing_without_a_token():
    """DNS rebinding: with another host's name every page that shows something says 403."""
    async with PageStage() as stage:
        for path in ("/", "/events", "/?token=x"):
            status, body, _ = await stage.ask(path, headers={"Host": "evil.example"})
            assert status == 403
            assert "health.token" in body
