"""From a panel and its answers to what its element shows: plain data, made once for all who look at the same."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from rectbot.console.panels import charts
from rectbot.console.panels.ask import POINTS, Asker, Sample, View
from rectbot.console.panels.fields import Field, field_of
from rectbot.console.upstream import Shared
from rectbot.console.widgets import log_lines, packed
from rectbot.dashboards.model import step_of

Json = Mapping[str, Any]
Drawing = dict[str, Any]  # what the panel's element shows, packed; and `empty`: whether that is nothing
_KEPT_SECONDS = 5.0


class Artist:
    """Draws panels; who asks for the same panel, time and variables gets the same drawing."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._shared = Shared()
        self._kinds: dict[str, Callable[[Json, Json, View], Awaitable[Drawing]]] = {
            "timeseries": self._timeseries,
            "state-timeline": self._state_timeline,
            "gauge": self._gauge,
            "stat": self._stat,
            "table": self._table,
            "logs": self._logs,
        }

    def can(self, kind: str) -> bool:
        """Whether panels of this type are known."""
        return kind in self._kinds

    async def draw(self, dashboard: Json, panel: Json, view: View) -> Drawing:
        """The drawing of one panel. Raises RectbotError with the server's reason."""
        question = (dashboard["uid"], dashboard.get("language"), panel["id"], view.chosen, view.start, view.end)
        draw = self._kinds[panel["type"]]

        async def pack() -> Drawing:
            drawing = await draw(dashboard, panel, view)
            return {name: value if isinstance(value, bool) else packed(value) for name, value in drawing.items()}

        drawing: Drawing = await self._shared.get(question, _KEPT_SECONDS, pack)
        return drawing

    async def _timeseries(self, dashboard: Json, panel: Json, view: View) -> Drawing:
        step = step_of(panel, view.end - view.start, POINTS)
        series = await self._asker.series(panel, view)
        marks = await self._asker.annotations(dashboard, view, step)
        options = charts.timeseries(panel, series, view, step, marks)
        return {"options": options, "empty": not any(each.points for each in series)}

    async def _state_timeline(self, _: Json, panel: Json, view: View) -> Drawing:
        step = step_of(panel, view.end - view.start, POINTS)
        series = await self._asker.series(panel, view)
        return {"options": charts.state_timeline(panel, series, view, step), "empty": not series}

    async def _gauge(self, _: Json, panel: Json, view: View) -> Drawing:
        samples = await self._finite(panel, view)
        return {"options": charts.gauge(panel, [(each.name, each.value) for each in samples]), "empty": not samples}

    async def _stat(self, _: Json, panel: Json, view: View) -> Drawing:
        samples = await self._finite(panel, view)
        mode = panel.get("options", {}).get("textMode", "auto")
        background = panel.get("options", {}).get("colorMode") == "background"
        items = []
        for index, each in enumerate(samples):
            field = field_of(panel, each.name)
            text = None if mode == "name" else _cell(field, each.value, index)
            shade = text["colour"] if text and text.get("mapped") else field.colour(each.value, index)
            name = each.name if mode in ("name", "value_and_name") or (mode == "auto" and len(samples) > 1) else ""
            # Where values stand alone, several need their names all the same.
            name = each.name if mode == "value" and len(samples) > 1 else name
            items.append({"name": name, "cell": text, "colour": shade, "background": background})
        return {"items": items, "empty": not items}

    async def _finite(self, panel: Json, view: View) -> list[Sample]:
        return [each for each in await self._asker.samples(panel, view) if math.isfinite(each.value)]

    async def _table(self, _: Json, panel: Json, view: View) -> Drawing:
        samples = await self._asker.samples(panel, view)
        names, rows = _merged(samples, many=len(panel.get("targets", [])) > 1)
        names, titles = _organized(names, panel.get("transformations", []))
        columns = [
            {"title": titles[name], "align": field_of(panel, titles[name]).custom.get("align", "auto")}
            for name in names
        ]
        cells = [[_table_cell(panel, titles[name], row.get(name), row, view) for name in names] for row in rows]
        cells = _sorted(cells, [titles[name] for name in names], panel.get("options", {}).get("sortBy", []))
        return {"columns": columns, "rows": cells, "empty": not cells}

    async def _logs(self, _: Json, panel: Json, view: View) -> Drawing:
        entries = await self._asker.lines(panel, view)
        return {"lines": log_lines(entries), "empty": not entries}


def _cell(field: Field, value: float, index: int = 0) -> dict[str, Any]:
    """A value with its unit, or what it is mapped to; the browser formats the number."""
    if found := field.mapped(value):
        return {"text": found[0], "colour": found[1], "mapped": True}
    return {
        "value": value,
        "unit": field.unit,
        "decimals": field.decimals,
        "colour": field.colour(value, index),
        "mapped": False,
    }


def _merged(samples: Sequence[Sample], *, many: bool) -> tuple[list[str], list[dict[str, Any]]]:
    """Grafana's `merge`: what has the same labels is one row. Returns the columns in order, and the rows."""
    rows: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    labels: dict[str, None] = {}
    values: dict[str, None] = {}
    for each in samples:
        known = dict(each.labels)
        column = f"Value #{each.ref}" if many else "Value"
        labels |= dict.fromkeys(known)
        values[column] = None
        row = rows.setdefault(tuple(sorted(known.items())), dict(known))
        row[column] = each.value
    return [*labels, *values], list(rows.values())


def _organized(names: list[str], transformations: Sequence[Json]) -> tuple[list[str], dict[str, str]]:
    """Grafana's `organize`: the columns that are shown, in order, and their titles."""
    options: Json = next((each["options"] for each in transformations if each["id"] == "organize"), {})
    hidden, titles = options.get("excludeByName", {}), options.get("renameByName", {})
    order = options.get("indexByName", {})
    shown = sorted((name for name in names if not hidden.get(name)), key=lambda name: order.get(name, len(order)))
    return shown, {name: titles.get(name) or name for name in shown}


def _table_cell(panel: Json, title: str, value: Any, row: Json, view: View) -> dict[str, Any]:
    field = field_of(panel, title)
    if isinstance(value, float):
        cell = _cell(field, value)
        if not cell["mapped"] and field.custom.get("cellOptions", {}).get("type") != "color-text":
            cell["colour"] = "inherit"
    else:
        cell = {"text": value or "", "colour": "inherit"}
    if field.link and value is not None:
        address = view.put(field.link, "")
        for name, text in row.items():
            address = address.replace(f"${{__data.fields.{name}}}", str(text))
        cell["link"] = address if address.startswith("/d/") else ""
    cell["order"] = value
    return cell


def _sorted(rows: list[list[dict[str, Any]]], titles: list[str], order: Sequence[Json]) -> list[list[dict[str, Any]]]:
    for rule in reversed(order):
        if (title := rule.get("displayName")) in titles:
            place = titles.index(title)

            def key(row: list[dict[str, Any]], place: int = place) -> tuple[bool, str, float]:
                value = row[place]["order"]
                known = isinstance(value, float)
                return (not known, "" if known else str(value or ""), value if known else 0.0)

            rows = sorted(rows, key=key, reverse=bool(rule.get("desc")))
    return rows
