"""The pages of spec/ are true of the code, as far as a test can tell."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_bot.app import App
from llm_bot.bus import EventBus
from llm_bot.config import Config, resolve_room
from llm_bot.decisions import Outcome
from llm_bot.llm_client import Attempt, AttemptStatus, LLMResponse, Usage
from llm_bot.observability.metrics import Metrics
from llm_bot.ports import SystemClock
from llm_bot.rate_limiter import RateLimiter
from llm_bot.room import Room
from llm_bot.room.tally import RoomTally, Tally
from llm_bot.runtime.room_service import RoomService
from llm_bot.runtime.room_sync import RoomSync
from llm_bot.wire import DropReason
from tests.unit import builders

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "spec").glob("*.md"))
RULE = re.compile(r"^- \*\*([A-Z]+-\d+)\*\* ", re.MULTILINE)
LEVELS = {"debug", "info", "warning", "error", "critical"}


def page(name: str) -> str:
    return (ROOT / "spec" / name).read_text()


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next of the same or a higher level."""
    level = heading.count("#")
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"no heading {heading!r}"
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def cells(text: str) -> list[list[str]]:
    """The rows of the first table in `text`, without its heading."""
    lines = text.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("|--"))
    found = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def bare(cell: str) -> str:
    return cell.strip("`")


CONFIG = Config.model_validate(
    {
        "nats": {"servers": ["nats://localhost:4222"]},
        "channels": [{"name": "lounge"}],
        "bot": {"username": "MyBot"},
        "llm_api": {"provider": "ollama", "base_url": "http://localhost:11434", "model": "m"},
    }
)


# --- rules ---


def test_every_rule_has_a_number_of_its_own():
    """No rule is given twice, over all pages."""
    rules = [rule for path in PAGES for rule in RULE.findall(path.read_text())]
    assert rules
    assert not {rule for rule in rules if rules.count(rule) > 1}


def rules() -> set[str]:
    return {rule for path in PAGES for rule in RULE.findall(path.read_text())}


def citations(path: Path) -> set[str]:
    """Whatever looks like the number of a rule of spec/."""
    families = {rule.partition("-")[0] for rule in rules()}
    return set(re.findall(rf"\b(?:{'|'.join(sorted(families))})-\d+\b", path.read_text()))


def test_whatever_cites_a_rule_cites_one_that_exists():
    """Code, tests and pages cite rules by number; a number without its rule is a mistake."""
    places = [*PAGES, *(ROOT / "llm_bot").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    unknown = {
        f"{path.relative_to(ROOT)}: {rule}" for path in places for rule in citations(path) - rules()
    }
    assert not unknown


def test_every_rule_is_cited_by_a_test():
    """Whoever changes a rule finds its tests by its number; one that no test cites has none."""
    tests = set((ROOT / "tests").rglob("test_*.py"))
    cited = {rule for path in tests for rule in citations(path)}
    uncited = sorted(rules() - cited)
    assert not uncited, f"no test cites {', '.join(uncited)}"


# --- closed sets ---


def test_the_outcomes_are_those_of_the_code():
    """Every outcome is explained, and every one that is explained exists."""
    table = section(page("spec-triggers-ratelimiting.md"), "## Outcomes")
    assert [bare(row[0]) for row in cells(table)] == [outcome.value for outcome in Outcome]


def test_the_reasons_of_a_drop_are_those_of_the_code():
    """Every reason is explained, and every one that is explained exists."""
    text = page("spec-data-contracts.md").partition("Reasons of a drop")[2]
    assert [bare(row[0]) for row in cells(text)] == [reason.value for reason in DropReason]


# --- metrics ---


def exercised_metrics() -> Metrics:
    """Metrics of one room in which everything has happened once."""
    room = Room(resolve_room(CONFIG, CONFIG.channels[0]), secrets=())
    tally = room.tally
    assert isinstance(tally, RoomTally)
    for counter in (tally.events, tally.decisions, tally.triggers_evaluated, tally.triggers_fired):
        counter["x"] += 1
    for counter in (tally.sent, tally.filtered, tally.deliveries, tally.insights):
        counter["x"] += 1
    tally.triggers_suppressed["x", "y"] += 1
    metrics = Metrics(
        rooms=lambda: [room],
        tally=Tally(),
        bus=EventBus(),
        limiter=RateLimiter(),
        clock=SystemClock(),
        outbound_depth=lambda: 0,
    )
    attempt = Attempt("openai", "m", 200, None, 0.1, AttemptStatus.SUCCESS)
    metrics.note_attempt(attempt)
    metrics.note_attempt(replace(attempt, is_retry=True))
    metrics.note_attempt(replace(attempt, is_fallback=True))
    usage = Usage(prompt_tokens=1, completion_tokens=1)
    metrics.note_response(
        LLMResponse("hi", provider="openai", usage=usage, attempt_log=(attempt, attempt))
    )
    return metrics


def families(metrics: Metrics) -> Iterator[tuple[str, tuple[str, frozenset[str]]]]:
    for family in metrics.registry.collect():
        labels = frozenset(label for sample in family.samples for label in sample.labels) - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert family.samples, f"{name} was not exercised"
        yield name, (family.type, labels)


def test_the_metrics_are_those_of_the_code():
    """Names, types and labels, both ways."""
    table = cells(section(page("spec-observability.md"), "## Metrics"))
    told = {
        bare(name): (kind, frozenset(filter(None, labels.replace(" ", "").split(","))))
        for name, kind, labels, _ in table
    }
    assert dict(families(exercised_metrics())) == told


# --- log ---


def told_events() -> dict[str, set[str]]:
    table = cells(section(page("spec-observability.md"), "## Log"))
    return {bare(name): set(level.split(" or ")) for name, level, _ in table}


def logged_events() -> dict[str, set[str]]:
    """Every name that a call of a logger gives, with the levels of these calls."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "llm_bot").rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            for name, level in _logged(node, tree, path):
                found.setdefault(name, set()).add(level)
    return found


def _logged(node: ast.AST, tree: ast.Module, path: Path) -> Iterator[tuple[str, str]]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    owner, method = node.func.value, node.func.attr
    if not isinstance(owner, ast.Name) or owner.id != "log":
        return
    if method == "log":
        yield from zip(
            _texts(node.args[1], tree), map(str.lower, _names(node.args[0])), strict=True
        )
    elif method in LEVELS | {"exception"}:
        names = list(_texts(node.args[0], tree))
        assert names, f"{path}:{node.lineno}: which event this logs can't be read"
        level = "error" if method == "exception" else method
        yield from ((name, level) for name in names)


def _texts(node: ast.expr, tree: ast.Module) -> Iterator[str]:
    """The texts that an expression may be: a constant, a choice, a name given one of these."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=other):
            yield from (*_texts(body, tree), *_texts(other, tree))
        case ast.Name(id=name):
            for each in ast.walk(tree):
                if isinstance(each, ast.Assign) and name in _names_of(each.targets):
                    yield from _texts(each.value, tree)


def _names(node: ast.expr) -> Iterator[str]:
    """`logging.WARNING if ... else logging.ERROR` as two names, in their order."""
    match node:
        case ast.Attribute(attr=name):
            yield name
        case ast.IfExp(body=body, orelse=other):
            yield from (*_names(body), *_names(other))


def _names_of(targets: list[ast.expr]) -> set[str]:
    return {target.id for target in targets if isinstance(target, ast.Name)}


def test_the_log_events_are_those_of_the_code():
    """Names and levels, both ways. `log.failed` is what the formatter itself says."""
    told = told_events()
    assert told.pop("log.failed") == {"any"}
    formatters = ROOT / "llm_bot" / "logging_config" / "formatters.py"
    assert '"msg": "log.failed"' in formatters.read_text()
    assert logged_events() == told


# --- health ---


def shape(value: Any) -> Any:
    """Keys all the way down, where they are fixed."""
    return {key: shape(inner) for key, inner in value.items()} if isinstance(value, dict) else None


async def test_the_health_of_the_page_is_that_of_the_code():
    """The same keys at every depth, but for the names of rooms (OBS-10) and providers."""
    text = section(page("spec-observability.md"), "## Health")
    (block,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    told = json.loads(block)
    bus = EventBus()
    status = App(CONFIG, stop=asyncio.Event(), bus=bus).status.read()
    (room,) = told["rooms"].values()
    assert shape(introduction(bus).status()) == shape(room)
    for each in (told, status):
        each["channels"] = each["providers"] = each["rooms"] = None
    assert shape(status) == shape(told)


def introduction(bus: EventBus) -> RoomSync:
    """Of a room of which nothing is known."""
    room = Room(resolve_room(CONFIG, CONFIG.channels[0]), secrets=())
    return RoomService(room, builders.shared(bus)).sync
