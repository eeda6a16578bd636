"""The live page in a real browser: what happens in the room is on it, and nothing else runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("playwright.async_api", reason="pip install playwright")

from playwright.async_api import Browser, Page, expect

from tests.browser.stage import BOT, ROOM, Stage, browser, chromium, opened
from tests.unit.llm_client.scripted_server import Answer, chat

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium: apt-get install chromium")

MARKUP = '<img src=x onerror="document.title=1"><b>&amp;'


@pytest.fixture
async def chrome():
    async with browser() as opened_browser:
        yield opened_browser


def said(page: Page, text: str) -> Any:
    """The line of that text, once it is there."""
    return page.locator(".line", has=page.get_by_text(text, exact=True))


async def test_mention_its_reply_and_its_gates(chrome: Browser):
    """A mention shows as under way, then answered; its chip opens to the gates; the bot's line is
    marked and names whom it answers."""
    async with Stage() as stage:
        page = await opened(chrome, stage)
        gate = asyncio.Event()
        answer = chat("Stalker, 1979.")
        stage.model.script(Answer(body=answer.body, gate=gate))
        await stage.room.say("alice", "Marvin which film is it?")
        asked = said(page, "Marvin which film is it?")
        await expect(asked.locator(".chip")).to_have_text("thinking")
        gate.set()
        await expect(asked.locator(".chip")).to_contain_text("replied")
        own = said(page, "Stalker, 1979.")
        await expect(own).to_contain_text(BOT)
        await expect(own.locator(".source")).to_have_text("to alice")
        await asked.locator(".chip").click()
        details = asked.locator(".details")
        await expect(details).to_contain_text("alice named the bot")
        await expect(details.locator(".gates li").first).to_contain_text("Lines a minute")
        await expect(details).to_contain_text("11 read, 5 written")
        await expect(page.locator("#latency")).to_contain_text("last")
        await asked.locator(".chip").press("Enter")
        await expect(details).to_be_hidden()


async def test_limit_refuses_and_its_bar_is_full(chrome: Browser):
    """The line that a limit refuses says so and which one; the bar of that limit is full."""
    async with Stage(limits={"max_per_user_per_minute": 2}) as stage:
        page = await opened(chrome, stage)
        for number in (1, 2):
            stage.model.script(chat(f"Answer number {number}."))
            await stage.room.say("alice", f"Marvin question {number}")
            await expect(said(page, f"Answer number {number}.")).to_be_visible()
        await stage.room.say("alice", "Marvin question 3")
        chip = said(page, "Marvin question 3").locator(".chip")
        await expect(chip).to_have_text("user limit")
        await chip.click()
        await expect(page.locator(".gates .stopped")).to_contain_text("2 of 2")
        group = page.locator(".limit-group", has=page.get_by_text("alice", exact=True))
        await expect(group.locator(".is-full")).to_contain_text("2 of 2")
        await page.get_by_role("button", name="Refused").click()
        await expect(page.locator(".line")).to_have_count(1)


async def test_model_away_and_provider_down_and_back(chrome: Browser):
    """A failed request shows at its line and turns the provider down; the next answer up."""
    async with Stage() as stage:
        page = await opened(chrome, stage)
        provider = page.locator(".service", has_text="openai")
        await expect(provider).to_contain_text("up")
        stage.model.script(Answer(status=500, body="overloaded"))
        await stage.room.say("alice", "Marvin are you there?")
        await expect(said(page, "Marvin are you there?").locator(".chip")).to_have_text("no model")
        await expect(provider).to_contain_text("down")
        stage.model.script(chat("Back again."))
        await stage.room.say("bob", "Marvin and now?")
        await expect(said(page, "Back again.")).to_be_visible()
        await expect(provider).to_contain_text("up")


async def test_reload_of_the_page_loses_nothing(chrome: Browser):
    """What was there before is there after a reload, in the same order, with insights."""
    async with Stage() as stage:
        page = await opened(chrome, stage)
        for number in range(30):
            await stage.room.say("alice", f"line {number}")
        stage.page.feed.on_insight(ROOM, {"kind": "topic", "text": "numbers"})
        await expect(page.locator(".note")).to_have_text("topic numbers")
        before = await page.locator("#lines").inner_text()
        await page.reload()
        await expect(page.locator(".note")).to_have_text("topic numbers")
        assert await page.locator("#lines").inner_text() == before
        assert await page.locator(".line").count() == 30


async def test_break_is_told_and_made_up_for(chrome: Browser):
    """With the server away the page says so; back, it goes on where it was, without doubles."""
    async with Stage() as stage:
        page = await opened(chrome, stage)
        await stage.room.say("alice", "before the break")
        await expect(said(page, "before the break")).to_be_visible()
        port = stage.port
        await stage.go_away()
        await expect(page.locator("#banner")).to_contain_text("connection is lost")
        await stage.room.say("alice", "during the break")
        await stage.serve(port)
        await expect(said(page, "during the break")).to_be_visible()
        await expect(page.locator("#banner")).to_be_hidden()
        assert await page.locator(".line").count() == 2


async def test_markup_stays_text(chrome: Browser):
    """Markup in a name, a line, a title, an answer and an insight is shown and not obeyed; the
    policy of the page stops nothing, since nothing tries."""
    async with Stage() as stage:
        problems: list[str] = []
        page = await (await chrome.new_context()).new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        await page.goto(stage.url)
        await stage.room.change_media(MARKUP)
        stage.model.script(chat(MARKUP.replace("src=x", "")))
        name = "<i>eve</i>"
        await stage.room.say(name, f"{BOT}: {MARKUP}")
        stage.page.feed.on_insight(ROOM, {"kind": MARKUP, "text": MARKUP})
        await expect(said(page, f"{BOT}: {MARKUP}")).to_contain_text(name)
        await expect(page.locator(".own .bubble")).to_contain_text("<b>")
        await expect(page.locator(".note").first).to_contain_text(MARKUP)
        await expect(page.locator("#room-facts")).to_contain_text(MARKUP)
        assert await page.locator("#lines img, #lines i, #room-facts img").count() == 0
        assert await page.title() != "1"
        assert problems == []


async def test_without_content_only_lengths_are_shown(chrome: Browser):
    """Unless the operator allows it, the page shows who spoke and how much, not what
    (OBS-16).
    """
    async with Stage(shows_text=False) as stage:
        page = await opened(chrome, stage)
        await stage.room.say("alice", "a secret line")
        await expect(page.locator(".bubble")).to_have_text("13 characters")
        assert "secret" not in await page.content()


async def test_scrolled_up_it_stays_and_counts(chrome: Browser):
    """A thousand lines are kept; scrolled up, the view stays and a button counts what is new."""
    async with Stage() as stage:
        page = await opened(chrome, stage, viewport={"width": 900, "height": 600})
        for number in range(1030):
            await stage.room.say("alice", f"line {number}")
        await expect(said(page, "line 1029")).to_be_visible()
        await expect(page.locator(".line")).to_have_count(1000)
        await page.locator("#lines").evaluate("(list) => { list.scrollTop = 500; }")
        await expect(page.locator("#newer")).to_be_hidden()
        await page.wait_for_function("document.getElementById('lines').scrollTop < 600")
        for number in range(3):
            await stage.room.say("bob", f"new {number}")
        await expect(page.locator("#newer")).to_contain_text("3 new lines")
        await page.locator("#newer").click()
        await expect(said(page, "new 2")).to_be_visible()
        await expect(page.locator("#newer")).to_be_hidden()


async def test_rooms_are_chosen_at_the_side(chrome: Browser):
    """Each room has its own conversation; what is said elsewhere is counted beside its name."""
    async with Stage(rooms=(ROOM, "Lobby")) as stage:
        page = await opened(chrome, stage)
        await expect(page.locator("#room-name")).to_have_text(ROOM)
        await stage.rooms["Lobby"].say("bob", "in the lobby")
        await expect(page.locator(".unread")).to_have_text("1")
        await page.get_by_role("button", name="Lobby").click()
        await expect(said(page, "in the lobby")).to_be_visible()
        await expect(page.locator(".unread")).to_have_count(0)
