"""Rules and dashboard hold against promtool, and against a Prometheus that scrapes a daemon."""

from __future__ import annotations

import asyncio
import json
import math
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)

from deploy.grafana import build
from tests.daemon import Daemon, Peer, settings
from tests.deploy.prometheus import DEPLOYED, Prometheus, Sample
from tests.deploy.promql import recorded, selectors
from tests.servers import LOOPBACK, NatsServer, eventually
from tests.unit.llm_client.scripted_server import Answer, ScriptedServer, chat

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SEEN_SECONDS = 90.0
ROOM = "RigRoom"

needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="no prometheus here: apt-get install prometheus",
)

GROUPS = yaml.safe_load((DEPLOYED / "rules.yml").read_text(encoding="utf-8"))["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
PANELS = build.dashboard()["panels"]
QUESTIONS = [target["expr"] for panel in PANELS for target in panel.get("targets", [])]
VARIABLES = {
    "$__rate_interval": "1m",
    "$__range": "1m",
    "$instance": ".+",
    "$channel": ".+",
}


# --- the files ---


def promtool(
    *arguments: str, directory: Path = DEPLOYED, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """What it says, all of it on its output."""
    return subprocess.run(
        ["promtool", *arguments],
        cwd=directory,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


@needs_prometheus
@pytest.mark.parametrize(
    "arguments",
    ["check config prometheus.yml", "check rules rules.yml", "test rules rules_test.yml"],
)
def test_promtool_finds_nothing(arguments):
    """Configuration and rules are such as Prometheus takes, and alerts fire when they should."""
    done = promtool(*arguments.split())
    assert done.returncode == 0, done.stdout
    assert "SUCCESS" in done.stdout


@needs_prometheus
def test_the_tests_of_the_alerts_can_fail(tmp_path):
    """An alert that never fires is noticed: here none does, and each is missed by name."""
    shutil.copy(DEPLOYED / "rules_test.yml", tmp_path)
    rules = yaml.safe_load((DEPLOYED / "rules.yml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["expr"] = "vector(1) > 2"
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    done = promtool("test", "rules", "rules_test.yml", directory=tmp_path)
    assert done.returncode != 0
    expected = re.findall(r"^ *exp:.*$", done.stdout, re.MULTILINE)
    missed = {name for line in expected for name in re.findall(r'alertname="(\w+)"', line)}
    assert missed == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alert_is_whole(rule):
    """A severity, words for whoever is called, and one line of what to do."""
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"].endswith(
        f"docs/TROUBLESHOOTING.md#{rule['alert'].lower()}"
    )


def test_recorded_names_are_used_and_exist():
    """No recording rule without a reader, and none that is read and not there."""
    there = {rule["record"] for rule in RULES if "record" in rule}
    read = {name for rule in ALERTS for name in recorded(rule["expr"])}
    assert read == there


# --- against the real ones ---


@dataclass
class Observed:
    """What a Prometheus knew of a daemon to which everything had happened.

    `plain` and `openmetrics` are the daemon's own words; `metrics` are the samples of the first.
    """

    plain: str
    openmetrics: str
    metrics: dict[str, list[Sample]]
    up: list[Sample]
    answers: dict[str, list[Sample]]
    choices: dict[str, list[str]]
    groups: list[dict[str, Any]]
    alerts: list[dict[str, Any]]
    units: dict[str, str]
    names: set[str]


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, nats_server: NatsServer) -> Observed:
    return asyncio.run(_observe(tmp_path_factory.mktemp("monitoring"), nats_server))


async def _observe(directory: Path, nats_server: NatsServer) -> Observed:
    async with ScriptedServer() as model, ScriptedServer() as second:
        whole = _configuration(nats_server, model, second)
        async with (
            Daemon(directory, whole) as daemon,
            Peer(nats_server.url, channel=ROOM) as peer,
        ):
            prometheus = Prometheus(f"{LOOPBACK}:{daemon.port}")
            try:
                # Growth is what lies between two scrapes, so everything happens twice: first while
                # Prometheus starts, which looks at its targets only after five seconds.
                await asyncio.gather(
                    asyncio.to_thread(prometheus.start), _live(1, daemon, peer, model, second)
                )
                await _seen(prometheus, 1, daemon, whole)
                await _live(2, daemon, peer, model, second)
                await _seen(prometheus, 2, daemon, whole)
                return _look(prometheus, daemon)
            finally:
                prometheus.remove()


def _configuration(
    nats_server: NatsServer, model: ScriptedServer, second: ScriptedServer
) -> dict[str, Any]:
    """Two providers, a limit that is soon reached, and ticks that never ask the model."""
    whole = settings(
        nats=nats_server.url,
        model=model.url,
        rooms=(ROOM,),
        rate_limits={"max_per_user_per_minute": 1},
        replies={"confirm_seconds": 5},
        triggers=[
            {"type": "mention"},
            {"type": "pm"},
            {
                "type": "contextual",
                "enabled": True,
                "evaluation_interval_seconds": 0.3,
                "min_messages_since_last_bot_message": 1000,
            },
        ],
    )
    whole["llm_api"] |= {
        "retry_attempts": 1,
        "retry_delay_seconds": 0.01,
        "fallbacks": [{"provider": "ollama", "base_url": second.url, "model": "tiny"}],
    }
    return whole


async def _live(
    turn: int, daemon: Daemon, peer: Peer, model: ScriptedServer, second: ScriptedServer
) -> None:
    """A retry, an answer; a failed provider and its fallback; a filtered answer; a refusal by a
    limit; a private answer; something that is no line. The room shows what was said."""
    said = f"of turn {turn}"
    model.script(
        Answer(503), chat(f"Alien came out in 1979, {said}."), Answer(503), Answer(503), chat("ok")
    )
    second.script(chat(f"Aliens followed in 1986, {said}."))
    already = len(peer.said)
    questions = {"alice": "when did Alien come out?", "bob": "and when did Aliens follow?"}
    for number, (user, question) in enumerate(questions.items(), already + 1):
        await peer.say(f"{user}{turn}", f"RigBot: {question}")
        await peer.hears(number)
        await peer.say("RigBot", peer.texts[-1])
    await peer.say(f"carol{turn}", "RigBot: is it good?")
    await _reaches(partial(daemon.metric, "responses_filtered_total"), turn)
    await peer.say(f"alice{turn}", "RigBot: and the third one?")
    await peer.publish(peer.address.event_subject("chatMsg"), b"{")
    model.script(chat(f"Nobody hears us here, {said}."))
    await peer.pm(f"dave{turn}", "what is said in private?")
    await peer.hears(already + 3)
    await peer.pm("RigBot", peer.texts[-1], to=f"dave{turn}")
    await _reaches(partial(daemon.metric, "deliveries_total", result="echoed"), 3 * turn)
    await _reaches(partial(daemon.metric, "decisions_total", outcome="user_limit"), turn)
    await _reaches(partial(daemon.metric, "events_dropped_total", reason="bad_json"), turn)
    # Ticks are five seconds apart at least, so there is one to wait for.
    await _reaches(partial(daemon.metric, "triggers_evaluated_total", trigger_type="contextual"), 1)


async def _reaches(count: Callable[[], float], most: int) -> None:
    await eventually(lambda: count() >= most, timeout=SEEN_SECONDS, what=f"{most}, only {count()}")


async def _seen(prometheus: Prometheus, turn: int, daemon: Daemon, whole: dict[str, Any]) -> None:
    """Reload, once well and then badly, and return when Prometheus has noticed all of it."""
    for text, result in ((json.dumps(whole), "ok"), ("bot: [", "failed")):
        daemon.config_path.write_text(text, encoding="utf-8")
        daemon.process.send_signal(signal.SIGHUP)
        await _reaches(partial(daemon.metric, "config_reloads_total", result=result), turn)

    def is_seen() -> bool:
        failed = prometheus.query('llm_bot_config_reloads_total{result="failed"}')
        firing = prometheus.query('ALERTS{alertname="LlmBotReloadFailed",alertstate="firing"}')
        is_up = [value for _, value in prometheus.query("up")] == [1]
        return is_up and [value for _, value in failed] == [turn] and bool(firing)

    await eventually(is_seen, timeout=SEEN_SECONDS, what=f"all of turn {turn} in Prometheus")


def _look(prometheus: Prometheus, daemon: Daemon) -> Observed:
    metadata = prometheus.ask("targets/metadata", limit="1000")
    return Observed(
        plain=daemon.get("/metrics")[2],
        openmetrics=daemon.get("/metrics", Accept=OPENMETRICS)[2],
        metrics=daemon.metrics(),
        up=prometheus.query("up"),
        answers={expr: prometheus.query(filled_in(expr)) for expr in QUESTIONS},
        choices=_choices(prometheus),
        groups=prometheus.ask("rules")["groups"],
        alerts=prometheus.ask("alerts")["alerts"],
        units={one["metric"]: one["unit"] for one in metadata},
        names=set(prometheus.ask("label/__name__/values")),
    )


def filled_in(expr: str) -> str:
    """As Grafana asks it, with all bots and rooms chosen."""
    for variable, value in VARIABLES.items():
        expr = expr.replace(variable, value)
    assert "$" not in expr
    return expr


def _choices(prometheus: Prometheus) -> dict[str, list[str]]:
    """What may be chosen of each variable of the dashboard."""
    found = {}
    for variable in build.variables()[1:]:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert match
        where, label = filled_in(match[1]), match[2]
        found[variable["name"]] = prometheus.ask(f"label/{label}/values", **{"match[]": where})
    return found


@needs_prometheus
def test_the_daemon_is_scraped(observed):
    """Up, under the name of the job that the rules ask for, and as OpenMetrics: only that has
    units."""
    ((labels, value),) = observed.up
    assert (labels["job"], value) == ("llm_bot", 1)
    assert observed.units["llm_bot_reply_duration_seconds"] == "seconds"


@needs_prometheus
def test_rules_are_well(observed):
    """Every rule is loaded and evaluated without an error."""
    loaded = [rule for group in observed.groups for rule in group["rules"]]
    assert sorted(rule["name"] for rule in loaded) == sorted(
        rule.get("record") or rule["alert"] for rule in RULES
    )
    assert {
        rule["name"]: rule.get("lastError", "") for rule in loaded if rule["health"] != "ok"
    } == {}


@needs_prometheus
def test_an_alert_fires_and_can_be_read(observed):
    """The reload that failed: at once, and with words. What has to last longer only waits, such as
    a provider that has failed for seconds."""
    firing = {
        alert["labels"]["alertname"]: alert
        for alert in observed.alerts
        if alert["state"] == "firing"
    }
    assert firing.keys() == {"LlmBotReloadFailed"}
    words = firing["LlmBotReloadFailed"]["annotations"]
    assert LOOPBACK in words["summary"]
    assert "error" not in words["summary"]


@needs_prometheus
def test_every_question_of_the_dashboard_is_answered(observed):
    """With series, and with numbers in them."""
    assert len(observed.answers) > 40
    empty = [expr for expr, found in observed.answers.items() if not found]
    assert empty == []
    for expr, found in observed.answers.items():
        assert not any(math.isnan(value) for _, value in found), (expr, found)


@needs_prometheus
def test_bots_and_rooms_can_be_chosen(observed):
    """The variables of the dashboard have values."""
    assert observed.choices["channel"] == [ROOM]
    (instance,) = observed.choices["instance"]
    assert instance.startswith(LOOPBACK)


def in_use() -> list[str]:
    return [*QUESTIONS, *(rule["expr"] for rule in RULES)]


@needs_prometheus
def test_whatever_is_asked_for_exists(observed):
    """Each metric and each value of a label in rules and dashboard is on /metrics."""
    named = [pair for expr in in_use() for pair in selectors(expr)]
    assert len(named) > 60
    for metric, matchers in named:
        if metric in ("up", "ALERTS"):
            continue
        assert metric in observed.names, metric
        samples = observed.metrics[metric]
        for label, value in matchers:
            if value.startswith("$") or label == "job":
                continue
            assert any(labels.get(label) == value for labels, _ in samples), (metric, label, value)


@needs_prometheus
def test_no_metric_of_the_bot_is_left_out_of_the_dashboard(observed):
    """Who adds a metric adds it to the page."""
    asked = " ".join(QUESTIONS)
    families = {family.name for family in parse_openmetrics(observed.openmetrics)}
    own = {name for name in families if name.startswith("llm_bot_")}
    assert len(own) > 25
    assert {name for name in own if name not in asked} == set()


@needs_prometheus
def test_promtool_finds_nothing_in_the_metrics(observed):
    """promtool check metrics has no remark."""
    done = promtool("check", "metrics", given=observed.plain)
    assert (done.returncode, done.stdout) == (0, "")
