"""`llm-bot demo` as a process of its own, and its page in a real browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="pip install playwright")

from playwright.async_api import Locator, Page, expect

from llm_bot.demo.stand_ins.model_server import StandInModelServer
from tests.browser.stage import browser, chromium, demo

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium: apt-get install chromium")

PAUSED = "0"


@asynccontextmanager
async def visit(*arguments: str) -> AsyncIterator[Page]:
    """The page of the demo; it ends while the page is open."""
    async with browser() as chrome:
        page = await (await chrome.new_context()).new_page()
        async with demo(*arguments) as address:
            await page.goto(address)
            yield page


def lines_with(page: Page, text: str | re.Pattern[str]) -> Locator:
    return page.locator(".line", has_text=text)


async def say(page: Page, text: str, *, user: str = "You", is_private: bool = False) -> Locator:
    """`user` says it on the page. Returns its line there."""
    await page.locator("#demo-person").select_option(user)
    await page.locator("#demo-private").set_checked(is_private)
    await page.get_by_label("Line", exact=True).fill(text)
    await page.get_by_role("button", name="Say").click()
    return lines_with(page, text)


async def hold_film(page: Page) -> None:
    """From now on nobody else says anything."""
    await page.locator("#demo-speed").select_option(PAUSED)
    await expect(page.locator(".hint")).to_contain_text("The film stands still")


async def test_the_film_plays_and_somebody_takes_part():
    """The first reply comes by itself; then a visitor, as anybody, in the room and in private, is
    decided about like everybody else; muted, the bot is silent, and says so."""
    async with visit("--speed", "10") as page:
        await expect(page.locator(".own").first).to_be_visible()
        asked = await say(page, "what is on tonight?", user="Dr_Vespertine", is_private=True)
        await expect(asked.locator(".chip")).to_contain_text("replied")
        await page.get_by_role("button", name="Mute the bot").click()
        await expect(page.locator("#room-facts")).to_contain_text("silent")
        asked = await say(page, "Reel, can you hear me?")
        await expect(lines_with(page, "You joined")).to_have_count(1)
        await expect(asked.locator(".chip")).to_have_text("silenced")
        await page.get_by_role("button", name="Let the bot speak").click()
        await expect(page.locator("#room-facts")).not_to_contain_text("silent")
        asked = await say(page, "and now?", is_private=True)
        await expect(asked.locator(".chip")).to_contain_text("replied")


async def test_another_film_and_a_flood(tmp_path: Path):
    """A change of the film is on the page, and makes the bot wait; a flood is refused in order."""
    # The demo's own configuration, but for a pause that doesn't end however slow the browser is.
    text = (resources.files("llm_bot.demo") / "demo.yaml").read_text()
    path = tmp_path / "config.yaml"
    async with StandInModelServer() as server:
        path.write_text(
            text.replace("http://127.0.0.1:1/v1", server.base_url)
            + "rate_limits: {media_change_cooldown_seconds: 3600}\n"
        )
        async with visit("--config", str(path)) as page:
            await expect(page.locator(".own").first).to_be_visible()
            await hold_film(page)
            await page.locator("#demo-media").select_option("Metropolis (1927)")
            await expect(page.locator("#room-facts")).to_contain_text("Metropolis (1927)")
            limits = page.locator("#limits li", has_text="Quiet after a new film")
            await expect(limits).to_have_class("is-full")
            asked = await say(page, "Reel, is this one loud?")
            await expect(asked.locator(".chip")).to_have_text("new film")
            await page.get_by_role("button", name="Flood the room").click()
            flood = lines_with(page, re.compile(r"\d+ of 30\)"))
            await expect(flood.locator(".chip.refused")).to_have_count(30)
            texts = await flood.locator(".bubble").all_inner_texts()
            numbers = [int(text.rpartition("(")[2].partition(" ")[0]) for text in texts]
            assert numbers == list(range(1, 31))


async def test_the_model_goes_away_and_comes_back():
    """The first provider is seen to be away while the second answers; back, it is up again."""
    async with visit("--speed", "20") as page:
        first = page.locator(".service", has_text="lmstudio")
        await expect(first).to_contain_text("up")
        await page.locator("#demo-model").select_option("500")
        await expect(first).to_have_class(re.compile("down|cooling"))
        answered = page.locator(".line", has=page.locator(".chip.answered"))
        fresh = answered.nth(await answered.count())
        await fresh.locator(".chip").click()
        await expect(fresh.locator(".details")).to_contain_text("stand-in (ollama)")
        await page.locator("#demo-model").select_option("ok")
        await expect(first).to_contain_text("up")


async def test_a_configuration_brings_its_rooms_and_model(tmp_path: Path):
    """Its rooms are at the side, its bot is in them; a real model can't be taken away."""
    async with StandInModelServer() as server:
        path = tmp_path / "config.yaml"
        path.write_text(
            f"""
nats: {{servers: ["nats://127.0.0.1:4222"]}}
channels: [{{name: Cellar}}, {{name: Attic}}, {{name: Shed, enabled: false}}]
bot: {{username: Projector}}
llm_api: {{provider: ollama, base_url: "{server.base_url}", model: mine}}
health: {{host: 0.0.0.0, port: 1, token: 0123456789abcdef0123456789abcdef}}
"""
        )
        async with visit("--config", str(path), "--speed", "10") as page:
            await expect(page.locator(".own").first).to_contain_text("Projector")
            await expect(page.locator("#rooms button")).to_have_count(2)
            await expect(page.locator("#demo-model")).to_be_hidden()
            await page.get_by_role("button", name="Attic").click()
            await expect(page.locator("#room-facts")).to_contain_text("3 people here")
        assert server.requests[0].body["model"] == "mine"
