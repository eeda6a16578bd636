"""The dashboard is what its script makes, and Grafana can show it, as far as a file tells."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import build
from tests.deploy.promql import selectors

GRAFANA = Path(build.__file__).parent
BOARD = json.loads(build.DASHBOARD.read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_the_file_is_what_the_script_makes():
    """Whoever changes one of them sees it here: python -m deploy.grafana.build writes the file."""
    assert build.DASHBOARD.read_text(encoding="utf-8") == build.text()


def test_each_panel_has_an_id_of_its_own():
    """Links and alerts name panels by it."""
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    columns = range(place["x"], place["x"] + place["w"])
    rows = range(place["y"], place["y"] + place["h"])
    return set(itertools.product(columns, rows))


def test_panels_lie_beside_each_other():
    """Within 24 columns, none on top of another, and no place left free within a row."""
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        own = cells(panel)
        assert own
        assert all(0 <= column < 24 for column, _ in own), panel["title"]
        assert not own & taken, panel["title"]
        taken |= own
    bottom = max(row for _, row in taken) + 1
    assert taken == set(itertools.product(range(24), range(bottom)))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel_is_complete(panel):
    """Words for whoever looks, and every question goes to the chosen source."""
    assert panel["title"]
    assert panel["description"]
    assert panel["datasource"] == SOURCE
    assert panel["targets"]
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs)
    for target in panel["targets"]:
        assert target["datasource"] == SOURCE
        assert target["instant"] is (panel["type"] == "stat")
        assert target["range"] is not target["instant"]


def exprs() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_every_question_asks_for_the_chosen_bots():
    """Nothing on the page leaves out the variable, but the count of alerts and the join that tells
    bots from other processes."""
    for expr in exprs():
        for metric, _ in selectors(expr.replace("and on (job, instance) llm_bot_build_info", "")):
            if metric != "ALERTS":
                assert f'{metric}{{instance=~"$instance"' in expr or "up{" in expr, expr


def test_variables():
    """The data source, then bots, then rooms of the chosen bots."""
    names = [variable["name"] for variable in BOARD["templating"]["list"]]
    assert names == ["datasource", "instance", "channel"]
    _, instance, channel = BOARD["templating"]["list"]
    assert instance["datasource"] == channel["datasource"] == SOURCE
    assert "$instance" in channel["query"]["query"]
    used = {name for name in names for text in [json.dumps(PANELS)] if f"${name}" in text}
    assert used == {"instance", "channel"}
    assert "${datasource}" in json.dumps(PANELS)


def test_provisioning():
    """Grafana finds a source of the right type, and looks for dashboards where one is put."""
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    boards = yaml.safe_load((GRAFANA / "provisioning/dashboards/llm-bot.yml").read_text())
    (source,) = sources["datasources"]
    (provider,) = boards["providers"]
    assert sources["apiVersion"] == boards["apiVersion"] == 1
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    deployed = yaml.safe_load((GRAFANA.parent / "prometheus/prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == deployed["global"]["scrape_interval"]
    composed = yaml.safe_load((GRAFANA.parent / "compose.yaml").read_text())["services"]
    mounted = {
        Path(volume.split(":")[1]): volume.split(":")[0]
        for volume in composed["grafana"]["volumes"]
    }
    assert mounted[Path(provider["options"]["path"]) / "llm-bot.json"] == "./grafana/llm-bot.json"
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in composed
