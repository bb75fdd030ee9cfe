"""Data as Grafana has it between a query and a panel: frames of columns, which transformations change.

https://grafana.com/developers/dataplane/ and, for how a column is called,
https://grafana.com/docs/grafana/latest/panels-visualizations/configure-standard-options/#display-name
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rectbot.dashboards.model import legend

TIME, NUMBER, STRING = "time", "number", "string"
VALUE = "Value"  # what a series' values are called
Cell = float | str | None  # of a time column: milliseconds since 1970


@dataclass(frozen=True, slots=True)
class Column:
    """Values of one kind. `shown` is the name that a query's legend or a transformation gave it."""

    name: str
    kind: str
    values: list[Cell]
    labels: Mapping[str, str] = field(default_factory=dict)
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """Columns of the same length, of the query `ref`."""

    ref: str
    columns: list[Column]
    name: str = ""

    @property
    def length(self) -> int:
        """How many rows there are."""
        return len(self.columns[0].values) if self.columns else 0

    def rows(self, places: Sequence[int]) -> Frame:
        """With these rows only, in this order."""
        columns = [replace(each, values=[each.values[place] for place in places]) for each in self.columns]
        return replace(self, columns=columns)


def number(text: str) -> float:
    """A value as Prometheus and Loki write it."""
    return float(text.replace("Inf", "inf"))


def known(text: str) -> float | None:
    """The same, of which NaN says nothing."""
    value = number(text)
    return None if math.isnan(value) else value


def series_frames(ref: str, legend_format: str, answer: Sequence[Mapping[str, Any]]) -> list[Frame]:
    """A frame for each series of a matrix or a vector."""
    frames = []
    for each in answer:
        values = each["values"] if "values" in each else [each["value"]]
        labels = each["metric"]
        name = "" if legend_format == "__auto" and labels else legend(legend_format.replace("__auto", ""), labels)
        frames.append(
            Frame(
                ref,
                [
                    Column("Time", TIME, [float(moment) * 1000 for moment, _ in values]),
                    Column(VALUE, NUMBER, [known(text) for _, text in values], labels, name),
                ],
                name,
            )
        )
    return frames


def table_frame(ref: str, answer: Sequence[Mapping[str, Any]], *, many: bool) -> Frame:
    """All series of a query as one table: the time, a column for each label, and the value."""
    rows = [
        (each["metric"], float(moment) * 1000, known(text))
        for each in answer
        for moment, text in (each["values"] if "values" in each else [each["value"]])
    ]
    labels = sorted({name for metric, _, _ in rows for name in metric})
    value = f"Value #{ref}" if many else VALUE
    return Frame(
        ref,
        [
            Column("Time", TIME, [moment for _, moment, _ in rows]),
            *(Column(name, STRING, [metric.get(name) for metric, _, _ in rows]) for name in labels),
            Column(value, NUMBER, [number for _, _, number in rows]),
        ],
    )


class Names:
    """What the columns of some frames are called: by its legend, or by what tells it from the others."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._differ = len({frame.name for frame in frames}) > 1
        labels = {name for frame in frames for column in frame.columns for name in column.labels}
        self._only = next(iter(labels)) if len(labels) == 1 else ""

    def of(self, column: Column, frame: Frame) -> str:
        """The name that is shown, and by which overrides and transformations know the column."""
        if column.shown:
            return column.shown
        if column.kind == TIME and not column.labels:
            return column.name
        return " ".join(self._parts(column, frame)) or _unique(column, frame)

    def find(self, frame: Frame, name: Any) -> Column | None:
        """The first column of a frame that is called so, by its shown name or its own."""
        return next((each for each in frame.columns if name in (self.of(each, frame), each.name)), None)

    def _parts(self, column: Column, frame: Frame) -> list[str]:
        labels = column.labels.get(self._only, "") if self._only else _written(column.labels)
        named = self._differ or not labels
        parts = (
            frame.name if frame.name and named and (self._differ or column.name == VALUE) else "",
            column.name if column.name != VALUE else "",
            labels,
        )
        found = [part for part in parts if part]
        return [] if found == [column.name] else found


def _written(labels: Mapping[str, str]) -> str:
    return legend("", labels) if labels else ""


def _unique(column: Column, frame: Frame) -> str:
    """With its number, where a frame has several columns of the same name."""
    alike = [each for each in frame.columns if each.name == column.name]
    if len(alike) == 1:
        return column.name
    return f"{column.name} {next(place for place, each in enumerate(alike, 1) if each is column)}"
