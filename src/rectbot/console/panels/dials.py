"""ECharts options for gauges, state timelines and pies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rectbot.console.panels.ask import View
from rectbot.console.panels.axes import time_axis
from rectbot.console.panels.charts import GRID, SOFT, TEXT, TOOLTIP, Line, legend_of, solid
from rectbot.console.panels.colours import colour
from rectbot.console.panels.fields import Field

_TRACK = "rgba(128,136,150,0.22)"


def gauge(values: Sequence[tuple[str, float, Field]]) -> dict[str, Any]:
    """A dial for each value, side by side: an arc as long as the value, and around it the thresholds."""
    count = max(1, len(values))
    series: list[dict[str, Any]] = []
    for index, (name, value, field) in enumerate(values):
        field = replace(field, span=(0.0, 100.0))  # noqa: PLW2901 - Grafana's range of a dial that has no own
        least, most = field.least, max(field.most, field.least + 1e-9)
        place = {"center": [f"{100 * (index + 0.5) / count:.0f}%", "62%"], "startAngle": 200, "endAngle": -20}
        quiet = {"axisTick": {"show": False}, "splitLine": {"show": False}, "axisLabel": {"show": False}}
        common = {"type": "gauge", "min": least, "max": most, **place, **quiet, "pointer": {"show": False}}
        shade = solid(field.colour(value, index, name))
        series.append({
            **common,
            "radius": "82%",
            "axisLine": {"lineStyle": {"width": 12, "color": [[1, _TRACK]]}},
            "progress": {"show": True, "width": 12, "itemStyle": {"color": shade}},
            "title": {"show": count > 1, "color": SOFT, "fontSize": 11, "offsetCenter": [0, "52%"]},
            "detail": {"color": shade, "fontSize": 19, "offsetCenter": [0, "4%"]},
            "data": [{"value": max(least, min(most, value)), "name": name, "told": field.cell(value, index)}],
        })  # fmt: skip
        ring = {"axisLine": {"lineStyle": {"width": 3, "color": _arc(field, least, most)}}, "detail": {"show": False}}
        series.append({**common, "radius": "92%", **ring, "data": []})
    return {"animation": False, "series": series}


def _arc(field: Field, least: float, most: float) -> list[list[Any]]:
    """Which colour holds until which share of the dial."""
    bands = [(start, shade) for start, shade in field.steps if start < most] or [(-math.inf, colour("green"))]
    ends = [start for start, _ in bands[1:]] + [most]
    arc: list[list[Any]] = [
        [(end - least) / (most - least), solid(shade)] for end, (_, shade) in zip(ends, bands, strict=True)
    ]
    return [entry for entry in arc if float(entry[0]) > 0]


def pie(panel: Mapping[str, Any], values: Sequence[tuple[str, float, Field]]) -> dict[str, Any]:
    """A slice for each value."""
    options = panel.get("options") or {}
    legend = options.get("legend") or {}
    donut = options.get("pieType") == "donut"
    slices = [
        {
            "name": name,
            "value": abs(value),
            "itemStyle": {"color": solid(field.colour(value, index, name))},
            "told": field.cell(value, index),
        }
        for index, (name, value, field) in enumerate(values)
    ]
    shape = {"type": "pie", "radius": ["45%", "75%"] if donut else "75%", "label": {"color": SOFT}}
    return {
        "animation": False,
        "tooltip": {"trigger": "item", **TOOLTIP},
        "legend": legend_of([name for name, _, _ in values], shown=bool(legend.get("showLegend", True))),
        "series": [{**shape, "data": slices}],
    }


def state_timeline(panel: Mapping[str, Any], lines: Sequence[Line], view: View, step: float) -> dict[str, Any]:
    """One row for each series, a bar for each time during which its value did not change; a colour for each state."""
    options = panel.get("options") or {}
    show = int(options.get("showValue", "auto") != "never")
    legend = (options.get("legend") or {}).get("showLegend", True)
    states: dict[tuple[str, str], list[list[Any]]] = {}
    if lines:
        states = {state: [] for state in lines[0].field.states}
    for row, line in enumerate(lines):
        for start, end, value in stretches(line.points, step * 1000):
            cell = line.field.cell(value, row)
            state = (cell.get("text") or f"{value:g}", cell["colour"])
            states.setdefault(state, []).append([row, start, end, state[0], show, line.name])
    return {
        "animation": False,
        "grid": {"left": 6, "right": 14, "top": 4, "bottom": 30 if legend else 4, "containLabel": True},
        "tooltip": {"trigger": "item", "states": True, **TOOLTIP},
        "legend": legend_of([text for text, _ in states], shown=bool(legend)),
        "xAxis": time_axis(view, TEXT, GRID),
        "yAxis": {
            "type": "category",
            "data": [line.name for line in lines],
            "inverse": True,
            "axisLabel": TEXT,
            "axisTick": {"show": False},
            "axisLine": {"show": False},
        },
        "series": [
            {
                "type": "custom",
                "name": text,
                "itemStyle": {"color": solid(shade)},
                "bars": True,
                "dimensions": ["row", "start", "end", _word("text"), "show", _word("series")],
                "encode": {"x": [1, 2], "y": 0},
                "data": bars,
            }
            for (text, shade), bars in states.items()
        ],
    }


def _word(name: str) -> dict[str, str]:
    """A dimension that holds words."""
    return {"name": name, "type": "ordinal"}


def stretches(points: list[list[float | None]], step_ms: float) -> list[tuple[float, float, float]]:
    """Start, end and value of each time without a change; a value holds until the next one, at most for a step."""
    found: list[tuple[float, float, float]] = []
    for moment, value in points:
        if value is None or moment is None:
            continue
        start, end = moment, moment + step_ms
        if found and found[-1][2] == value and found[-1][1] >= moment:
            start = found.pop()[0]
        elif found and found[-1][1] > moment:
            found[-1] = (found[-1][0], moment, found[-1][2])
        found.append((start, end, value))
    return found
