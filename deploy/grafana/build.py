"""Writes llm-bot.json, the dashboard for Grafana 10.3 and later: python -m deploy.grafana.build

A test says when the file is not what this makes.
"""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana.panels import SOURCE, Json, placed
from deploy.grafana.rows import BOT, lines, model, overview, process, queues, replies

DASHBOARD = Path(__file__).with_name("llm-bot.json")
SCHEMA_VERSION = 39  # of Grafana 10.3; newer ones bring it up to theirs when they load it


def dashboard() -> Json:
    return {
        "annotations": {"list": []},
        "description": "llm_bot: what it hears, decides and says, and what that takes.",
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": [],
        "panels": placed([overview(), lines(), replies(), model(), queues(), process()]),
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["llm_bot"],
        "templating": {"list": variables()},
        "time": {"from": "now-6h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": "llm_bot",
        "uid": "llm-bot",
        "version": 1,
        "weekStart": "",
    }


def variables() -> list[Json]:
    source = {
        "current": {},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
        "type": "datasource",
    }
    room = f"label_values(llm_bot_context_window_size{{{BOT}}}, channel)"
    return [
        source,
        _labels("instance", "Bot", "label_values(llm_bot_build_info, instance)"),
        _labels("channel", "Room", room),
    ]


def _labels(name: str, label: str, query: str) -> Json:
    """A choice among the values of a label, looked up anew when the time range changes."""
    return {
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": SOURCE,
        "definition": query,
        "hide": 0,
        "includeAll": True,
        "label": label,
        "multi": True,
        "name": name,
        "options": [],
        "query": {"query": query, "refId": "StandardVariableQuery"},
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
        "type": "query",
    }


def text() -> str:
    """What the file has to be."""
    return json.dumps(dashboard(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    DASHBOARD.write_text(text(), encoding="utf-8")
