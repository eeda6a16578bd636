"""The stand-in connector: what it hears, what it publishes, and what CyTube makes of a line."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from llm_bot.bus import EventBus
from llm_bot.demo.recording import film_night, read_recording
from llm_bot.demo.stand_ins.connector import StandInConnector
from llm_bot.errors import NoRespondersError, RequestTimeoutError
from tests.fakes import ManualClock

CHANNEL, DOMAIN, BOT = "FilmNight", "cytube.example", "Reel"
META = {"source": "test", "domain": DOMAIN, "channel": CHANNEL, "request_id": "r1"}


class Published:
    """All that was published on the bus, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def __call__(self, event) -> None:
        self.events.append((event.subject, json.loads(event.data)))

    def named(self, name: str) -> list[Any]:
        return [
            body["payload"]
            for subject, body in self.events
            if ".events." in subject and body["event_name"] == name
        ]


@pytest.fixture
async def bus():
    bus = EventBus()
    yield bus
    await bus.close()


@pytest.fixture
async def heard(bus):
    heard = Published()
    await bus.subscribe(">", heard)
    return heard


@pytest.fixture
async def room(bus):
    async with connector(bus) as room:
        yield room


def connector(bus, **options) -> StandInConnector:
    return StandInConnector(bus, channel=CHANNEL, domain=DOMAIN, bot_name=BOT, **options)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def ask(bus, command="say", args=None, meta=META, timeout=30.0, **fields) -> Any:
    args = {"message": "hello"} if args is None else args
    body = {"service": "robot", "command": command, "args": args, "meta": meta, **fields}
    reply = await bus.request("kryten.robot.command", body, timeout=timeout)
    await settle()
    return json.loads(reply.data)


# -- requests ----------------------------------------------------------------------------------


async def test_a_line_is_acknowledged_and_comes_back(bus, room, heard):
    """`say` is answered as the connector does; only then the room sees the own line."""
    assert await ask(bus) == {
        "service": "robot",
        "command": "say",
        "success": True,
        "data": {"success": True},
    }
    assert list(room.said) == [(None, "hello")]
    line = heard.named("chatMsg")[-1]
    assert (line["username"], line["msg"], line["meta"]) == (BOT, "hello", {})
    subjects = [subject for subject, _ in heard.events if "command" not in subject]
    assert subjects[-1] == "kryten.events.cytube.filmnight.chatmsg"


async def test_the_echo_of_a_private_message_names_its_receiver(bus, room, heard):
    """The own private message comes back as a `pm` with `to`, in the receiver's own spelling."""
    await room.join("Ada")
    assert (await ask(bus, "pm", {"to": "ada", "message": "psst"}))["success"] is True
    private = heard.named("pm")[-1]
    assert (private["username"], private["to"], private["msg"]) == (BOT, "Ada", "psst")
    assert list(room.said) == [("Ada", "psst")]


@pytest.mark.parametrize(
    "meta",
    [META, {**META, "channel": "filmnight"}, {}, None, {"domain": DOMAIN}, {"channel": "Other"}],
    ids=["both", "channel's case", "empty", "none", "domain alone", "channel alone"],
)
async def test_requests_for_this_robot_or_for_all_are_carried_out(bus, room, meta):
    """The guard looks only at requests that name both; the channel's case doesn't matter."""
    assert (await ask(bus, meta=meta))["success"] is True
    assert room.said


@pytest.mark.parametrize(
    "fields",
    [
        {"meta": {**META, "channel": "Other"}},
        {"meta": {**META, "domain": "CYTUBE.example"}},
        {"command": "nonsense"},
        {"command": 5},
    ],
    ids=["channel", "domain's case", "unknown command", "odd command"],
)
async def test_requests_for_others_get_no_answer(bus, room, heard, fields):
    """Another robot's room, or a command that isn't known: silence, and nothing is said."""
    with pytest.raises(RequestTimeoutError):
        await ask(bus, timeout=0.05, **fields)
    assert not room.said
    assert not heard.named("chatMsg")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"args": {"message": "a", "extra": 1}}, "unexpected keyword argument: extra"),
        ({"args": {}}, "Missing message"),
        ({"args": []}, "not an object"),
        ({"args": {"message": 7}}, "Missing message"),
        ({"command": "pm", "args": {"message": "a"}}, "Missing username"),
        ({"command": ""}, "Missing 'command'"),
        ({"service": "jukebox"}, "intended for 'jukebox'"),
    ],
    ids=["extra", "no message", "list", "number", "no receiver", "no command", "service"],
)
async def test_bad_requests_are_refused(bus, room, fields, error):
    """An error reply says what was wrong, and nothing is said."""
    reply = await ask(bus, **fields)
    assert reply["success"] is False
    assert error in reply["error"]
    assert error in room.refused[-1]
    assert not room.said


@pytest.mark.parametrize("body", [b"{", b"\xff\x00", b"[]", b"7", b"[" * 100_000], ids=repr)
async def test_garbage_is_refused_on_both_paths(bus, room, body):
    """Bytes that are no request are an error reply on one path, and dropped on the other."""
    reply = await bus.request("kryten.robot.command", body, timeout=30)
    assert json.loads(reply.data)["success"] is False
    await bus.publish("kryten.commands.cytube.filmnight.chat", body)
    await settle()
    assert len(room.refused) == 2
    assert bus.handler_errors == 0


async def test_with_commands_off_every_request_is_an_error(bus):
    """The words of the connector, and the older path not even heard."""
    async with connector(bus, commands_enabled=False) as room:
        reply = await ask(bus)
        await bus.publish(
            "kryten.commands.cytube.filmnight.chat", {"action": "chat", "data": {"message": "a"}}
        )
        await settle()
    assert reply["error"] == "Not connected or sender not available"
    assert not room.said


async def test_the_own_name_can_be_asked_for(bus, room):
    """`kryten.user_level.{domain}.{channel}` tells the name of the login."""
    subject = f"kryten.user_level.{DOMAIN}.{CHANNEL}"
    reply = json.loads((await bus.request(subject, {}, timeout=30)).data)
    assert (reply["success"], reply["username"]) == (True, BOT)


# -- the older path ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "subject", "event"),
    [
        (
            "kryten",
            "kryten.commands.cytube.filmnight.chat",
            "kryten.events.cytube.filmnight.chatmsg",
        ),
        (
            "early",
            "cytube.commands.cytube.example.filmnight.chat",
            "cytube.events.cytube.example.filmnight.chatmsg",
        ),
        ("plain", "cytube.commands.filmnight.chat", "cytube.events.filmnight.chatMsg"),
    ],
    ids=["kryten", "early", "plain"],
)
async def test_each_dialect_has_its_subjects(bus, heard, dialect, subject, event):
    """A command on the dialect's subject is said, and comes back on its subject of events."""
    async with connector(bus, dialect=dialect) as room:
        await bus.publish(subject, {"action": "chat", "data": {"message": "hello"}})
        await settle()
    assert list(room.said) == [(None, "hello")]
    body = dict(heard.events)[event]
    payload = body if dialect == "plain" else body["payload"]
    assert (payload["username"], payload["msg"]) == (BOT, "hello")


@pytest.mark.parametrize(
    "body",
    [
        {"action": "chat", "data": {"message": "a", "extra": 1}},
        {"action": "chat", "data": {}},
        {"action": "chat", "data": None},
        {"action": "chat"},
        {"action": "pm", "data": {"message": "a"}},
        {"action": ["chat"], "data": {"message": "a"}},
        {"command": "say", "args": {"message": "a"}},
    ],
    ids=["extra", "empty", "null", "none", "no receiver", "odd action", "other shape"],
)
async def test_bodies_that_do_not_fit_are_dropped(bus, room, heard, body):
    """The older path takes exactly its fields, and tells nobody when it doesn't."""
    await bus.publish("kryten.commands.cytube.filmnight.chat", body)
    await settle()
    assert room.refused
    assert not room.said
    assert not heard.named("chatMsg")


@pytest.mark.parametrize("dialect", ["early", "plain"])
async def test_other_dialects_answer_no_requests(bus, dialect):
    """Only today's connector has a subject for requests."""
    async with connector(bus, dialect=dialect):
        with pytest.raises(NoRespondersError):
            await ask(bus)


# -- what CyTube makes of a line ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a<b && c > \"d\" 'e' (f)", "a&lt;b &amp;&amp; c &gt; \"d\" 'e' (f)"),
        ("*x* _x_ `x` ~~x~~", "<strong>x</strong> <em>x</em> <code>x</code> <s>x</s>"),
        ("[sp]who did it[/sp]", '<span class="spoiler">who did it</span>'),
        (
            "see https://a.example/x_y_z?q=1&r=2 now",
            'see <a href="https://a.example/x_y_z?q=1&amp;r=2" target="_blank" '
            'rel="noopener noreferrer">https://a.example/x_y_z?q=1&amp;r=2</a> now',
        ),
        ("one\ntwo\x00\x1fthree", "one two three"),
        ("snake_case stays, a*b stays", "snake_case stays, a*b stays"),
        ("held \ue000 place", "held  place"),
        (" /clear", " /clear"),
    ],
    ids=["escape", "filters", "spoiler", "link", "controls", "halves", "private use", "space"],
)
async def test_a_line_is_shown_as_html(bus, room, heard, text, shown):
    """Escaped, filtered as a new channel does, links made; control characters are a space."""
    await ask(bus, args={"message": text})
    assert heard.named("chatMsg")[-1]["msg"] == shown


async def test_a_line_is_cut_in_utf16_units(bus, room, heard):
    """At 320 units, an emoji counting two; half of one arrives as a replacement character."""
    await ask(bus, args={"message": "x" * 400})
    await ask(bus, args={"message": "x" + "😀" * 200})
    plain, emoji = (line["msg"] for line in heard.named("chatMsg"))
    assert plain == "x" * 320
    assert emoji == "x" + "😀" * 159 + "\ufffd"


async def test_a_leading_greater_sign_is_greentext(bus, room, heard):
    """As anybody's line, the bot's would turn green."""
    await ask(bus, args={"message": ">implying"})
    line = heard.named("chatMsg")[-1]
    assert (line["msg"], line["meta"]) == ("&gt;implying", {"addClass": "greentext"})


@pytest.mark.parametrize("text", ["/kick bob", "/clear", "/d6"])
async def test_a_leading_slash_is_executed_and_not_shown(bus, room, heard, text):
    """What the guard must never let through is seen here."""
    await ask(bus, args={"message": text})
    assert list(room.executed_commands) == [text]
    assert not room.said
    assert not heard.named("chatMsg")


async def test_a_slash_in_private_is_only_text(bus, room, heard):
    """CyTube executes commands of the room alone."""
    await room.join("ada")
    await ask(bus, "pm", {"to": "ada", "message": "/kick bob"})
    assert not room.executed_commands
    assert heard.named("pm")[-1]["msg"] == "/kick bob"


async def test_a_blank_line_vanishes(bus, room, heard):
    """Acknowledged, and never seen."""
    assert (await ask(bus, args={"message": " \n "}))["success"] is True
    assert not heard.named("chatMsg")
    assert list(room.refused) == ["blank"]


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("nobody", "PM failed: nobody isn't connected to this channel."),
        ("reel", "You can't PM yourself!"),
        ("no body!", "PM failed: no body! isn't a valid username."),
    ],
    ids=["absent", "self", "name"],
)
async def test_a_private_message_can_fail_after_its_acknowledgement(bus, room, heard, to, message):
    """Success is answered all the same; an `errorMsg` event tells."""
    assert (await ask(bus, "pm", {"to": to, "message": "x"}))["success"] is True
    assert heard.named("errorMsg") == [{"msg": message}]
    assert not heard.named("pm")
    assert not room.said


async def test_a_flood_is_stopped(bus, heard):
    """Twenty lines at once pass, then ten a second; the others are `cooldown` events."""
    clock = ManualClock()
    async with connector(bus, clock=clock) as room:
        for _ in range(30):
            await ask(bus)
        assert (len(room.said), heard.named("cooldown")) == (20, [100] * 10)
        clock.now += 0.1
        await ask(bus)
        await ask(bus)
        assert (len(room.said), len(heard.named("cooldown"))) == (21, 11)
        clock.now += 2.1
        for _ in range(20):
            await ask(bus)
        assert len(room.said) == 41


# -- what people do ----------------------------------------------------------------------------


async def test_what_people_say_is_published_in_an_envelope(bus, heard):
    """A line of a user has all six fields of the envelope and the time of the clock."""
    clock = ManualClock()
    room = connector(bus, clock=clock)
    await room.say("ada", "hi <b>", meta={"modflair": 3})
    await settle()
    subject, body = heard.events[0]
    assert subject == "kryten.events.cytube.filmnight.chatmsg"
    assert body.pop("correlation_id")
    assert body == {
        "event_name": "chatMsg",
        "payload": {
            "username": "ada",
            "msg": "hi &lt;b&gt;",
            "meta": {"modflair": 3},
            "time": 1_700_001_000_000,
        },
        "channel": CHANNEL,
        "domain": DOMAIN,
        "timestamp": "2023-11-14T22:30:00.000000+00:00",
    }


async def test_people_write_in_private_and_say_nothing_blank(bus, heard):
    """A private message is to the bot; a blank line isn't published."""
    room = connector(bus)
    await room.pm("ada", "psst")
    await room.say("ada", "  ")
    await settle()
    assert [(name, body["payload"]["to"]) for name, body in heard.events] == [
        ("kryten.events.cytube.filmnight.pm", BOT)
    ]


async def test_people_come_and_go(bus, room, heard):
    """Whoever joins is announced to moderators and has a rank; whoever left can't be written to."""
    await room.join("ada")
    await room.leave("ada")
    await ask(bus, "pm", {"to": "ada", "message": "x"})
    assert heard.named("addUser")[0]["name"] == "ada"
    assert heard.named("setUserRank") == [{"name": "ada", "rank": 1}]
    assert heard.named("chatMsg")[0]["username"] == "[server]"
    assert heard.named("errorMsg")


async def test_a_joining_connector_is_sent_the_last_lines_again(bus, heard):
    """Fifteen old lines with their old times and new ids, the login, the roster, the film twice."""
    clock = ManualClock()
    room = connector(bus, clock=clock)
    await room.change_media("Nosferatu (1922)")
    for number in range(17):
        await room.say("ada", f"line {number}")
    await room.say("eve", "hidden", meta={"shadow": True})
    await room.join("bob")
    await settle()
    heard.events.clear()
    clock.now += 60
    await room.connect()
    await room.connect()
    await settle()
    lines = heard.named("chatMsg")
    assert [line["msg"] for line in lines[:15]] == [f"line {number}" for number in range(2, 17)]
    assert {line["time"] for line in lines} == {1_700_001_000_000}
    assert len(lines) == 30
    assert heard.named("login")[0] == {"success": True, "name": BOT}
    assert {user["name"] for user in heard.named("userlist")[0]} == {BOT, "ada", "eve", "bob"}
    assert [film["currentTime"] for film in heard.named("changeMedia")] == [60.5] * 4


async def test_a_recorded_room_is_played_as_it_is(bus, room, heard):
    """Recorded events go out unchanged, and people in them can be written to."""
    events = film_night()
    for event in events:
        await room.play(event)
    await settle()
    assert [subject for subject, _ in heard.events] == [event.subject for event in events]
    assert [body for _, body in heard.events] == [event.data for event in events]
    await ask(bus, "pm", {"to": "BRAMBLE", "message": "x"})
    await ask(bus, "pm", {"to": "newt", "message": "x"})
    assert list(room.said) == [("bramble", "x")]
    assert room.room.media is not None
    assert room.room.media["title"].startswith("Nosferatu")


@pytest.mark.parametrize("name", ["room", "room-early", "rejoin"])
async def test_real_recordings_can_be_played(bus, heard, name, request):
    """Payloads that are numbers, texts or null do no harm."""
    room = connector(bus)
    events = read_recording(request.path.parents[1] / "data" / f"{name}.jsonl")
    for event in events:
        await room.play(event)
    await settle()
    assert len(heard.events) == len(events)


async def test_after_leaving_it_listens_no_more(bus):
    """Nobody answers then."""
    async with connector(bus):
        pass
    with pytest.raises(NoRespondersError):
        await ask(bus)
