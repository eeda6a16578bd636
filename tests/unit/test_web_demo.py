"""The demo's controls over real connections: done, or refused."""

from __future__ import annotations

import pytest

from tests.unit.web_stage import FakeActions, PageStage


async def test_demo_actions_are_done():
    """Each control reaches the demo with what was chosen; hello and the state tell of them."""
    actions = FakeActions()
    async with PageStage(demo=actions, shows_text=False) as stage:
        for path, body in (
            ("say", {"user": "Ana", "text": "hi", "pm": True}),
            ("media", {"title": "Solaris"}),
            ("flood", {}),
            ("mute", {"on": True}),
            ("model", {"mode": "429"}),
            ("speed", {"speed": 2.5}),
        ):
            assert (await stage.ask(f"/demo/{path}", "POST", json=body))[0] == 204
        assert actions.asked == [
            ("say", "Ana", "hi", True),
            ("media", "Solaris"),
            ("flood",),
            ("mute", True),
            ("model", "429"),
            ("speed", 2.5),
        ]
        async with stage.reading() as reader:
            hello = await reader.next()
            assert hello.data["shows_text"] is True
            assert hello.data["demo"]["people"] == ["Ana"]
            assert hello.data["demo"]["modes"] == ["ok", "timeout", "500", "429"]
            state = await reader.until("state")
            assert state.data["demo"] == {"speed": 2.5, "muted": True, "model": "429"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("say", {"user": "Mallory", "text": "hi"}),
        ("say", {"user": "Ana", "text": ""}),
        ("say", {"user": "Ana", "text": "x" * 321}),
        ("say", {"user": "Ana", "text": "hi", "rank": 5}),
        ("say", []),
        ("media", {"title": "Other"}),
        ("mute", {"on": "yes"}),
        ("model", {"mode": "404"}),
        ("speed", {"speed": 1e9}),
    ],
)
async def test_demo_refuses_what_was_not_offered(path: str, body: object):
    """Another person, title, mode or speed, an empty or long line, more fields: 400 and why."""
    actions = FakeActions()
    async with PageStage(demo=actions) as stage:
        status, answer, _ = await stage.ask(f"/demo/{path}", "POST", json=body)
        assert status == 400
        assert "error" in answer
    assert actions.asked == []


async def test_demo_takes_orders_from_its_own_page_only():
    """A form, another site, too much, broken JSON, or somebody without the token: refused."""
    actions = FakeActions()
    async with PageStage(demo=actions, token="secret-token") as stage:
        body = {"on": True}
        for expected, options in (
            (415, {"data": b'{"on": true}', "headers": {"Content-Type": "text/plain"}}),
            (403, {"json": body, "headers": {"Origin": "http://evil.example"}}),
            (401, {"json": body, "headers": {"X-Forwarded-For": "192.0.2.1"}}),
            (413, {"json": {"on": True, "more": "x" * 5000}}),
            (400, {"data": b"{", "headers": {"Content-Type": "application/json"}}),
        ):
            status, *_ = await stage.ask("/demo/mute", "POST", **options)
            assert status == expected
    assert actions.asked == []
