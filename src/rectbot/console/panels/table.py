"""What a table shows: columns in their order, and rows of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rectbot.console.panels import compute
from rectbot.console.panels.data import Data, Shown, Value
from rectbot.console.panels.frames import STRING, TIME
from rectbot.console.panels.join import stacked

Json = Mapping[str, Any]
_OLD_CELLS = {
    "color-background-solid": "color-background",
    "gradient-gauge": "gauge",
    "lcd-gauge": "gauge",
    "basic": "gauge",
}
MOST_ROWS = 2_000


def table(data: Data) -> dict[str, Any]:
    """The columns that are not hidden, and their cells."""
    if len(data.frames) > 1:
        data = Data({**data.panel, "transformations": []}, [stacked(data.frames)], data.view)
    options = data.panel.get("options") or {}
    if data.frames and (order := _order(data, options.get("sortBy") or [])) is not None:
        data = Data({**data.panel, "transformations": []}, [data.frames[0].rows(order)], data.view)
    shown = [each for each in data.columns if not _hidden(each)]
    length = min(MOST_ROWS, data.frames[0].length if data.frames else 0)
    columns = [{"title": each.name, "align": str(each.field.custom.get("align") or "auto")} for each in shown]
    rows = [[_cell(data, each, place) for each in shown] for place in range(length)]
    return {"columns": columns, "rows": rows, "header": options.get("showHeader", True) is not False, "empty": not rows}


def _hidden(column: Shown) -> bool:
    custom = column.field.custom
    return bool(custom.get("hidden") or (custom.get("hideFrom") or {}).get("viz"))


def _order(data: Data, rules: Sequence[Json]) -> list[int] | None:
    """The places of the rows by what the table is sorted by; None where it is not."""
    order: list[int] | None = None
    for rule in reversed(rules):
        by = next((each for each in data.columns if each.name == rule.get("displayName")), None)
        if by is not None:
            before = order or list(range(data.frames[0].length))
            values = [by.column.values[place] for place in before]
            order = [before[place] for place in compute.order(values, descending=bool(rule.get("desc")))]
    return order


def _cell(data: Data, column: Shown, place: int) -> dict[str, Any]:
    value = column.column.values[place]
    if column.column.kind == TIME and column.field.unit == "none" and isinstance(value, float):
        return {"time": value, "colour": "inherit"}
    cell = column.field.cell(value, column.index)
    if value is None and not cell["text"]:
        cell["text"] = column.field.no_value
    kind = _kind(column)
    if kind == "gauge" and isinstance(value, float):
        cell["share"] = column.field.share(value)
    if kind == "color-background" and cell["colour"] not in ("inherit", "transparent"):
        cell["filled"] = cell["colour"]
    if not cell["mapped"] and kind not in ("color-text", "gauge"):
        cell["colour"] = "inherit"
    if value is not None:
        cell |= data.link(Value(column, value, place), data.columns)
    return cell


def _kind(column: Shown) -> str:
    options = column.field.custom.get("cellOptions") or {}
    kind = str(options.get("type") or column.field.custom.get("displayMode") or "auto")
    return _OLD_CELLS.get(kind, kind) if column.column.kind != STRING or kind.startswith("color") else "auto"
