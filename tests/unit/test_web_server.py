"""The live page over real connections: the page, its events, breaks, slow and many readers."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import pytest

from llm_bot import health
from llm_bot.decisions import Outcome
from llm_bot.web import server as server_module
from llm_bot.web import stream as stream_module
from llm_bot.web.feed import Feed
from llm_bot.web.server import STATIC
from tests.servers import eventually
from tests.unit.web_stage import PageStage


@pytest.fixture
async def stage():
    async with PageStage() as entered:
        yield entered


# --- the page ---


async def test_page_and_its_files_are_served(stage: PageStage):
    """`/` and everything that it names, with their types."""
    status, page, headers = await stage.ask("/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    files = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert files
    for file in files:
        status, _, headers = await stage.ask(file)
        assert status == 200
        assert headers["Content-Type"].split(";")[0] in server_module.TYPES.values()


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2fserver.py", "%2e%2e/server.py", "page.py", ""]
)
async def test_nothing_else_is_served(stage: PageStage, name: str):
    """Files that aren't the page's: 404."""
    assert (await stage.ask(f"/static/{name}"))[0] == 404


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/events", "/static/icon.svg"])
async def test_policy_has_no_exceptions(stage: PageStage, path: str):
    """Every answer says that only the page's own files may run, and in no other site's frame."""
    async with stage.client.get(stage.url + path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"


def test_files_load_nothing_from_outside_and_make_no_markup():
    """No address of another host in any file, no script or style inside the pages, and nothing
    that turns text into markup."""
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"(?m)(^|\s)//.*$", "", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        if path.suffix == ".html":
            assert not re.search(r"<style|style=|<script>|\son\w+=", text), path.name


async def test_nothing_changes_the_daemon_outside_the_demo(stage: PageStage):
    """The demo's actions aren't there, and what there is takes no other method."""
    for action in ("say", "media", "flood", "mute", "model", "speed"):
        assert (await stage.ask(f"/demo/{action}", "POST", json={}))[0] == 404
    for method in ("POST", "PUT", "DELETE"):
        assert (await stage.ask("/", method))[0] == 405
        assert (await stage.ask("/events", method))[0] == 405


# --- events ---


async def test_reader_gets_what_was_what_is_and_what_comes(stage: PageStage):
    """Hello, the state, the lines so far; then each line as it comes and each end by its line."""
    stage.note("first")
    async with stage.reading() as reader:
        hello = await reader.next()
        assert hello.name == "hello"
        assert hello.data["rooms"] == ["MyChannel"]
        assert (hello.data["shows_text"], hello.data["demo"]) == (True, None)
        assert (hello.data["resumed"], hello.data["lost"], hello.data["newest"]) == (False, 0, 1)
        state = await reader.next()
        assert (state.name, state.data["providers"]) == ("state", {"openai": "up"})
        assert await reader.lines(1) == ["first"]
        stage.note("second", outcome=None)
        line = await reader.until("line")
        assert (line.data["text"], line.data["outcome"]) == ("second", None)
        (record,) = [found for _, found in stage.page.feed._under_way.values()]
        stage.room.conclude(record, Outcome.TOO_LATE)
        end = await reader.until("decision")
        assert (end.data["id"], end.data["outcome"]) == (line.data["id"], "too_late")


async def test_text_is_shown_only_where_it_may():
    """Without leave a line is its length; hello says so."""
    async with PageStage(shows_text=False) as stage:
        stage.note("secret")
        async with stage.reading() as reader:
            assert (await reader.next()).data["shows_text"] is False
            line = await reader.until("line")
            assert ("text" in line.data, line.data["length"]) == (False, 6)


@pytest.mark.parametrize("by_header", [True, False])
async def test_reader_resumes_where_it_was(stage: PageStage, by_header: bool):
    """With its place a reader gets only what it hasn't seen (OBS-15)."""
    stage.note("first")
    async with stage.reading() as reader:
        place = (await reader.until("line")).place
    stage.note("second")
    query, headers = ("", {"Last-Event-ID": place}) if by_header else (f"?after={place}", {})
    async with stage.reading(query, **headers) as reader:
        hello = await reader.next()
        assert (hello.data["resumed"], hello.data["lost"]) == (True, 0)
        assert await reader.lines(1) == ["second"]


async def test_place_of_another_process_begins_anew(stage: PageStage):
    """After a restart of the daemon the numbers mean something else: all that there is is sent."""
    stage.note("first")
    async with stage.reading("?after=beef-1") as reader:
        hello = await reader.next()
        assert (hello.data["resumed"], hello.data["lost"]) == (False, 0)
        assert await reader.lines(1) == ["first"]


async def test_reader_too_far_behind_is_told_how_much_it_lost():
    """What is gone is counted, and what is left is sent anew."""
    async with PageStage(feed=Feed(entries=3)) as stage:
        stage.note("0")
        place = stage.page.feed.place(1)
        for number in range(1, 6):
            stage.note(str(number))
        async with stage.reading(f"?after={place}") as reader:
            hello = await reader.next()
            assert (hello.data["resumed"], hello.data["lost"]) == (False, 2)
            assert await reader.lines(3) == ["3", "4", "5"]


async def test_reader_overtaken_while_it_reads_begins_anew():
    """More at once than is kept: hello again, with what was lost, and the rest."""
    async with PageStage(feed=Feed(entries=3)) as stage, stage.reading() as reader:
        await reader.until("state")
        for number in range(10):
            stage.note(str(number))
        hello = await reader.until("hello")
        assert (hello.data["resumed"], hello.data["lost"]) == (False, 7)
        assert await reader.lines(3) == ["7", "8", "9"]


async def test_many_lines_at_once_all_arrive(stage: PageStage):
    """A flood goes out in pieces, in order, without a gap."""
    async with stage.reading() as reader:
        await reader.until("state")
        for number in range(1000):
            stage.note(str(number))
        assert await reader.lines(1000) == [str(number) for number in range(1000)]


async def test_state_is_sent_again_and_again(stage: PageStage, monkeypatch: pytest.MonkeyPatch):
    """Also while nothing happens, so that no proxy takes the connection for dead."""
    monkeypatch.setattr(stream_module, "STATE_SECONDS", 0.02)
    async with stage.reading() as reader:
        for status in ("up", "cooling", "down"):
            stage.status["providers"] = {"openai": status}
            while (await reader.until("state")).data["providers"] != stage.status["providers"]:
                pass


async def test_too_many_readers_are_sent_away(stage: PageStage, monkeypatch: pytest.MonkeyPatch):
    """Beyond the bound: 503 and when to come again; a reader that leaves makes room."""
    monkeypatch.setattr(server_module, "MAX_READERS", 1)
    async with stage.reading() as reader:
        await reader.until("state")
        status, _, headers = await stage.ask("/events")
        assert (status, headers["Retry-After"]) == (503, "10")

    # A reader that has gone is noticed with the next thing to send.
    def has_gone() -> bool:
        stage.note()
        return not stage.page.feed.bells

    await eventually(has_gone)
    async with stage.reading() as reader:
        await reader.until("state")


async def test_reader_that_takes_nothing_is_dropped(
    stage: PageStage, monkeypatch: pytest.MonkeyPatch
):
    """Buffers are full and stay so: the connection ends, and nothing is kept for it."""
    monkeypatch.setattr(stream_module, "WRITE_SECONDS", 0.2)
    reading, writing = await asyncio.open_connection("127.0.0.1", stage.server.port, limit=1)
    writing.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await writing.drain()
    await eventually(lambda: stage.page.feed.bells)

    def is_dropped() -> bool:
        for _ in range(200):
            stage.note("x" * 2000)
        return not stage.page.feed.bells

    try:
        await eventually(is_dropped, timeout=60)
    finally:
        writing.transport.abort()
    del reading


async def test_readers_are_let_go_at_the_end(monkeypatch: pytest.MonkeyPatch):
    """The server ends at once though somebody reads, and whoever comes then reads nothing."""
    monkeypatch.setattr(health, "SHUTDOWN_SECONDS", 600.0)
    async with PageStage() as stage, stage.reading() as reader, asyncio.timeout(60):
        await reader.until("state")
        await stage.server.__aexit__(None, None, None)
        with pytest.raises((EOFError, aiohttp.ClientError)):
            await reader.until("nothing")
