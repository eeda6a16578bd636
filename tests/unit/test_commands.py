"""What is published so that a connector says it (behaviour, section 8)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.models import Dialect, Origin
from llm_bot.ports import Event
from llm_bot.wire.commands import (
    ROBOT_SUBJECT,
    Command,
    headers,
    is_robot_reply,
    iso_time,
    plain_command,
    robot_refusal,
    robot_request,
)

NOW = 1_700_000_000.25
KRYTEN = Origin(Dialect.KRYTEN, "kryten.events.cytube.lounge.chatmsg", "Lounge", "cytu.BE")


def request(text: str = "hi", to: str = "", origin: Origin = KRYTEN) -> Command | None:
    return robot_request(text, to, origin, source="llm_bot", request_id="r-1", now=NOW)


def reply(body: Any) -> Event:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Event("_INBOX.1", data)


class TestRobotRequest:
    """`kryten`: a request on one subject, addressed by the room's own spelling."""

    @pytest.mark.parametrize(
        ("to", "command", "args"),
        [
            pytest.param("", "say", {"message": "hi"}, id="say"),
            pytest.param("Bob", "pm", {"to": "Bob", "message": "hi"}, id="pm"),
        ],
    )
    def test_body(self, to: str, command: str, args: dict[str, str]) -> None:
        """`args` has exactly the fields that are taken; domain and channel are as heard."""
        assert request(to=to) == Command(
            ROBOT_SUBJECT,
            {
                "service": "robot",
                "command": command,
                "args": args,
                "meta": {
                    "source": "llm_bot",
                    "timestamp": "2023-11-14T22:13:20.250Z",
                    "domain": "cytu.BE",
                    "channel": "Lounge",
                    "request_id": "r-1",
                },
            },
        )

    @pytest.mark.parametrize(
        "origin",
        [
            pytest.param(Origin(Dialect.KRYTEN, KRYTEN.subject, "", "cytu.be"), id="no-channel"),
            pytest.param(Origin(Dialect.KRYTEN, KRYTEN.subject, "Lounge", ""), id="no-domain"),
            pytest.param(Origin(Dialect.KRYTEN, KRYTEN.subject), id="no-envelope"),
            pytest.param(Origin(Dialect.EARLY, "s", "Lounge", "cytu.be"), id="early"),
            pytest.param(Origin(Dialect.PLAIN, "s", "Lounge", "cytu.be"), id="plain"),
        ],
    )
    def test_never_without_an_address(self, origin: Origin) -> None:
        """Without both channel and domain every robot would say it, so there is no request."""
        assert request(origin=origin) is None


class TestPlainCommand:
    """Older connectors: one publish, on the subject that belongs to the one heard."""

    @pytest.mark.parametrize(
        ("dialect", "heard", "channel", "place"),
        [
            pytest.param(
                Dialect.KRYTEN,
                "kryten.events.cytube.lounge.chatmsg",
                "Lounge",
                "kryten.commands.cytube.lounge",
                id="kryten-is-lower-case",
            ),
            pytest.param(
                Dialect.PLAIN,
                "cytube.events.lounge.chatMsg",
                "Lounge",
                "cytube.commands.lounge",
                id="plain-as-heard-in-lower-case",
            ),
            pytest.param(
                Dialect.PLAIN,
                "cytube.events.Lounge.chatMsg",
                "Lounge",
                "cytube.commands.Lounge",
                id="plain-as-heard-in-capitals",
            ),
            pytest.param(
                Dialect.PLAIN, "", "Lounge", "cytube.commands.Lounge", id="plain-nothing-heard"
            ),
            pytest.param(
                Dialect.EARLY,
                "cytube.events.cytu.be.lounge.chatmsg",
                "Lounge",
                "cytube.commands.cytu.be.lounge",
                id="early-keeps-the-dots",
            ),
            pytest.param(
                Dialect.EARLY,
                "cytube.events.localhost:18443.rigroom.pm",
                "RigRoom",
                "cytube.commands.localhost:18443.rigroom",
                id="early-with-a-port",
            ),
            pytest.param(
                Dialect.EARLY,
                "cytube.events.www.cytu.be.Lounge.userlist",
                "Lounge",
                "cytube.commands.www.cytu.be.Lounge",
                id="early-from-any-event",
            ),
        ],
    )
    @pytest.mark.parametrize(
        ("to", "action", "data"),
        [
            pytest.param("", "chat", {"message": "hi"}, id="chat"),
            pytest.param("Bob", "pm", {"to": "Bob", "message": "hi"}, id="pm"),
        ],
    )
    def test_each_dialect(
        self,
        *,
        dialect: Dialect,
        heard: str,
        channel: str,
        place: str,
        to: str,
        action: str,
        data: dict[str, str],
    ) -> None:
        """Subject by dialect, and `data` with exactly the fields that are taken (SEND-6)."""
        command = plain_command("hi", to, Origin(dialect, heard), channel)
        assert command == Command(f"{place}.{action}", {"action": action, "data": data})


class TestHeaders:
    """Headers: `Correlation-Id`, `Timestamp`, `Source`, `Schema-Version` (SEND-7)."""

    def test_all_four(self) -> None:
        """Everything that is sent carries the same four."""
        assert headers("id-1", source="llm_bot", now=NOW) == {
            "Correlation-Id": "id-1",
            "Timestamp": "2023-11-14T22:13:20.250Z",
            "Source": "llm_bot",
            "Schema-Version": "1.0",
        }

    @pytest.mark.parametrize(
        ("epoch", "text"),
        [
            pytest.param(0.0, "1970-01-01T00:00:00.000Z", id="whole-second"),
            pytest.param(1.9996, "1970-01-01T00:00:01.999Z", id="cut-to-milliseconds"),
        ],
    )
    def test_time(self, epoch: float, text: str) -> None:
        """Times are ISO 8601 in UTC, always with milliseconds."""
        assert iso_time(epoch) == text


class TestReply:
    """Accepted only if the reply is an object with `service` "robot" and `success` true."""

    @pytest.mark.parametrize(
        ("body", "is_robot", "refusal"),
        [
            pytest.param(
                {"service": "robot", "command": "say", "success": True, "data": {"success": True}},
                True,
                None,
                id="accepted",
            ),
            pytest.param(
                {"service": "robot", "success": False, "error": "no sender"},
                True,
                "no sender",
                id="refused",
            ),
            pytest.param(
                {"service": "robot", "success": False, "error": "x" * 500},
                True,
                "x" * 200,
                id="refused-at-length",
            ),
            pytest.param(
                {"service": "robot", "success": False},
                True,
                "the connector refused it",
                id="no-reason",
            ),
            pytest.param(
                {"service": "robot", "success": "true", "error": ["x"]},
                True,
                "the connector refused it",
                id="odd-types",
            ),
            pytest.param(
                {"service": "robot"}, True, "the connector refused it", id="neither-yes-nor-no"
            ),
            pytest.param(
                {"stream": "KRYTEN", "seq": 5}, False, "the connector refused it", id="stream"
            ),
            pytest.param({"service": "system", "success": True}, False, None, id="another-service"),
            pytest.param([], False, "the connector refused it", id="list"),
            pytest.param(None, False, "the connector refused it", id="null"),
            pytest.param(b"", False, "the connector refused it", id="empty"),
            pytest.param(b"+OK", False, "the connector refused it", id="no-json"),
            pytest.param(b'{"service":"\xff"}', False, "the connector refused it", id="not-utf-8"),
            pytest.param(b"[" * 100_000, False, "the connector refused it", id="deep"),
        ],
    )
    def test_judged(self, body: Any, is_robot: bool, refusal: str | None) -> None:
        """A stream over the subject answers too; garbage is a refusal and never raises."""
        assert is_robot_reply(reply(body)) is is_robot
        assert robot_refusal(reply(body)) == refusal

    @given(st.binary(max_size=100))
    def test_any_bytes(self, data: bytes) -> None:
        """No answer raises."""
        assert is_robot_reply(reply(data)) is False
        assert isinstance(robot_refusal(reply(data)), str)
