"""A panel's data: its frames after the transformations, and its columns with how they look."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from rectbot.console.panels.ask import View
from rectbot.console.panels.fields import Field, Fields, span_of
from rectbot.console.panels.frames import NUMBER, Cell, Column, Frame, Names
from rectbot.console.panels.matchers import pattern
from rectbot.console.panels.reduce import reduced
from rectbot.console.panels.transform import transformed

Json = Mapping[str, Any]
_OUTSIDE = re.compile(r"https?://[^\s]+")
_IN_LINK = re.compile(
    r"\$\{__data\.fields(?:\.(?P<name>[^}\[\]:.]+)|\[(?P<index>\d+)\]|\[\"(?P<quoted>[^\"]+)\"\])(?:\.\w+)?(?::\w+)?\}"
    r"|\$\{__(?P<what>value|series|field)\.(?P<part>name|raw|numeric|text|time|labels\.(?P<label>\w+))(?::\w+)?\}"
)
_IN_NAME = re.compile(r"\$\{__(?:field\.labels\.(?P<label>\w+)|(?:field|series)\.(?P<name>displayName|name))\}")
_MOST_VALUES = 25  # of a stat that shows all values, where it does not say


@dataclass(frozen=True)
class Shown:
    """A column, what it is called, and how its values look."""

    column: Column
    frame: Frame
    name: str
    field: Field
    index: int


@dataclass(frozen=True)
class Value:
    """One value of a column."""

    of: Shown
    value: Any
    place: int = 0


class Data:
    """What a panel draws."""

    def __init__(self, panel: Json, frames: Sequence[Frame], view: View) -> None:
        self.panel, self.view = panel, view
        self.frames = transformed(list(frames), panel.get("transformations") or [])
        fields, names = Fields(panel), Names(self.frames)
        numbers = [column for frame in self.frames for column in frame.columns if column.kind == NUMBER]
        whole = span_of(numbers)
        self.columns: list[Shown] = []
        index = 0  # among the columns of numbers
        for frame in self.frames:
            for column in frame.columns:
                shown = names.of(column, frame)
                field = fields.of(column, frame, shown, whole)
                self.columns.append(Shown(column, frame, _named(field.display_name, column, shown), field, index))
                index += column.kind == NUMBER

    @property
    def numbers(self) -> list[Shown]:
        """The columns of numbers."""
        return [each for each in self.columns if each.column.kind == NUMBER]

    def values(self) -> list[Value]:
        """What a stat, a gauge or a bar gauge shows, by `reduceOptions`; without what is nothing."""
        options = (self.panel.get("options") or {}).get("reduceOptions") or {}
        chosen = list(self._fields(str(options.get("fields") or "")))
        if options.get("values"):
            most = int(options.get("limit") or _MOST_VALUES)
            found = [Value(each, value, at) for each in chosen for at, value in enumerate(each.column.values[:most])]
        else:
            calculations = options.get("calcs") or ["lastNotNull"]
            found = [Value(each, _reduced(name, each.column.values)) for each in chosen for name in calculations[:1]]
        return [each for each in found if _is_something(each)]

    def _fields(self, wanted: str) -> Iterable[Shown]:
        if not wanted:
            return self.numbers
        if wanted.startswith("/"):
            expression = pattern(wanted)
            return [each for each in self.columns if expression.search(each.name)]
        return [each for each in self.columns if wanted in (each.name, each.column.name)]

    def link(self, value: Value, row: Sequence[Shown]) -> dict[str, str]:
        """The address that a value leads to, if it has one that leads to a page."""
        for given in value.of.field.links[:1]:
            address = self.view.put(str(given["url"]), "").strip()
            address = _IN_LINK.sub(lambda found: quote(_linked(found, value, row), safe=""), address)
            if address.startswith("/") and not address.startswith(("//", "/\\")):
                return {"link": address, "rel": ""}
            if _OUTSIDE.fullmatch(address):
                return {"link": address, "rel": "noopener noreferrer"}
        return {}


def _reduced(name: str, values: Sequence[Cell]) -> Any:
    try:
        return reduced(name, values)
    except KeyError:
        return reduced("lastNotNull", values)  # the panel says that it is not known


def _is_something(value: Value) -> bool:
    if value.value is None or (isinstance(value.value, float) and math.isnan(value.value)):
        return value.of.field.mapped(None) is not None
    return True


def _named(display: str, column: Column, shown: str) -> str:
    if not display:
        return shown

    def put(found: re.Match[str]) -> str:
        return column.labels.get(found["label"], "") if found["label"] else shown

    return _IN_NAME.sub(put, display)


def _linked(found: re.Match[str], value: Value, row: Sequence[Shown]) -> str:
    """A value of the same row, by its column's name, number or title; or something of the value itself."""
    if found["what"]:
        if found["label"]:
            return value.of.column.labels.get(found["label"], "")
        return value.of.name if found["part"] == "name" else text_of(value.value)
    name = found["name"] or found["quoted"]
    for each in _named_so(row, name, found["index"]):
        return text_of(each.column.values[value.place])
    return ""


def _named_so(row: Sequence[Shown], name: str | None, index: str | None) -> Iterator[Shown]:
    if index is not None or (name or "").isdigit():
        yield from row[int(index or name or 0) :][:1]
    yield from (each for each in row if each.column.name == name)
    yield from (each for each in row if each.name == name)


def text_of(value: object) -> str:
    """As it stands in an address."""
    if value is None:
        return ""
    return f"{value:.15g}" if isinstance(value, float) else str(value)
