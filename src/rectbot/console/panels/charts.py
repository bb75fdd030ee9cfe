"""ECharts options for time series, gauges and state timelines: https://echarts.apache.org/en/option.html

Keys that begin with a colon hold JavaScript; it is written here and calls `rectbotFormat` of static/format.js. Names
that come from labels are data, never code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rectbot.console.panels.ask import Series, View
from rectbot.console.panels.fields import Field, colour, field_of

_SOFT = "#7c8696"  # legible on both grounds
_GRID = "rgba(128,136,150,0.18)"
_TOOLTIP = {
    "backgroundColor": "#1f2530",
    "borderWidth": 0,
    "confine": True,
    "textStyle": {"color": "#e6e9ee", "fontSize": 12},
}
_TEXT = {"color": _SOFT, "fontSize": 11}
Marks = Sequence[tuple[float, str, str]]  # moment in milliseconds, text, colour


def timeseries(
    panel: Mapping[str, Any], series: Sequence[Series], view: View, step: float, marks: Marks
) -> dict[str, Any]:
    """Lines or bars."""
    field = field_of(panel)
    legend = panel.get("options", {}).get("legend", {}).get("showLegend", True)
    names = [each.name for each in series]
    drawn = [_line_or_bars(field_of(panel, each.name), each, index) for index, each in enumerate(series)]
    if any(each["type"] == "bar" for each in drawn):
        _align(drawn, view, step)
    formatter = _formatter(field)
    return {
        "animation": False,
        "grid": {"left": 6, "right": 14, "top": 12, "bottom": 30 if legend else 6, "containLabel": True},
        "tooltip": {"trigger": "axis", ":valueFormatter": formatter, "order": "valueDesc", **_TOOLTIP},
        "legend": _legend(names, shown=legend),
        "xAxis": _time_axis(view),
        "yAxis": {
            "type": "value",
            "min": field.config.get("min"),
            "max": field.config.get("max"),
            "axisLabel": {**_TEXT, ":formatter": formatter},
            "splitLine": {"lineStyle": {"color": _GRID}},
            "splitNumber": 4,
            "minInterval": 10**-field.decimals if field.decimals is not None and field.unit == "none" else 0,
        },
        "series": [*drawn, _marks(field, marks)],
    }


def _line_or_bars(field: Field, series: Series, index: int) -> dict[str, Any]:
    custom, shade = field.custom, field.colour(None, index)
    common: dict[str, Any] = {"name": series.name, "itemStyle": {"color": shade}, "data": series.points}
    if custom.get("stacking", {}).get("mode") == "normal":
        common["stack"] = "all"
    if custom.get("drawStyle") == "bars":
        return {"type": "bar", "barMaxWidth": 14, "barMinWidth": 1, **common}
    return {
        "type": "line",
        **common,
        "data": _with_lonely_points(series.points),
        "symbol": "none",
        "lineStyle": {"width": max(1.4, custom.get("lineWidth", 1)), "color": shade},
        "areaStyle": {"opacity": custom.get("fillOpacity", 0) / 100, "color": shade},
        "connectNulls": False,
        "emphasis": {"disabled": True},
    }


def _with_lonely_points(points: list[list[float | None]]) -> list[Any]:
    """A value between two gaps is no line, so it is drawn as a dot."""
    found: list[Any] = []
    for index, point in enumerate(points):
        neighbours = points[max(0, index - 1) : index] + points[index + 1 : index + 2]
        lonely = point[1] is not None and all(other[1] is None for other in neighbours)
        found.append({"value": point, "symbol": "circle", "symbolSize": 4} if lonely else point)
    return found


def _align(drawn: list[dict[str, Any]], view: View, step: float) -> None:
    """Bars are stacked by their place in the data and as wide as its steps: so all series get every moment."""
    first, last = math.ceil(view.start / step), math.floor(view.end / step)
    known = {point[0] for each in drawn for point in each["data"]}
    moments = sorted(known | {number * step * 1000 for number in range(first, last + 1)})
    for each in drawn:
        values = {point[0]: point[1] for point in each["data"]}
        each["data"] = [[moment, values.get(moment)] for moment in moments]


def _marks(field: Field, marks: Marks) -> dict[str, Any]:
    """Thresholds as dashed lines, and events: on a series of its own, which is there without data too."""
    lines: list[dict[str, Any]] = [
        {
            "xAxis": moment,
            "name": text,
            "lineStyle": {"color": colour(shade), "type": "dotted", "width": 1},
            "label": {"show": False},
            "emphasis": {"label": {"show": True, "formatter": "{b}", "position": "insideEndTop", "color": _SOFT}},
        }
        for moment, text, shade in marks
    ]
    if field.custom.get("thresholdsStyle", {}).get("mode") == "dashed":
        lines += [
            {"yAxis": value, "lineStyle": {"color": shade, "type": "dashed"}, "label": {"show": False}}
            for value, shade in field.steps
            if math.isfinite(value)
        ]
    return {"type": "line", "name": "", "data": [], "markLine": {"symbol": "none", "animation": False, "data": lines}}


def gauge(panel: Mapping[str, Any], values: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """A dial for each value, side by side."""
    field = field_of(panel)
    least, most = float(field.config.get("min", 0)), float(field.config.get("max", 1))
    bands = [(start, shade) for start, shade in field.steps if start < most] or [(least, colour("green"))]
    ends = [start for start, _ in bands[1:]] + [most]
    arc = [[(end - least) / (most - least), shade] for end, (_, shade) in zip(ends, bands, strict=True)]
    count = max(1, len(values))
    dials = [
        {
            "type": "gauge",
            "min": least,
            "max": most,
            "center": [f"{100 * (index + 0.5) / count:.0f}%", "62%"],
            "radius": "92%",
            "startAngle": 200,
            "endAngle": -20,
            "axisLine": {"lineStyle": {"width": 7, "color": arc}},
            "pointer": {"length": "55%", "width": 4, "itemStyle": {"color": _SOFT}},
            "axisTick": {"show": False},
            "splitLine": {"show": False},
            "axisLabel": {"show": False},
            "title": {"show": count > 1, "color": _SOFT, "fontSize": 11, "offsetCenter": [0, "64%"]},
            "detail": {
                "color": field.of_threshold(value),
                "fontSize": 17,
                "offsetCenter": [0, "34%"],
                ":formatter": _formatter(field),
            },
            "data": [{"value": value, "name": name}],
        }
        for index, (name, value) in enumerate(values)
    ]
    return {"animation": False, "series": dials}


_BAR = """(params, api) => {
    const from = api.coord([api.value(1), api.value(0)]), to = api.coord([api.value(2), api.value(0)]);
    const height = api.size([0, 1])[1] * 0.72, area = params.coordSys;
    const left = Math.max(from[0], area.x), right = Math.min(Math.max(to[0], from[0] + 1), area.x + area.width);
    if (right <= left) return;
    const text = api.value(4) && right - left > 44 ? api.ordinalRawValue(3) : "";
    return { type: "rect", shape: { x: left, y: from[1] - height / 2, width: right - left, height, r: 2 },
             style: { fill: api.visual("color") },
             textContent: { type: "text", style: { text, fill: "#fff", fontSize: 11 } },
             textConfig: { position: "inside" } };
}"""
_BAR_TIP = """item => rectbotEscape(item.value[5]) + ": " + rectbotEscape(item.value[3]) + "<br>" +
    new Date(item.value[1]).toLocaleString() + " - " + new Date(item.value[2]).toLocaleString()"""


def state_timeline(panel: Mapping[str, Any], series: Sequence[Series], view: View, step: float) -> dict[str, Any]:
    """One row for each series, a bar for each time during which its value did not change; a colour for each state."""
    options = panel.get("options", {})
    show, legend = int(options.get("showValue", "auto") != "never"), options.get("legend", {}).get("showLegend", True)
    states: dict[tuple[str, str], list[list[Any]]] = {state: [] for state in field_of(panel).states}
    for row, each in enumerate(series):
        field = field_of(panel, each.name)
        for start, end, value in _stretches(each.points, step * 1000):
            state = field.mapped(value) or (f"{value:g}", field.colour(value, row))
            states.setdefault(state, []).append([row, start, end, state[0], show, each.name])
    return {
        "animation": False,
        "grid": {"left": 6, "right": 14, "top": 4, "bottom": 30 if legend else 4, "containLabel": True},
        "tooltip": {":formatter": _BAR_TIP, **_TOOLTIP},
        "legend": _legend([text for text, _ in states], shown=legend),
        "xAxis": _time_axis(view),
        "yAxis": {
            "type": "category",
            "data": [each.name for each in series],
            "inverse": True,
            "axisLabel": _TEXT,
            "axisTick": {"show": False},
            "axisLine": {"show": False},
        },
        "series": [
            {
                "type": "custom",
                "name": text,
                "itemStyle": {"color": _solid(shade)},
                ":renderItem": _BAR,
                "dimensions": ["row", "start", "end", _word("text"), "show", _word("series")],
                "encode": {"x": [1, 2], "y": 0},
                "data": bars,
            }
            for (text, shade), bars in states.items()
        ],
    }


def _solid(shade: str) -> str:
    return _SOFT if shade == "inherit" else shade


def _word(name: str) -> dict[str, str]:
    """A dimension that holds words."""
    return {"name": name, "type": "ordinal"}


def _stretches(points: list[list[float | None]], step_ms: float) -> list[tuple[float, float, float]]:
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


def _time_axis(view: View) -> dict[str, Any]:
    return {
        "type": "time",
        "min": view.start * 1000,
        "max": view.end * 1000,
        "axisLabel": {**_TEXT, "hideOverlap": True},
        "axisLine": {"lineStyle": {"color": _GRID}},
        "splitLine": {"show": False},
    }


def _legend(names: list[str], *, shown: bool) -> dict[str, Any]:
    text = {"textStyle": _TEXT, "inactiveColor": "#9aa3af55", "pageTextStyle": _TEXT, "pageIconColor": _SOFT}
    return {"show": shown, "type": "scroll", "bottom": 0, "itemHeight": 8, "itemWidth": 12, "data": names, **text}


def _formatter(field: Field) -> str:
    decimals = "null" if field.decimals is None else str(int(field.decimals))
    unit = "".join(letter for letter in field.unit if letter.isalnum())
    return f"value => rectbotFormat(value, '{unit}', {decimals})"
