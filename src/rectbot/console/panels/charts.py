"""ECharts options for time series: https://echarts.apache.org/en/option.html

They are data only. Numbers and times are written in the browser, by static/chart.js, which finds under `format` how.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rectbot.console.panels.ask import View
from rectbot.console.panels.axes import Axis, axes_of, time_axis
from rectbot.console.panels.colours import colour
from rectbot.console.panels.fields import Field, field_of
from rectbot.console.panels.reduce import reduced, title

SOFT = "#7c8696"  # stands for the theme's colour of what is not the matter: see static/chart.js
GRID = "rgba(128,136,150,0.18)"
TOOLTIP = {
    "backgroundColor": "#1f2530",
    "borderWidth": 0,
    "confine": True,
    "textStyle": {"color": "#e6e9ee", "fontSize": 12},
}
TEXT = {"color": SOFT, "fontSize": 11}
Marks = Sequence[tuple[float, str, str]]  # moment in milliseconds, text, colour
Points = list[list[float | None]]


@dataclass(frozen=True)
class Line:
    """A series over time: moments in milliseconds and values; None where there is none."""

    name: str
    points: Points
    field: Field
    index: int = 0

    @property
    def colour(self) -> str:
        last = next((value for _, value in reversed(self.points) if value is not None), None)
        by_value = str((self.field.config.get("color") or {}).get("mode", "")).startswith(("thresholds", "continuous"))
        return solid(self.field.colour(last if by_value else None, self.index, self.name))

    @property
    def stack(self) -> str:
        """The name of what it is stacked with; nothing where it is not."""
        stacking = self.field.custom.get("stacking") or {}
        mode = stacking.get("mode")
        sign = "-" if self.field.custom.get("transform") == "negative-Y" else ""
        return f"{sign}{stacking.get('group') or 'A'} {mode}" if mode in ("normal", "percent") else ""

    @property
    def shares(self) -> bool:
        """Whether it is stacked to a hundred percent."""
        return self.stack.endswith("percent")

    @property
    def bars(self) -> bool:
        return self.field.custom.get("drawStyle") == "bars"

    def hidden(self, where: str) -> bool:
        """From viz, legend or tooltip."""
        return bool((self.field.custom.get("hideFrom") or {}).get(where))


def timeseries(
    panel: Mapping[str, Any], lines: Sequence[Line], view: View, step: float, marks: Marks
) -> dict[str, Any]:
    """Lines, bars or points, on as many axes as there are units."""
    field = field_of(panel)
    lines = [_turned(line) for line in lines if not line.hidden("viz")]
    if any(line.stack or line.bars for line in lines):
        lines = _aligned(lines, view, step)
    lines = _shares(lines)
    axes = axes_of(lines, field)
    legend = (panel.get("options") or {}).get("legend") or {}
    shown = bool(legend.get("showLegend", True)) and legend.get("displayMode") != "hidden"
    right = shown and legend.get("placement") == "right"
    tooltip = (panel.get("options") or {}).get("tooltip") or {}
    return {
        "animation": False,
        "grid": {
            "left": 6,
            "right": "32%" if right else 14,
            "top": 12,
            "bottom": 30 if shown and not right else 6,
            "containLabel": True,
        },
        "tooltip": {"trigger": "axis", "show": tooltip.get("mode") != "none", **TOOLTIP},
        "legend": _legend(lines, legend, shown=shown, right=right),
        "xAxis": time_axis(view, TEXT, GRID),
        "yAxis": [axis.options(TEXT, GRID) for axis in axes],
        "series": [*(_drawn(line, axes) for line in lines), _marks(field, marks)],
    }


def _turned(line: Line) -> Line:
    if line.field.custom.get("transform") != "negative-Y":
        return line
    return replace(line, points=[[moment, None if value is None else -value] for moment, value in line.points])


def _drawn(line: Line, axes: Sequence[Axis]) -> dict[str, Any]:
    custom, shade = line.field.custom, line.colour
    common: dict[str, Any] = {
        "name": line.name,
        "itemStyle": {"color": shade},
        "data": line.points,
        "yAxisIndex": next((place for place, axis in enumerate(axes) if axis.holds(line)), 0),
        "format": line.field.format if not line.shares else {"unit": "percentunit", "decimals": None},
        "hidden": line.hidden("tooltip"),
    }
    if line.stack:
        common["stack"] = line.stack  # by ECharts' own strategy: by another a gap in one would take all from the chart
    if line.bars:
        return {"type": "bar", "barMaxWidth": 14, "barMinWidth": 1, **common}
    if custom.get("drawStyle") == "points":
        return {"type": "scatter", "symbolSize": custom.get("pointSize", 5), **common}
    nulls = custom.get("spanNulls")
    points = _spanned(line.points, nulls) if nulls else line.points
    style = custom.get("lineStyle") or {}
    dashes = style.get("dash") or [10, 10]
    return {
        "type": "line",
        **common,
        **_shape(custom.get("lineInterpolation")),
        "data": points if custom.get("showPoints") == "always" else _with_lonely_points(points),
        "symbol": "circle" if custom.get("showPoints") == "always" else "none",
        "symbolSize": custom.get("pointSize", 5),
        "lineStyle": {
            "width": max(1.4, custom.get("lineWidth", 1)) if custom.get("lineWidth", 1) else 0,
            "color": shade,
            "type": {"dash": dashes, "dot": "dotted"}.get(str(style.get("fill")), "solid"),
        },
        "areaStyle": {"opacity": (custom.get("fillOpacity") or 0) / 100, "color": shade},
        "connectNulls": False,
        "emphasis": {"disabled": True},
    }


def _shape(interpolation: object) -> dict[str, Any]:
    steps: dict[str, dict[str, Any]] = {
        "stepBefore": {"step": "start"},
        "stepAfter": {"step": "end"},
        "smooth": {"smooth": 0.4},
    }
    return steps.get(str(interpolation), {})


def _spanned(points: Points, nulls: object) -> Points:
    """Without the gaps that are to be drawn over: all, or those up to so many milliseconds."""
    longest = math.inf if nulls is True else float(nulls) if isinstance(nulls, int | float) else 0.0
    found: Points = []
    for point in points:
        if point[1] is None:
            continue
        if found and (point[0] or 0) - (found[-1][0] or 0) > longest:
            found.append([found[-1][0], None])
        found.append(point)
    return found


def _with_lonely_points(points: Points) -> list[Any]:
    """A value between two gaps is no line, so it is drawn as a dot."""
    found: list[Any] = []
    for index, point in enumerate(points):
        neighbours = points[max(0, index - 1) : index] + points[index + 1 : index + 2]
        lonely = point[1] is not None and all(other[1] is None for other in neighbours)
        found.append({"value": point, "symbol": "circle", "symbolSize": 4} if lonely else point)
    return found


def _aligned(lines: Iterable[Line], view: View, step: float) -> list[Line]:
    """What is stacked is stacked by its place in the data, and bars are as wide as its steps: all get every moment."""
    lines = list(lines)
    first, last = math.ceil(view.start / step), math.floor(view.end / step)
    known = {point[0] for line in lines for point in line.points}
    moments = sorted(
        known | {number * step * 1000 for number in range(first, last + 1)}, key=lambda moment: moment or 0
    )
    found = []
    for line in lines:
        values = {point[0]: point[1] for point in line.points}
        found.append(replace(line, points=[[moment, values.get(moment)] for moment in moments]))
    return found


def _shares(lines: Sequence[Line]) -> list[Line]:
    """What is stacked to a hundred percent, as shares of each moment's sum."""
    sums: dict[tuple[str, float | None], float] = {}
    for line in lines:
        if line.shares:
            for moment, value in line.points:
                sums[line.stack, moment] = sums.get((line.stack, moment), 0.0) + abs(value or 0.0)
    return [_share(line, sums) if line.shares else line for line in lines]


def _share(line: Line, sums: Mapping[tuple[str, float | None], float]) -> Line:
    points = [
        [moment, value / sums[line.stack, moment] if value is not None and sums[line.stack, moment] else value]
        for moment, value in line.points
    ]
    return replace(line, points=points)


def _marks(field: Field, marks: Marks) -> dict[str, Any]:
    """Thresholds as lines or areas, and events: on a series of its own, which is there without data too."""
    lines: list[dict[str, Any]] = [
        {
            "xAxis": moment,
            "name": text,
            "lineStyle": {"color": colour(shade), "type": "dotted", "width": 1},
            "label": {"show": False},
            "emphasis": {"label": {"show": True, "formatter": "{b}", "position": "insideEndTop", "color": SOFT}},
        }
        for moment, text, shade in marks
    ]
    style = str((field.custom.get("thresholdsStyle") or {}).get("mode") or "off")
    if "line" in style or "dashed" in style:
        kind = "dashed" if "dashed" in style else "solid"
        lines += [
            {"yAxis": value, "lineStyle": {"color": shade, "type": kind}, "label": {"show": False}}
            for value, shade in field.steps
            if math.isfinite(value)
        ]
    found: dict[str, Any] = {"type": "line", "name": "", "data": [], "hidden": True}
    found["markLine"] = {"symbol": "none", "animation": False, "data": lines}
    if "area" in style:
        found["markArea"] = {"silent": True, "data": list(_bands(field))}
    return found


def _bands(field: Field) -> Iterable[list[dict[str, Any]]]:
    steps = field.steps
    for (start, shade), following in zip(steps, [*steps[1:], None], strict=True):
        if shade in ("transparent", "inherit"):
            continue
        lower: dict[str, Any] = {"itemStyle": {"color": shade, "opacity": 0.1}}
        lower |= {"yAxis": start} if math.isfinite(start) else {}
        yield [lower, {"yAxis": following[0]} if following else {}]


def _legend(lines: Sequence[Line], given: Mapping[str, Any], *, shown: bool, right: bool) -> dict[str, Any]:
    names = [line.name for line in lines if not line.hidden("legend")]
    found = legend_of(names, shown=shown) | {"values": _legend_values(lines, given.get("calcs") or ())}
    place = {"orient": "vertical", "right": 4, "top": 8, "bottom": 8, "width": "30%"} if right else {}
    return found | place


def _legend_values(lines: Sequence[Line], calculations: Sequence[str]) -> dict[str, Any]:
    """What stands beside each name: the calculation's title, its value and how that is written."""
    found: dict[str, Any] = {}
    for line in lines if calculations else ():
        values = [value for _, value in line.points]
        entries = []
        for name in calculations:
            try:
                value = reduced(name, values)
            except KeyError:
                continue  # the panel says that it is not known
            if isinstance(value, float | int):
                entries.append({"title": title(name), "value": float(value), **line.field.format})
        found[line.name] = entries
    return found


def solid(shade: str) -> str:
    return SOFT if shade == "inherit" else shade


def legend_of(names: list[str], *, shown: bool) -> dict[str, Any]:
    """The legend below a chart."""
    text = {"textStyle": TEXT, "inactiveColor": "#9aa3af55", "pageTextStyle": TEXT, "pageIconColor": SOFT}
    return {"show": shown, "type": "scroll", "bottom": 0, "itemHeight": 8, "itemWidth": 12, "data": names, **text}
