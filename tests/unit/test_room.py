"""All that belongs to one room (behaviour, sections 2 to 5)."""

from __future__ import annotations

from typing import Any

import pytest

from llm_bot.config import RoomConfig
from llm_bot.context_window import WindowLine
from llm_bot.decisions import DecisionRecord, Outcome
from llm_bot.models import ChatLine, LineKind, Media
from llm_bot.room import REPEATED_MEDIA_SECONDS, configure_triggers
from llm_bot.room.conversations import PRIVATE_KEPT
from tests.fakes import Recorder
from tests.unit.builders import HEARD_AT, line, pm, room, room_config

FILM = Media("abc", "yt", "A film", -3.0)
OTHER = Media("xyz", "yt", "Another", -3.0)
START = 5000.0

MENTION = {"type": "mention"}
KEYWORD = {"type": "keyword", "keywords": ["pizza"]}
PM = {"type": "pm"}
CONTEXTUAL = {"type": "contextual", "enabled": True}


def remembered(one: ChatLine) -> WindowLine:
    return WindowLine(one.user, one.text, one.time, False, one.correlation_id)


class TestNames:
    """Self is `bot.username` and the login name that the connector reports."""

    def test_before_a_login(self) -> None:
        """At first the configured name is the bot's, and its aliases are called names only."""
        found = room(bot={"aliases": ["botty"]})
        assert found.own_keys == {"mybot"}
        assert found.called_names == ("MyBot", "botty")

    @pytest.mark.parametrize(
        ("login", "own_keys", "differs"),
        [
            pytest.param("RigBot", {"mybot", "rigbot"}, True, id="another"),
            pytest.param("MyBot", {"mybot"}, False, id="the-same"),
            pytest.param("MYBOT", {"mybot"}, False, id="another-case"),
        ],
    )
    def test_login(self, login: str, own_keys: set[str], differs: bool) -> None:
        """Both names are the bot's own and mentions; only a name that differs is worth a word."""
        found = room()
        assert found.learn_login(login) is differs
        assert found.own_keys == own_keys
        mention = found.public_triggers[0].trigger
        assert mention.match(line(f"@{login}, hello")) is not None
        assert mention.match(line("mybot: hello")) is not None

    def test_told_once(self) -> None:
        """The same login again is no news; a third name replaces the second."""
        found = room()
        assert found.learn_login("RigBot")
        assert not found.learn_login("RigBot")
        assert found.learn_login("NewBot")
        assert found.own_keys == {"mybot", "newbot"}

    def test_ignored_users(self) -> None:
        """The server's notices are ignored always, configured users in any case."""
        assert room(bot={"ignored_users": ["OtherBot"]}).ignored_users == {"[server]", "otherbot"}


class TestTriggers:
    """Mention before keyword for public lines; private ones meet only the pm trigger."""

    @pytest.mark.parametrize(
        ("triggers", "public", "private"),
        [
            pytest.param([MENTION, PM], ["mention"], ["pm"], id="default"),
            pytest.param(
                [KEYWORD, PM, KEYWORD, MENTION],
                ["mention", "keyword 'pizza'", "keyword 'pizza' 2"],
                ["pm"],
                id="mention-first-keywords-in-their-order",
            ),
            pytest.param([CONTEXTUAL, MENTION], ["mention"], [], id="contextual-has-a-timer"),
            pytest.param([{**MENTION, "enabled": False}, PM], [], ["pm"], id="disabled"),
        ],
    )
    def test_order(self, triggers: list[Any], public: list[str], private: list[str]) -> None:
        """Which triggers are asked, and in which order."""
        found = room(triggers=triggers)
        assert [one.trigger.key for one in found.public_triggers] == public
        assert [one.trigger.key for one in found.private_triggers] == private

    def test_keys_are_unique(self) -> None:
        """No two triggers of a room share a history of limits."""
        config: RoomConfig = room_config(triggers=[KEYWORD, KEYWORD, MENTION, PM, KEYWORD])
        armed = configure_triggers(config.triggers, room="mychannel", names=("MyBot",))
        assert len({one.trigger.key for one in armed}) == 5
        assert {one.room for one in armed} == {"mychannel"}


class TestConversation:
    """The room's window and the private ones never meet."""

    def test_windows_are_apart(self) -> None:
        """Public lines share one window, a private one belongs to its user."""
        found = room()
        assert found.conversation_of(line(user="a")) is found.conversation_of(line(user="b"))
        assert found.conversation_of(pm(user="a")) is found.conversation_of(pm(user="A"))
        kept = [found.conversation_of(one) for one in (line(), pm(user="a"), pm(user="b"))]
        assert len({id(one) for one in kept}) == 3

    @pytest.mark.parametrize("own_name", ["MyBot", "mybot", "RigBot"])
    def test_own_private_lines(self, own_name: str) -> None:
        """The bot's own private line belongs to the conversation with whom it was sent to."""
        found = room()
        found.learn_login("RigBot")
        theirs = found.conversation_of(pm(user="alice", to=own_name))
        assert found.conversation_of(pm(user=own_name, to="Alice")) is theirs

    @pytest.mark.parametrize(
        ("most", "texts"),
        [
            pytest.param(10, ["1", "2", "3"], id="all-but-the-line"),
            pytest.param(3, ["1", "2", "3"], id="just-enough"),
            pytest.param(2, ["2", "3"], id="the-newest"),
            pytest.param(0, [], id="none"),
        ],
    )
    def test_without_the_line(self, most: int, texts: list[str]) -> None:
        """The line to answer isn't repeated, and doesn't count among those that are shown."""
        llm = {"provider": "ollama", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
        found = room(llm_api={**llm, "max_context_messages": most})
        for number in range(4):
            one = line(str(number + 1), correlation_id=f"id-{number + 1}")
            found.window.add(remembered(one))
        conversation = found.conversation(one, HEARD_AT)
        assert [each.text for each in conversation] == texts

    def test_not_too_old(self) -> None:
        """What has grown too old since it was heard isn't shown."""
        found = room(context_window={"max_age_seconds": 60})
        found.window.add(remembered(line()))
        asked = line("and?", correlation_id="id-2")
        assert len(found.conversation(asked, HEARD_AT + 60)) == 1
        assert found.conversation(asked, HEARD_AT + 61) == ()

    def test_private_stays_private(self) -> None:
        """A private line is in no public conversation, nor in that of another user (CTX-2)."""
        found = room()
        private = pm("secret", user="alice")
        found.conversation_of(private).window.add(remembered(private))
        others = [line(correlation_id="2"), pm(user="bob", correlation_id="3")]
        assert [found.conversation(one, HEARD_AT) for one in others] == [(), ()]
        again = pm(user="alice", correlation_id="4")
        assert [each.text for each in found.conversation(again, HEARD_AT)] == ["secret"]


class TestPrivateConversations:
    """One for each user, bounded in number (CTX-2)."""

    def test_the_longest_silent_goes(self) -> None:
        """With one user too many, the one who was silent for longest is forgotten."""
        found = room().private
        for number in range(PRIVATE_KEPT):
            found.of(f"user{number}").window.add(remembered(line()))
        found.of("USER0")
        found.of("one more")
        assert len(found) == PRIVATE_KEPT
        assert [len(found.of(f"user{number}").window) for number in range(2)] == [1, 0]


class TestMedia:
    """A film that differs from the last one starts the pause of the public triggers."""

    @pytest.mark.parametrize(
        ("films", "begins"),
        [
            pytest.param([FILM], True, id="the-first"),
            pytest.param(
                [Media("abc", "yt", "A film", REPEATED_MEDIA_SECONDS)], True, id="5-s-on-its-clock"
            ),
            pytest.param(
                [Media("abc", "yt", "A film", REPEATED_MEDIA_SECONDS + 0.1)], False, id="more"
            ),
            pytest.param([], False, id="none"),
        ],
    )
    def test_first_film(self, films: list[Media], begins: bool) -> None:
        """The first film seen counts as new unless it has been on for more than 5 s."""
        found = room()
        for film in films:
            found.change_media(film, START)
        assert found.media == (films[-1] if films else None)
        assert (found.media_frees_in(START) > 0) is begins

    @pytest.mark.parametrize(
        ("film", "begins"),
        [
            pytest.param(FILM, False, id="again"),
            pytest.param(Media("abc", "yt", "Renamed", 99.0), False, id="again-later-on"),
            pytest.param(OTHER, True, id="another"),
            pytest.param(Media("abc", "vi", "A film"), True, id="another-type"),
            pytest.param(Media("xyz", "yt", "Another", 600.0), True, id="another-in-its-middle"),
        ],
    )
    def test_next_film(self, film: Media, begins: bool) -> None:
        """Only another (type, id) starts it; a repeat doesn't."""
        found = room()
        found.change_media(FILM, START)
        found.change_media(film, START + 100)
        assert (found.media_frees_in(START + 100) > 0) is begins
        assert found.media == film

    def test_a_repeat_does_not_prolong(self) -> None:
        """The pause runs from the change, not from its repeats."""
        found = room(rate_limits={"media_change_cooldown_seconds": 30})
        found.change_media(FILM, START)
        found.change_media(FILM, START + 20)
        frees = [found.media_frees_in(START + after) for after in (0, 20, 29.5, 30, 31)]
        assert frees == [30, 10, 0.5, 0, 0]


class TestConclude:
    """Every record gets exactly one outcome, counted once."""

    def test_once(self) -> None:
        """The first outcome stays, with its detail, and is told and counted once."""
        found = room()
        recorder = Recorder()
        found.observers = (recorder,)
        record = DecisionRecord("id-1", "MyChannel", "alice", HEARD_AT, "chat", None)
        found.conclude(record, Outcome.REPLIED, "why")
        found.conclude(record, Outcome.ERROR, "other")
        assert (record.outcome, record.detail) == (Outcome.REPLIED, "why")
        assert found.tally.decisions == {"replied": 1}
        assert recorder.concluded == [record]

    def test_detail_is_kept(self) -> None:
        """An outcome without a detail leaves the one that is there."""
        found = room()
        record = DecisionRecord("id-1", "MyChannel", "alice", HEARD_AT, "chat", None, detail="bot")
        found.conclude(record, Outcome.REPLIED)
        assert record.detail == "bot"


class TestRecords:
    """What was decided is remembered, the newest first when asked for (OBS-8)."""

    def test_the_latest_250_are_kept(self) -> None:
        """An older one goes when a newer one comes."""
        found = room().decisions
        for number in range(251):
            found.add(DecisionRecord(f"id-{number}", "r", "alice", HEARD_AT, "chat", None))
        assert len(found) == 250
        assert [one.correlation_id for one in found.latest(2)] == ["id-250", "id-249"]
        assert len(found.latest(1000)) == 250
        assert found.latest(5, lambda record: record.correlation_id == "id-0") == []
        latest = found.latest(5, lambda record: record.correlation_id == "id-1")
        assert [one.user for one in latest] == ["alice"]


class TestLanes:
    """Two lanes a room, so that a slow answer in public keeps no private one waiting."""

    def test_by_kind(self) -> None:
        """Public and private lines wait apart, as many as are configured."""
        found = room(replies={"queue_size": 2})
        assert found.lane(LineKind.CHAT) is found.public_lane
        assert found.lane(LineKind.PM) is found.private_lane
        assert found.public_lane is not found.private_lane
        assert (found.public_lane.size, found.private_lane.size) == (2, 2)

    @pytest.mark.parametrize(("window", "kept"), [(0, 1), (3, 3)])
    def test_own_lines_are_bounded(self, window: int, kept: int) -> None:
        """Of its own lines it remembers as many as are compared with."""
        found = room(response_processing={"deduplicate_window": window})
        found.own_lines.extend("abcdef")
        assert len(found.own_lines) == kept

    def test_rooms_share_nothing(self) -> None:
        """What happens in one room leaves another as it was."""
        one, other = room(), room()
        one.learn_login("RigBot")
        one.change_media(FILM, START)
        one.window.add(remembered(line()))
        one.tally.events["chatmsg"] += 1
        assert other.own_keys == {"mybot"}
        assert other.media is None
        assert len(other.window) == 0
        assert not other.tally.events
