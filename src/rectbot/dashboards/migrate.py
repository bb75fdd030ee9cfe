"""Dashboards of older Grafanas as the present one reads them: rows, graphs, single stats, mappings.

https://github.com/grafana/grafana/blob/main/public/app/features/dashboard/state/DashboardMigrator.ts
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]
_ROW_HEIGHT = 30 + 8  # pixels of a row of the grid with its gap, by which old heights are divided
_OLD_TYPES = {"graph", "singlestat", "table-old"}


def migrated(dashboard: Json) -> dict[str, Any]:
    """A copy in which every panel has an id, a place and a type of today."""
    placed = list(_placed(dashboard.get("panels") or [])) + list(_of_rows(dashboard.get("rows") or []))
    found = [_safely(each, number) for number, each in enumerate(placed, start=1)]
    return {**dashboard, "panels": found, "rows": []}


def _placed(panels: list[Any]) -> Iterator[dict[str, Any]]:
    """With what collapsed rows hold, each with its row's id."""
    for each in panels:
        if isinstance(each, Mapping):
            yield dict(each)


def _of_rows(rows: list[Any]) -> Iterator[dict[str, Any]]:
    """Rows as they were before 2018: of twelve columns, with a height, their panels one after another."""
    y = 0
    shown = any(row.get("showTitle") or row.get("collapse") or row.get("repeat") for row in rows)
    for number, row in enumerate(rows, start=1):
        inner: list[dict[str, Any]] = []
        height = _height(row.get("height", 250))
        top, x = y + (1 if shown else 0), 0
        for panel in row.get("panels") or []:
            width = min(24, int(float(panel.get("span", 4)) * 2))
            if x + width > 24:
                top, x = top + height, 0
            place = {"x": x, "y": top, "w": width, "h": _height(panel["height"]) if panel.get("height") else height}
            inner.append({**panel, "gridPos": place})
            x += width
        if shown:
            head = {"type": "row", "title": row.get("title", ""), "repeat": row.get("repeat"), "id": 10_000 + number}
            place = {"x": 0, "y": y, "w": 24, "h": 1}
            closed = bool(row.get("collapse"))
            yield {**head, "gridPos": place, "collapsed": closed, "panels": inner if closed else []}
            yield from () if closed else inner
        else:
            yield from inner
        y = top + height


def _height(given: object) -> int:
    text = str(given).removesuffix("px")
    return max(3, round(float(text) / _ROW_HEIGHT)) if text.replace(".", "", 1).isdigit() else 7


def _safely(given: Json, number: int) -> dict[str, Any]:
    """A panel that cannot be read costs only itself: `reason` says why."""
    try:
        return _panel(given, number)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        place = {"x": 0, "y": 0, "w": 12, "h": 4}
        title = str(given.get("title") or "") if isinstance(given, Mapping) else ""
        reason = f"this panel's JSON cannot be read ({type(error).__name__}: {error})"
        return {"id": 20_000 + number, "type": "", "title": title, "gridPos": place, "targets": [], "reason": reason}


def _panel(given: Json, number: int) -> dict[str, Any]:
    panel = dict(given)
    panel["maxPerRow"] = panel["maxPerRow"] if isinstance(panel.get("maxPerRow"), int) else 0
    panel["id"] = panel.get("id") if isinstance(panel.get("id"), int) else 20_000 + number
    panel["type"] = str(panel.get("type") or "")
    place = panel.get("gridPos") if isinstance(panel.get("gridPos"), Mapping) else {}
    panel["gridPos"] = {"x": 0, "y": 0, "w": 12, "h": 8} | {
        key: int(value) for key, value in (place or {}).items() if isinstance(value, int | float)
    }
    panel["title"] = str(panel.get("title") or "")
    panel["repeat"] = str(panel.get("repeat") or "")
    panel["targets"] = [
        {"refId": chr(ord("A") + index % 26), **each}
        for index, each in enumerate(panel.get("targets") or [])
        if isinstance(each, Mapping)
    ]
    if isinstance(panel.get("panels"), list):
        panel["panels"] = [_safely(each, 100 * number + index) for index, each in enumerate(panel["panels"])]
    if panel["type"] in _OLD_TYPES:
        return _OLD[panel["type"]](panel)
    return _with_new_mappings(panel)


def _with_new_mappings(panel: dict[str, Any]) -> dict[str, Any]:
    config = panel.get("fieldConfig") or {}
    defaults = config.get("defaults") or {}
    old = [each for each in defaults.get("mappings") or [] if isinstance(each.get("type"), int)]
    if not old:
        return panel
    mappings = [_new_mapping(each) if isinstance(each.get("type"), int) else each for each in defaults["mappings"]]
    return {**panel, "fieldConfig": {**config, "defaults": {**defaults, "mappings": mappings}}}


def _new_mapping(old: Json) -> dict[str, Any]:
    """Types were 1 for a value and 2 for a range."""
    result = {"text": old.get("text", ""), **({"color": old["color"]} if old.get("color") else {})}
    if old.get("type") == 2:
        options = {"from": _number(old.get("from")), "to": _number(old.get("to")), "result": result}
        return {"type": "range", "options": options}
    if str(old.get("value")) == "null":
        return {"type": "special", "options": {"match": "null", "result": result}}
    return {"type": "value", "options": {str(old.get("value", "")): result}}


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None


def _graph(panel: dict[str, Any]) -> dict[str, Any]:
    """The graph of before Grafana 8 as a time series."""
    axes = [*(panel.get("yaxes") or []), {}, {}][:2]
    left, right = axes[0] or {}, axes[1] or {}
    stacking = "none" if not panel.get("stack") else "percent" if panel.get("percentage") else "normal"
    custom: dict[str, Any] = {
        "drawStyle": "bars" if panel.get("bars") else "points" if panel.get("points") and not _lines(panel) else "line",
        "lineWidth": panel.get("linewidth", 1),
        "fillOpacity": 10 * int(panel.get("fill", 1)),
        "lineInterpolation": "stepAfter" if panel.get("steppedLine") else "linear",
        "spanNulls": panel.get("nullPointMode") == "connected",
        "showPoints": "auto" if panel.get("points") else "never",
        "stacking": {"mode": stacking, "group": "A"},
        **_axis(left),
    }
    legend = panel.get("legend") or {}
    calculations = [name for name in ("min", "max", "avg", "current", "total") if legend.get(name)]
    return {
        **panel,
        "type": "timeseries",
        "fieldConfig": {
            "defaults": {
                "unit": left.get("format", "short"),
                "decimals": panel.get("decimals"),
                "min": _number(left.get("min")),
                "max": _number(left.get("max")),
                "color": {"mode": "palette-classic"},
                "custom": custom,
                "links": panel.get("options", {}).get("dataLinks") or [],
                **_old_thresholds(panel, custom),
            },
            "overrides": [*_alias_colours(panel), *_series_overrides(panel, right)],
        },
        "options": {
            "legend": {
                "showLegend": legend.get("show", True),
                "displayMode": "table" if legend.get("alignAsTable") else "list",
                "placement": "right" if legend.get("rightSide") else "bottom",
                "calcs": calculations if legend.get("values") else [],
            },
            "tooltip": {"mode": "multi" if (panel.get("tooltip") or {}).get("shared", True) else "single"},
        },
    }


def _lines(panel: Json) -> bool:
    return bool(panel.get("lines", True))


def _axis(axis: Json) -> dict[str, Any]:
    base = int(axis.get("logBase") or 1)
    scale = {"type": "log", "log": base} if base > 1 else {"type": "linear"}
    hidden = {"axisPlacement": "hidden"} if axis.get("show") is False else {}
    return {"scaleDistribution": scale, "axisLabel": axis.get("label") or "", **hidden}


def _old_thresholds(panel: Json, custom: dict[str, Any]) -> dict[str, Any]:
    found = [
        each for each in panel.get("thresholds") or [] if isinstance(each, Mapping) and each.get("value") is not None
    ]
    if not found:
        return {}
    custom["thresholdsStyle"] = {"mode": "line"}
    colours = {"critical": "red", "warning": "orange", "ok": "green"}
    steps = [
        {"value": each["value"], "color": colours.get(each.get("colorMode", ""), each.get("lineColor", "red"))}
        for each in found
    ]
    return {"thresholds": {"mode": "absolute", "steps": [{"value": None, "color": "transparent"}, *steps]}}


def _alias_colours(panel: Json) -> Iterator[dict[str, Any]]:
    for name, colour in (panel.get("aliasColors") or {}).items():
        value = {"mode": "fixed", "fixedColor": colour}
        yield {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "color", "value": value}]}


def _series_overrides(panel: Json, right: Json) -> Iterator[dict[str, Any]]:
    for each in panel.get("seriesOverrides") or []:
        alias = str(each.get("alias", ""))
        by = "byRegexp" if alias.startswith("/") else "byName"
        known = [(name, value) for name, value in each.items() if name in _OVERRIDES and value is not None]
        found = [{"id": _OVERRIDES[name][0], "value": _OVERRIDES[name][1](value)} for name, value in known]
        if each.get("yaxis") == 2:
            found.append({"id": "custom.axisPlacement", "value": "right"})
            found.append({"id": "unit", "value": right.get("format", "short")})
        if found:
            yield {"matcher": {"id": by, "options": alias}, "properties": found}


_OVERRIDES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "color": ("color", lambda value: {"mode": "fixed", "fixedColor": value}),
    "fill": ("custom.fillOpacity", lambda value: 10 * value),
    "linewidth": ("custom.lineWidth", lambda value: value),
    "bars": ("custom.drawStyle", lambda value: "bars" if value else "line"),
    "transform": ("custom.transform", lambda value: value),
    "stack": ("custom.stacking", lambda value: {"mode": "normal" if value else "none", "group": str(value)}),
    "dashes": ("custom.lineStyle", lambda value: {"fill": "dash", "dash": [10, 10]} if value else {}),
    "steppedLine": ("custom.lineInterpolation", lambda value: "stepAfter" if value else "linear"),
    "legend": ("custom.hideFrom", lambda value: {"legend": not value, "viz": False, "tooltip": False}),
}
_CALCULATIONS = {
    "avg": "mean",
    "current": "lastNotNull",
    "total": "sum",
    "first": "firstNotNull",
    "name": "lastNotNull",
}


def _single_stat(panel: dict[str, Any]) -> dict[str, Any]:
    """The single stat of before Grafana 7 as a stat, or as a gauge."""
    gauge = panel.get("gauge") or {}
    name = str(panel.get("valueName") or "avg")
    limits = [part for part in str(panel.get("thresholds") or "").split(",") if _number(part) is not None]
    colours = [*(panel.get("colors") or []), "green", "orange", "red"]
    steps = [{"value": None, "color": colours[0]}]
    steps += [{"value": _number(part), "color": colours[place]} for place, part in enumerate(limits, start=1)]
    coloured = bool(panel.get("colorValue") or panel.get("colorBackground") or gauge.get("show"))
    defaults: dict[str, Any] = {
        "unit": panel.get("format", "none"),
        "decimals": panel.get("decimals"),
        "mappings": [_new_mapping({"type": 1, **each}) for each in panel.get("valueMaps") or []],
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "thresholds"} if coloured else {"mode": "fixed", "fixedColor": "text"},
    }
    if gauge.get("show"):
        defaults |= {"min": gauge.get("minValue", 0), "max": gauge.get("maxValue", 100)}
    options = {
        "reduceOptions": {"calcs": [_CALCULATIONS.get(name, name)], "values": False, "fields": ""},
        "textMode": "name" if name == "name" else "value",
        "colorMode": "background" if panel.get("colorBackground") else "value",
        "graphMode": "area" if (panel.get("sparkline") or {}).get("show") else "none",
    }
    kind = "gauge" if gauge.get("show") else "stat"
    return {**panel, "type": kind, "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options}


def _old_table(panel: dict[str, Any]) -> dict[str, Any]:
    targets = [{**each, "format": each.get("format", "table")} for each in panel["targets"]]
    return {
        **panel,
        "type": "table",
        "targets": targets,
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {},
    }


_OLD = {"graph": _graph, "singlestat": _single_stat, "table-old": _old_table}
