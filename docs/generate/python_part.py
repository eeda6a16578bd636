"""The part of docs/API.md about what can be imported."""

from __future__ import annotations

from collections.abc import Iterator

from docs.generate.markdown import fenced
from docs.generate.python_source import Described, describe, exported, homes

AGENTS, EVALUATION, CLIENT, STREAM = (
    "llm_bot.agents",
    "llm_bot.evaluation",
    "llm_bot.llm_client",
    "llm_bot.insights.stream_buffer",
)

SURFACES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        CLIENT,
        "The client for model servers: knows nothing of the bot, can be used without it."
        " [How it behaves](../spec/spec-model-client.md).",
        (),
    ),
    (
        "llm_bot.bus",
        "One interface over NATS, Redis and memory."
        " [What differs](../spec/spec-bus.md#three-buses).",
        (
            "llm_bot.ports.Event",
            "llm_bot.ports.Handler",
            "llm_bot.ports.Body",
            "llm_bot.ports.Subscription",
            "llm_bot.ports.Bus",
            "llm_bot.bus.memory.EventBus",
            "llm_bot.bus.redis.RedisEventBus",
            "llm_bot.nats_client.client.NatsBus",
        ),
    ),
    (EVALUATION, "Measures of a reply, each from 0 to 1.", ()),
    (
        AGENTS,
        "Who acts on what was decided, and the shapes of what they are told. `AgentRegistry` and"
        " `process_message` are for programs that put agents together: the daemon needs neither.",
        (),
    ),
    (STREAM, "What was said in a room and what was observed about it: two tracks.", ()),
)
"""Each module with its names; none named: those of its `__all__`."""


def python_part() -> Iterator[str]:
    """The paragraphs of the part."""
    yield (
        "## Python\n\nWhat other programs may import. Everything else is the daemon's own and"
        " changes without notice."
    )
    for module, what, named in SURFACES:
        yield f"### `{module}`\n\n{what}"
        for place in named or _all_of(module):
            home, _, name = place.rpartition(".")
            yield from _entry(module, home, describe(home, name))


def _all_of(module: str) -> Iterator[str]:
    known = homes(module)
    for name in sorted(exported(module), key=str.lower):
        yield f"{known.get(name, module)}.{name}"


def _entry(module: str, home: str, described: Described) -> Iterator[str]:
    lines = [described.signature, *(f"    {each.signature}" for each in described.members)]
    if module not in (AGENTS, CLIENT, EVALUATION, STREAM):  # these give on what they have
        lines.insert(0, f"# {home}")
    yield fenced("python", "\n".join(lines))
    yield described.what
    members = [each for each in described.members if each.what]
    if members:
        yield "\n".join(f"- `{_short(each.signature)}`: {each.what}" for each in members)


def _short(signature: str) -> str:
    return signature.removeprefix("await ").partition("(")[0].partition(":")[0]
