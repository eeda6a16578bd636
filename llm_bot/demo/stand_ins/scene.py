"""The stand-in's wits: it reads the prompt of `llm_api.user_prompt_template`'s default, and answers
with a line of `lines.yaml`. Pure and deterministic."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Formatter
from typing import Any

import yaml

_TABLE = yaml.safe_load((resources.files("llm_bot.demo") / "lines.yaml").read_text("utf-8"))
SHAPES: Mapping[str, Mapping[str, Sequence[str]]] = _TABLE["shapes"]
DULL_WORDS = frozenset(_TABLE["dull"].split())

_CONVERSATION = re.compile(r"<<<(\w+)\n(.*)\n\1>>>", re.DOTALL)
_TITLE = re.compile(r"^On the screen: (?!nothing$)(.+)$", re.MULTILINE)
_QUESTION = re.compile(r"^(\S+) says to you: (.*)$", re.MULTILINE)
_OWN_NAME = re.compile(r"^Your name in the chat is (\S+)\.", re.MULTILINE)
_SPOKEN = re.compile(r"^(\S+): (.+)$", re.MULTILINE)
_COMMAND = re.compile(r"(?<!\S)/[a-z]\w*(?:\s+[\w-]+)?", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{4,}")


@dataclass(frozen=True, slots=True)
class Scene:
    """What the stand-in understood of a prompt; empty is what it didn't find."""

    line: str
    asker: str
    title: str
    conversation: tuple[tuple[str, str], ...]
    prompt: str


def read_scene(messages: Sequence[Mapping[str, Any]]) -> Scene:
    """Who asks what, about which film, after which conversation."""
    system, prompt = str(messages[0]["content"]), str(messages[-1]["content"])
    said = _CONVERSATION.search(prompt)
    facts = prompt[said.end() :] if said else prompt
    asked = _QUESTION.search(facts)
    title, own_name = _TITLE.search(facts), _OWN_NAME.search(system)
    line = asked[2] if asked else facts.strip()
    if own_name:
        line = re.sub(rf"@?\b{re.escape(own_name[1])}\b[:,]?", " ", line, flags=re.IGNORECASE)
    return Scene(
        line=line.strip(),
        asker=asked[1] if asked else "",
        title=title[1] if title else "",
        conversation=tuple(_SPOKEN.findall(said[2])) if said else (),
        prompt=prompt,
    )


def shape_of(line: str) -> str:
    """The name of the first shape that `line`, without the bot's name, has."""
    return next(
        name
        for name, shape in SHAPES.items()
        if any(re.search(pattern, line, re.IGNORECASE) for pattern in shape["patterns"])
    )


def answer_to(body: Mapping[str, Any]) -> str:
    """The stand-in's answer to a chat completion request: the same request, the same answer.

    Of the lines that fit it takes one that wasn't said lately.
    """
    scene = read_scene(body["messages"])
    name = shape_of(scene.line)
    shape, fields = SHAPES[name], _fields(scene)
    usable = [line for line in shape["lines"] if _names(line) <= fields.keys()]
    usable = usable or list(shape.get("otherwise", ["Quite so."]))
    seed = f"{name}\n{scene.asker}\n{scene.line}".encode("utf-8", "surrogatepass")
    start = int.from_bytes(hashlib.sha256(seed).digest()[:8]) % len(usable)
    ordered = usable[start:] + usable[:start]
    fresh = (line for line in ordered if _longest_text(line) not in scene.prompt)
    return next(fresh, ordered[0]).format(**fields)


def _fields(scene: Scene) -> dict[str, str]:
    """What a line may name, as far as it is known."""
    others = [name for name, _ in scene.conversation if name.lower() != scene.asker.lower()]
    words = _words(scene.line)
    command = _COMMAND.search(scene.line)
    fields = {
        "asker": scene.asker,
        "title": scene.title,
        "film": re.sub(r"\s*\(\d{4}\)$", "", scene.title),
        "word": max(words, key=len, default=""),
        "other": others[-1] if others else "",
        "speaker": _speaker_of(scene),
        "command": command[0] if command else "",
    }
    return {name: value for name, value in fields.items() if value}


def _speaker_of(scene: Scene) -> str:
    """Whose line shares most words with the question, the latest of them."""
    asked = set(_words(scene.line))
    best, most = "", 1
    for name, text in scene.conversation:
        shared = len(asked.intersection(_words(text)))
        if shared >= most and name.lower() != scene.asker.lower():
            best, most = name, shared
    return best


def _words(text: str) -> list[str]:
    found = (word.lower() for word in _WORD.findall(text))
    return [word for word in found if word not in DULL_WORDS]


def _names(line: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(line) if name}


def _longest_text(line: str) -> str:
    return max((text for text, *_ in Formatter().parse(line)), key=len)
