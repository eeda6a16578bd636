"""docs/TROUBLESHOOTING.md has an entry for whatever an operator may see, and for nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
import yaml

from docs.generate.configuration_page import all_keys
from llm_bot.config import Config
from llm_bot.decisions import Outcome
from llm_bot.response_processor import FilterReason
from tests.docs.exit_codes import EXIT_CODES
from tests.docs.markdown import ROOT
from tests.unit.test_spec import logged_events

PAGE = (ROOT / "docs" / "TROUBLESHOOTING.md").read_text(encoding="utf-8")
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
CLIENT = ROOT / "llm_bot" / "llm_client"
SERIOUS = {"warning", "error", "critical"}
KILLED = 137  # the shell's word for a process that SIGKILL ended

# Raised only within the client, or the base of others.
INNER_CODES = {"llm_error", "generation"}


def section(heading: str) -> str:
    """What stands under a heading, up to the next of the same level."""
    level = heading.count("#")
    _, found, rest = PAGE.partition(f"\n{heading}\n")
    assert found, f"no heading {heading!r}"
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def entries(text: str) -> list[str]:
    """The words in code marks of the first cells of tables."""
    rows = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", text, re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row)]


def test_each_outcome_has_its_entry():
    """In the order of the code: what it means and what to change."""
    told = section("## Decisions").partition("\n### ")[0]
    assert entries(told) == [outcome.value for outcome in Outcome]


def test_each_reason_of_a_filter_has_its_entry():
    """The closed set that is the detail of `filtered`."""
    assert entries(section("### Filtered answers")) == [reason.value for reason in FilterReason]


def test_each_serious_log_event_has_its_entry():
    """Everything that is logged at WARNING or above, and nothing that isn't."""
    serious = {name for name, levels in logged_events().items() if levels & SERIOUS}
    told = entries(section("## Log events"))
    assert len(told) == len(set(told))
    assert set(told) == serious | {"log.failed"}


def codes() -> Iterator[str]:
    """The codes of the client's errors."""
    for path in CLIENT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(keywords=keywords):
                    for each in keywords:
                        if each.arg == "code" and isinstance(each.value, ast.Constant):
                            yield str(each.value.value)
                case ast.Assign(
                    targets=[ast.Name(id="default_code")], value=ast.Constant(value=str(code))
                ):
                    yield code


def test_each_code_of_the_model_s_errors_has_its_entry():
    """What `llm.failed` gives as `code`."""
    told = set(entries(section("### The model does not answer")))
    assert set(codes()) - INNER_CODES <= told
    sources = "".join(path.read_text(encoding="utf-8") for path in CLIENT.rglob("*.py"))
    assert not {code for code in told if f'"{code}"' not in sources}


def test_each_exit_code_has_its_entry():
    """Those of the program, and that of a process that was killed."""
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", section("## Exit codes"), re.M)}
    assert told == EXIT_CODES | {KILLED}


def test_each_alert_has_its_entry():
    """One heading for each alert of the rules, in their order, to which its runbook leads."""
    text = RULES.read_text(encoding="utf-8")
    rules = yaml.safe_load(text)
    alerts = [
        rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule
    ]
    assert re.findall(r"^### (.+)$", section("## Alerts"), re.MULTILINE) == alerts
    led_to = set(re.findall(r"docs/TROUBLESHOOTING\.md#([\w-]+)", text))
    assert led_to == {alert.lower() for alert in alerts}


def named_settings() -> set[str]:
    """Whatever looks like a key of a section, but for log events."""
    sections = "|".join(sorted(Config.model_fields))
    return set(re.findall(rf"`((?:{sections})\.[a-z_.]+)`", PAGE)) - set(logged_events())


@pytest.mark.parametrize("path", sorted(named_settings()))
def test_each_setting_that_is_named_exists(path):
    """A key that is to be changed is one of the configuration."""
    sections = {key.path.rpartition(".")[0] for key in all_keys()} | {"llm_api.fallbacks"}
    assert path in {key.path for key in all_keys()} | sections
