"""The live page in a real browser: the way in, a phone, the theme."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.async_api", reason="pip install playwright")

from playwright.async_api import Browser, expect

from tests.browser.stage import ROOM, TOKEN, Stage, browser, chromium, opened

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium: apt-get install chromium")


@pytest.fixture
async def chrome():
    async with browser() as opened_browser:
        yield opened_browser


async def test_token_is_exchanged_for_a_session(chrome: Browser):
    """Reached under another name the page asks for the token, by a form or once in the address,
    and goes on with a cookie that scripts can't read."""
    async with Stage(token=TOKEN) as stage:
        context = await chrome.new_context(extra_http_headers={"X-Forwarded-For": "192.0.2.1"})
        page = await context.new_page()
        await page.goto(stage.url)
        await page.get_by_label("Token").fill("wrong")
        await page.get_by_role("button", name="Open").click()
        await expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button", name="Open").click()
        await expect(page.locator("#room-name")).to_have_text(ROOM)
        assert await page.evaluate("document.cookie") == ""
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Token")).to_be_visible()
        await page.goto(f"{stage.url}/?token={TOKEN}")
        await expect(page.locator("#room-name")).to_have_text(ROOM)
        assert TOKEN not in page.url


async def test_phone_has_views_and_no_sideways_scrolling(chrome: Browser):
    """At 390 pixels nothing is wider than the screen, and limits are one touch away."""
    async with Stage() as stage:
        page = await opened(chrome, stage, viewport={"width": 390, "height": 780})
        await stage.room.say("alice", "w" * 300)
        await expect(page.locator(".bubble")).to_be_visible()
        widest = "document.scrollingElement.scrollWidth"
        assert await page.evaluate(widest) == 390
        await page.get_by_role("button", name="Limits and numbers").click()
        await expect(page.locator("#limits")).to_contain_text("Lines a minute")
        await expect(page.locator(".bubble")).to_be_hidden()


async def test_theme_is_chosen_and_kept(chrome: Browser):
    """The button goes from the system's to light to dark, and a reload keeps it."""
    async with Stage() as stage:
        page = await opened(chrome, stage, color_scheme="light")
        button = page.get_by_role("button", name="Theme")
        await button.click()
        await button.click()
        await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        await page.reload()
        await expect(button).to_have_text("Theme: dark")
        colour = "getComputedStyle(document.body).backgroundColor"
        assert await page.evaluate(colour) == "rgb(15, 17, 23)"
