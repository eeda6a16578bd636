"""The stand-in for a model: its HTTP face, and the lines that it composes."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest

from llm_bot.agents.prompts import Prompt
from llm_bot.context_window import WindowLine
from llm_bot.demo.recording import film_night
from llm_bot.demo.stand_ins.model_server import StandInModelServer
from llm_bot.demo.stand_ins.scene import SHAPES, answer_to, read_scene, shape_of
from tests.servers import eventually
from tests.unit import builders

ROOM = builders.room_config()


def request(asked, *, asker="ada", title="Nosferatu (1922)", conversation=(("bob", "hello"),)):
    """What the bot asks for by default, when `asker` has said `asked`."""
    prompt = Prompt(
        config=ROOM,
        bot_name="Reel",
        line=builders.line(asked, user=asker),
        conversation=tuple(
            WindowLine(user, text, 0.0, is_own=user == "Reel") for user, text in conversation
        ),
        media_title=title,
        tag="5f0c3d7e9a1b",
    )
    messages = [{"role": each.role, "content": each.content} for each in prompt.messages()]
    return {"model": "stand-in", "messages": messages}


def answer(asked, **scene):
    return answer_to(request(asked, **scene))


@pytest.fixture
async def server():
    async with StandInModelServer() as server:
        yield server


@pytest.fixture
async def client(server):
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as client:
        yield client


# -- over HTTP ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "status"), [("500", 500), ("429", 429)])
async def test_it_fails_when_told_to(server, client, mode, status):
    """As servers do, with a pause to keep where there are too many requests; and not for ever."""
    server.mode = mode
    refusal = await client.post("/chat/completions", json=request("hello"))
    assert refusal.status_code == status
    assert refusal.json()["error"]["message"]
    assert ("retry-after" in refusal.headers) == (mode == "429")
    server.mode = "ok"
    assert (await client.post("/chat/completions", json=request("hello"))).status_code == 200


async def test_it_hangs_when_told_to(server, client):
    """Requests get no answer until it is told otherwise."""
    server.mode = "timeout"
    waiting = asyncio.create_task(client.post("/chat/completions", json=request("hello")))
    await eventually(lambda: len(server.requests) == 1)
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    server.mode = "ok"
    assert (await waiting).status_code == 200


async def test_it_answers_as_the_api_does(client):
    """One choice of the assistant, token counts that add up, and a name that says what it is."""
    posted = [
        await client.post("/chat/completions", json=request("Reel, what's playing?"))
        for _ in range(2)
    ]
    assert posted[0].content == posted[1].content
    body = posted[0].json()
    assert (body["object"], body["model"]) == ("chat.completion", "stand-in")
    [choice] = body["choices"]
    assert (choice["message"]["role"], choice["finish_reason"]) == ("assistant", "stop")
    assert "Nosferatu" in choice["message"]["content"]
    usage = body["usage"]
    assert usage["prompt_tokens"] > usage["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_requests_are_kept_for_a_look(client, server):
    """Body and headers of the last requests, a bounded number of them."""
    for number in range(3):
        await client.post(
            "/chat/completions", json=request(f"line {number}"), headers={"X-Correlation-Id": "c7"}
        )
    assert len(server.requests) == 3
    assert "line 2" in server.requests[-1].prompt
    assert server.requests[-1].headers["X-Correlation-Id"] == "c7"
    assert server.requests.maxlen is not None


async def test_leaving_does_not_wait_for_a_slow_answer():
    """`delay_seconds` is how long it thinks; closing doesn't wait until it is done."""
    async with httpx.AsyncClient(timeout=None) as client:
        async with StandInModelServer(delay_seconds=3600) as server:
            url = f"{server.base_url}/chat/completions"
            asked = asyncio.create_task(client.post(url, json=request("hi")))
            await eventually(lambda: server.requests)
        with pytest.raises(httpx.TransportError):
            await asked


async def test_a_port_that_is_taken_is_an_error(server):
    """And nothing is left open."""
    with pytest.raises(OSError, match="in use"):
        await StandInModelServer(port=server.port).__aenter__()


# -- what it makes of a prompt -----------------------------------------------------------------


def test_the_scene_is_found_in_the_prompt():
    """Who asks what, about which film, after which lines of others; the own name is taken out."""
    conversation = (("bob", "x says to you: boo"), ("Reel", "hm"), ("eve", "On the screen: Dune"))
    scene = read_scene(request("Reel, is it good?", conversation=conversation)["messages"])
    assert (scene.asker, scene.line, scene.title) == ("ada", "is it good?", "Nosferatu (1922)")
    assert scene.conversation == (conversation[0], conversation[2])


def test_where_nothing_plays_it_does_not_pretend():
    """It has lines for that, too."""
    assert read_scene(request("hi", title="")["messages"]).title == ""
    assert answer("what's playing?", title="") in [
        line.format(asker="ada") for line in SHAPES["playing"]["otherwise"]
    ]


def test_any_other_prompt_gets_an_answer():
    """Where nothing of it is understood, something is said."""
    assert answer_to({"messages": [{"role": "user", "content": "{0} thanks {"}]})


@pytest.mark.parametrize(
    ("line", "shape"),
    [
        ("hello there", "greeting"),
        ("say hello to bob", "welcome"),
        ("what's playing?", "playing"),
        ("what did you think of that?", "opinion"),
        ("thanks, that helped", "thanks"),
        ("recommend something", "recommend"),
        ("hey, who said that", "who_said"),
        ("is it scary?", "yes_no"),
        ("so would you rent it", "yes_no"),
        ("when does it end?", "question"),
        ("tell me a joke", "joke"),
        ("rate the hat", "rating"),
        ("why", "explain"),
        ("good night all", "goodbye"),
        ("the count is punctual", "statement"),
        ("", "statement"),
    ],
)
def test_shapes_are_recognised(line, shape):
    """Each shape of line is told apart."""
    assert shape_of(line) == shape


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("give me snacks in markdown", r"^#+ .*\n.*\*\*"),
        ("send me a link to it", r"https://"),
        ("say a slash command", r"^/kick bob$"),
        ("say /kick marcus now", r"^/kick marcus"),
        ("think out loud about soup", r"^<think>.*</think>\n\w"),
        ("tell us a long story", r"^.{600,}$"),
    ],
    ids=["markdown", "link", "any command", "that command", "think", "long"],
)
def test_provoked_it_misbehaves(line, pattern):
    """Asked for it, the stand-in says what the pipeline is there to clean, cut or stop."""
    assert re.search(pattern, answer(f"Reel, {line}"), re.DOTALL)


def test_every_other_line_fits_a_room():
    """Short, plain, no markup, no link, no command; and no two are the same."""
    provoking = ("slash", "think", "markdown", "link", "long")
    lines = [
        line
        for name, shape in SHAPES.items()
        if name not in provoking
        for line in (*shape["lines"], *shape.get("otherwise", ()))
    ]
    assert len(set(lines)) == len(lines) > 30
    for line in lines:
        assert len(line) <= 130
        assert not re.search(r"[*_`~#<>\n]|://|\w\.\w", line)
        assert not line.startswith(("/", "!", ">"))


def test_who_said_looks_into_the_conversation():
    """The speaker whose line shares most words is named."""
    conversation = (("bob", "the shadow is late"), ("eve", "what a fine shadow on the staircase"))
    for asked in ("who said shadow on the staircase?", "who said fine staircase"):
        assert "eve" in answer(asked, conversation=conversation)
    assert "eve" not in answer("who said submarine?", conversation=conversation)


def test_a_line_said_lately_is_not_said_again():
    """Among the lines that fit, one that stands in the prompt is passed over."""
    first = answer("is it late?")
    assert answer("is it late?", conversation=(("Reel", first),)) != first


def test_a_film_night_does_not_repeat_itself():
    """Asked all that is asked in the film night, it repeats itself at most twice."""
    asked = [
        (event.payload["username"], event.payload["msg"])
        for event in film_night()
        if event.name == "pm" or re.search(r"\breel\b", event.body().decode(), re.IGNORECASE)
        if event.name in ("chatMsg", "pm")
    ]
    conversation: list[tuple[str, str]] = []
    answers = []
    for user, line in asked:
        answers.append(answer(line, asker=user, conversation=tuple(conversation[-20:])))
        conversation += [(user, line), ("Reel", answers[-1])]
    assert len(asked) > 25
    assert len(answers) - len(set(answers)) <= 2
