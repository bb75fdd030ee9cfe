"""How the values of a panel look: `fieldConfig` with its overrides, thresholds, mappings and colours.

https://grafana.com/docs/grafana/latest/panels-visualizations/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rectbot.console.panels.colours import PALETTE, colour, continuous
from rectbot.console.panels.frames import Cell, Column, Frame
from rectbot.console.panels.matchers import matches, pattern

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """What a value is mapped to; where `colour` is None it is the value's own."""

    text: str
    colour: str | None


@dataclass(frozen=True)
class Field:
    """The configuration of one series or column. `span`: the least and the most of the data, where it has no own."""

    config: Json
    span: tuple[float, float] = (0.0, 100.0)

    @property
    def unit(self) -> str:
        return str(self.config.get("unit") or "none")

    @property
    def decimals(self) -> int | None:
        found = self.config.get("decimals")
        return None if found is None else max(0, min(20, int(found)))

    @property
    def format(self) -> dict[str, Any]:
        """For the browser, which writes numbers."""
        return {"unit": self.unit, "decimals": self.decimals}

    @property
    def custom(self) -> Json:
        found: Json = self.config.get("custom") or {}
        return found

    @property
    def no_value(self) -> str:
        return str(self.config.get("noValue") or "")

    @property
    def display_name(self) -> str:
        return str(self.config.get("displayName") or "")

    @property
    def links(self) -> list[Json]:
        return [each for each in self.config.get("links") or [] if each.get("url")]

    @property
    def least(self) -> float:
        return float(self.span[0] if self.config.get("min") is None else self.config["min"])

    @property
    def most(self) -> float:
        return float(self.span[1] if self.config.get("max") is None else self.config["max"])

    def share(self, value: float) -> float:
        """How far a value is on the way from the least to the most, from 0 to 1."""
        width = self.most - self.least
        return max(0.0, min(1.0, (value - self.least) / width)) if width else 0.0

    @property
    def percentage(self) -> bool:
        """Whether thresholds are percent of the way from the least to the most."""
        return bool((self.config.get("thresholds") or {}).get("mode") == "percentage")

    @property
    def steps(self) -> list[tuple[float, str]]:
        """Thresholds, the lowest first: from which value on which colour. A step without a value is the least."""
        steps = (self.config.get("thresholds") or {}).get("steps") or []
        found = [(self._threshold(each.get("value")), colour(each.get("color"))) for each in steps]
        return sorted(found, key=lambda step: step[0])

    def _threshold(self, value: Any) -> float:
        if value is None:
            return -math.inf
        return self.least + (self.most - self.least) * float(value) / 100 if self.percentage else float(value)

    def of_threshold(self, value: float) -> str:
        """The colour of the highest threshold that the value reaches."""
        found = "inherit"
        for start, each in self.steps:
            if value >= start:
                found = each
        return found

    def mapped(self, value: Cell | bool) -> Look | None:
        """What a value is mapped to, if it is."""
        for mapping in self.config.get("mappings") or []:
            found = _MAPPINGS.get(mapping.get("type"), _none)(mapping.get("options") or {}, value)
            if found is not None:
                shade = found.get("color")
                return Look(str(found.get("text") or _plain(value)), colour(shade) if shade else None)
        return None

    @property
    def states(self) -> list[tuple[str, str]]:
        """The texts and colours that values may be mapped to, in their order."""
        entries = [entry for mapping in self.config.get("mappings") or [] for entry in _results(mapping)]
        ordered = sorted(entries, key=lambda entry: entry.get("index", 0))
        return [(str(entry.get("text", "")), colour(entry.get("color"))) for entry in ordered if entry.get("text")]

    def colour(self, value: float | None, index: int, name: str = "") -> str:
        """The colour of a value, or of the series at `index` where colours go by series."""
        found = self.config.get("color") or {}
        mode = str(found.get("mode") or "thresholds")
        if mode in ("fixed", "shades"):
            return colour(found.get("fixedColor"))
        if mode == "palette-classic-by-name":
            return PALETTE[sum(map(ord, name)) % len(PALETTE)]
        if value is not None and mode == "thresholds":
            return self.of_threshold(value)
        if value is not None and mode.startswith("continuous-"):
            return continuous(mode.removeprefix("continuous-"), self.share(value))
        return PALETTE[index % len(PALETTE)]

    def cell(self, value: Cell | bool, index: int = 0) -> dict[str, Any]:
        """A value with its unit, or what it is mapped to; the browser formats the number."""
        number = float(value) if isinstance(value, float | int) else None
        own = self.colour(number, index) if number is not None else "inherit"
        if found := self.mapped(value):
            return {"text": found.text, "colour": found.colour or own, "mapped": found.colour is not None}
        if number is None:
            return {"text": str(value) if value is not None else "", "colour": own, "mapped": False}
        if isinstance(value, bool):
            return {"text": str(value).lower(), "colour": own, "mapped": False}
        finite = number if math.isfinite(number) else None
        text = {} if finite is not None else {"text": "∞" if number > 0 else "-∞"}
        return {"value": finite, **self.format, "colour": own, "mapped": False, **text}


class Fields:
    """The fields of a panel: the defaults, with the overrides for a series or column."""

    def __init__(self, panel: Json) -> None:
        given = panel.get("fieldConfig") or {}
        self._defaults: Json = given.get("defaults") or {}
        self._overrides: Sequence[Json] = given.get("overrides") or []

    def of(self, column: Column, frame: Frame, shown: str, span: tuple[float, float] | None = None) -> Field:
        """The field of a column that is called `shown`."""
        config = dict(self._defaults)
        for override in self._overrides:
            if matches(override.get("matcher") or {}, column, frame, shown):
                for entry in override.get("properties") or []:
                    _put(config, str(entry.get("id", "")).split("."), entry.get("value"))
        return Field(config, span or span_of([column]))


def span_of(columns: Sequence[Column]) -> tuple[float, float]:
    """The least and the most number; 0 to 100 where there is none."""
    numbers = [
        value for column in columns for value in column.values if isinstance(value, float) and math.isfinite(value)
    ]
    return (min(numbers), max(numbers)) if numbers else (0.0, 100.0)


def field_of(panel: Json, name: str = "") -> Field:
    """The field of the series or column of this name."""
    column = Column(name, "number", [])
    return Fields(panel).of(column, Frame("", [column]), name)


def _plain(value: Any) -> str:
    """As mappings write it: true, 5, 0.5, a word."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return f"{value:.0f}" if value == int(value) else str(value)
    return "" if value is None else str(value)


def _none(_: Json, _value: Any) -> Json | None:
    return None


def _of_value(options: Json, value: Any) -> Json | None:
    found: Json | None = options.get(_plain(value)) if value is not None else options.get("null")
    return found


def _of_range(options: Json, value: Any) -> Json | None:
    if not isinstance(value, float):
        return None
    start, end = options.get("from"), options.get("to")
    inside = (start is None or value >= float(start)) and (end is None or value <= float(end))
    return options.get("result") or {} if inside else None


def _of_pattern(options: Json, value: Any) -> Json | None:
    if not isinstance(value, str):
        return None
    found = pattern(str(options.get("pattern", "")))
    if not found.search(value):
        return None
    result = dict(options.get("result") or {})
    if "$" in str(result.get("text", "")):
        put = str(result["text"]).replace("\\", "\\\\")
        for number in range(10):
            put = put.replace(f"${number}", f"\\{number}")
        result["text"] = found.sub(put, value, count=1)
    return result


_SPECIAL: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "nan": lambda value: value is None,  # of what comes from Prometheus and Loki it is the same
    "null+nan": lambda value: value is None,
    "true": lambda value: value is True,
    "false": lambda value: value is False,
    "empty": lambda value: value == "",
}


def _of_special(options: Json, value: Any) -> Json | None:
    test = _SPECIAL.get(str(options.get("match")))
    return (options.get("result") or {}) if test is not None and test(value) else None


_MAPPINGS: dict[object, Callable[[Json, Any], Json | None]] = {
    "value": _of_value,
    "range": _of_range,
    "regex": _of_pattern,
    "special": _of_special,
}
MAPPING_TYPES = frozenset(_MAPPINGS)


def _results(mapping: Json) -> Iterator[Json]:
    options = mapping.get("options") or {}
    yield from options.values() if mapping.get("type") == "value" else (options.get("result") or {},)


def _put(config: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        config[part] = dict(config.get(part) or {})
        config = config[part]
    config[path[-1]] = value
