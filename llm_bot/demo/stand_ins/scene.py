"""Reading a chat prompt as tolerantly as a model would, and answering it: the stand-in's wits.

Pure and deterministic. Nothing here relies on the exact words of a template, only on habits that
templates share: a conversation of `name: text` lines, labelled facts, the line to answer last.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from llm_bot.demo.stand_ins.lines import LINES, shape_of

FALLBACK_COMMAND = "/kick bob"
PARTICIPATION_TOKENS = 5  # nobody asks for so few tokens but to hear "yes" or "no"

_SPEAKER = re.compile(r"^\s*(?:\[[\d: ]+\]\s*)?<?([\w-]{1,50})(?:>:?|\s*:)\s+(\S.*)$")
_SAYS = re.compile(
    r"^\s*<?([\w-]{1,50})>? (?:says|said|asks|asked|writes|wrote|whispers)\b[^:]{0,40}:\s*(\S.*)$"
)
_LABEL = re.compile(r"^\s*(?:the\s+)?(?:line|message|question)\b[^:]{0,60}:\s*", re.IGNORECASE)
_LINES_AFTER = 2  # of instruction, that a template may have below the line to answer
_TITLE = re.compile(
    r"(?:\b(?:now|currently) playing|\bon (?:the )?screen)\b[^:\n]{0,20}:\s*"
    r"(?:\"([^\"\n]+)\"|([^\n]+))",
    re.IGNORECASE,
)
_ASKER = re.compile(
    r"(?:who asked|asked by|asker|asking|written by|said by|line of|message from|line from)\b"
    r"\s*(?:is\b)?\s*[:=]?\s*[\"<]?([\w-]{1,50})",
    re.IGNORECASE,
)
_BOT_NAMES = (
    re.compile(r"\b[Yy]our (?:nick|user)?name\b[^.\n]{0,40}? is [\"'@]?([\w-]+)"),
    re.compile(r"\b(?:called|named|known as|go by) [\"'@]?([\w-]+)"),
    re.compile(r"\b[Yy]ou are [\"'@]?([A-Z0-9][\w-]*)"),  # "you are friendly" names nobody
)
_YES_OR_NO_ONLY = re.compile(
    r"\b(?:only|just|one word)\b.{0,60}\byes\b.{0,12}\bno\b"
    r"|\byes\b.{0,12}\bno\b.{0,60}\b(?:only|nothing else|one word)\b",
    re.IGNORECASE | re.DOTALL,
)
_COMMAND = re.compile(r"(?<!\S)/[a-z]\w*(?:\s+[\w-]+)?", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{4,}")
_NO_TITLE = re.compile(r"\W*(?:nothing|none|null|unknown|not known)\b|\W*$", re.IGNORECASE)
_NO_SPEAKER = frozenset({"asked", "asker", "channel", "playing", "room", "user", "who", "title"})
_DULL = (
    "about also always another anything because been could does doing ever everyone from give good"
    " have here hello into just know like little make many more much nearly next once only other"
    " please quickly really recommend said same should some something tell than thank thanks that"
    " their them then there these they thing think this those very want were what whats when where"
    " which while will with would your yours"
)
_DULL_WORDS = frozenset(_DULL.split())


@dataclass(frozen=True, slots=True)
class Scene:
    """What the stand-in understood of a prompt. `None` stands for what it didn't find."""

    line: str
    asker: str | None
    bot: str | None
    title: str | None
    conversation: tuple[tuple[str, str], ...]
    text: str


def text_of(message: object) -> str:
    """The text of a chat message, whose content may be a text or a list of parts."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, Mapping))
    return "\n".join(part for part in parts if isinstance(part, str))


def read_scene(messages: Sequence[object]) -> Scene:
    """Who asks what, about which film, after which conversation."""
    system = "\n".join(text_of(m) for m in messages if _role(m) in ("system", "developer"))
    asked = next((text_of(m) for m in reversed(messages) if _role(m) == "user"), "")
    lines = [line for line in asked.split("\n") if line.strip()]
    bot = next((m[1] for pattern in _BOT_NAMES if (m := pattern.search(system))), None)
    index = _index_of_question(lines, bot)
    asker, line = _question(lines[index], bot) if lines else (None, "")
    labelled = _ASKER.search("\n".join(lines[:index]))
    return Scene(
        line=_without_name(line, bot),
        asker=asker or (labelled[1] if labelled else None),
        bot=bot,
        title=_title_in("\n".join(lines[:index])),
        conversation=tuple(_spoken(lines[:index])),
        text=asked,
    )


def _index_of_question(lines: Sequence[str], bot: str | None) -> int:
    """Where the line to answer stands: last, unless an instruction follows it."""
    last = len(lines) - 1
    if not lines or _LABEL.match(lines[last]) or _question(lines[last], bot)[0]:
        return last
    nearest = range(last, max(-1, last - _LINES_AFTER - 1), -1)
    return next((index for index in nearest if _SAYS.match(lines[index])), last)


def _question(line: str, bot: str | None) -> tuple[str | None, str]:
    """Who speaks, if the line says so, and what."""
    text = _LABEL.sub("", line).strip(" \"'")
    speaker = _SAYS.match(text) or _SPEAKER.match(text)
    if speaker and not _is_same(speaker[1], bot):
        return speaker[1], speaker[2]
    return None, text


def _role(message: object) -> object:
    return message.get("role") if isinstance(message, Mapping) else None


def _is_same(name: str, other: str | None) -> bool:
    return other is not None and name.lower() == other.lower()


def _without_name(line: str, bot: str | None) -> str:
    if bot is None:
        return line
    return re.sub(rf"@?\b{re.escape(bot)}\b[:,]?", " ", line, flags=re.IGNORECASE).strip()


def _title_in(text: str) -> str | None:
    """The last one named: the facts stand after the chat, which may name others."""
    found = list(_TITLE.finditer(text))
    title = (found[-1][1] or found[-1][2]).strip(" .\"'") if found else ""
    return None if _NO_TITLE.match(title) else title


def _spoken(lines: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [(match[1], match[2]) for line in lines if (match := _SPEAKER.match(line))]
    return [(name, text) for name, text in pairs if name.lower() not in _NO_SPEAKER]


def answer_to(body: Mapping[str, Any]) -> str:
    """The stand-in's answer to a chat completion request. The same request, the same answer."""
    messages = body["messages"]
    scene = read_scene(messages)
    if _wants_yes_or_no(body):
        return "yes" if _number(scene.text) % 2 else "no"
    shape = shape_of(scene.line)
    if shape == "slash":
        return _command_in(scene.line)
    return _compose(_refined(shape, scene), scene)


def _wants_yes_or_no(body: Mapping[str, Any]) -> bool:
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    if isinstance(limit, int) and limit <= PARTICIPATION_TOKENS:
        return True
    system = [text_of(m) for m in body["messages"] if _role(m) in ("system", "developer")]
    return _YES_OR_NO_ONLY.search("\n".join(system)) is not None


def _command_in(line: str) -> str:
    """A gullible model says what it is told to: that is what the guard is for."""
    found = _COMMAND.search(line)
    return found[0] if found else FALLBACK_COMMAND


def _refined(shape: str, scene: Scene) -> str:
    if shape == "playing" and scene.title is None:
        return "playing_unknown"
    if shape == "who_said" and _speaker_of(scene) is not None:
        return "who_said_found"
    return shape


def _speaker_of(scene: Scene) -> str | None:
    """Whose line shares most words with the question, the latest of them."""
    asked = set(_words(scene.line))
    best, best_count = None, 0
    for name, text in scene.conversation:
        count = len(asked & set(_words(text)))
        if count >= max(best_count, 1) and not _is_same(name, scene.asker):
            best, best_count = name, count
    return best


def _words(text: str) -> list[str]:
    found = (word.lower() for word in _WORD.findall(text))
    return [word for word in found if word not in _DULL_WORDS]


def _compose(shape: str, scene: Scene) -> str:
    """A line of that shape whose fields are all known, and that wasn't said lately."""
    fields = _fields(shape, scene)
    usable = [line for line in LINES[shape] if _field_names(line) <= fields.keys()]
    usable = usable or ["Quite so."]
    start = _number(f"{shape}\n{scene.asker}\n{scene.line}") % len(usable)
    ordered = usable[start:] + usable[:start]
    fresh = (line for line in ordered if _longest_constant(line) not in scene.text)
    return next(fresh, ordered[0]).format(**fields)


def _fields(shape: str, scene: Scene) -> dict[str, str]:
    others = [
        name
        for name, _ in scene.conversation
        if not _is_same(name, scene.asker) and not _is_same(name, scene.bot)
    ]
    found = _speaker_of(scene) if shape == "who_said_found" else None
    spoken_to = {word for name in (scene.asker, scene.bot) if name for word in _words(name)}
    words = [word for word in _words(scene.line) if word not in spoken_to]
    fields = {
        "asker": scene.asker,
        "title": scene.title,
        "film": re.sub(r"\s*\(\d{4}\)$", "", scene.title) if scene.title else None,
        "word": max(words, key=len) if words else None,
        "other": found or (others[-1] if others else None),
    }
    return {name: value for name, value in fields.items() if value}


def _field_names(line: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(line) if name}


def _longest_constant(line: str) -> str:
    return max((text for text, *_ in Formatter().parse(line)), key=len)


def _number(text: str) -> int:
    """Stable from run to run, unlike `hash`."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8])
