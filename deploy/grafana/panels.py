"""What a dashboard is made of: queries, panels of two kinds, rows, and where they stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

COLUMNS = 24

Json = dict[str, Any]

SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}

BLUE = "blue"


@dataclass(frozen=True)
class Query:
    """A question to Prometheus and what its series are called."""

    expr: str
    legend: str = ""
    is_instant: bool = False


@dataclass(frozen=True)
class Panel:
    """What a panel is; its id and place are given by the row that it stands in."""

    kind: str
    title: str
    description: str
    queries: Sequence[Query]
    width: int
    height: int
    defaults: Json
    options: Json


@dataclass(frozen=True)
class Row:
    """A heading and the panels below it, from left to right and on."""

    title: str
    panels: Sequence[Panel] = field(default_factory=tuple)


def timeseries(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    width: int = 12,
    is_stacked: bool = False,
    can_be_negative: bool = False,
) -> Panel:
    """Lines over time, or bars on top of each other."""
    custom: Json = {
        "drawStyle": "bars" if is_stacked else "line",
        "fillOpacity": 70 if is_stacked else 10,
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "pointSize": 4,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if is_stacked else "none"},
    }
    defaults: Json = {"color": {"mode": "palette-classic"}, "custom": custom, "unit": unit}
    if not can_be_negative:
        defaults["min"] = 0
    options: Json = {
        "legend": {
            "calcs": ["lastNotNull", "max"],
            "displayMode": "table",
            "placement": "right",
            "showLegend": True,
            "sortBy": "Max",
            "sortDesc": True,
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, description, queries, width, 8, defaults, options)


def stat(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str = "short",
    legend: str = "",
    words: Sequence[tuple[int, str, str]] = (),
    steps: Sequence[tuple[float | None, str]] = ((None, BLUE),),
) -> Panel:
    """One value now. `words` are value, text and colour; with a `legend` its name is shown."""
    mappings = [
        {
            "options": {
                str(value): {"color": color, "index": place, "text": text}
                for place, (value, text, color) in enumerate(words)
            },
            "type": "value",
        }
    ]
    defaults: Json = {
        "color": {"mode": "thresholds"},
        "mappings": mappings if words else [],
        "thresholds": {
            "mode": "absolute",
            "steps": [{"color": color, "value": value} for value, color in steps],
        },
        "unit": unit,
    }
    options: Json = {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "name" if legend else "value",
    }
    query = Query(expr, legend, is_instant=True)
    return Panel("stat", title, description, [query], 3, 4, defaults, options)


def placed(rows: Iterable[Row]) -> list[Json]:
    """All panels with ids and places: from left to right, then on the next line."""
    found: list[Json] = []
    top = 0
    for row in rows:
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        head = {"collapsed": False, "gridPos": place, "id": len(found) + 1, "panels": []}
        found.append({**head, "title": row.title, "type": "row"})
        left, top, tallest = 0, top + 1, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            found.append({**_drawn(panel), "gridPos": place, "id": len(found) + 1})
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return found


def _drawn(panel: Panel) -> Json:
    return {
        "datasource": SOURCE,
        "description": panel.description,
        "fieldConfig": {"defaults": panel.defaults, "overrides": []},
        "options": panel.options,
        "targets": [_target(at, query) for at, query in enumerate(panel.queries)],
        "title": panel.title,
        "type": panel.kind,
    }


def _target(at: int, query: Query) -> Json:
    return {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "instant": query.is_instant,
        "legendFormat": query.legend or "__auto",
        "range": not query.is_instant,
        "refId": "ABCDEFGH"[at],
    }
