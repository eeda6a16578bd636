"""The part of docs/API.md about HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator

from docs.generate.evening import Evening
from docs.generate.markdown import fenced, json_block, table

# Who may ask.
TOKEN, OPEN = "token", "open"

ROUTES: tuple[tuple[str, str, str, str], ...] = (
    ("GET", "/health", OPEN, "How it is: always 200 while the process runs."),
    ("GET", "/ready", OPEN, "The same JSON; 503 unless connected and every room is heard."),
    ("GET", "/metrics", OPEN, "Prometheus' text, or OpenMetrics where `Accept` asks for it."),
    ("GET", "/decisions", TOKEN, "What was decided about the latest lines, newest first."),
    (
        "GET",
        "/",
        TOKEN,
        "The live page, with `health.dashboard`; a form where the token is missing.",
    ),
    ("GET", "/events", TOKEN, "What the live page shows, as server-sent events."),
    ("GET", "/static/{name}", OPEN, "The page's own files."),
    ("POST", "/login", OPEN, "The form: exchanges the field `token` for a session's cookie."),
    ("POST", "/logout", OPEN, "Ends the session."),
    ("POST", "/demo/say", TOKEN, '`{"user", "text", "pm"}`: a person of the demo says something.'),
    ("POST", "/demo/media", TOKEN, '`{"title"}`: another film begins.'),
    ("POST", "/demo/flood", TOKEN, "`{}`: a crowd names the bot at once."),
    ("POST", "/demo/mute", TOKEN, '`{"on"}`: the chat server mutes the bot, or no longer.'),
    ("POST", "/demo/model", TOKEN, '`{"mode"}`: `ok`, `timeout`, `500` or `429`.'),
    ("POST", "/demo/speed", TOKEN, '`{"speed"}`: how fast the film is played.'),
)
"""Method, path, who may, what; a test holds them to the code."""

_SAMPLES = re.compile(
    r"^(?:# (?:HELP|TYPE) )?llm_bot_(?:responses_sent_total|reply_queue_depth)\b.*$", re.MULTILINE
)

INTRODUCTION = """\
## HTTP

At `health.host` and `health.port`, by default `http://127.0.0.1:8080`. Nothing is cached. What
is marked *token* is open to this machine alone, called by a name of this machine and past no
proxy; everybody else sends `Authorization: Bearer TOKEN` with the `health.token` (without one
configured: 403; wrong or missing: 401; after ten wrong ones in a minute: 429). Requests that a
page of another site makes are refused with 403. The routes of the live page are there with
`health.dashboard: true`, those of `/demo` in `llm-bot demo` alone; they answer 204, or 400 with
an `error`. The answers below are those of a real bot."""

HEALTH = """\
### `/health` and `/ready`

`status` is `healthy` when ready, the last model request got an answer and no provider has a
problem (`provider_problems`), else `degraded`. `provider_quirks` is what servers refuse and
aren't sent any more. A room is `active`, `silent`, `muted` or `disabled`; a provider `up`,
`down` or `cooling`. What came of a question about a room: `not_yet`, `answered`, `no_answer`,
`not_stored`, `bad_answer`, `failed`. [More](../spec/spec-observability.md#health)."""

DECISIONS = """\
### `/decisions`

`channel`, `user`, `outcome`, `id` (a correlation id) and `limit` (50, at most 1000) restrict it.
`outcome` is null while a reply is under way; [what each means](TROUBLESHOOTING.md#decisions).
With `logging.content: full` each has its `text`, too."""

EVENTS = """\
### `/events`

Server-sent events, each with JSON. With the header `Last-Event-ID`, or `?after=ID`, it goes on
where a reader was; `lost` says how many events it missed. At most 20 readers, else 503. A line
is what `/decisions` says of it and how it is shown."""

KINDS = {
    "hello": "first, and anew where a reader had to begin again",
    "state": "rooms, limits and providers, once a second",
    "line": "a line was decided about",
    "decision": "the end of a reply that was under way: `id` is the line's",
    "insight": "an observation",
}


def http_part(evening: Evening) -> Iterator[str]:
    """The paragraphs of the part."""
    yield INTRODUCTION
    rows = [(f"`{method} {path}`", who, what) for method, path, who, what in ROUTES]
    yield table(("route", "for whom", "what"), rows)
    yield HEALTH
    yield json_block(evening.pages["/health"][1])
    yield DECISIONS
    yield from _example(evening, "/decisions?limit=2&user=alice", keep=1)
    yield from _example(evening, "/decisions?outcome=nonsense")
    samples = "\n".join(found[0] for found in _SAMPLES.finditer(evening.pages["/metrics"][1]))
    yield "### `/metrics`\n\n[All of them](#metrics) with their labels. Some lines:"
    yield fenced("text", samples)
    yield EVENTS
    yield table(("event", "when"), ((f"`{kind}`", when) for kind, when in KINDS.items()))
    for kind in KINDS:
        yield f"`{kind}`:\n\n{json_block(_shortened(evening.live[kind]))}"


def _example(evening: Evening, path: str, *, keep: int | None = None) -> Iterator[str]:
    status, body = evening.pages[path]
    if keep is not None:
        body = {name: value[-keep:] for name, value in body.items()}
    yield f"`GET {path}` answers {status}:"
    yield json_block(body)


def _shortened(value: object) -> object:
    """Long lists by their first entries: the others have the same form."""
    match value:
        case dict():
            return {name: _shortened(each) for name, each in value.items()}
        case list() if value and isinstance(value[0], dict):
            return [_shortened(each) for each in value[:2]]
        case _:
            return value
