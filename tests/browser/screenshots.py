"""Pictures of the demo room for `docs/`: light, dark, and as wide as a phone.

.venv/bin/python -m tests.browser.screenshots docs/screenshots
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from playwright.async_api import Browser, Page

from tests.browser.stage import browser, demo

SPEED = "10"
ANSWERED = 3
PATIENCE_MILLISECONDS = 60_000

# name, colour scheme, width, height
PICTURES = (
    ("demo", "light", 1360, 850),
    ("demo-dark", "dark", 1360, 850),
    ("demo-phone", "light", 390, 844),
)


async def main(folder: Path) -> None:
    """Play the film night at ten times its speed, and take the pictures as it goes on."""
    async with browser() as opened, demo("--speed", SPEED) as url:
        for name, scheme, width, height in PICTURES:
            await _take(opened, url, folder / f"{name}.png", scheme, width, height)


async def _take(
    opened: Browser, url: str, path: Path, scheme: str, width: int, height: int
) -> None:
    is_dark = scheme == "dark"
    context = await opened.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if is_dark else "light"
    )
    page = await context.new_page()
    await page.goto(url)
    await _some_talk(page)
    await page.screenshot(path=path)
    await context.close()


async def _some_talk(page: Page) -> None:
    """Until the bot has answered a few, and one of the decisions is open."""
    # Not `wait_for_function`: the page's policy lets nothing evaluate a text.
    replied = page.locator(".chip", has_text="replied")
    await replied.nth(ANSWERED - 1).wait_for(state="attached", timeout=PATIENCE_MILLISECONDS)
    await replied.last.click()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(target))
